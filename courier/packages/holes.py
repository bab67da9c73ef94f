"""Holes of sparse files: runs of zeros that take no room on the disk, found where the system tells of them.

On systems and file systems that know no holes a file has none.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
from collections.abc import Iterator

from formats.holes import BLOCK, MAX_HOLES

_NO_HOLES = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}


def find_holes(descriptor: int, size: int) -> tuple[tuple[int, int], ...]:
    """The holes of an open file of ``size`` bytes, as (offset, length) in order; none where the system has none.

    Of a file with more than `MAX_HOLES` the longest count. What was just written is flushed first: some file systems
    do not tell the truth before.
    """
    if not hasattr(os, "SEEK_HOLE"):
        return ()
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        longest = heapq.nlargest(MAX_HOLES, _whole_blocks(descriptor, size), key=lambda hole: hole[1])
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
