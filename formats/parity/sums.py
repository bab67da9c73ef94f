"""The sums of the parity code over whole blocks, computed with numpy (docs/parity.md specifies the code).

Bytes are handled in tiles of `TILE` bytes, each of eight strips: strip s of a tile holds bit s of all its symbols. So
adding is one exclusive or of all bytes, doubling renames strips (and adds one of them to three others), and no product
is looked up in a table. A `Solver` serves one thread and is used again and again, because fresh memory costs more time
than the sums. Each operation covers many bytes, because each takes and releases the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from formats.parity.field import THIRD, bit_rows, exponents, power, solution

TILE = 128 << 10
"""Bytes in a tile. The last tile of a block may be shorter."""
NEAR = 8
"""The most doublings of a sum for each three columns; beyond that, multiplying takes fewer operations."""
_CUBE_ROOT = power(THIRD)
_SCRATCH = 22
"""Number of sums of two, three or four of four strips, for both halves of the eight strips."""

_Array: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
Load = Callable[[int, memoryview], bool]
"""``load(column, into)`` fills ``into`` with the column's bytes and returns True; it returns False, and fills nothing,
where all of them are zero."""


class Solver:
    """Computes lost columns from the others, in buffers of its own.

    A stripe has up to ``size`` bytes a column, and at most ``checks`` columns are lost.
    """

    def __init__(self, size: int, checks: int) -> None:
        self._loaded = [np.zeros(size, np.uint8) for _ in range(3)]
        self._turned = np.zeros(size, np.uint8)
        self._scratch = np.zeros((size * _SCRATCH + 7) // 8, np.uint8)
        self._sums = [np.zeros(size, np.uint8) for _ in range(checks)]
        self._made = [np.zeros(size, np.uint8) for _ in range(checks)]

    @staticmethod
    def memory(checks: int) -> int:
        """Bytes of memory for each byte of ``size``, with the columns returned (which exist twice for a moment)."""
        return 4 * checks + 8

    def recover(
        self, load: Load, known: Sequence[int], lost: Sequence[int], wanted: Sequence[int], length: int
    ) -> list[bytes]:
        """Compute the ``wanted`` ones of the ``lost`` columns, ``length`` bytes each, from the ``known`` ones.

        ``length`` is at most ``size``, and a multiple of `TILE`, or less than that and a multiple of 8. Errors of
        ``load`` pass through.
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
        """Compute all sums, from the last three columns to the first.

        Exponents up to `NEAR` use Horner's rule, larger ones multiplication.
        """
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
        """The sums a + b + c, a + wb + w²c and a + w²b + wc of three columns; an empty list if all are zero.

        w is the cube root of one. As w² = w + 1, the second and the third sum need one product alone, w(b + c). With
        one check, only the first sum is made.
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
        """Add ``strips`` times each factor of ``wanted`` to its array; sums that products share are made once."""
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
    """A sum being computed. Bit s of it is strip (s + turn) mod 8 of its array, so that doubling moves no bytes."""

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
        """Add bit 0 to bits 2, 3 and 4, because x^8 = x^4 + x^3 + x^2 + 1."""
        low = self.array[:, self._turn : self._turn + 1]
        first = (self._turn + 2) % 8
        last = first + 3
        for start, end in ((first, min(last, 8)), (0, last - 8)):
            if end > start:
                bits = self.array[:, start:end]
                np.bitwise_xor(bits, low, out=bits)
