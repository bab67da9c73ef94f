"""Writing a recipe for steps that were found: frames of new bytes, packed after what lies beside them in the bases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from formats.codecs.prefix import LEAST_PREFIX, MAX_PREFIX, pack_with_prefix
from formats.delta.match import COPY, NEW, ZERO, Base, Index, Steps, steps_of
from formats.delta.rows import MAX_RANGES, CopyRow, FrameRow, NewRow, StepRow, ZeroRow

FRAME = 8 << 20
"""New bytes of a frame, at most: less than the format allows, so that the encoder stays well within 256 MiB."""
PREFIX = 16 << 20
"""Bytes of a prefix, at most, likewise."""
WHOLE_BASE = PREFIX
"""Bases of so many bytes together are the prefix as a whole, for a content that fits into one frame."""
_BESIDE = (1 << 20, 256 << 10, 64 << 10, 16 << 10)
"""How many bytes beside a copy go into the prefix, at most: as many as leave room for what lies beside all copies."""
_LEVELS = (3, 9)
_SMALL = 4 << 20
_SMALL_LEVEL = 19
"""A slow level that is tried as well for less than `_SMALL` bytes."""


def find_steps(source: BinaryIO, size: int, index: Index) -> Steps:
    """The steps for a content of ``size`` bytes. Where it and its bases are small, the compressor finds all of them."""
    source.seek(0)
    if size <= FRAME and sum(base.size for base in index.bases) <= WHOLE_BASE:
        steps = Steps()
        steps.add(NEW, 0, 0, size)
        return steps
    return steps_of(source, index)


def used_bases(steps: Steps, bases: Sequence[Base]) -> tuple[int, ...]:
    """The bases that steps copy from; all of them where nothing is copied, because then they are the prefix."""
    copied = sorted({base for kind, base, _, _ in steps if kind == COPY})
    return tuple(copied) or tuple(range(len(bases)))


def write_steps(
    source: BinaryIO, index: Index, steps: Steps, used: Sequence[int], patch: BinaryIO
) -> Iterator[StepRow]:
    """The lines of a recipe; its new bytes are packed into ``patch`` as the lines are asked for.

    ``source`` is the content, ``used`` says which bases get a number.
    """
    numbers = {base: number for number, base in enumerate(used)}
    pending: list[StepRow] = []
    places: list[tuple[int, int]] = []
    fresh: list[tuple[int, int]] = []
    filled = 0
    for at in range(len(steps)):
        kind, base, offset, length = steps.at(at)
        if kind == COPY:
            pending.append(CopyRow(base=numbers[base], offset=offset, length=length))
        elif kind == ZERO:
            pending.append(ZeroRow(length=length))
        while kind == NEW and length:
            if filled == FRAME:
                prefix = _prefix(steps, places, index, used)
                yield from _framed(source, index, fresh, prefix, used, pending, patch)
                pending, places, fresh, filled = [], [], [], 0
            taken = min(length, FRAME - filled)
            pending.append(NewRow(length=taken))
            fresh.append((offset, taken))
            places.append((at, taken))
            offset, length, filled = offset + taken, length - taken, filled + taken
        if not fresh and len(pending) > 1024:
            yield from pending
            pending = []
    if fresh:
        yield from _framed(source, index, fresh, _prefix(steps, places, index, used), used, pending, patch)
    else:
        yield from pending


def _whole(index: Index, used: Sequence[int]) -> list[tuple[int, int, int]]:
    return [(base, 0, index.bases[base].size) for base in used]


def _prefix(
    steps: Steps, places: Sequence[tuple[int, int]], index: Index, used: Sequence[int]
) -> list[tuple[int, int, int]]:
    """The ranges of a frame's prefix; ``places``: the steps that its new bytes are of, and how many of each."""
    if not any(kind == COPY for kind, _, _, _ in steps):
        return _merged(_whole(index, used), PREFIX)
    for beside in _BESIDE:
        ranges = [one for at, length in places for one in _beside(steps, at, 2 * length + beside, index)]
        whole = _merged(ranges, MAX_PREFIX)
        if sum(length for _, _, length in whole) <= PREFIX:
            return whole
    return _merged(ranges, PREFIX)


def _beside(steps: Steps, at: int, room: int, index: Index) -> Iterator[tuple[int, int, int]]:
    """What lies in the bases where new bytes stand: after the copy before them, and before the copy after them."""
    before = steps.at(at - 1) if at and steps.at(at - 1)[0] == COPY else None
    after = steps.at(at + 1) if at + 1 < len(steps) and steps.at(at + 1)[0] == COPY else None
    if before is not None:
        base, start = before[1], before[2] + before[3]
        end = min(start + room, index.bases[base].size)
        yield base, start, end - start
    if after is not None:
        base, end = after[1], after[2]
        start = max(0, end - room)
        yield base, start, end - start


def _merged(ranges: Sequence[tuple[int, int, int]], most: int) -> list[tuple[int, int, int]]:
    """The ranges in order, none overlapping or touching another, ``most`` bytes and `MAX_RANGES` at most."""
    found: list[tuple[int, int, int]] = []
    for base, offset, length in sorted(ranges):
        if found and found[-1][0] == base and offset <= found[-1][1] + found[-1][2]:
            end = max(found[-1][1] + found[-1][2], offset + length)
            found[-1] = base, found[-1][1], end - found[-1][1]
        elif length:
            found.append((base, offset, length))
    total, kept = 0, []
    for base, offset, length in found[:MAX_RANGES]:
        taken = min(length, most - total)
        if taken:
            kept.append((base, offset, taken))
            total += taken
    return kept if total >= LEAST_PREFIX else []


def _framed(
    source: BinaryIO,
    index: Index,
    fresh: Sequence[tuple[int, int]],
    ranges: Sequence[tuple[int, int, int]],
    used: Sequence[int],
    pending: Sequence[StepRow],
    patch: BinaryIO,
) -> Iterator[StepRow]:
    """The line of a frame with these new bytes, and the lines that use them."""
    data = b"".join(_read(source, offset, length) for offset, length in fresh)
    numbers = {base: number for number, base in enumerate(used)}
    prefix = b"".join(index.read(base, offset, length) for base, offset, length in ranges)
    packed = _packed(data, prefix)
    patch.write(packed)
    first = next(n for n, row in enumerate(pending) if isinstance(row, NewRow))
    yield from pending[:first]
    yield FrameRow(
        size=len(packed),
        length=len(data),
        prefix=tuple((numbers[base], offset, length) for base, offset, length in ranges),
    )
    yield from pending[first:]


def _packed(data: bytes, prefix: bytes) -> bytes:
    """The smallest of the frames that several levels make: which is best differs from content to content."""
    levels = (*_LEVELS, _SMALL_LEVEL) if len(data) + len(prefix) < _SMALL else _LEVELS
    return min((pack_with_prefix(data, prefix, level=level) for level in levels), key=len)


def _read(source: BinaryIO, offset: int, length: int) -> bytes:
    source.seek(offset)
    pieces = []
    while length and (data := source.read(length)):
        pieces.append(data)
        length -= len(data)
    return b"".join(pieces)
