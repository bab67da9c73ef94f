"""The archives that we write and read, compared with 7-Zip and py7zr."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stock import stock_tool

from formats.archive import (
    ARCHIVE_LIMIT,
    MAX_MEMBERS,
    ArchiveReader,
    Member,
    archive_size,
    check_clashes,
    stored_time,
    write_archive,
)
from formats.archive.header import START_SIZE, Stored, header_bytes, number, number_size
from formats.digest import CHUNK
from formats.errors import (
    DigestMismatchError,
    FormatError,
    IllegalNameError,
    MalformedError,
    TooLargeError,
    UnexpectedError,
    UnreadableError,
)
from formats.names import fold, is_portable

NOON = 1_795_608_000_123_456_789
CONTENT = {
    "boot/boot.wim": b"MSWIM\0\0\0" * 1000,
    "drivers/Netz äöü.inf": b"one",
    "drivers/日本語/𝄞.sys": b"\xff" * 70_000,
    "x": b"2",
}


@pytest.fixture(params=["7z", "7zz"])
def seven(request: pytest.FixtureRequest) -> str:
    """A stock 7-Zip: Debian's p7zip, and 7-Zip itself where it is installed beside it."""
    name: str = request.param
    if name == "7z":
        return stock_tool(name)
    return shutil.which(name) or pytest.skip("elsewhere: 7zz is not on this machine")


def entry(name: str, data: bytes, mtime_ns: int = NOON) -> tuple[Member, Callable[[], BinaryIO]]:
    return Member(name=name, size=len(data), mtime_ns=mtime_ns), partial(io.BytesIO, data)


def build(content: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    assert write_archive(out, [entry(name, data) for name, data in content.items()]) == len(out.getvalue())
    return out.getvalue()


def read(archive: bytes) -> dict[str, bytes]:
    reader = ArchiveReader(io.BytesIO(archive))
    return {member.name: reader.open(member.name).read() for member in reader.members()}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=cwd).stdout


def test_seven_zip_takes_out_what_we_put_in(seven: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.7z"
    archive.write_bytes(build(CONTENT))
    assert "Everything is Ok" in run(seven, "t", archive)
    out = tmp_path / "out"
    run(seven, "x", archive, f"-o{out}")
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == CONTENT
    for name in CONTENT:
        status = (out / name).stat()
        assert status.st_mtime_ns == stored_time(NOON) == NOON - 89
        assert status.st_mode & 0o777 == 0o644


def test_seven_zip_lists_one_folder_of_stored_files(seven: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.7z"
    archive.write_bytes(build(CONTENT))
    listing = run(seven, "l", "-slt", archive)
    assert [line[7:] for line in listing.splitlines() if line.startswith("Path = ")][1:] == list(CONTENT)
    assert f"Physical Size = {archive.stat().st_size}" in listing
    assert "Blocks = 1" in listing
    assert listing.count("Method = Copy") == 1 + len(CONTENT)
    assert listing.count("Attributes = A -rw-r--r--") == len(CONTENT)
    assert "WARNING" not in listing.upper()


def test_py7zr_reads_what_we_write() -> None:
    py7zr = pytest.importorskip("py7zr")
    from py7zr.io import BytesIOFactory

    archive = build(CONTENT)
    with py7zr.SevenZipFile(io.BytesIO(archive)) as source:
        assert source.getnames() == list(CONTENT)
        assert source.testzip() is None
        assert {file.uncompressed for file in source.files} == {len(data) for data in CONTENT.values()}
        assert all(file.posix_mode == 0o644 and file.is_file and file.archivable for file in source.files)
    with py7zr.SevenZipFile(io.BytesIO(archive)) as source:
        factory = BytesIOFactory(1 << 20)
        source.extractall(factory=factory)
        assert {name: data.read() for name, data in factory.products.items()} == CONTENT


def test_we_read_what_py7zr_stores() -> None:
    py7zr = pytest.importorskip("py7zr")
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=[{"id": py7zr.FILTER_COPY}]) as target:
        target.set_encoded_header_mode(False)
        for name, data in CONTENT.items():
            target.writestr(data, name)
    assert read(out.getvalue()) == CONTENT


@pytest.mark.parametrize("header", ["-mhc=on", "-mhc=off"])
def test_we_read_what_seven_zip_stores(seven: str, header: str, tmp_path: Path) -> None:
    for name, data in CONTENT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(NOON, NOON))
    run(seven, "a", "-mx0", header, "a.7z", *CONTENT, cwd=tmp_path)
    archive = (tmp_path / "a.7z").read_bytes()
    assert read(archive) == CONTENT
    assert {m.mtime_ns for m in ArchiveReader(io.BytesIO(archive)).members()} == {stored_time(NOON)}


