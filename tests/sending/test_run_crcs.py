"""The CRC-32 of a member is known from those of the content's blocks, and what is read is compared with it."""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pytest

from courier.errors import DamagedError
from courier.parcel.archive_plan import Content, PlannedMember
from courier.sending.run_crcs import ComparedRun, run_crc32
from formats.digest import sha256_hex

MIB = 1 << 20
DATA = random.Random(1).randbytes(5 * MIB + 777)


class Contents:
    """One content, and what is read of it: the places that were sought."""

    def __init__(self, data: bytes, kept: bytes | None = None) -> None:
        self.data, self.kept = data, data if kept is None else kept
        self.opened = 0

    def has(self, sha256: str, size: int) -> bool:
        return True

    def lacking(self, contents: Iterable[tuple[str, int]]) -> Iterator[str]:
        return iter(())

    def open_content(self, sha256: str) -> BinaryIO:
        self.opened += 1
        return io.BytesIO(self.data)

    def small(self, digest: bytes) -> bytes | None:
        return None

    def block_crcs(self, sha256: str, size: int) -> bytes:
        return b"".join(zlib.crc32(self.kept[at : at + MIB]).to_bytes(4, "little") for at in range(0, size, MIB))


def member(data: bytes, begin: int, end: int) -> PlannedMember:
    content = Content(sha256=sha256_hex(data), size=len(data), mtime_ns=0, folder="P-1", path="file", coding="store")
    return PlannedMember(name="P-1/file", content=content, offset=begin, length=end - begin)


RUNS = [
    (0, len(DATA), 0),
    (0, 3 * MIB, 0),
    (MIB, 2 * MIB, 0),
    (5 * MIB, len(DATA), 0),
    (0, 3 * MIB + 5, 1),
    (3 * MIB + 5, len(DATA), 1),
    (100, 4 * MIB + 9, 2),
    (100, 200, 1),
    (MIB - 1, MIB + 1, 2),
    (5 * MIB + 3, 5 * MIB + 9, 1),
]


@pytest.mark.parametrize(("begin", "end", "opened"), RUNS)
def test_a_run_has_its_crc_though_only_its_edges_are_read(begin: int, end: int, opened: int) -> None:
    contents = Contents(DATA)
    assert run_crc32(contents, member(DATA, begin, end)) == zlib.crc32(DATA[begin:end])
    assert contents.opened == opened


@pytest.mark.parametrize("size", [1, MIB])
def test_a_content_of_one_block_is_read_and_compared(size: int) -> None:
    data = DATA[:size]
    assert run_crc32(Contents(data), member(data, 0, size)) == zlib.crc32(data)
    with pytest.raises(DamagedError, match="file: the content is not"):
        run_crc32(Contents(DATA[size : 2 * size]), member(data, 0, size))


def test_a_damaged_edge_is_found() -> None:
    bad = bytearray(DATA)
    bad[3 * MIB + 900_000] ^= 1  # in the block of the edge, beyond the run
    with pytest.raises(DamagedError, match="file: the content is not"):
        run_crc32(Contents(bytes(bad), kept=DATA), member(DATA, 0, 3 * MIB + 5))


@pytest.mark.parametrize("at", [100, MIB, 4 * MIB + 8])
def test_what_is_read_is_compared(at: int) -> None:
    run = member(DATA, 100, 4 * MIB + 9)
    bad = bytearray(DATA)
    bad[at] ^= 0x80
    for data, good in ((DATA, True), (bytes(bad), False)):
        with ComparedRun(io.BytesIO(data), run, zlib.crc32(DATA[100 : 4 * MIB + 9])) as source:
            source.seek(100)
            assert source.read(MIB) == data[100 : 100 + MIB]
            source.seek(100 + MIB)
            if good:
                assert source.read(4 * MIB + 9 - 100 - MIB) == data[100 + MIB : 4 * MIB + 9]
                continue
            with pytest.raises(DamagedError, match="file: the content is not"):
                source.read(4 * MIB + 9 - 100 - MIB)


def test_a_run_that_is_compared_is_read_in_order() -> None:
    with ComparedRun(io.BytesIO(DATA), member(DATA, 100, 200), 0) as source, pytest.raises(ValueError, match="begin"):
        source.seek(150)
