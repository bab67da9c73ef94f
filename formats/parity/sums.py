"""The sums of the parity code over whole blocks, by exclusive or of long strips (numpy); the code is docs/parity.md.

Bytes are worked on in tiles of `TILE` bytes, each of eight strips: strip s of a tile holds bit s of all its symbols.
So adding is one exclusive or of everything, doubling renames strips (and adds one of them to three others), and no
multiplication looks anything up. One `Workshop` serves one thread; it is made once, as fresh memory costs more than
the sums. Operations are kept long, because each of them takes and lets go of the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from formats.parity.field import THIRD, bit_rows, exponents, power, solution

TILE = 128 << 10
"""Bytes in a tile, but for the last of a block, which may be short."""
NEAR = 8
"""A sum is doubled up to so many times for each three of columns; multiplying takes fewer operations from there on."""
_CUBE_ROOT = power(THIRD)
_SCRATCH = 22
"""Sums of two to four out of four strips, for both halves of the eight."""

_Array: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
Load = Callable[[int, memoryview], bool]
"""``load(column, into)`` fills ``into`` with the column's bytes; False, and nothing filled, where all are zero."""


class Workshop:
    """Buffers for stripes of up to ``size`` bytes a column, ``checks`` sums and as many columns to give back."""

    def __init__(self, size: int, checks: int) -> None:
        self._loaded = [np.zeros(size, np.uint8) for _ in range(3)]
        self._turned = np.zeros(size, np.uint8)
        self._scratch = np.zeros((size * _SCRATCH + 7) // 8, np.uint8)
        self._sums = [np.zeros(size, np.uint8) for _ in range(checks)]
        self._made = [np.zeros(size, np.uint8) for _ in range(checks)]

    @staticmethod
    def memory(checks: int) -> int:
        """Bytes used for each byte of ``size``: the buffers, and the columns given back, twice on their way out."""
        return 4 * checks + 8

    def recover(
        self, load: Load, known: Sequence[int], lost: Sequence[int], wanted: Sequence[int], length: int
    ) -> list[bytes]:
        """The ``wanted`` ones of the ``lost`` columns, ``length`` bytes each, out of the ``known`` ones.

        ``length`` is at most ``size``; a multiple of `TILE`, or below it and a multiple of 8. Errors of ``load``
        pass through.
        """
        shape = (length // TILE, 8, TILE // 8) if length >= TILE else (1, 8, length // 8)
        self._shape, self._length = shape, length
        powers = exponents(len(lost))
        sums = [_Sum(self._sums[at][:length].reshape(shape)) for at in range(len(lost))]
        self._add_up(load, known, powers, sums)
        rows = solution(tuple(lost), tuple(wanted))
        strips = [total.strips() for total in sums]
        made = [self._made[at][:length].reshape(shape) for at in range(len(wanted))]
        for array in made:
            array.fill(0)
        for at, addend in enumerate(strips):
            self._add_products(addend, [(row[at], array) for row, array in zip(rows, made, strict=True)])
        return [array.tobytes() for array in made]

    def _add_up(self, load: Load, known: Sequence[int], powers: range, sums: Sequence[_Sum]) -> None:
        """From the last three of columns to the first: by Horner's rule near zero, by multiplication beyond `NEAR`."""
        there = set(known)
        paired = list(zip(powers, sums, strict=True))
        near = [(exponent, total) for exponent, total in paired if abs(exponent) <= NEAR]
        far = [(exponent, total) for exponent, total in paired if abs(exponent) > NEAR]
        for three in range(max(known) // 3, -1, -1):
            parts = self._three(load, [3 * three + at in there for at in range(3)], three, len(powers))
            for exponent, total in near:
                total.double(exponent)
                if parts:
                    total.add(parts[exponent % 3])
            for at, part in enumerate(parts if far else ()):
                products = [(power(exponent * three), total.array) for exponent, total in far if exponent % 3 == at]
                self._add_products([part[:, strip] for strip in range(8)], products)

    def _three(self, load: Load, there: Sequence[bool], three: int, checks: int) -> list[_Array]:
        """a + b + c, a + wb + w²c and a + w²b + wc of three columns, w the cube root of one; none if all are zero.

        Both others are had from one product: w(b + c), as w² = w + 1. What ``checks`` do not need is not made.
        """
        views = [buffer[: self._length] for buffer in self._loaded]
        filled = [have and load(3 * three + at, views[at].data) for at, have in enumerate(there)]
        if not any(filled):
            return []
        for view, full in zip(views, filled, strict=True):
            if not full:
                view.fill(0)
        a, b, c = (view.reshape(self._shape) for view in views)
        np.bitwise_xor(b, c, out=b)
        if checks == 1:
            np.bitwise_xor(a, b, out=a)
            return [a]
        turned = self._turned[: self._length].reshape(self._shape)
        turned.fill(0)
        self._add_products([b[:, strip] for strip in range(8)], [(_CUBE_ROOT, turned)])
        np.bitwise_xor(c, a, out=c)
        np.bitwise_xor(c, turned, out=c)
        np.bitwise_xor(a, b, out=a)
        np.bitwise_xor(b, c, out=b)
        return [a, c, b]

    def _add_products(self, strips: Sequence[_Array], wanted: Sequence[tuple[int, _Array]]) -> None:
        """Add ``strips`` times each factor to its array; what several products sum up alike is made once."""
        size = self._length // 8
        halves = [{1 << at: strips[half + at] for at in range(4)} for half in (0, 4)]
        used = 0

        def sum_of(half: int, mask: int) -> _Array:
            nonlocal used
            have = halves[half]
            if mask not in have:
                least = mask & -mask
                out = self._scratch[used * size : (used + 1) * size].reshape(self._shape[0], self._shape[2])
                used += 1
                have[mask] = np.bitwise_xor(sum_of(half, mask ^ least), have[least], out=out)
            return have[mask]

        for factor, array in wanted:
            for bit, mask in enumerate(bit_rows(factor)):
                out = array[:, bit]
                for half, part in ((0, mask & 15), (1, mask >> 4)):
                    if part:
                        np.bitwise_xor(out, sum_of(half, part), out=out)


class _Sum:
    """One sum under way: bit s of it is strip (s + turn) mod 8 of its array, so that doubling moves nothing."""

    def __init__(self, array: _Array) -> None:
        self.array = array
        self._turn = 0
        array.fill(0)

    def strips(self) -> list[_Array]:
        """The eight strips, bit 0 first."""
        return [self.array[:, (bit + self._turn) % 8] for bit in range(8)]

    def add(self, part: _Array) -> None:
        """Add ``part``, whose strips are in order."""
        array, turn = self.array, self._turn
        head, tail = array[:, turn:], array[:, :turn]
        np.bitwise_xor(head, part[:, : 8 - turn], out=head)
        if turn:
            np.bitwise_xor(tail, part[:, 8 - turn :], out=tail)

    def double(self, exponent: int) -> None:
        """Multiply by 2 to the power of ``exponent``."""
        for _ in range(exponent):
            self._turn = (self._turn - 1) % 8
            self._carry()
        for _ in range(-exponent):
            self._carry()
            self._turn = (self._turn + 1) % 8

    def _carry(self) -> None:
        """Add bit 0 to bits 2, 3 and 4: the bit that leaves at the top comes back as x^4 + x^3 + x^2 + 1."""
        low = self.array[:, self._turn : self._turn + 1]
        first = (self._turn + 2) % 8
        last = first + 3
        for start, end in ((first, min(last, 8)), (0, last - 8)):
            if end > start:
                bits = self.array[:, start:end]
                np.bitwise_xor(bits, low, out=bits)