@pytest.mark.parametrize(
    "options", [["-m0=LZMA"], ["-m0=LZMA2", "-m1=BCJ"], ["-mx0", "-psecret"], ["-mx0", "-psecret", "-mhe=on"]]
)
def test_packed_and_encrypted_archives_are_refused(seven: str, options: list[str], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 5000)
    run(seven, "a", *options, "a.7z", "a", cwd=tmp_path)
    with (tmp_path / "a.7z").open("rb") as source, pytest.raises(MalformedError, match=r"packed|encrypted|several"):
        ArchiveReader(source)


def test_folders_empty_files_and_links_of_seven_zip_are_refused(seven: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "file").write_bytes(b"a")
    (tmp_path / "link").symlink_to("file")
    for other in ("folder", "empty", "link"):
        run(seven, "a", "-mx0", "-snl", f"{other}.7z", "file", other, cwd=tmp_path)
        with (tmp_path / f"{other}.7z").open("rb") as source, pytest.raises(UnexpectedError):
            ArchiveReader(source)


ALPHABET = "abcXYZ09 ._-/äßé日𝄞"
NAMES = st.lists(
    st.text(ALPHABET, min_size=1, max_size=30).map(partial(unicodedata.normalize, "NFC")).filter(is_portable),
    min_size=1,
    max_size=40,
    unique_by=fold,
)


def can_stand_together(names: Sequence[str]) -> bool:
    try:
        check_clashes(names)
    except MalformedError:
        return False
    return True


@given(NAMES.filter(can_stand_together), st.randoms(use_true_random=False))
def test_size_is_known_beforehand_and_content_comes_back(names: list[str], rng: random.Random) -> None:
    content = {name: rng.randbytes(rng.choice([1, 5, 127, 128, 16_383, 16_384])) for name in names}
    archive = build(content)
    reader = ArchiveReader(io.BytesIO(archive))
    assert reader.members() == [
        Member(name=name, size=len(data), mtime_ns=stored_time(NOON)) for name, data in content.items()
    ]
    assert archive_size(reader.members()) == len(archive)
    assert read(archive) == content


@given(st.lists(st.integers(1, 1 << 57), min_size=1, max_size=300), st.integers(1, 800))
def test_size_is_exact_for_sizes_of_any_length(sizes: list[int], name: int) -> None:
    members = [Member(name="n" * name, size=size, mtime_ns=0) for size in sizes]
    header = header_bytes([Stored(member=member, offset=0, crc32=0) for member in members])
    assert archive_size(iter(members)) == START_SIZE + sum(sizes) + len(header)


@given(st.integers(0, (1 << 64) - 1) | st.integers(0, 64).map(lambda bits: (1 << bits) - 1))
def test_numbers_are_those_of_py7zr(value: int) -> None:
    archiveinfo = pytest.importorskip("py7zr.archiveinfo")
    data = number(value)
    assert len(data) == number_size(value)
    assert archiveinfo.read_uint64(io.BytesIO(data)) == value


