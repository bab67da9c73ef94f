"""Content that is written while its parcel is built: nothing of a block leaves before it was compared."""

from __future__ import annotations

import hashlib
import io
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from courier.errors import DamagedError
from courier.parcel.archive_plan import Content, PlannedArchive, PlannedMember
from courier.sending.planned_archives import ArchivesByIndex
from courier.sending.verified_run import VerifiedRun

MIB = 1 << 20
DATA = random.Random(1).randbytes(6 * MIB + 77)
TABLE = b"".join(hashlib.sha256(DATA[at : at + MIB]).digest() for at in range(0, len(DATA), MIB))


def member(begin: int, end: int) -> PlannedMember:
    content = Content(
        sha256=hashlib.sha256(DATA).hexdigest(), size=len(DATA), mtime_ns=0, folder="P-1", path="file", coding="store"
    )
    return PlannedMember(name="P-1/file", content=content, offset=begin, length=end - begin)


@pytest.mark.parametrize(("begin", "end"), [(0, len(DATA)), (MIB + 5, 3 * MIB), (2 * MIB, 2 * MIB + 9), (7, 9)])
@pytest.mark.parametrize("piece", [1000_003, 4 * MIB])
def test_a_run_is_given_as_it_was_added(begin: int, end: int, piece: int) -> None:
    given = b""
    with ThreadPoolExecutor(1) as pool, VerifiedRun(io.BytesIO(DATA), member(begin, end), TABLE, pool) as source:
        while data := source.read(piece):
            given += data
            source.seek(begin + len(given))
    assert given == DATA[begin:end]


@pytest.mark.parametrize("at", [0, 3 * MIB + 100, len(DATA) - 1])
def test_nothing_of_a_block_that_changed_is_given(at: int) -> None:
    bad = bytearray(DATA)
    bad[at] ^= 1
    given = bytearray()
    with (
        ThreadPoolExecutor(1) as pool,
        VerifiedRun(io.BytesIO(bytes(bad)), member(0, len(DATA)), TABLE, pool) as source,
        pytest.raises(DamagedError, match="file: the content is not"),
    ):
        while data := source.read(100_000):
            given += data
    assert bytes(given) == DATA[: len(given)]
    assert len(given) <= at // MIB * MIB


@pytest.mark.parametrize("length", [0, 5 * MIB, 6 * MIB + 76])
def test_a_content_that_became_shorter_is_found(length: int) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        VerifiedRun(io.BytesIO(DATA[:length]), member(0, len(DATA)), TABLE, pool) as source,
        pytest.raises(DamagedError, match="file: the content is not"),
    ):
        while source.read(MIB):
            pass


def test_a_run_is_read_in_order() -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        VerifiedRun(io.BytesIO(DATA), member(5, 99), TABLE, pool) as source,
        pytest.raises(ValueError, match="begin"),
    ):
        source.seek(6)


@pytest.mark.parametrize(
    "order", [range(9), [0, 8, 1, 7, 2, 3, 6, 4, 5], reversed(range(9)), [1, 0, 3, 2, 5, 4, 8, 7, 6]]
)
def test_archives_are_had_in_any_order(order: list[int]) -> None:
    archives = [PlannedArchive(number=number, members=()) for number in range(1, 10)]
    by_index = ArchivesByIndex(archives)
    for index in order:
        assert by_index.get(index) is archives[index]
