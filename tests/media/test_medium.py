"""The contract of `Medium`, one suite over every implementation: folder, ISO image, tape folder, reels, tape drive."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from fake_tape import FakeSt

from courier.media import tape_device
from courier.media.checked_stream import SourceFile
from courier.media.finding import find_all_media, find_media
from courier.media.reading import (
    LAYOUTS,
    IsoMedium,
    Layout,
    Medium,
    RandomMedium,
    TapeMedium,
)
from courier.media.tape_folder import FolderDrive
from courier.media.volume_files import writing_order
from courier.media.writing import VolumeSource, volume_target, write_volume_to
from formats.errors import FormatError
from formats.tape import Drive, TapeFile, write_volume

LABEL = "HQ1_000042_V003"
MADE = 1_795_512_600_000_000_000
CONTENT = {
    "bagit.txt": b"BagIt-Version: 1.0\n",
    "courier/packing-list.json": b"{}",
    "courier/blocks.bin": random.Random(1).randbytes(70_000),
    "manifest-sha256.txt": b"",
    "data/archives/000001.7z": random.Random(2).randbytes(700_001),
    "data/archives/000002.7z": random.Random(3).randbytes(300_000),
    "courier/copy/packing-list.json": b"{}",
}

MEDIA = ("folder", "iso", "tape folder", "reels", "tape drive")
RANDOM = ("folder", "iso")


def opener(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def source() -> VolumeSource:
    files = [
        SourceFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), open=opener(data))
        for path, data in CONTENT.items()
    ]
    return VolumeSource(label=LABEL, publisher="HQ1", made_ns=MADE, files=tuple(files))


def reels(root: Path) -> list[Path]:
    """Folders that mirror the reels of one volume, as tapes that end early make them."""
    root.mkdir()
    folders: list[Path] = []

    def next_reel(number: int) -> Drive:
        folders.append(root / f"reel{number}")
        return WarningDrive(folders[-1])

    files = [TapeFile(path=path, size=len(data), open=opener(data)) for path, data in CONTENT.items()]
    write_volume(next_reel(1), files, label=LABEL, owner="HQ1", created_ns=MADE, block_size=65_536, next_reel=next_reel)
    assert len(folders) > 2
    return folders


class WarningDrive(FolderDrive):
    """A tape folder that warns of the tape's end after 400 kB, as a drive does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, writing=True)
        self._left = 400_000

    def write_block(self, data: bytes | memoryview) -> bool:
        super().write_block(data)
        self._left -= len(data)
        return self._left < 0


@pytest.fixture(params=MEDIA)
def medium(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Medium:
    """A volume of `CONTENT` on each kind of medium."""
    if request.param == "tape drive":
        tape, path = FakeSt(), tmp_path / "nst0"
        path.touch()
        for module in ("tape_reels", "reading", "finding", "writing"):
            monkeypatch.setattr(f"courier.media.{module}.is_tape_device", lambda found: found == path)
        monkeypatch.setattr(tape_device, "_LinuxTape", lambda _path, writing: tape)
        write_volume_to(path, source(), "tape", lambda _: None)
        (found,) = find_media(path)
    elif request.param == "reels":
        (found,) = find_all_media(reels(tmp_path / "reels"))
    else:
        layouts: dict[str, Layout] = {"folder": "folder", "iso": "iso", "tape folder": "tape"}
        layout = layouts[request.param]
        target = volume_target(tmp_path / "out", LABEL, layout)
        write_volume_to(target, source(), layout, lambda _: None)
        (found,) = find_media(target)
    return found


def walked(medium: Medium) -> list[tuple[str, int, bytes]]:
    return [(path, size, stream.read()) for path, size, stream in medium.walk()]


WANTED = [(path, len(CONTENT[path]), CONTENT[path]) for path in sorted(CONTENT, key=writing_order)]


def test_a_walk_gives_every_file_once_in_writing_order_and_again(medium: Medium) -> None:
    assert walked(medium) == WANTED
    assert walked(medium) == WANTED, "another walk begins at the first file"


def test_a_medium_has_a_name_and_a_layout(medium: Medium) -> None:
    assert medium.layout in LAYOUTS
    assert medium.name


def test_the_medium_is_opened_when_the_first_file_is_asked_for(medium: Medium, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    iterator = medium.walk()
    monkeypatch.setattr(Path, "open", fails)
    monkeypatch.setattr(tape_device, "_LinuxTape", fails)
    with pytest.raises(AssertionError, match="opened"):
        next(iterator)


def test_a_stream_may_be_left_unread_or_read_in_part(medium: Medium) -> None:
    found = []
    for number, (path, _, stream) in enumerate(medium.walk()):
        if number % 2:
            found.append((path, stream.read(10)))
    assert found == [(path, data[:10]) for path, _, data in WANTED[1::2]]


def test_a_stream_seeks_forward(medium: Medium) -> None:
    for path, size, stream in medium.walk():
        if size > 100_000:
            start = stream.read(1000)
            assert stream.seek(90_000) == 90_000
            assert (start, stream.read(5000)) == (CONTENT[path][:1000], CONTENT[path][90_000:95_000])
            stream.seek(size - 3)
            assert stream.read() == CONTENT[path][-3:]


def test_a_walk_that_is_given_up_lets_go_of_the_medium(medium: Medium) -> None:
    iterator = medium.walk()
    next(iterator)
    del iterator
    assert walked(medium) == WANTED


def test_all_but_tapes_open_their_files_in_any_order(medium: Medium) -> None:
    assert isinstance(medium, RandomMedium) == (medium.layout != "tape")
    if not isinstance(medium, RandomMedium):
        return
    with medium.files() as open_file:
        streams = {path: open_file(path) for path in reversed(CONTENT)}
        for path, stream in streams.items():
            data = CONTENT[path]
            stream.seek(len(data) // 2)
            assert stream.read() == data[len(data) // 2 :]
            stream.seek(0)
            assert stream.read(10) == data[:10]
        for absent in ("data/archives/000003.7z", "data", "data/archives"):
            with pytest.raises(KeyError):
                open_file(absent)


@pytest.mark.parametrize("kind", RANDOM)
def test_a_medium_that_is_gone_is_an_error_of_the_system(tmp_path: Path, kind: str) -> None:
    target = volume_target(tmp_path, LABEL, "iso" if kind == "iso" else "folder")
    write_volume_to(target, source(), "iso" if kind == "iso" else "folder", lambda _: None)
    (found,) = find_media(target)
    target.rename(tmp_path / "elsewhere")
    if kind == "iso":
        with pytest.raises(FileNotFoundError):
            walked(found)
    else:
        assert walked(found) == [], "a folder that is gone has no files; that documents are lacking is said later"


def test_what_is_no_volume_is_an_error_of_its_format(tmp_path: Path) -> None:
    (tmp_path / "noise.iso").write_bytes(random.Random(4).randbytes(100_000))
    with pytest.raises(FormatError):
        walked(IsoMedium(tmp_path / "noise.iso"))
    (tmp_path / "tape").mkdir()
    (tmp_path / "tape" / "00000-VOL1.label").write_bytes(b"?" * 80)
    with pytest.raises(FormatError):
        walked(TapeMedium(tmp_path / "tape"))
