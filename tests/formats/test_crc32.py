"""CRC-32s of blocks, and of runs put together from them, against those of zlib over the bytes themselves."""

from __future__ import annotations

import random
import zlib

import pytest

from formats.crc32 import BlockCrcs, combined, combined_blocks


@pytest.mark.parametrize("seed", range(20))
def test_two_pieces_have_the_crc_of_both_together(seed: int) -> None:
    draw = random.Random(seed)
    data = draw.randbytes(draw.randrange(0, 70_000))
    cut = draw.randrange(0, len(data) + 1)
    assert combined(zlib.crc32(data[:cut]), zlib.crc32(data[cut:]), len(data) - cut) == zlib.crc32(data)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000, 5432])
def test_blocks_have_their_crcs_whatever_the_pieces(size: int) -> None:
    data = random.Random(size).randbytes(size)
    blocks = BlockCrcs(1000)
    for at in range(0, size, 700):
        blocks.update(data[at : at + 700])
    assert blocks.finish() == b"".join(
        zlib.crc32(data[at : at + 1000]).to_bytes(4, "little") for at in range(0, size, 1000)
    )


@pytest.mark.parametrize(("before", "count"), [(0, 0), (0, 1), (1, 1), (999, 0), (517, 40)])
def test_whole_blocks_go_on_from_a_piece(before: int, count: int) -> None:
    data = random.Random(count).randbytes(before + count * 1000)
    blocks = BlockCrcs(1000)
    blocks.update(data[before:])
    assert combined_blocks(zlib.crc32(data[:before]), blocks.finish(), 1000) == zlib.crc32(data)
