"""What a computer runs that was started from stand-alone media; the initrd calls it by ``python -m``.

It finds disc 1 by its volume ID on the drives, verifies its signature and the time, asks for the passphrase, chooses
the disk, gathers what the sequence needs from the discs, and starts the client of `courier.deployment.run` with the
signed policy. It reads the media and writes the chosen disk, nothing else. docs/standalone.md describes the initrd.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.deployment.run.client import Wanted, run_deployment
from courier.deployment.run.content import Supply
from courier.deployment.run.policy import verified
from courier.deployment.run.target import is_blank
from courier.deployment.run.work import work_folder
from courier.deployment.standalone.drives import Drive, choose_disk, list_drives
from courier.deployment.standalone.gather import PAUSE, DiscChanger, Gatherer, Operator
from courier.deployment.standalone.open_disc import OpenDisc, open_disc
from courier.deployment.standalone.verify import (
    OpenContents,
    SetList,
    disc_number,
    read_contents,
    read_document,
    read_set,
    validity_problem,
)
from courier.distribution.folder_source import FolderSource
from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, RefusedError, UsageError, explain
from courier.files import explain_os, remove_tree
from courier.site.clock import now
from courier.site.trust import Trust, read_card
from courier.text import plural, size_text
from formats.documents.card import SiteCard
from formats.documents.standalone import CARD, POINT
from formats.errors import FormatError

PINNED_CARD = Path("/etc/courier/card.json")
"""Card of the site in the initrd: discs of another site are refused then."""
RUN = Path("/run/courier")
"""Folder of all that is kept while the computer runs: in memory, as the initrd is."""
_TRIES = 5
_MOST_CARD = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Computer:
    """The computer that was started, and what its kernel was told.

    ``drives``: lists its drives as they are now. ``disk``: the disk to deploy to, by name, or empty. ``unattended``:
    begin without a question where there is one fixed disk. ``card``: file of the pinned card; it need not exist.
    ``place``: folder for what is kept meanwhile. ``mounts``: whether discs may be mounted, read-only.
    ``patience``: seconds for which drives are waited for, to be there and to be ready.
    """

    drives: Callable[[], Sequence[Drive]]
    operator: Operator
    disk: str = ""
    unattended: bool = False
    card: Path = PINNED_CARD
    place: Path = RUN
    mounts: bool = True
    patience: float = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Disc 1, and what was verified of it."""

    path: Path
    listed: SetList
    card: SiteCard
    trust: Trust


def deploy(computer: Computer) -> None:
    """Deploy to this computer from the media in its drives. Raises `CourierError` for what a person has to mend."""
    found = _first_disc(computer)
    operator, document = computer.operator, found.listed.document
    problem = validity_problem(document, now())
    if problem:
        raise RefusedError(problem, hint="check this computer's clock (firmware setup), or ask for a newer set")
    opened = _contents(computer, found)
    disk = _choose(computer, found)
    with _held(disk.device):
        _confirm(computer, disk)
        with _point(computer, found, opened) as folder:
            operator.say(f"Deploying {document.name} to {disk.text}")
            _run(computer, found, opened, folder, disk)
    operator.say(f"{document.name} is on {disk.device}. Take the media out.")


def _first_disc(computer: Computer) -> Found:
    """Disc 1 of the set in the drives, its signature verified. Raises `NotFoundError`, `RefusedError`."""
    end = time.monotonic() + computer.patience
    while True:
        try:
            return _find_first(computer)
        except NotFoundError:
            if time.monotonic() >= end:
                raise
        time.sleep(PAUSE)


