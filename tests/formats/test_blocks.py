"""Block maps: where damage lies, by the digests of fixed blocks."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from formats.blocks import BLOCK, DIGEST, BlockHasher, BlockTable, SideBlockHasher, block_count, block_length, ranges
from formats.errors import MalformedError


def expected(data: bytes, size: int) -> bytes:
    return b"".join(hashlib.sha256(data[at : at + size]).digest() for at in range(0, len(data), size))


@given(st.binary(max_size=200), st.integers(1, 64), st.lists(st.integers(0, 200)))
@example(b"", 1, [])
@example(bytes(128), 64, [64])
def test_a_stream_fed_in_any_pieces_has_the_digests_of_its_blocks(data: bytes, size: int, cuts: list[int]) -> None:
    hasher = BlockHasher(size)
    for start, end in pairwise(sorted([0, len(data), *(cut for cut in cuts if cut < len(data))])):
        hasher.update(memoryview(data)[start:end] if start % 2 else bytearray(data[start:end]))
    assert hasher.count == len(data)
    assert hasher.finish() == (hashlib.sha256(data).hexdigest(), expected(data, size))
    assert len(expected(data, size)) == block_count(len(data), size) * DIGEST


def test_bytes_are_counted_whatever_the_shape_of_the_view() -> None:
    data = bytes(range(64))
    hasher = BlockHasher(16)
    hasher.update(memoryview(data).cast("I"))
    assert (hasher.count, hasher.finish()) == (64, (hashlib.sha256(data).hexdigest(), expected(data, 16)))


@given(st.lists(st.binary(max_size=100), max_size=5), st.integers(1, 32))
def test_a_table_finds_every_block_of_every_file(files: list[bytes], size: int) -> None:
    table = BlockTable(b"".join(expected(data, size) for data in files), [len(data) for data in files], size)
    for n, data in enumerate(files):
        blocks = [data[at : at + size] for at in range(0, len(data), size)]
        assert table.count(n) == len(blocks)
        for m, block in enumerate(blocks):
            assert table.length(n, m) == len(block) == block_length(len(data), m, size)
            assert table.is_good(n, m, block)
            assert table.is_good(n, m, memoryview(block))
            assert not table.is_good(n, m, block + b"\0")
            assert not table.is_good(n, m, bytes([block[0] ^ 1]) + block[1:])


def test_a_block_that_is_not_there_is_an_error_not_another_block() -> None:
    """Numbers come from repair requests over the network."""
    table = BlockTable(bytes(DIGEST * 4), [BLOCK + 1, BLOCK * 2])
    for file, block in ((0, 2), (0, -1), (1, 2), (2, 0), (-1, 0), (-2, 0), (-3, 0)):
        with pytest.raises(IndexError):
            table.digest(file, block)
        with pytest.raises(IndexError):
            table.length(file, block)


@pytest.mark.parametrize("length", [0, DIGEST - 1, DIGEST, DIGEST * 3])
def test_a_table_of_another_length_than_the_files_ask_is_refused(length: int) -> None:
    with pytest.raises(MalformedError) as caught:
        BlockTable(bytes(length), [BLOCK + 1])
    assert caught.value.place == "blocks.bin"


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_the_numbers_and_no_others(numbers: set[int]) -> None:
    found = ranges(sorted(numbers))
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(numbers)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))


def test_a_file_under_4_gib_has_at_most_4096_blocks() -> None:
    assert block_count((1 << 32) - 1) == 4096
    assert block_length((1 << 32) - 1, 4095) == BLOCK - 1


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
def test_hashing_in_threads_gives_the_same_digests(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    alone = BlockHasher()
    with SideBlockHasher() as beside, SideBlockHasher() as without_one:
        for at in range(0, size, 700_001):
            piece = data[at : min(size, at + 700_001)]
            for hasher in (alone, beside, without_one):
                hasher.update(piece)
        whole, blocks = alone.finish()
        assert beside.finish_all() == (whole, blocks)
        assert without_one.finish() == (whole, blocks if size > BLOCK else b"")
        assert beside.count == size
