"""CRC-32 (ISO 3309, as in zip and 7z) of fixed blocks, and of runs that are put together from them.

The CRC-32 of two pieces follows from those of each and the length of the second: appending a byte multiplies what is
there by x^8, modulo the polynomial. Bits are reflected here: the highest bit of a number is the coefficient of x^0.
"""

from __future__ import annotations

import zlib
from functools import cache

POLYNOMIAL = 0xEDB88320
SIZE = 4
"""Bytes of a CRC-32 in a table of them, little-endian."""


class BlockCrcs:
    """The CRC-32 of each block of a stream, from pieces of any size; the last block may be shorter."""

    def __init__(self, block_size: int) -> None:
        self._size = block_size
        self._crc = self._filled = 0
        self._crcs = bytearray()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(data).cast("B")
        while view:
            part = view[: self._size - self._filled]
            self._crc = zlib.crc32(part, self._crc)
            self._filled += len(part)
            if self._filled == self._size:
                self._close()
            view = view[len(part) :]

    def _close(self) -> None:
        self._crcs += self._crc.to_bytes(SIZE, "little")
        self._crc = self._filled = 0

    def finish(self) -> bytes:
        """The CRC-32 of each block, 4 bytes little-endian."""
        if self._filled:
            self._close()
        return bytes(self._crcs)


def combined(first: int, second: int, length: int) -> int:
    """The CRC-32 of two pieces, the second of which has ``length`` bytes."""
    return _multiplied(first, _shift(length)) ^ second


def combined_blocks(first: int, blocks: bytes, block_size: int) -> int:
    """The CRC-32 of a piece with CRC-32 ``first`` and whole ``blocks`` after it, whose CRC-32s are given as a table."""
    tables = _tables(block_size)
    crc = first
    for at in range(0, len(blocks), SIZE):
        one, two, three, four = crc.to_bytes(SIZE, "little")
        crc = tables[0][one] ^ tables[1][two] ^ tables[2][three] ^ tables[3][four]
        crc ^= int.from_bytes(blocks[at : at + SIZE], "little")
    return crc


def _multiplied(one: int, two: int) -> int:
    """The product of two polynomials."""
    product, bit = 0, 1 << 31
    while bit:
        if one & bit:
            product ^= two
        two = two >> 1 ^ (POLYNOMIAL if two & 1 else 0)
        bit >>= 1
    return product


def _shift(length: int) -> int:
    """x^(8 * ``length``)."""
    power, base = 1 << 31, 1 << 23  # x^0, x^8
    while length:
        if length & 1:
            power = _multiplied(power, base)
        base = _multiplied(base, base)
        length >>= 1
    return power


@cache
def _tables(length: int) -> tuple[tuple[int, ...], ...]:
    """What each byte of a CRC-32 becomes when ``length`` bytes are appended, for each of its four places."""
    shift = _shift(length)
    return tuple(tuple(_multiplied(value << 8 * place, shift) for value in range(256)) for place in range(SIZE))
