"""Drives: a folder that is a tape file by file, and a device that behaves as the kernel's tape driver does."""

from __future__ import annotations

import builtins
import errno
import hashlib
import io
import os
import pickle
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from fake_tape import FakeSt, commands, copy_tape, device, shell, stand_ins
from hypothesis import given, settings
from hypothesis import strategies as st
from journey import FIXTURES, add, create, exported, make_sites
from memory_drive import MemoryDrive
from stock import stock_tool

from courier.errors import UsageError
from courier.media import tape_device as tapedevice
from courier.media.tape_device import DeviceDrive, is_tape_device
from courier.media.tape_folder import FolderDrive, is_tape_folder
from courier.media.tape_reels import open_tape
from formats.errors import FormatError, NoRoomError, UnexpectedError, UnreadableError
from formats.tape import (
    BLOCK,
    Drive,
    EndOfMediumError,
    EndOfTapeError,
    LostBytesError,
    TapeFile,
    TapeIndex,
    TapeReader,
    read_volume_label,
    scan_volume,
    tape_size,
    walk_volume,
    write_volume,
)
from formats.tape.names import data_name, path_of

LABEL = "HQ1_000042_V003"
MADE = 1_795_512_600_000_000_000
FILES = {
    "bagit.txt": b"BagIt-Version: 1.0\n",
    "courier/packing-list.json": bytes(range(256)),
    "data/archives/000001.7z": random.Random(1).randbytes(2 * BLOCK + 17),
    "data/empty": b"",
    "data/archives/000002.7z": random.Random(2).randbytes(BLOCK),
}


def write(
    drive: Drive,
    content: dict[str, bytes] = FILES,
    *,
    block_size: int = BLOCK,
    next_reel: Callable[[int], Drive] | None = None,
) -> TapeIndex:
    def opener(data: bytes) -> Callable[[], BinaryIO]:
        return lambda: io.BytesIO(data)

    files = [TapeFile(path=path, size=len(data), open=opener(data)) for path, data in content.items()]
    return write_volume(
        drive, files, label=LABEL, owner="HQ1", created_ns=MADE, block_size=block_size, next_reel=next_reel
    )


