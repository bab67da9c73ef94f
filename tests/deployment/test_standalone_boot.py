"""What a started computer does: it finds, asks, gathers and deploys; images stand for its drives here."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journey import noise
from standalone_sets import Made, images, made_site

from courier.deployment.standalone.boot import Computer, deploy, told_by_kernel
from courier.deployment.standalone.drives import Drive, choose_disk, list_drives
from courier.errors import CourierError, NotFoundError, RefusedError, UsageError
from formats.blocks import BLOCK

SMALL = "6MB"
IMAGE = noise(6_000_000, 1)[: 5 << 20]


@pytest.fixture(autouse=True)
def _quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work factor of passphrases is one for tests; the long test has the real one."""
    monkeypatch.setattr("formats.age.passphrase.WORK", 6)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = made_site(tmp_path_factory.mktemp("standalone"), image=IMAGE)
    (made.root / "bootx64.efi").write_bytes(b"MZ" + noise(20_000, 9))
    made.sequence.write_text(_only_image(made))
    return made


def _only_image(made: Made) -> str:
    return made.sequence.read_text().partition('[[step]]\ntype = "install-driver"')[0]


def _set(made: Made, out: Path, *more: object, capacity: str = SMALL) -> list[Path]:
    return images(made.create(out, "--efi-loader", made.root / "bootx64.efi", *more, capacity=capacity))