def _find_first(computer: Computer) -> Found:
    operator = computer.operator
    faults: list[CourierError] = []
    found: list[Found] = []
    for drive in computer.drives():
        try:
            with open_disc(drive.device) as disc:
                if disc.volume.endswith("_01"):
                    found.append(_verified(computer, drive.device, disc))
        except OSError:
            continue  # no medium in it
        except CourierError as error:
            if error.code != Code.NOT_A_VOLUME:
                faults.append(error)
    if len({one.listed.envelope for one in found}) > 1:
        names = ", ".join(f"{one.path}: {one.listed.document.deployment}" for one in found)
        raise RefusedError(f"discs of several sets are in the drives: {names}", hint="leave the one that is wanted")
    if not found:
        if faults:
            raise faults[0]
        raise NotFoundError("no drive holds disc 1 of a set", hint="put in the disc that this computer started from")
    first = found[0]
    document = first.listed.document
    operator.say(f"Found {document.disc_name(1)}, disc 1 of {document.discs}, in {first.path}: {document.name}")
    operator.say(f"Signature of {document.site} verified, key {first.card.fingerprint[:39]}...")
    if not computer.card.is_file():
        operator.say("This initrd pins no card: compare the fingerprint with that of the site.")
    return first


def _verified(computer: Computer, path: Path, disc: OpenDisc) -> Found:
    pinned = computer.card.read_bytes() if computer.card.is_file() else None
    card = read_card(pinned or read_document(disc, CARD, _MOST_CARD), where=str(computer.card if pinned else path))
    trust = Trust.of_cards(card)
    listed = read_set(disc, trust, now_ns=now())
    if disc_number(disc, listed.document) != 1:
        raise RefusedError(f"{path} holds {disc.volume}, and its set list is of another set", hint="take it out")
    return Found(path=path, listed=listed, card=card, trust=trust)


def _contents(computer: Computer, found: Found) -> OpenContents:
    """The contents of the set; asks for the passphrase where there is one."""
    tries = _TRIES if found.listed.document.encrypted else 1
    while True:
        tries -= 1
        words = computer.operator.ask("Passphrase: ") if found.listed.document.encrypted else ""
        try:
            with open_disc(found.path) as disc:
                return read_contents(disc, found.listed, found.trust, passphrase=words, now_ns=now())
        except RefusedError as error:
            if error.code not in (Code.WRONG_PASSPHRASE, Code.SECRET_NEEDED) or not tries:
                raise
            computer.operator.say(error.message)


def _choose(computer: Computer, found: Found) -> Drive:
    media = _media(computer)
    try:
        return choose_disk(computer.drives(), media=media, named=computer.disk)
    except UsageError as error:
        if computer.unattended:
            raise
        computer.operator.say(f"{error.message}. {error.hint}")
        named = computer.operator.ask("Disk to deploy to (its name): ").strip()
        if not named:
            raise
        return choose_disk(computer.drives(), media=media, named=named)


def _media(computer: Computer) -> list[Path]:
    """Devices with a disc of any set: none of them is deployed to."""
    found = []
    for drive in computer.drives():
        with contextlib.suppress(OSError, CourierError), open_disc(drive.device) as disc:
            read_document(disc, CARD, _MOST_CARD)
            found.append(drive.device)
    return found


@contextlib.contextmanager
def _held(device: Path) -> Iterator[None]:
    """Hold a disk so that nothing mounts it meanwhile. Raises `RefusedError` where something uses it already.

    Linux refuses to open a block device exclusively that is mounted, or part of a volume group or array.
    """
    try:
        handle = os.open(device, os.O_RDWR | os.O_EXCL)
    except OSError as error:
        raise explain_os(error) from None
    try:
        yield
    finally:
        os.close(handle)


def _confirm(computer: Computer, disk: Drive) -> None:
    """Ask before a disk that holds something is erased, unless the kernel was told not to."""
    if computer.unattended or is_blank(disk.device):
        return
    computer.operator.say(f"{disk.text} holds something, and all of it will be lost.")
    answer = computer.operator.ask(f"Type {disk.device.name} to erase it: ").strip()
    if answer not in (disk.device.name, str(disk.device)):
        raise RefusedError(f"{disk.device} is left as it is", hint="start again to deploy", code=Code.NOT_CONFIRMED)