def read_all(drive: Drive, **options: Any) -> dict[str, bytes]:
    return {path: stream.read() for path, _, stream in walk_volume(drive, **options)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "HQ1_000042_V003.tape"
    write(FolderDrive(target, writing=True))
    return target


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


# A folder.


def test_a_folder_names_every_run_and_holds_the_files_byte_for_byte(folder: Path) -> None:
    names = [path.name for path in sorted(folder.iterdir())]
    assert names == [
        "00000-VOL1-HDR1.label",
        "00001-TAPE-INDEX.json",
        "00002-EOF1.label",
        "00003-HDR1.label",
        "00004-bagit.txt",
        "00005-EOF1.label",
        "00006-HDR1.label",
        "00007-courier+packing-list.json",
        "00008-EOF1.label",
        "00009-HDR1.label",
        "00010-data+archives+000001.7z",
        "00011-EOF1.label",
        "00012-HDR1.label",
        "00013-data+empty",
        "00014-EOF1.label",
        "00015-HDR1.label",
        "00016-data+archives+000002.7z",
        "00017-EOF1.label",
        "00018-HDR1.label",
        "00019-TAPE-INDEX.json",
        "00020-EOF1.label",
        "SHA256SUMS",
    ]
    for number, data in enumerate(FILES.values(), 2):
        assert (folder / names[3 * number - 2]).read_bytes() == data


def test_a_folder_reads_back_and_reading_changes_nothing(folder: Path) -> None:
    before = state(folder)
    with FolderDrive(folder) as drive:
        assert read_all(drive) == FILES
        assert read_all(drive) == FILES, "a second time too"
        scan = scan_volume(drive)
        assert not drive.findings
        assert read_volume_label(drive).label == LABEL
        with pytest.raises(io.UnsupportedOperation):
            drive.write_block(b"x")
        with pytest.raises(io.UnsupportedOperation):
            drive.write_mark()
    assert [entry.path for entry in scan.files] == list(FILES)
    assert not scan.findings
    assert state(folder) == before


def test_a_folder_is_never_larger_than_its_tape(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    needed = tape_size([(path, len(data)) for path, data in FILES.items()])
    assert size <= needed
    on_tape = size - (folder / "SHA256SUMS").stat().st_size
    assert needed - on_tape == 256 * 22


def test_the_stock_tool_checks_a_copy_of_the_folder(folder: Path) -> None:
    check = [stock_tool("sha256sum"), "-c", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    with (folder / "00010-data+archives+000001.7z").open("r+b") as file:
        file.write(b"other")
    assert subprocess.run(check, cwd=folder, check=False, capture_output=True).returncode == 1


@given(
    st.dictionaries(
        st.lists(st.text(st.sampled_from("abZ0 .:?+%~"), min_size=1, max_size=40), min_size=1, max_size=5)
        .map("/".join)
        .filter(lambda path: not set(path.split("/")) & {".", ".."}),
        st.binary(max_size=500),
        max_size=4,
    ),
    st.sampled_from([1, 80, 333]),
)
@settings(max_examples=25)
def test_folder_and_tape_are_one_and_the_same(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes], block_size: int
) -> None:
    folder = tmp_path_factory.mktemp("tape") / "v"
    tape = MemoryDrive()
    write(tape, content, block_size=block_size)
    with FolderDrive(folder, writing=True) as drive:
        write(drive, content, block_size=block_size)
        assert read_all(drive) == content
    again, copied = MemoryDrive(), folder.with_name("copied")
    with FolderDrive(folder) as drive:
        copy_tape(drive, again, block_size=block_size)
    assert again.tape == tape.tape
    with FolderDrive(copied, writing=True) as drive:
        copy_tape(tape, drive)
    assert {name: data for name, (_, data) in state(copied).items()} == {
        name: data for name, (_, data) in state(folder).items()
    }


@pytest.mark.parametrize(
    "path",
    ["a", "a/b", "data/archives/000001.7z", "a+b%c", 'x:*?"<>|\\y', "end.", "end ", " x", "-", "d/file", "x" * 174],
)
def test_names_give_the_path_back(path: str) -> None:
    from formats.tape.labels import FileLabel, file_records

    label = FileLabel(kind="HDR", number=2, path=path, size=0, block_size=1, set_id="420031", date="026328")
    name = data_name(4, file_records(label))
    assert name.startswith("00004-")
    assert len(name) <= 180
    assert not set(name) & set('/\\:*?"<>|')
    assert name[-1] not in ". "
    assert path_of(name) == path


def test_a_path_too_long_for_a_name_is_in_the_labels_only(tmp_path: Path) -> None:
    content = {"d/" * 100 + "x": b"deep"}
    write(FolderDrive(tmp_path / "t", writing=True), content)
    assert (tmp_path / "t" / "00004-file").read_bytes() == b"deep"
    assert read_all(FolderDrive(tmp_path / "t")) == content


def test_a_folder_read_from_a_tape_by_dd_has_numbers_only_and_is_read_all_the_same(folder: Path) -> None:
    for path in sorted(folder.glob("0*")):
        path.rename(folder / path.name[:5])
    assert read_all(FolderDrive(folder)) == FILES


def test_a_folder_with_a_tape_in_it_is_not_written_over(folder: Path) -> None:
    before = state(folder)
    with pytest.raises(FileExistsError):
        write(FolderDrive(folder, writing=True), {"new": b""})
    assert state(folder) == before


def test_a_folder_is_known_by_its_names(folder: Path, tmp_path: Path) -> None:
    assert is_tape_folder(folder)
    for path in folder.glob("*.label"):
        path.unlink()
    assert is_tape_folder(folder), "by its index"
    for name in ("00001 holiday.jpg", "bagit.txt", "000000-x.label", "index.label"):
        (tmp_path / name).touch()
    assert not is_tape_folder(tmp_path)
    assert not is_tape_folder(tmp_path / "bagit.txt")
    assert not is_tape_folder(tmp_path / "nothing")


def test_other_files_in_the_folder_are_passed_over(folder: Path) -> None:
    (folder / "README.txt").write_text("found on LTO000042")
    (folder / ".00003-HDR1.label.swp").write_bytes(b"x")
    (folder / "00099-link").symlink_to(folder / "SHA256SUMS")
    assert read_all(FolderDrive(folder)) == FILES


def test_two_files_of_one_number_are_refused(folder: Path) -> None:
    (folder / "00004-other").touch()
    with pytest.raises(UnexpectedError, match=r"00004-bagit\.txt and 00004-other"):
        FolderDrive(folder)


@given(st.sets(st.sampled_from(range(0, 21, 3)), min_size=1), st.sets(st.sampled_from(range(2, 21, 3))), st.randoms())
@settings(max_examples=40)
def test_labels_missing_or_garbled_are_made_good_from_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, headers: set[int], trailers: set[int], rng: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("tape") / "v"
    content = {path: data[:1000] for path, data in FILES.items()}
    write(FolderDrive(folder, writing=True), content)
    for number in headers | trailers:
        path = next(folder.glob(f"{number:05d}-*"))
        match rng.choice(["missing", "cut", "garbled", "empty", "noise"]):
            case "missing":
                path.unlink()
            case "cut":
                path.write_bytes(path.read_bytes()[:100])
            case "garbled":
                data = bytearray(path.read_bytes())
                data[rng.randrange(160 if number == 0 else 0, len(data))] ^= 1
                path.write_bytes(data)
            case "empty":
                path.write_bytes(b"")
            case "noise":
                path.write_bytes(rng.randbytes(5000))
    drive = FolderDrive(folder)
    reader = TapeReader(drive)
    assert {path: stream.read() for path, _, stream in reader.walk()} == content
    assert drive.findings
    assert [entry.path for entry in scan_volume(drive).files] == list(content)


def test_all_labels_and_indexes_lost_the_names_still_tell(folder: Path) -> None:
    for path in [*folder.glob("*.label"), *folder.glob("*INDEX*")]:
        path.unlink()
    assert read_all(FolderDrive(folder)) == FILES


def test_a_missing_or_short_data_file_is_lost_bytes_of_that_file_alone(folder: Path) -> None:
    (folder / "00004-bagit.txt").unlink()
    os.truncate(folder / "00010-data+archives+000001.7z", 1000)
    lost = {}
    for path, size, stream in walk_volume(FolderDrive(folder)):
        assert size == len(FILES[path])
        try:
            assert stream.read() == FILES[path]
        except LostBytesError as error:
            lost[path] = error.start, error.end
    assert lost == {"bagit.txt": (0, 19), "data/archives/000001.7z": (1000, BLOCK)}


def test_a_copy_that_broke_off_names_what_is_not_there(folder: Path) -> None:
    for copy in sorted(folder.iterdir())[10:]:
        copy.unlink()
    read = {}
    for path, _, stream in walk_volume(FolderDrive(folder)):
        try:
            read[path] = stream.read()
        except LostBytesError:
            read[path] = b"lost"
    assert read == FILES | {"data/archives/000001.7z": b"lost", "data/archives/000002.7z": b"lost"}


class BadSectors(io.FileIO):
    """A file whose medium fails at some bytes."""

    def __init__(self, path: Path, bad: range) -> None:
        super().__init__(path, "rb")
        self._bad = bad

    def read(self, size: int | None = -1, /) -> bytes:
        at = self.tell()
        if at in self._bad:
            raise OSError(errno.EIO, "Input/output error")
        if size and at < self._bad.start < at + size:
            size = self._bad.start - at
        return super().read(-1 if size is None else size)


@pytest.mark.parametrize("bad", [range(BLOCK + 10, BLOCK + 20), range(10), range(2 * BLOCK, 2 * BLOCK + 17)])
def test_bad_sectors_under_the_folder_lose_their_block_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bad: range
) -> None:
    name = "00010-data+archives+000001.7z"
    usual = Path.open

    def opened(path: Path, *args: Any, **options: Any) -> Any:
        return BadSectors(path, bad) if path.name == name else usual(path, *args, **options)

    monkeypatch.setattr(Path, "open", opened)
    start = bad.start // BLOCK * BLOCK
    for path, _, stream in walk_volume(FolderDrive(folder)):
        data = FILES[path]
        if path == "data/archives/000001.7z":
            assert stream.read(start) == data[:start]
            with pytest.raises(LostBytesError) as caught:
                stream.read(1)
            assert (caught.value.start, caught.value.end) == (start, min(start + BLOCK, len(data)))
            stream.seek(caught.value.end)
            data = data[caught.value.end :]
        assert stream.read() == data


def test_reels_in_folders_chain(tmp_path: Path) -> None:
    content = {"a": b"first", "large": random.Random(3).randbytes(60_000), "z": b"last"}
    reels = [MemoryDrive(capacity=28_000, warning=5_000) for _ in range(4)]
    write(reels[0], content, block_size=1024, next_reel=lambda number: reels[number - 1])
    folders = []
    for number, reel in enumerate(drive for drive in reels if drive.tape):
        folders.append(tmp_path / f"reel{number + 1}")
        copy_tape(reel, FolderDrive(folders[-1], writing=True), block_size=1024)
    assert len(folders) > 2
    assert (folders[1] / "00002-EOV1.label").exists()
    drives = [FolderDrive(folder) for folder in folders]
    assert read_all(drives[0], next_reel=lambda number: drives[number - 1]) == content
    check = [stock_tool("sha256sum"), "-c", "--strict", "--quiet", "SHA256SUMS"]
    assert all(subprocess.run(check, cwd=folder, check=False).returncode == 0 for folder in folders)


def test_open_tape_takes_a_folder(folder: Path, tmp_path: Path) -> None:
    with open_tape(folder) as drive:
        assert read_all(drive) == FILES
    with open_tape(tmp_path / "new", writing=True) as drive:
        write(drive)
        assert read_all(drive) == FILES


# A second reader, by the page alone.


def read_by_the_page(folder: Path) -> dict[str, bytes]:
    """What ``docs/tape.md`` says to do with a folder, in as few lines as it takes."""
    runs = {int(path.name[:5]): path for path in folder.iterdir() if path.name[:5].isdigit()}
    found: dict[str, bytes] = {}
    for number in range(0, len(runs), 3):
        text = runs[number].read_bytes().decode("ascii")
        records = {text[at : at + 4]: text[at : at + 80] for at in range(0, len(text), 80)}
        own = records["UHL1"]
        if own[64] == "I":
            continue
        path = "".join(record[4:] for name, record in sorted(records.items()) if name[:3] == "UHL" and name != "UHL1")
        found[path[: int(own[65:68])]] = data = runs[number + 1].read_bytes()
        assert len(data) == int(own[34:49])
    return found


def test_the_page_is_enough_to_read_a_folder(folder: Path) -> None:
    assert read_by_the_page(folder) == FILES


# A device.


def content_of(size: int = 3000) -> dict[str, bytes]:
    return {"a": b"first", "large": random.Random(5).randbytes(size), "empty": b"", "z": b"last"}


def test_a_device_holds_just_the_blocks_and_marks_of_a_tape() -> None:
    st_driver, memory = FakeSt(), MemoryDrive()
    with device(st_driver) as drive:
        write(drive, content_of(), block_size=512)
        write(memory, content_of(), block_size=512)
        assert st_driver.tape == memory.tape
        assert read_all(drive) == content_of()
        assert not scan_volume(drive).findings
        assert read_volume_label(drive).label == LABEL
    assert st_driver.closed


def test_the_drive_is_set_to_variable_blocks_and_emptied_once_at_the_end() -> None:
    st_driver = FakeSt()
    write(device(st_driver), content_of())
    assert st_driver.log[0] == (tapedevice.MTSETBLK, 0)
    assert [entry for entry in st_driver.log if entry[0] == tapedevice.MTWEOF] == [(tapedevice.MTWEOF, 0)]
    assert st_driver.log[-2:] == [(tapedevice.MTWEOF, 0), (tapedevice.MTREW, 1)]


def test_a_kernel_without_the_immediate_mark_gets_the_other() -> None:
    st_driver = FakeSt()
    st_driver.knows_immediate = False
    drive = device(st_driver)
    write(drive, content_of())
    assert read_all(drive) == content_of()
    assert sum(operation == tapedevice.MTWEOFI for operation, _ in st_driver.log) == 1


def test_reels_chain_at_the_early_warning_of_a_device() -> None:
    drivers = [FakeSt(capacity=28_000, warning=6_000) for _ in range(5)]
    drives = [device(driver) for driver in drivers]
    write(drives[0], content_of(60_000), block_size=1024, next_reel=lambda number: drives[number - 1])
    assert sum(bool(driver.tape) for driver in drivers) == 4
    assert read_all(drives[0], next_reel=lambda number: drives[number - 1]) == content_of(60_000)


def test_without_another_reel_a_device_is_filled_to_its_very_end() -> None:
    size = tape_size([(path, len(data)) for path, data in content_of().items()], block_size=512)
    st_driver = FakeSt(capacity=size, warning=4_000)
    write(device(st_driver), content_of(), block_size=512)
    assert st_driver.drive.used == size
    for short in (1, 300, 600, 1500, 3000):
        with pytest.raises(NoRoomError):
            write(device(FakeSt(capacity=size - short, warning=4_000)), content_of(), block_size=512)


def test_a_device_that_takes_part_of_a_block_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSt, "write", lambda _self, data: len(data) - 1)
    with pytest.raises(OSError, match="79 of 80 bytes"):
        write(device(FakeSt()))