@pytest.fixture(scope="module")
def two(made: Made, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    pair = _set(made, tmp_path_factory.mktemp("two"))
    assert len(pair) == 2
    return pair


class Person:
    """Says nothing but what it was told to: each answer may change the discs before."""

    def __init__(self, answers: Iterable[Any] = ()) -> None:
        self.answers = list(answers)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def ask(self, question: str) -> str:
        self.lines.append(question)
        if not self.answers:
            raise EOFError
        answer = self.answers.pop(0)
        return str(answer() or "") if callable(answer) else str(answer)

    def heard(self, text: str) -> bool:
        return any(text in line for line in self.lines)


class Box:
    """A computer with one drive for discs, and a disk of 8 MiB."""

    def __init__(self, root: Path, made: Made, person: Person, disc: Path | None) -> None:
        self.disk = root / "sda"
        with self.disk.open("wb") as out:
            out.truncate(8 << 20)
        self.disc = disc
        self.extra: list[Drive] = []
        self.computer = Computer(
            drives=self.drives,
            operator=person,
            card=made.card(),
            place=root / "run",
            mounts=False,
            patience=0,
        )

    def drives(self) -> list[Drive]:
        disk = Drive(device=self.disk, size=8 << 20, model="Disk", removable=False, writable=True)
        device = self.disc or self.disk.with_name("nothing")
        return [Drive(device=device, size=0, model="DVD", removable=True, writable=False), disk, *self.extra]

    def put_in(self, disc: Path) -> Any:
        def change() -> None:
            self.disc = disc

        return change


def test_the_image_comes_from_two_discs_that_are_asked_for_by_name(made: Made, two: list[Path], tmp_path: Path) -> None:
    person = Person()
    box = Box(tmp_path, made, person, two[0])
    # The wrong disc first: it is named, and the right one asked for again.
    person.answers = [lambda: None, box.put_in(two[1])]
    deploy(box.computer)
    assert box.disk.read_bytes()[: len(IMAGE)] == IMAGE
    assert person.heard(f"Found {two[0].stem}, disc 1 of 2")
    assert person.heard("Signature of HQ1 verified")
    assert person.heard(f"Put in {two[1].stem} (disc 2 of 2)")
    assert person.heard(f"{two[0]} holds {two[0].stem}, which was read already")


def test_a_foreign_disc_is_refused_by_name(made: Made, two: list[Path], tmp_path: Path) -> None:
    other = _set(made, tmp_path / "other")
    person = Person()
    box = Box(tmp_path, made, person, two[0])
    person.answers = [box.put_in(other[1]), box.put_in(two[1])]
    deploy(box.computer)
    assert person.heard(f"holds {other[1].stem}, which is not of this set")
    assert box.disk.read_bytes()[: len(IMAGE)] == IMAGE


def test_a_damaged_disc_is_said_and_another_copy_goes_on(made: Made, two: list[Path], tmp_path: Path) -> None:
    data = bytearray(two[1].read_bytes())
    data[data.index(IMAGE[-BLOCK:][:64])] ^= 1
    bad = tmp_path / "bad.iso"
    bad.write_bytes(data)
    person = Person()
    box = Box(tmp_path, made, person, two[0])
    person.answers = [box.put_in(bad), box.put_in(two[1])]
    deploy(box.computer)
    assert person.heard("is damaged")
    assert person.heard("put in another copy of it")
    assert box.disk.read_bytes()[: len(IMAGE)] == IMAGE


def test_discs_in_two_drives_need_no_hand(made: Made, two: list[Path], tmp_path: Path) -> None:
    box = Box(tmp_path, made, Person(), two[0])
    box.extra = [Drive(device=two[1], size=0, model="DVD", removable=True, writable=False)]
    deploy(box.computer)
    assert box.disk.read_bytes()[: len(IMAGE)] == IMAGE


def test_the_passphrase_is_asked_for_and_asked_again(made: Made, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("little words")
    pair = _set(made, tmp_path / "out", "--passphrase-file", words)
    person = Person()
    box = Box(tmp_path, made, person, pair[0])
    person.answers = ["litle words", "little words", box.put_in(pair[1])]
    deploy(box.computer)
    assert person.heard("the passphrase does not open the set")
    assert box.disk.read_bytes()[: len(IMAGE)] == IMAGE
    person = Person(["no"] * 5)
    box.disc = pair[0]
    with pytest.raises(RefusedError, match="does not open"):
        deploy(replace(box.computer, operator=person))


def test_a_set_is_used_within_its_time_only(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    from courier.deployment.standalone import boot

    (disc,) = _set(
        made, tmp_path / "out", "--valid-from", "2090-01-01T00:00", "--valid-to", "2091-01-01T00:00", capacity="20MB"
    )
    box = Box(tmp_path, made, Person(), disc)
    with pytest.raises(RefusedError, match="is valid from 2090-01-01T00:00Z on"):
        deploy(box.computer)
    late = int(datetime(2091, 6, 1, tzinfo=UTC).timestamp()) * 10**9
    monkeypatch.setattr(boot, "now", lambda: late)
    with pytest.raises(RefusedError, match="was valid until 2091"):
        deploy(box.computer)
    assert not any(box.disk.read_bytes())


def test_a_disc_of_a_site_that_is_not_pinned_is_refused(made: Made, two: list[Path], tmp_path: Path) -> None:
    from journey import make_home

    make_home(tmp_path, "BR1")
    box = Box(tmp_path, made, Person(), two[0])
    with pytest.raises(RefusedError, match="HQ1"):
        deploy(replace(box.computer, card=tmp_path / "BR1.card"))
    # Without a pinned card the disc's own is taken, and a person is told to compare it.
    person = Person()
    box = Box(tmp_path, made, person, two[0])
    with pytest.raises(EOFError):
        deploy(replace(box.computer, card=tmp_path / "none"))
    assert person.heard("pins no card: compare the fingerprint")


def test_a_disk_that_holds_something_is_erased_only_after_a_question(
    made: Made, two: list[Path], tmp_path: Path
) -> None:
    person = Person(["yes"])
    box = Box(tmp_path, made, person, two[0])
    box.extra = [Drive(device=two[1], size=0, model="DVD", removable=True, writable=False)]
    box.disk.write_bytes(b"of somebody" + bytes((8 << 20) - 13) + b"\x55\xaa")
    before = box.disk.read_bytes()
    with pytest.raises(RefusedError, match="is left as it is"):
        deploy(box.computer)
    assert box.disk.read_bytes() == before
    with pytest.raises(CourierError):
        deploy(replace(box.computer, card=tmp_path / "absent", operator=Person(["no"])))
    assert box.disk.read_bytes() == before


def test_nothing_to_start_from_is_said(made: Made, two: list[Path], tmp_path: Path) -> None:
    for disc in (None, two[1]):
        with pytest.raises(NotFoundError, match="no drive holds disc 1"):
            deploy(Box(tmp_path, made, Person(), disc).computer)
    other = _set(made, tmp_path / "other")
    box = Box(tmp_path, made, Person(), two[0])
    box.extra = [Drive(device=other[0], size=0, model="DVD", removable=True, writable=False)]
    with pytest.raises(RefusedError, match="discs of several sets"):
        deploy(box.computer)


def _drive(name: str, *, removable: bool = False, writable: bool = True) -> Drive:
    return Drive(device=Path("/dev") / name, size=10**9, model="", removable=removable, writable=writable)


def test_a_removable_disk_is_never_chosen_by_itself() -> None:
    stick, disk = _drive("sdb", removable=True), _drive("sda")
    media = [Path("/dev/sr0")]
    assert choose_disk([stick, disk], media=media) == disk
    with pytest.raises(NotFoundError):
        choose_disk([stick], media=media)
    assert choose_disk([stick, disk], media=media, named="sdb") == stick
    assert choose_disk([stick, disk], media=media, named="/dev/sdb") == stick
    with pytest.raises(UsageError, match="2 fixed disks"):
        choose_disk([disk, _drive("nvme0n1"), stick], media=media)
    assert choose_disk([disk, _drive("nvme0n1")], media=[Path("/dev/sda")]) == _drive("nvme0n1")
    for drive, named in ((stick, "sdb"), (_drive("sr1", writable=False), "sr1"), (disk, "sdz")):
        with pytest.raises(CourierError):
            choose_disk([drive], media=[Path("/dev/sdb")], named=named)


def test_the_kernels_list_of_drives_is_read(tmp_path: Path) -> None:
    system = tmp_path / "block"
    usb = tmp_path / "devices" / "usb1" / "block" / "sdb"
    for folder, size, removable, model in (
        (system / "sda", 2048, "0", "Disk A"),
        (system / "sr0", 0, "1", "DVD"),
        (system / "loop0", 100, "0", ""),
        (usb, 4096, "0", "Stick"),
    ):
        (folder / "device").mkdir(parents=True)
        (folder / "size").write_text(f"{size}\n")
        (folder / "removable").write_text(f"{removable}\n")
        (folder / "ro").write_text("0\n")
        (folder / "device" / "model").write_text(f"{model}\n")
    (system / "sdb").symlink_to(usb)
    found = list_drives(system, Path("/dev"))
    assert [(one.device.name, one.size, one.removable, one.writable) for one in found] == [
        ("sda", 2048 * 512, False, True),
        ("sdb", 4096 * 512, True, True),
        ("sr0", 0, True, False),
    ]


def test_what_the_kernel_was_told_is_read() -> None:
    said = "BOOT_IMAGE=/boot/vmlinuz console=ttyS0 courier.disk=/dev/vda courier.unattended quiet"
    assert told_by_kernel(said) == {"disk": "/dev/vda", "unattended": ""}


def test_the_started_computer_needs_only_what_a_boot_image_is_given() -> None:
    given = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "make_boot_image.py"))
    source = (
        "import json, sys; ours = set(sys.modules); import courier.deployment.standalone.boot;"
        "print(json.dumps([name for name in sys.modules if name not in ours]))"
    )
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True, text=True)
    names = {name.partition(".")[0] for name in json.loads(run.stdout)}
    allowed = {"courier", "formats", *given["LIBRARIES"], *given["MAY_BE_MISSING"], *sys.stdlib_module_names}
    built_in = ("_openssl", "_cython", "cython_runtime", "_sysconfigdata")  # parts of cryptography and of Python
    assert {name for name in names - allowed if not name.startswith(built_in)} == set()
    assert {name for name in names if given["LEFT_OUT"].fullmatch(name)} == set()
