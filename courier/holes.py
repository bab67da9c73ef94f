"""Holes of sparse files: found where the system tells of them, and left out where content is written.

A hole is a run of zeros that takes no room on the disk. Systems and file systems without holes are served too: there a
file has none, and what is written takes the room of its zeros.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

BLOCK = 4096
"""Holes are whole multiples of this many bytes, but for one at the end of a file."""
MOST_HOLES = 4096
"""Holes that are kept of one file: the longest ones; the others are data of zeros."""
_NO_HOLES = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}


def find_holes(source: BinaryIO, size: int) -> tuple[tuple[int, int], ...]:
    """The holes of an open file of ``size`` bytes, as (offset, length) in order; none where the system has none."""
    if not hasattr(os, "SEEK_HOLE"):
        return ()
    found, at = [], 0
    descriptor = source.fileno()
    try:
        while at < size:
            start = min(os.lseek(descriptor, at, os.SEEK_HOLE), size)
            if start >= size:
                break
            at = _next_data(descriptor, start, size)
            found.append((start, at))
    except OSError as error:
        if error.errno not in _NO_HOLES:
            raise
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return _kept(found, size)


def _next_data(descriptor: int, start: int, size: int) -> int:
    try:
        return min(os.lseek(descriptor, start, os.SEEK_DATA), size)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data after it
            return size
        raise


def _kept(found: Iterable[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """Holes (start, end) as (offset, length) of whole blocks, the longest `MOST_HOLES` of them."""
    whole = []
    for start, end in found:
        first = -(-start // BLOCK) * BLOCK
        last = end if end == size else end // BLOCK * BLOCK
        if last > first and (last - first >= BLOCK or first == 0):
            whole.append((first, last - first))
    longest = sorted(whole, key=lambda hole: -hole[1])[:MOST_HOLES]
    return tuple(sorted(longest))


def data_runs(size: int, holes: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The runs (offset, length) of a file of ``size`` bytes that are not holes, in order."""
    at = 0
    for offset, length in holes:
        if offset > at:
            yield at, offset - at
        at = offset + length
    if at < size:
        yield at, size - at


def write_sparse(out: BinaryIO, data: bytes | memoryview) -> None:
    """Write ``data`` at the position of ``out``; blocks of zeros are passed over and become holes.

    The file must be new. Call `end_sparse` when all has been written.
    """
    view = memoryview(data)
    zeros = bytes(BLOCK)
    start = at = 0
    position = out.tell()
    # Only whole blocks of the file, not of the piece, can be holes.
    first = -position % BLOCK
    while at < len(view):
        step = first if at == 0 and first else BLOCK
        block = view[at : at + step]
        if len(block) == BLOCK and block == zeros:
            if at > start:
                out.write(view[start:at])
            out.seek(BLOCK, os.SEEK_CUR)
            start = at + BLOCK
        at += len(block)
    if start < len(view):
        out.write(view[start:])


def end_sparse(out: BinaryIO) -> None:
    """Give a file that was written with `write_sparse` its whole length."""
    out.truncate(out.tell())
