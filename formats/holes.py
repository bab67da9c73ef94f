"""Hole maps: which runs of a sparse file are zeros that take no room.

A map is a flat sequence of lengths in bytes, ``(data, hole, data, hole, ...)``: so many bytes of data, then so many of
a hole, and so on; what follows the last hole is data. Only the first ``data`` may be 0. All lengths are whole blocks of
4,096 bytes, but for a hole that ends the file. The map is only advice where to save room: the bytes of the file, and
its SHA-256, have zeros there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from formats.errors import MalformedError, TooLargeError

BLOCK = 4096
"""Data and holes are whole multiples of this many bytes, but for a hole at the end of a file."""
MAX_HOLES = 1 << 16
"""The most holes of one file; of a file with more the longest count, the others are data of zeros."""

HoleMap = tuple[int, ...]


def check_holes(holes: Sequence[int], size: int, *, place: str = "holes") -> None:
    """Raise `MalformedError` or `TooLargeError` for what is no hole map of a file of ``size`` bytes."""
    if len(holes) > 2 * MAX_HOLES:
        raise TooLargeError(f"more than {MAX_HOLES} holes in one file", place=place)
    if len(holes) % 2:
        raise MalformedError("ends with data: what follows the last hole is not listed", place=place)
    at = 0
    for n in range(0, len(holes), 2):
        data, hole = holes[n], holes[n + 1]
        if data % BLOCK or (data == 0 and n):
            raise MalformedError(f"data before a hole is not in blocks of {BLOCK} bytes", place=f"{place}[{n}]")
        at += data + hole
        if hole == 0 or at > size or (hole % BLOCK and at != size):
            raise MalformedError(
                f"a hole that is empty, reaches past the end, or is not in blocks of {BLOCK} bytes",
                place=f"{place}[{n + 1}]",
            )


def hole_runs(holes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The holes of a map as (offset, length), in order."""
    at = 0
    for n in range(0, len(holes), 2):
        at += holes[n]
        yield at, holes[n + 1]
        at += holes[n + 1]


def data_runs(holes: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """The runs (offset, length) of a file of ``size`` bytes that are not holes, in order."""
    at = 0
    for offset, length in hole_runs(holes):
        if offset > at:
            yield at, offset - at
        at = offset + length
    if at < size:
        yield at, size - at


def hole_map(runs: Iterable[tuple[int, int]]) -> HoleMap:
    """The map of holes (offset, length) that stand in order and do not touch."""
    lengths: list[int] = []
    at = 0
    for offset, length in runs:
        lengths += (offset - at, length)
        at = offset + length
    return tuple(lengths)


def hole_bytes(holes: Sequence[int]) -> int:
    """Bytes in all holes together."""
    return sum(holes[1::2])