@pytest.mark.parametrize(
    ("ns", "kept"),
    [
        (0, 0),
        (199, 100),
        (-1, -100),
        (-11_644_473_600_000_000_000, -11_644_473_600_000_000_000),
        (-20_000_000_000_000_000_000, -11_644_473_600_000_000_000),
        (1 << 80, 253_402_300_799_999_999_900),
    ],
)
def test_times_are_rounded_down_to_100_ns_and_kept_within_1601_to_9999(ns: int, kept: int) -> None:
    out = io.BytesIO()
    write_archive(out, [entry("a", b"a", ns)])
    assert stored_time(ns) == ArchiveReader(out).members()[0].mtime_ns == kept


def test_same_members_give_the_same_bytes() -> None:
    assert build(CONTENT) == build(CONTENT)


def test_bytes_are_these_for_all_time() -> None:
    start = "377abcaf271c0004 037f27f2 0700000000000000 5600000000000000 a9d8222a"
    data = b"onetwo!".hex()
    streams = "0104 0600010907 00 070b0100010100 0c07 00 080d020903 0a01f1866c7a34f1ab3a 00 00"
    names = "110d00" + "a\0b/c\0".encode("utf-16-le").hex()
    times = "14120100" + "87b6467fd47cdd01" * 2
    attributes = "150a0100" + "2080a481" * 2
    whole = bytes.fromhex(f"{start} {data} {streams} 0502 {names} {times} {attributes} 00 00")
    assert build({"a": b"one", "b/c": b"two!"}) == whole


class Watched(io.BytesIO):
    """Content that records how it was read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.largest = 0

    def read(self, size: int | None = -1) -> bytes:
        self.largest = max(self.largest, sys.maxsize if size is None or size < 0 else size)
        return super().read(size)


@pytest.mark.parametrize("length", [0, 9, 11])
def test_content_shorter_or_longer_than_its_size_is_refused_and_leaves_no_archive(length: int) -> None:
    source = Watched(bytes(length))
    out = io.BytesIO(build(CONTENT))
    with pytest.raises(DigestMismatchError) as caught:
        write_archive(out, [entry("a", b"a"), (Member(name="b", size=10, mtime_ns=0), lambda: source)])
    assert caught.value.place == "b"
    assert source.closed
    assert out.getvalue()[:START_SIZE] == bytes(START_SIZE)
    with pytest.raises(MalformedError, match="not a finished"):
        ArchiveReader(out)


def test_content_is_read_in_pieces_and_closed() -> None:
    data = bytes(CHUNK + 1)
    source = Watched(data)
    out = io.BytesIO()
    write_archive(out, [(Member(name="a", size=len(data), mtime_ns=0), lambda: source)])
    assert source.closed
    assert source.largest == CHUNK
    assert read(out.getvalue()) == {"a": data}


def test_an_error_of_the_source_passes_and_leaves_no_archive() -> None:
    def broken() -> BinaryIO:
        raise PermissionError("no")

    out = io.BytesIO()
    with pytest.raises(PermissionError):
        write_archive(out, [entry("a", b"a"), (Member(name="b", size=1, mtime_ns=0), broken)])
    assert out.getvalue()[:START_SIZE] == bytes(START_SIZE)


@pytest.mark.parametrize(
    ("content", "error", "place"),
    [
        ({}, MalformedError, ""),
        ({"a": b""}, MalformedError, "a"),
        ({"../a": b"1"}, IllegalNameError, "'../a'"),
        ({"a:b": b"1"}, IllegalNameError, "'a:b'"),
        ({"b": b"1", "A": b"1", "a": b"1"}, MalformedError, "a"),
        ({"\N{KELVIN SIGN}": b"1"}, IllegalNameError, "'\\u212a'"),
        ({"straße": b"1", "STRASSE": b"1"}, MalformedError, "straße"),
        ({"f/x": b"1", "f-": b"1", "F": b"1"}, MalformedError, "f/x"),
        ({"f.zst": b"1", "f.zst/deep/er": b"1"}, MalformedError, "f.zst/deep/er"),
    ],
)
def test_members_that_cannot_stand_side_by_side_are_not_written(
    content: dict[str, bytes], error: type[FormatError], place: str
) -> None:
    out = io.BytesIO()
    with pytest.raises(error) as caught:
        write_archive(out, [entry(name, data) for name, data in content.items()])
    assert caught.value.place == place
    assert not out.getvalue().startswith(b"7z")


def never() -> BinaryIO:
    raise AssertionError("opened")


def largest(name: str = "image.wim") -> Member:
    """The member of an archive that is as large as one may be."""
    rest = archive_size([Member(name=name, size=ARCHIVE_LIMIT, mtime_ns=0)]) - ARCHIVE_LIMIT
    return Member(name=name, size=ARCHIVE_LIMIT - rest, mtime_ns=0)


def test_an_archive_past_the_limit_is_refused_before_the_content_is_opened() -> None:
    member = largest()
    assert archive_size([member]) == ARCHIVE_LIMIT
    with pytest.raises(TooLargeError):
        write_archive(io.BytesIO(), [(Member(name=member.name, size=member.size + 1, mtime_ns=0), never)])
    with pytest.raises(TooLargeError):
        write_archive(io.BytesIO(), [entry("a", b"1"), (member, never)])


def test_more_members_than_the_limit_are_refused() -> None:
    with pytest.raises(TooLargeError):
        write_archive(io.BytesIO(), [entry("a", b"1")] * (MAX_MEMBERS + 1))


class Zeros(io.RawIOBase):
    """A stream of ``size`` zeros that takes no memory."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self._left)
        buffer[:size] = bytes(size)
        self._left -= size
        return size


