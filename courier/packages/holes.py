"""Holes of sparse files: runs of zeros that take no room on the disk, found where the system tells of them.

On systems and file systems that know no holes a file has none.
"""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Iterable, Iterator

BLOCK = 4096
"""Holes are whole multiples of this many bytes, but for one at the end of a file."""
MOST_HOLES = 1 << 17
"""Holes that are kept of one file: the longest ones; the others are data of zeros."""
_NO_HOLES = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}


def find_holes(descriptor: int, size: int) -> tuple[tuple[int, int], ...]:
    """The holes of an open file of ``size`` bytes, as (offset, length) in order; none where the system has none."""
    if not hasattr(os, "SEEK_HOLE"):
        return ()
    try:
        longest = heapq.nlargest(MOST_HOLES, _whole_blocks(descriptor, size), key=lambda hole: hole[1])
    except OSError as error:
        if error.errno not in _NO_HOLES:
            raise
        return ()
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return tuple(sorted(longest))


def _whole_blocks(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Every hole as (offset, length), cut to whole blocks."""
    at = 0
    while at < size:
        start = min(os.lseek(descriptor, at, os.SEEK_HOLE), size)
        if start >= size:
            return
        at = _next_data(descriptor, start, size)
        first = -(-start // BLOCK) * BLOCK
        last = at if at == size else at // BLOCK * BLOCK
        if last > first and (last - first >= BLOCK or first == 0):
            yield first, last - first


def _next_data(descriptor: int, start: int, size: int) -> int:
    try:
        return min(os.lseek(descriptor, start, os.SEEK_DATA), size)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data after it
            return size
        raise


def data_runs(size: int, holes: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The runs (offset, length) of a file of ``size`` bytes that are not holes, in order."""
    at = 0
    for offset, length in holes:
        if offset > at:
            yield at, offset - at
        at = offset + length
    if at < size:
        yield at, size - at
