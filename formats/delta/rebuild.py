"""Making a content by its recipe, from its bases and its patch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from formats.codecs.prefix import unpack_with_prefix
from formats.delta.rows import CopyRow, FrameRow, NewRow, StepRow, ZeroRow
from formats.digest import CHUNK
from formats.errors import MalformedError

_ZEROS = bytes(CHUNK)


def rebuilt(
    steps: Iterable[StepRow], bases: Sequence[BinaryIO], patch: BinaryIO | None, *, place: str
) -> Iterator[bytes]:
    """The bytes of a content, in pieces of bounded size. The caller compares their digest: nothing else proves them.

    ``steps`` have been judged (`formats.delta.rows.RecipeCheck`); ``bases`` are in the order of the recipe and can be
    sought in, ``patch`` is read from its start. At most a prefix and a frame are in memory. Raises `MalformedError`,
    which names ``place``, for a frame that does not fit, and where a base or the patch ends early.
    """
    new, used = memoryview(b""), 0
    for step in steps:
        match step:
            case FrameRow():
                frame = _exactly(patch, step.size, place)
                new, used = (
                    memoryview(unpack_with_prefix(frame, _prefix(step, bases, place), step.length, place=place)),
                    0,
                )
            case CopyRow():
                yield from _copied(bases[step.base], step.offset, step.length, place)
            case NewRow():
                for at in range(used, used + step.length, CHUNK):
                    yield bytes(new[at : min(at + CHUNK, used + step.length)])
                used += step.length
            case ZeroRow():
                for at in range(0, step.length, CHUNK):
                    yield _ZEROS[: step.length - at]


def _prefix(step: FrameRow, bases: Sequence[BinaryIO], place: str) -> bytes:
    return b"".join(
        piece for base, offset, length in step.prefix for piece in _copied(bases[base], offset, length, place)
    )


def _copied(base: BinaryIO, offset: int, length: int, place: str) -> Iterator[bytes]:
    base.seek(offset)
    while length:
        data = base.read(min(CHUNK, length))
        if not data:
            raise MalformedError("a base ends early", place=place)
        length -= len(data)
        yield data


def _exactly(patch: BinaryIO | None, size: int, place: str) -> bytes:
    pieces, left = [], size
    while left and patch is not None and (data := patch.read(left)):
        pieces.append(data)
        left -= len(data)
    if left:
        raise MalformedError("the patch ends early", place=place)
    return b"".join(pieces)
