"""FAT file systems: fsck.fat finds ours whole, mtools read every file, and damage never leads a reader astray."""

from __future__ import annotations

import io
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journey import noise
from stock import stock_tool

from formats.errors import DigestMismatchError, FormatError, IllegalNameError, TooLargeError
from formats.fat import FatFile, FatLayout, FatReader, write_fat
from formats.fat.layout import Kind
from formats.fat.names import short_names

CREATED = 1_795_512_600_000_000_000
FILES = {
    "EFI/BOOT/BOOTX64.EFI": noise(150_000, 1),
    "EFI/BOOT/grub.cfg": b"configuration",
    "empty.txt": b"",
    f"courier/point/content/ab/{'a' * 64}": noise(700, 2),
    f"courier/point/content/ab/{'a' * 63}b": noise(5000, 3),
    **{f"many/a long name, number {n}.text": bytes([n]) * n for n in range(90)},
}


def _volume(files: dict[str, bytes], kind: Kind, start: int = 0) -> bytes:
    layout = FatLayout([(path, len(data)) for path, data in files.items()], kind=kind)
    out = io.BytesIO()
    listed = [FatFile(path=path, size=len(data), open=_opening(data)) for path, data in files.items()]
    write_fat(out, layout, listed, label="HQ1D0000102", serial=0x12345678, created_ns=CREATED, start=start)
    data = out.getvalue()
    assert len(data) == layout.size + start * 512
    return data


def _opening(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def _read(data: bytes, base: int = 0) -> dict[str, bytes]:
    reader = FatReader(io.BytesIO(data), base)
    return {path: reader.open(path).read() for path, _ in reader.files()}


@pytest.mark.parametrize("kind", [16, 32])
def test_stock_tools_read_what_we_write(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "volume"
    path.write_bytes(_volume(FILES, kind))
    checked = subprocess.run([stock_tool("fsck.fat"), "-nv", path], check=True, capture_output=True, text=True)
    assert f"{kind} bit entries" in checked.stdout
    subprocess.run([stock_tool("mcopy"), "-s", "-Q", "-i", path, "::*", tmp_path], check=True, capture_output=True)
    for name, data in FILES.items():
        assert (tmp_path / name).read_bytes() == data, name


@pytest.mark.parametrize("kind", [16, 32])
def test_we_read_what_we_write_wherever_it_begins(kind: Kind) -> None:
    data = _volume(FILES, kind, start=2048)
    assert _read(data, 2048 * 512) == FILES
    assert FatReader(io.BytesIO(data), 2048 * 512).label == "HQ1D0000102"


def test_we_read_what_mtools_write(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    with path.open("wb") as out:
        out.truncate(40 << 20)
    subprocess.run([stock_tool("mkfs.vfat"), "-F", "32", path], check=True, capture_output=True)
    source = tmp_path / "Some Long Name.bin"
    source.write_bytes(noise(100_000, 5))
    subprocess.run([stock_tool("mcopy"), "-i", path, source, "::"], check=True, capture_output=True)
    assert _read(path.read_bytes()) == {"Some Long Name.bin": noise(100_000, 5)}


def test_the_same_files_make_the_same_bytes() -> None:
    assert _volume(FILES, 16) == _volume(FILES, 16)


def test_a_file_of_another_length_is_refused() -> None:
    for data in (b"123", b"12345"):
        layout = FatLayout([("a", 4)], kind=16)
        with pytest.raises(DigestMismatchError):
            write_fat(
                io.BytesIO(),
                layout,
                [FatFile(path="a", size=4, open=_opening(data))],
                label="X",
                serial=0,
                created_ns=0,
            )


@pytest.mark.parametrize("path", ["a:b", "ä", "a/", "x" * 256, "con"])
def test_a_name_that_a_stick_cannot_hold_is_refused(path: str) -> None:
    with pytest.raises(IllegalNameError):
        FatLayout([(path, 1)], kind=16)


def test_names_and_sizes_have_limits() -> None:
    with pytest.raises(IllegalNameError):
        FatLayout([("a", 1), ("A", 1)], kind=16)
    with pytest.raises(TooLargeError):
        FatLayout([("a", 1 << 32)], kind=32)
    assert FatLayout([("a", (1 << 32) - 1)], kind=32).size > 1 << 32
    with pytest.raises(TooLargeError):
        FatLayout([("a", 3 << 30)], kind=16)


@given(st.lists(st.text("ab.AB1 _", min_size=1, max_size=14), unique=True, max_size=40))
def test_short_names_are_all_different(names: list[str]) -> None:
    found = short_names(names)
    assert len(set(found.values())) == len(names)
    assert all(len(short) == 11 for short in found.values())


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 30))
def test_damage_is_refused_or_read_never_followed_for_ever(seed: int, count: int) -> None:
    data = bytearray(_SMALL)
    chosen = random.Random(seed)
    for _ in range(count):
        # The structures alone: boot sector, tables and folders.
        data[chosen.randrange(60_000)] = chosen.randrange(256)
    try:
        found = _read(bytes(data))
    except (FormatError, KeyError):
        return
    assert sum(map(len, found.values())) < 1 << 26


_SMALL = _volume({"EFI/BOOT/x": b"x" * 3000, "a long name of a file": b"y" * 100}, 16)


def test_files_in_more_runs_than_are_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = _volume(FILES, 16)
    monkeypatch.setattr("formats.fat.reader._MAX_RUNS", 50)
    with pytest.raises(TooLargeError, match="runs of clusters"):
        FatReader(io.BytesIO(volume))