class Sparse(io.FileIO):
    """A file that leaves holes for zeros."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if len(data) < CHUNK or any(data[:: CHUNK - 1]) or data.count(0) != len(data):
            return super().write(data) or 0
        self.seek(len(data), os.SEEK_CUR)
        return len(data)


@pytest.mark.slow
def test_the_largest_archive_is_read_by_all(tmp_path: Path) -> None:
    member = largest()
    path = tmp_path / "a.7z"
    with Sparse(path, "wb") as out:
        write_archive(out, [(member, lambda: io.BufferedReader(Zeros(member.size)))])
    assert path.stat().st_size == ARCHIVE_LIMIT
    assert "Everything is Ok" in run(stock_tool("7z"), "t", path)
    with path.open("rb") as source:
        reader = ArchiveReader(source)
        reader.expect([(member.name, member.size)])
        content = reader.open(0)
        assert sum(len(data) for data in iter(lambda: content.read(CHUNK), b"")) == member.size


def test_twenty_thousand_members_are_read_by_all(tmp_path: Path) -> None:
    content = {f"drivers/{n % 100:02}/Treiber ä {n}.inf": b"%d" % n for n in range(20_000)}
    archive = build(content)
    assert read(archive) == content
    (tmp_path / "a.7z").write_bytes(archive)
    assert "Files: 20000" in run(stock_tool("7z"), "t", tmp_path / "a.7z")


def test_members_are_read_by_number_or_name_side_by_side_in_any_pieces() -> None:
    source = io.BytesIO(build(CONTENT))
    reader = ArchiveReader(source)
    one = reader.open(0)
    other = io.BufferedReader(cast(io.RawIOBase, reader.open("drivers/日本語/𝄞.sys")), 1000)
    found = b""
    for size in (0, 1, 8, 1000, 20_000):
        found += one.read(size)
        assert other.read(100) == b"\xff" * 100
    assert found == CONTENT["boot/boot.wim"]
    one.close()
    with pytest.raises(ValueError, match="closed"):
        one.read()
    assert reader.open(3).read() == b"2"
    with pytest.raises(UnexpectedError):
        reader.open("X")
    with pytest.raises(IndexError):
        reader.open(4)


class Halting(io.BytesIO):
    """A source that gives fewer bytes than it is asked for, as an unbuffered one may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(7 if size is None or size < 0 else min(7, size))


