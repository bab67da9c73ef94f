"""Solid groups: every 7-Zip unpacks what we pack, we unpack what 7-Zip packs, and a group that lies is refused."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tracemalloc
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import py7zr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py7zr.io import BytesIOFactory
from solid_archives import Part, archive_of, stream_of
from stock import stock_tool

from formats.archive import ArchiveReader, Listed, archive_size, write_archive
from formats.archive.header import Member, Stored, header_bytes, start_header
from formats.codecs import LZMA2
from formats.digest import CHUNK
from formats.errors import DigestMismatchError, FormatError, MalformedError, TooLargeError, UnexpectedError

MIB = 1 << 20
TEXT = b"a line of a driver's description\r\n" * 400
PARTS = (
    Part(members={"boot/stored": b"stored", "boot/other": bytes(9)}, solid=False),
    Part(members={"drivers/one.inf": TEXT, "drivers/two.inf": TEXT[7:9000], "ü.txt": b"x"}),
    Part(members={"image.wim": random.Random(1).randbytes(200_000) + bytes(200_000)}),
    Part(members={"last/stored": b"z"}, solid=False),
)
CONTENT = {name: data for part in PARTS for name, data in part.members.items()}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=cwd).stdout


def read(archive: bytes) -> dict[str, bytes]:
    reader = ArchiveReader(io.BytesIO(archive))
    return {member.name: reader.open(member.name).read() for member in reader.members()}


def read_by_py7zr(archive: bytes) -> dict[str, bytes]:
    factory = BytesIOFactory(1 << 30)
    with py7zr.SevenZipFile(io.BytesIO(archive)) as source:
        source.extractall(factory=factory)
    return {name: data.read() for name, data in factory.products.items()}


def test_stock_tools_take_out_what_we_put_in(tmp_path: Path) -> None:
    seven, archive, out = stock_tool("7z"), tmp_path / "a.7z", tmp_path / "out"
    archive.write_bytes(archive_of(*PARTS))
    assert "Everything is Ok" in run(seven, "t", archive)
    run(seven, "x", archive, f"-o{out}")
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == CONTENT
    listing = run(seven, "l", "-slt", archive)
    assert "Method = Copy LZMA2:23" in listing
    assert "Blocks = 4" in listing
    assert "WARNING" not in listing.upper()
    assert read_by_py7zr(archive.read_bytes()) == CONTENT
    assert read(archive.read_bytes()) == CONTENT


contents = st.builds(
    lambda size, noise, seed: random.Random(seed).randbytes(noise) + bytes(size),
    st.integers(1, 4000),
    st.integers(0, 4000),
    st.integers(0, 99),
)
shapes = st.lists(st.tuples(st.booleans(), st.lists(contents, min_size=1, max_size=4)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(shapes, st.randoms(use_true_random=False))
def test_any_members_come_back_in_any_order_and_their_size_is_known(
    shape: Sequence[tuple[bool, Sequence[bytes]]], rng: random.Random
) -> None:
    parts = [
        Part(members={f"{n}/{m}": data for m, data in enumerate(datas)}, solid=solid)
        for n, (solid, datas) in enumerate(shape)
    ]
    content = {name: data for part in parts for name, data in part.members.items()}
    archive = archive_of(*parts)
    reader = ArchiveReader(io.BytesIO(archive))
    assert archive_size(reader.members()) == len(archive)
    assert read(archive) == read_by_py7zr(archive) == content
    names = list(content)
    rng.shuffle(names)
    assert {name: reader.open(name).read() for name in names} == content


def test_members_of_a_group_are_read_side_by_side_in_any_pieces() -> None:
    reader = ArchiveReader(io.BytesIO(archive_of(*PARTS)))
    one, other = reader.open("drivers/one.inf"), reader.open("drivers/two.inf")
    found = b"", b""
    while (left := one.read(1000)) or other.read(0) or len(found[1]) < len(CONTENT["drivers/two.inf"]):
        found = found[0] + left, found[1] + other.read(700)
    assert found == (CONTENT["drivers/one.inf"], CONTENT["drivers/two.inf"])


@pytest.mark.parametrize(
    "options",
    [
        ["-m0=LZMA2", "-mf=off"],
        ["-mx1", "-mf=off"],
        ["-m0=LZMA2:d=64m", "-ms=off"],
        ["-m0=LZMA2:c=1m", "-mmt=2", "-mhc=off", "-mf=off"],
    ],
)
def test_we_unpack_what_seven_zip_packs(options: list[str], tmp_path: Path) -> None:
    for name, data in CONTENT.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data * 9)
    run(stock_tool("7z"), "a", *options, "../a.7z", *CONTENT, cwd=tmp_path / "in")
    assert read((tmp_path / "a.7z").read_bytes()) == {name: data * 9 for name, data in CONTENT.items()}


# --- what a group may not be ----------------------------------------------------------------------------------------

GROUP = {"a": TEXT, "b": b"second", "c": TEXT[::-1]}
WHOLE = b"".join(GROUP.values())
GOOD = stream_of(WHOLE)


def chunk(data: bytes) -> bytes:
    """A chunk of LZMA2 that is not compressed, after a reset of the dictionary."""
    return b"\1" + (len(data) - 1).to_bytes(2, "big") + data


def altered(at: int) -> bytes:
    data = bytearray(GOOD)
    data[at] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    ("stream", "lengths", "errors"),
    [
        (b"\0", None, (DigestMismatchError,)),
        (GOOD[:-1], None, (MalformedError,)),
        (GOOD[:-100], None, (MalformedError,)),
        (GOOD + b"\0", None, (MalformedError,)),
        (GOOD + GOOD, None, (MalformedError,)),
        (b"\3" + GOOD, None, (MalformedError,)),
        (altered(10), None, (MalformedError, DigestMismatchError)),
        (altered(len(GOOD) // 2), None, (MalformedError, DigestMismatchError)),
        (stream_of(WHOLE[:-1]), None, (DigestMismatchError,)),
        (stream_of(WHOLE + b"x"), None, (TooLargeError,)),
        (stream_of(WHOLE[:-1] + b"x"), None, (DigestMismatchError,)),
        (chunk(WHOLE[:999]) + b"\0", None, (DigestMismatchError,)),
        (GOOD, [len(TEXT), 6, len(TEXT) - 1], (TooLargeError,)),
        (GOOD, [len(TEXT), 6, len(TEXT) + 1], (DigestMismatchError,)),
        (GOOD, [len(TEXT) - 1, 7, len(TEXT)], (DigestMismatchError,)),
        (GOOD, [len(TEXT), 6, 30 * MIB], (DigestMismatchError,)),
    ],
)
def test_a_group_that_is_damaged_or_lies_is_refused(
    stream: bytes, lengths: Sequence[int] | None, errors: tuple[type[FormatError], ...]
) -> None:
    faulty = Part(members=GROUP, stream=stream, lengths=lengths)
    reader = ArchiveReader(io.BytesIO(archive_of(faulty, Part(members={"z": b"1"}, solid=False))))
    for order in (list(GROUP), list(GROUP)[::-1]):
        failed = []
        for name in order:
            try:
                assert reader.open(name).read() == GROUP[name]
            except errors as error:
                assert error.place == name
                failed.append(name)
        assert failed
    content = reader.open(failed[-1])
    for _ in range(2):  # who reads on is told again
        with pytest.raises(errors):
            while content.read(1000):
                pass
    assert reader.open("z").read() == b"1"


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_damage_of_a_stream_passes(at: int, value: int) -> None:
    data = bytearray(GOOD)
    data[at] ^= value
    reader = ArchiveReader(io.BytesIO(archive_of(Part(members=GROUP, stream=bytes(data)))))
    with pytest.raises((MalformedError, DigestMismatchError, TooLargeError)):
        for name in GROUP:
            reader.open(name).read()


def test_a_group_of_several_members_is_no_longer_than_a_run() -> None:
    members = [
        Member(name="a", size=LZMA2.run - 5, mtime_ns=0, packed=9),
        Member(name="b", size=5, mtime_ns=0, packed=0),
    ]
    for more in (0, 1):
        header = header_bytes(
            [
                Stored(member=members[0], offset=0, crc32=0),
                Stored(member=Member(name="b", size=5 + more, mtime_ns=0, packed=0), offset=0, crc32=0),
            ]
        )
        archive = io.BytesIO(_finished(bytes(9), header))
        if more:
            with pytest.raises(TooLargeError):
                ArchiveReader(archive)
        else:
            assert ArchiveReader(archive).members() == members
    alone = Member(name="a", size=1 << 50, mtime_ns=0, packed=9)
    header = header_bytes([Stored(member=alone, offset=0, crc32=0)])
    assert ArchiveReader(io.BytesIO(_finished(bytes(9), header))).members() == [alone]


def _finished(data: bytes, header: bytes) -> bytes:
    return start_header(header, data=len(data)) + data + header


def test_a_member_that_expands_a_thousandfold_is_read_in_little_memory() -> None:
    zeros = b"".join(LZMA2.encode((bytes(CHUNK) for _ in range(64)), length=64 * CHUNK, level=1))
    member = Member(name="a", size=64 * CHUNK, mtime_ns=0, packed=len(zeros))
    crc = 0
    for _ in range(64):
        crc = zlib.crc32(bytes(CHUNK), crc)
    header = header_bytes([Stored(member=member, offset=0, crc32=crc)])
    reader = ArchiveReader(io.BytesIO(_finished(zeros, header)))
    tracemalloc.start()
    try:
        content, count = reader.open("a"), 0
        while data := content.read(CHUNK):
            count += len(data)
        assert count == member.size
        assert tracemalloc.get_traced_memory()[1] < 80 * MIB
    finally:
        tracemalloc.stop()


EXPECTED: list[Listed] = [
    (m.name, m.size) if m.packed is None else (m.name, m.size, m.packed)
    for m in ArchiveReader(io.BytesIO(archive_of(*PARTS))).members()
]


@pytest.mark.parametrize(
    ("at", "other"),
    [
        (2, ("drivers/one.inf", len(TEXT))),
        (2, ("drivers/one.inf", len(TEXT), 1)),
        (2, ("drivers/one.inf", len(TEXT) + 1, EXPECTED[2][-1])),
        (3, ("drivers/two.inf", 8993, 1)),
        (3, ("drivers/two.inf", 8992, 0)),
        (0, ("boot/stored", 6, 6)),
    ],
)
def test_a_group_other_than_listed_is_named(at: int, other: Listed) -> None:
    reader = ArchiveReader(io.BytesIO(archive_of(*PARTS)))
    reader.expect(EXPECTED)
    with pytest.raises(UnexpectedError) as caught:
        reader.expect([*EXPECTED[:at], other, *EXPECTED[at + 1 :]])
    assert caught.value.place == other[0]


def test_what_cannot_be_written_is_refused() -> None:
    lost: Mapping[str, int | None] = {"a": None, "b": 0}
    with pytest.raises(ValueError, match="solid group"):
        header_bytes(
            [
                Stored(member=Member(name=name, size=1, mtime_ns=0, packed=packed), offset=0, crc32=0)
                for name, packed in lost.items()
            ]
        )
    with pytest.raises(MalformedError, match="solid group"):
        write_archive(io.BytesIO(), [(Member(name="a", size=1, mtime_ns=0, packed=1), lambda: io.BytesIO(b"1"))])


@pytest.mark.parametrize(
    ("properties", "error"),
    [(b"", MalformedError), (b"\x29", MalformedError), (b"\x16\0", MalformedError), (b"\x1d", TooLargeError)],
)
def test_a_dictionary_that_is_none_or_too_large_is_refused(properties: bytes, error: type[FormatError]) -> None:
    with pytest.raises(error):
        LZMA2.memory_for(properties)
    with pytest.raises(error) as caught:
        next(LZMA2.unpack(io.BytesIO(GOOD), len(WHOLE), properties=properties, place="here"))
    assert caught.value.place == "here"
    assert LZMA2.memory_for(b"\x1c") <= LZMA2.memory