def test_other_errors_of_a_drive_come_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> int:
        raise OSError(errno.ENOMEDIUM, "No medium found")

    for call in ("write", "read"):
        monkeypatch.setattr(FakeSt, call, fails)
    with pytest.raises(OSError, match="No medium"):
        write(device(FakeSt()))
    with pytest.raises(OSError, match="No medium"):
        read_all(device(FakeSt()))


def bad_device(number: int) -> tuple[FakeSt, int]:
    """A written device and the place of block ``number`` of "large"."""
    st_driver = FakeSt()
    write(device(st_driver), content_of(), block_size=512)
    place = next(at for at, item in enumerate(st_driver.tape) if item and content_of()["large"].startswith(item[:100]))
    return st_driver, place + number


def lost_by_path(st_driver: FakeSt) -> dict[str, list[tuple[int, int]]]:
    """Read all there is, check it, and say what is lost."""
    lost: dict[str, list[tuple[int, int]]] = {}
    for path, size, stream in walk_volume(device(st_driver)):
        data = content_of()[path]
        lost[path] = []
        while stream.tell() < size:
            at = stream.tell()
            try:
                assert stream.read(100) == data[at : at + 100]
            except LostBytesError as error:
                assert stream.read(error.start - at) == data[at : error.start]
                lost[path].append((error.start, error.end))
                stream.seek(error.end)
    return lost