@contextlib.contextmanager
def _point(computer: Computer, found: Found, opened: OpenContents) -> Iterator[Path]:
    """The folder of a point with all files of the set: the disc itself, mounted, where it has them, else gathered."""
    document = found.listed.document
    whole = document.discs == 1 and all(piece.path.startswith(POINT) for piece in document.pieces)
    if whole and computer.mounts:
        with _mounted(computer, found) as folder:
            if folder is not None:
                yield folder / POINT
                return
    folder = computer.place / "point"
    remove_tree(folder)
    changer = DiscChanger(
        listed=found.listed,
        places=lambda: [drive.device for drive in computer.drives()],
        operator=computer.operator,
        patience=computer.patience,
    )
    gatherer = Gatherer(changer, opened, folder, told=lambda _: None)
    computer.operator.say(f"Gathering {size_text(gatherer.size)} from {plural(document.discs, 'disc')} in memory")
    gatherer.run()
    yield folder


@contextlib.contextmanager
def _mounted(computer: Computer, found: Found) -> Iterator[Path | None]:
    """Disc 1 mounted read-only; None where this kernel cannot."""
    target = computer.place / "disc"
    target.mkdir(parents=True, exist_ok=True)
    device, kind = str(found.path), "iso9660"
    if found.listed.document.layout == "usb":
        device, kind = f"{device}p1" if device[-1].isdigit() else f"{device}1", "vfat"
    mounted = _quietly("mount", "-t", kind, "-o", "ro", device, str(target))
    try:
        yield target if mounted else None
    finally:
        if mounted:
            _quietly("umount", str(target))


def _quietly(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _run(computer: Computer, found: Found, opened: OpenContents, folder: Path, disk: Drive) -> None:
    policy = verified(opened.contents.policy, found.card, now_ns=now(), where="policy of the set")
    supply = Supply(
        points=(FolderSource(name=str(folder), folder=folder),),
        cards={found.card.site: found.card},
        stop=threading.Event(),
        progress=_no_progress,
        retry_for=60,
    )
    wanted = Wanted(
        read=policy,
        computer="",
        into=disk.device,
        cache=computer.place / "cache",
        supply=supply,
        recorders=[],
        erase=True,
        device=True,
    )
    say = computer.operator.say
    with work_folder(computer.place / "work") as work:
        run_deployment(wanted, work, now_ns=now(), stop=supply.stop, progress=supply.progress, say=say, warn=say)


@contextlib.contextmanager
def _no_progress(_title: str, _total: int) -> Iterator[Callable[[int], None]]:
    """Steps are said one by one; a serial line is too slow for more."""
    yield lambda _: None


class Terminal:
    """The person at the console of the computer. See `courier.deployment.standalone.gather.Operator`."""

    def say(self, text: str) -> None:
        """See `Operator.say`."""
        print(f"courier: {text}", flush=True)

    def ask(self, question: str) -> str:
        """See `Operator.ask`. Raises `EOFError` where the console is closed."""
        print(f"courier: {question}", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")


def told_by_kernel(command_line: str) -> Mapping[str, str]:
    """What the kernel was told about us: ``courier.disk=sda courier.unattended``, without the ``courier.``."""
    words = [word.removeprefix("courier.") for word in command_line.split() if word.startswith("courier.")]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def main() -> int:
    """Deploy to this computer; returns the exit code, after saying what is wrong and what to do about it."""
    told = told_by_kernel(Path("/proc/cmdline").read_text("utf-8", "replace"))
    operator = Terminal()
    computer = Computer(
        drives=list_drives, operator=operator, disk=told.get("disk", ""), unattended="unattended" in told
    )
    try:
        deploy(computer)
    except CourierError as error:
        return _failed(operator, error)
    except FormatError as error:
        return _failed(operator, explain(error))
    except OSError as error:
        return _failed(operator, explain_os(error))
    return 0


def _failed(operator: Operator, error: CourierError) -> int:
    operator.say(f"FAILED: {error.message}")
    operator.say(f"  -> {error.hint}")
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