def test_sources_that_give_little_at_a_time_are_written_and_read() -> None:
    out = io.BytesIO()
    content = {name: data[:1000] for name, data in CONTENT.items()}
    write_archive(out, [(entry(name, data)[0], partial(Halting, data)) for name, data in content.items()])
    assert out.getvalue() == build(content)
    reader = ArchiveReader(Halting(out.getvalue()))
    assert {member.name: reader.open(member.name).read() for member in reader.members()} == content


def test_altered_content_is_found_before_its_last_byte_is_given() -> None:
    archive = bytearray(build({"a": b"one", "b": b"two"}))
    archive[START_SIZE + 3] ^= 1
    reader = ArchiveReader(io.BytesIO(archive))
    assert reader.open("a").read() == b"one"
    content = reader.open("b")
    content.read(2)
    for _ in range(2):
        with pytest.raises(DigestMismatchError) as caught:
            content.read(1)
        assert caught.value.place == "b"


def test_an_archive_that_becomes_shorter_is_unreadable() -> None:
    source = io.BytesIO(build(CONTENT))
    reader = ArchiveReader(source)
    source.truncate(START_SIZE + 9000)
    with pytest.raises(UnreadableError) as caught:
        reader.open(2).read()
    assert caught.value.place == "drivers/日本語/𝄞.sys"


class Scratched(io.BytesIO):
    """A medium that fails where ``bad`` is read."""

    bad = -1

    def read(self, size: int | None = -1) -> bytes:
        start = self.tell()
        data = super().read(size)
        if start <= self.bad < start + len(data):
            raise OSError(errno.EIO, "Input/output error")
        return data


def test_a_medium_that_fails_is_unreadable() -> None:
    source = Scratched(build(CONTENT))
    source.bad = START_SIZE
    reader = ArchiveReader(source)
    assert reader.open(1).read() == b"one"
    with pytest.raises(UnreadableError) as caught:
        reader.open(0).read()
    assert caught.value.place == "boot/boot.wim"
    source.bad = len(source.getvalue()) - 1
    with pytest.raises(UnreadableError):
        ArchiveReader(source)


EXPECTED = [(name, len(data)) for name, data in CONTENT.items()]


@pytest.mark.parametrize(
    ("expected", "place"),
    [
        (EXPECTED[:-1], "x"),
        (EXPECTED[1:], "boot/boot.wim"),
        ([*EXPECTED, ("y", 1)], "y"),
        ([EXPECTED[0], ("y", 1), *EXPECTED[1:]], "y"),
        ([*EXPECTED[:3], ("x", 2)], "x"),
        ([*EXPECTED[:3], ("X", 1)], "x"),
        ([EXPECTED[0], (unicodedata.normalize("NFD", EXPECTED[1][0]), 3), *EXPECTED[2:]], "drivers/Netz äöü.inf"),
        ([*EXPECTED[:3], ("y", 1)], "x"),
        (EXPECTED[::-1], "boot/boot.wim"),
        ([], "boot/boot.wim"),
    ],
)
def test_a_member_more_less_or_other_than_listed_is_named(expected: list[tuple[str, int]], place: str) -> None:
    reader = ArchiveReader(io.BytesIO(build(CONTENT)))
    reader.expect(EXPECTED)
    with pytest.raises(UnexpectedError) as caught:
        reader.expect(expected)
    assert caught.value.place == place


def test_importing_archives_loads_no_library() -> None:
    code = "import sys, formats.archive; print(*sys.modules)"
    modules = set(run(sys.executable, "-c", code, cwd=Path(__file__).parents[3]).split())
    assert not modules & {"py7zr", "Cryptodome", "multivolumefile", "backports.zstd"}