def lost_of_large(st_driver: FakeSt) -> list[tuple[int, int]]:
    lost = lost_by_path(st_driver)
    assert not any(ranges for path, ranges in lost.items() if path != "large")
    return lost["large"]


@pytest.mark.parametrize("counts", [True, False])
def test_a_block_the_device_cannot_read_is_passed(counts: bool) -> None:
    st_driver, place = bad_device(2)
    st_driver.drive.bad = {place}
    st_driver.counts = counts
    assert lost_of_large(st_driver) == [(1024, 1536)]


def test_a_block_the_device_stays_at_is_spaced_over() -> None:
    st_driver, place = bad_device(2)
    st_driver.drive.bad = st_driver.sticky = {place}
    assert lost_of_large(st_driver) == [(1024, 1536)]
    assert (tapedevice.MTFSR, 1) in st_driver.log


def test_blocks_the_device_leaves_out_after_an_error_are_counted() -> None:
    st_driver, place = bad_device(1)
    st_driver.drive.bad = {place}
    st_driver.skipping = {place: 2}
    assert lost_of_large(st_driver) == [(512, 1024), (1024, 1536), (1536, 2048)]


def read_or_lost(drive: Drive) -> None:
    try:
        drive.read_block(512)
    except EndOfTapeError:
        raise
    except UnreadableError:
        pass


