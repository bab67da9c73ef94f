"""The last part of ``courier demo --deploy``: stand-alone media, and what a computer does that they started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from courier.cli.demo_branch import Telling, check
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.site.home import Site

CAPACITY = 6_000_000
"""Bytes of each disc: so small that the image takes several."""
_LOADER = b"MZ: no loader, as this demonstration starts no computer\n"


class DiscsDemo:
    """A set of discs of the site ``branch``, in the folder ``root``. ``card``: the file of the site's card."""

    def __init__(self, telling: Telling, root: Path, branch: Site, *, card: Path) -> None:
        self._step, self._detail = telling.step, telling.detail
        self._root, self._branch, self._card = root, branch, card

    def make(self, package: str, sequence: str) -> tuple[Path, ...]:
        """Make a set that deploys ``package``, and verify it; the images of its discs. Raises `DamagedError`."""
        from courier.deployment.standalone.create import create_set
        from courier.deployment.standalone.request import SetRequest
        from courier.deployment.standalone.verify import verify_discs
        from courier.distribution.download_plan import read_cards
        from courier.files import write_atomic
        from courier.media.kinds import DRIVE
        from courier.site.trust import Trust

        size = size_text(CAPACITY)
        self._step(f"For a computer without a network the branch makes discs of {size}: courier standalone create.")
        loader, file = self._root / "loader.efi", self._root / "discs.toml"
        write_atomic(loader, _LOADER)
        write_atomic(file, sequence.encode())
        request = SetRequest(package=package, sequence=file, layout="iso", efi_loaders=(loader,))
        made = create_set(self._branch, request, media=DRIVE, capacity=CAPACITY, out=self._root / "discs")
        for image in made.images:
            self._detail(f"{image.relative_to(self._root)}  {size_text(image.stat().st_size)}")
        self._step("Anybody who has the card of the branch can verify them: courier standalone verify.")
        verdict = verify_discs(made.images, Trust.of_cards(*read_cards([self._card]).values()))
        check(not verdict.problems and not verdict.missing, "the discs are not good")
        self._detail(f"signed by {verdict.document.site}; {plural(len(verdict.discs), 'disc')}, every byte compared")
        return made.images

    def run(self, discs: Sequence[Path], disk: Path) -> Path:
        """Do what a computer does that was started from ``discs``, into the blank ``disk``, which is returned."""
        from courier.deployment.standalone.boot import Computer, deploy
        from courier.deployment.standalone.drives import Drive

        self._step(
            "The program that the discs start finds them, asks for each, and deploys to a disk, without any network. "
            "Booting is left out: it runs here, with files in place of drives."
        )
        person = _Person(self._detail, discs)

        def drives() -> list[Drive]:
            optical = Drive(device=person.disc, size=0, model="DVD", removable=True, writable=False)
            return [optical, Drive(device=disk, size=disk.stat().st_size, model="", removable=False, writable=True)]

        deploy(
            Computer(
                drives=drives,
                operator=person,
                card=self._card,
                place=self._root / "run",
                mounts=False,
                patience=0,
            )
        )
        check(person.changes == len(discs) - 1, "not every disc was asked for")
        return disk


class _Person:
    """Who puts in the discs as they are asked for. See `courier.deployment.standalone.gather.Operator`."""

    def __init__(self, tell: Callable[[str], None], discs: Sequence[Path]) -> None:
        self._tell, self._discs, self.changes = tell, discs, 0

    @property
    def disc(self) -> Path:
        """The disc that is in the drive."""
        return self._discs[self.changes]

    def say(self, text: str) -> None:
        """See `Operator.say`."""
        self._tell(text)

    def ask(self, question: str) -> str:
        """See `Operator.ask`: the next disc is put in."""
        self._tell(question.rstrip())
        check(self.changes + 1 < len(self._discs), f"there is no disc left: {question}")
        self.changes += 1
        return ""
