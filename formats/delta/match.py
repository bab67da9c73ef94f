"""Finding what a content has in common with its bases: steps that copy from them, add new bytes, or add zeros.

Pieces of the bases are found again by a digest of their bytes, compared byte for byte, and lengthened to both sides.
Similar but unequal bytes are left to the compressor, which gets what lies beside them in the base.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from formats.delta.cut import average_for, pieces_of
from formats.delta.rows import MAX_STEPS

COPY, NEW, ZERO = 0, 1, 2
_OFFSET_BITS = 48
_LEAST_COPY = 64
"""A copy of fewer bytes costs about as much as the bytes, packed."""
_BACK = 64 << 10
"""A copy is lengthened to its front by so many bytes, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """A content that may be copied from; ``source`` can be sought in, and has ``size`` bytes with this SHA-256."""

    sha256: str
    size: int
    source: BinaryIO


class TooManyStepsError(Exception):
    """A content has so many small pieces in common with its bases that a recipe would be longer than allowed."""


class Steps:
    """Steps in their order, in little memory: (kind, base, offset, length). The offset of new bytes is their own."""

    def __init__(self) -> None:
        self._kinds, self._bases = array("B"), array("B")
        self._offsets, self._lengths = array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        return zip(self._kinds, self._bases, self._offsets, self._lengths, strict=True)

    def at(self, index: int) -> tuple[int, int, int, int]:
        """One step."""
        return self._kinds[index], self._bases[index], self._offsets[index], self._lengths[index]

    def add(self, kind: int, base: int, offset: int, length: int) -> None:
        """Append a step, or lengthen the last one where this goes on with it; none of 0 bytes."""
        if not length:
            return
        if self._kinds and self._kinds[-1] == kind:
            goes_on = self._bases[-1] == base and self._offsets[-1] + self._lengths[-1] == offset
            if kind == ZERO or goes_on:
                self._lengths[-1] += length
                return
        if len(self._kinds) * 2 >= MAX_STEPS:  # frames take lines, too
            raise TooManyStepsError
        self._kinds.append(kind)
        self._bases.append(base)
        self._offsets.append(offset)
        self._lengths.append(length)

    def shorten(self, length: int) -> None:
        """Take ``length`` bytes off the end of the last step."""
        self._lengths[-1] -= length
        if not self._lengths[-1]:
            for column in (self._kinds, self._bases, self._offsets, self._lengths):
                column.pop()


class Index:
    """Where the pieces of some bases lie."""

    def __init__(self, bases: Sequence[Base]) -> None:
        self.bases = bases
        self.average = average_for(sum(base.size for base in bases))
        self.wrong: list[Base] = []
        """Bases that are not what their SHA-256 says, once `fill` was called."""
        self._places: dict[int, int] = {}

    def fill(self) -> None:
        """Read all bases."""
        for number, base in enumerate(self.bases):
            base.source.seek(0)
            offset, whole = 0, hashlib.sha256()
            for piece in pieces_of(base.source, self.average):
                whole.update(piece)
                if not is_zero(piece):
                    self._places.setdefault(_key(piece), number << _OFFSET_BITS | offset)
                offset += len(piece)
            if whole.hexdigest() != base.sha256:
                self.wrong.append(base)

    def find(self, piece: bytes) -> tuple[int, int] | None:
        """(base, offset) of these bytes in a base; None where they are in none."""
        place = self._places.get(_key(piece))
        if place is None:
            return None
        number, offset = place >> _OFFSET_BITS, place & (1 << _OFFSET_BITS) - 1
        return (number, offset) if self.read(number, offset, len(piece)) == piece else None

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes of a base from ``offset``; fewer at its end."""
        source = self.bases[number].source
        source.seek(offset)
        return source.read(length)


def _key(piece: bytes) -> int:
    return int.from_bytes(hashlib.sha256(piece).digest()[:8], "big")


def is_zero(data: bytes) -> bool:
    """Whether there are only zeros in ``data``, of one byte or more."""
    return not data[0] and data.count(0) == len(data)


def steps_of(source: BinaryIO, index: Index) -> Steps:
    """The steps that make the bytes of ``source``, from its start to its end, of the bases of an index.

    Raises `TooManyStepsError`.
    """
    steps, at, before = Steps(), 0, b""
    for piece in pieces_of(source, index.average):
        if is_zero(piece):
            steps.add(ZERO, 0, 0, len(piece))
        else:
            _add(steps, index, piece, at, before)
        at += len(piece)
        before = (before + piece)[-_BACK:]
    return steps


def _add(steps: Steps, index: Index, piece: bytes, at: int, before: bytes) -> None:
    """Add the steps for one piece, which stands ``at`` so many bytes; ``before``: the bytes before it."""
    common = 0
    if len(steps):
        kind, base, offset, length = steps.at(-1)
        if kind == COPY:
            following = index.read(base, offset + length, len(piece))
            common = _common_start(following, piece)
            if common == len(piece):
                steps.add(COPY, base, offset + length, common)
                return
    found = index.find(piece)
    if found is None:
        if common >= _LEAST_COPY:
            steps.add(COPY, base, offset + length, common)
        else:
            common = 0
        steps.add(NEW, 0, at + common, len(piece) - common)
        return
    number, start = found
    back = 0
    if len(steps) and steps.at(-1)[0] == NEW:
        most = min(steps.at(-1)[3], start, len(before))
        back = _common_end(index.read(number, start - most, most), before[len(before) - most :])
        steps.shorten(back) if back else None
    steps.add(COPY, number, start - back, back + len(piece))


def _common_start(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low + 1 < high:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low if low == high or one[low] != other[low] else low + 1


def _common_end(one: bytes, other: bytes) -> int:
    """How many bytes both end with; they have the same length."""
    low, high, size = 0, len(one), len(one)
    if one == other:
        return size
    while low + 1 < high:
        middle = (low + high) // 2
        if one[size - middle : size - low] == other[size - middle : size - low]:
            low = middle
        else:
            high = middle
    return low if one[size - low - 1] != other[size - low - 1] else low + 1