def test_a_device_that_gets_stuck_is_the_end_and_no_hang() -> None:
    st_driver, place = bad_device(2)
    st_driver.drive.bad = st_driver.sticky = {place}
    st_driver.counts = False
    # The drive gives up the place, the walk leaves it by the next mark: what follows is not lost.
    assert lost_of_large(st_driver) == [(start, min(start + 512, 3000)) for start in range(1024, 3000, 512)]
    drive = device(st_driver)
    drive.rewind()
    with pytest.raises(EndOfTapeError):
        for _ in range(1000):
            read_or_lost(drive)


def test_a_blank_tape_in_a_device_says_so() -> None:
    with pytest.raises(EndOfTapeError):
        read_all(device(FakeSt()))
    stuck = FakeSt()
    stuck.counts = False
    for look in (read_volume_label, read_all, scan_volume):
        with pytest.raises(UnreadableError):
            look(device(stuck))


def test_a_tape_of_larger_blocks_in_a_device_says_so_at_once() -> None:
    st_driver = FakeSt()
    st_driver.drive.tape = [bytes(BLOCK + 1)] * 100
    with pytest.raises(FormatError):
        read_volume_label(device(st_driver))
    assert st_driver.at < 30


def test_the_end_of_the_recording_is_the_end_without_a_double_mark_too() -> None:
    st_driver = FakeSt()
    write(device(st_driver), content_of())
    st_driver.tape.pop()
    assert read_all(device(st_driver)) == content_of()
    drive = device(st_driver)
    drive.rewind()
    with pytest.raises(EndOfTapeError):
        for _ in range(1000):
            drive.skip_run()
    for _ in range(3):
        with pytest.raises(EndOfTapeError):
            drive.read_block(100)


@given(st.sets(st.integers(0, 60), max_size=8), st.sets(st.integers(0, 60), max_size=8), st.booleans())
@settings(max_examples=60)
def test_whatever_a_device_cannot_read_what_comes_is_right(bad: set[int], sticky: set[int], counts: bool) -> None:
    st_driver, _ = bad_device(0)
    st_driver.drive.bad = {at for at in bad | sticky if at < len(st_driver.tape) and st_driver.tape[at] is not None}
    st_driver.sticky = sticky if counts else set()
    st_driver.counts = counts
    lost_by_path(st_driver)


# The system's own calls.


def test_the_requests_are_those_of_the_kernel_on_this_machine() -> None:
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("elsewhere: the numbers are known for x86-64 and 64-bit Arm")
    assert (tapedevice.MTIOCTOP, tapedevice.MTIOCGET, tapedevice.MTIOCPOS) == (0x40086D01, 0x80306D02, 0x80086D03)


def test_what_is_no_tape_device_is_refused_by_the_kernel(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    for path in (Path(os.devnull), tmp_path / "file"):
        if path.name == "file":
            path.touch()
        assert not is_tape_device(path)
        with pytest.raises(OSError) as caught:
            DeviceDrive(path)
        assert caught.value.errno in (errno.ENOTTY, errno.EINVAL)
    assert not is_tape_device(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        DeviceDrive(tmp_path / "nothing")


def test_a_system_without_tape_devices_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "fcntl":
            raise ImportError(name)
        return usual(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError) as caught:
        DeviceDrive(Path("/dev/nst0"))
    assert "LTFS" in caught.value.hint


def test_a_drive_in_memory_has_the_faults_of_real_ones() -> None:
    drive = MemoryDrive(capacity=1000, warning=300, bad={1})
    assert [drive.write_block(bytes(200)) for _ in range(4)] == [False, False, False, True]
    with pytest.raises(EndOfMediumError):
        drive.write_block(bytes(201))
    with pytest.raises(EndOfMediumError):
        drive.write_mark()
    drive.write_block(bytes(200))
    drive.rewind()
    with pytest.raises(UnreadableError, match="longer than 100"):
        drive.read_block(100)
    with pytest.raises(UnreadableError, match="cannot read"):
        drive.read_block(200)
    assert drive.read_block(200) == bytes(200)
    assert drive.write_block(b"x") is False, "what stood behind is gone"
    for _ in range(2):
        with pytest.raises(EndOfTapeError):
            drive.read_block(200)
    assert drive.used == 601
    with pytest.raises(ValueError, match="byte"):
        drive.write_block(b"")


# The stock commands of the page.


@pytest.fixture
def stock_drive(tmp_path: Path) -> Callable[[], list[bytes | None]]:
    """Stand-ins for dd and mt in ``tmp_path/bin``, and a blank tape; call it for what is on the tape."""
    tape = tmp_path / "tape.pickle"
    tape.write_bytes(pickle.dumps(([], 0, 512)))
    stand_ins(tmp_path)
    return lambda: cast("list[bytes | None]", pickle.loads(tape.read_bytes())[0])


def test_the_pages_commands_put_a_folder_on_a_tape_and_back(
    folder: Path, tmp_path: Path, stock_drive: Callable[[], list[bytes | None]]
) -> None:
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.defpath}"
    shell(commands("write"), folder, path=path)
    memory = MemoryDrive()
    write(memory)
    assert stock_drive() == memory.tape
    back = tmp_path / "back"
    back.mkdir()
    shell(commands("read"), back, path=path)
    assert is_tape_folder(back)
    assert len(list(back.iterdir())) == 21
    assert read_all(FolderDrive(back)) == FILES


def test_the_pages_commands_unpack_a_folder(tmp_path: Path) -> None:
    stock_tool("sha256sum")
    payload = {path: data for path, data in FILES.items() if path.startswith("data/")}
    manifest = "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in payload.items()).encode()
    write(FolderDrive(tmp_path / "v.tape", writing=True), FILES | {"manifest-sha256.txt": manifest})
    shell(commands("unpack"), tmp_path / "v.tape")
    bag = tmp_path / "bag"
    found = {path.relative_to(bag).as_posix(): path.read_bytes() for path in bag.rglob("*") if path.is_file()}
    assert found == FILES | {"manifest-sha256.txt": manifest}


# --- the command line, with a drive ---------------------------------------------------------------------------------


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, list[FakeSt]]]:
    """A file that passes for a tape device, and the tapes that were in it: the last is in it now."""
    path, tapes = tmp_path / "nst0", [FakeSt()]
    path.touch()
    for module in ("media.tape_reels", "media.reading", "media.finding", "media.writing", "sending.drives"):
        monkeypatch.setattr(f"courier.{module}.is_tape_device", lambda found: found == path)
    monkeypatch.setattr(tapedevice, "_LinuxTape", lambda _path, writing: tapes[-1])
    yield path, tapes


def test_volumes_go_to_tapes_one_after_the_other_and_come_back_from_them(
    tmp_path: Path, drive: tuple[Path, list[FakeSt]]
) -> None:
    device, tapes = drive
    sites = make_sites(tmp_path)
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package)
    command = ("parcel", "write", parcel, "--layout", "tape", "--out", device)
    of = len(sites.hq(*command, "--dry-run")["volumes"])
    for number in range(1, of):
        error = sites.hq.fails(*command, code=2)
        assert f"HQ1_000001_V{number + 1:03} goes on the next tape" in error["message"]
        # The tape that was just written is not written over, and no volume is left out.
        assert sites.hq.fails(*command, code=3)["code"] == "tape-not-blank"
        tapes.append(FakeSt())
    document = sites.hq(*command)
    assert [one["away"] for one in document["volumes"]] == [True] * (of - 1) + [False]
    assert document["state"] == "Written"
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    tapes[0].drive.bad = {3, 40}
    for tape in list(tapes)[::-1]:
        tapes.append(tape)
        document = sites.br("parcel", "receive", device, code=None)
        assert document["volumes"][0]["path"] == str(device)
    if document["state"] != "Imported":
        tapes[0].drive.bad = set()
        document = sites.br("parcel", "receive", device)
    assert document["state"] == "Imported"
    assert exported(sites.br, package, tmp_path / "out") == exported(sites.hq, package, tmp_path / "there")


def test_a_blank_tape_a_foreign_one_and_no_tape_are_called_so(
    tmp_path: Path, drive: tuple[Path, list[FakeSt]], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, tapes = drive
    home = make_sites(tmp_path).br
    assert "blank" in home.fails("parcel", "receive", device, code=4)["message"]
    tapes.append(FakeSt())
    tapes[-1].tape.extend([b"tar" * 200, None, None])
    error = home.fails("parcel", "receive", device, code=4)
    assert "not a labelled tape" in error["message"]
    assert "right medium" in error["hint"]

    def no_tape(_path: Path, *, writing: bool) -> FakeSt:
        raise OSError(errno.ENOMEDIUM, os.strerror(errno.ENOMEDIUM), str(device))

    monkeypatch.setattr(tapedevice, "_LinuxTape", no_tape)
    assert "has a medium in it" in home.fails("parcel", "receive", device, code=6)["hint"]
