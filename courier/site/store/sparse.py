"""Writing content with holes: runs of zeros are left out of the file, which takes no room for them on the disk.

Where a file system has no holes, the system fills them with zeros, and the content is the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from courier.files import writing_out
from courier.uncached import PieceWriter

RUN = 64 << 10
"""Bytes of the shortest run of zeros that is left out, counted from a multiple of it in the content."""
_ZEROS = bytes(RUN)


class SparseWriter(AbstractContextManager["SparseWriter"]):
    """Writes at the end of a file that holds the first ``size`` bytes of a content; makes the file where it is new."""

    def __init__(self, path: Path, size: int) -> None:
        self._out = open(path, "wb", opener=_open)  # noqa: SIM115 (closed at the end of the block)
        self._at = size
        self._out.seek(size)
        self._rest = b""
        self._written = writing_out(self._out)

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        start = 0
        if self._rest or self._at % RUN:
            # What is left of the run in which the last piece ended.
            start = RUN - (self._at + len(self._rest)) % RUN
            self._rest += data[:start]
            if len(data) < start:
                return
            self._put_run(self._rest)
        view, at = memoryview(data), start
        while at + RUN <= len(data):
            if data.startswith(_ZEROS, at):
                self._put(view[start:at])
                self._leave_out(RUN)
                start = at + RUN
            at += RUN
        self._put(view[start:at])
        self._rest = data[at:]

    def _put_run(self, run: bytes) -> None:
        if _ZEROS.startswith(run):
            self._leave_out(len(run))
        else:
            self._put(run)

    def _put(self, data: bytes | memoryview) -> None:
        if len(data):
            self._out.write(data)
            self._at += len(data)
            self._written(len(data))

    def _leave_out(self, count: int) -> None:
        self._at += count
        self._out.seek(self._at)

    def __exit__(self, *_: object) -> None:
        """Write what is left, and give the file the size of the content so far."""
        try:
            self._put_run(self._rest)
            self._out.truncate(self._at)
        finally:
            self._out.close()


class SparsePieces(PieceWriter):
    """Writes pieces at the end of a file that holds the first ``size`` bytes of a content, in a thread of its own.

    The file is as `SparseWriter` makes it, once `finish` was called.
    """

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(_open(str(path), os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)), size)

    def _take(self, data: bytes | memoryview) -> None:
        view, start, at = memoryview(data), 0, 0
        while at < len(view):
            end = min(len(view), at + RUN - (self._at + at - start) % RUN)
            if not view[at] and not view[end - 1] and _ZEROS.startswith(view[at:end].tobytes()):
                self._put(view[start:at])
                self._leave_out(end - at)
                start = end
            at = end
        self._put(view[start:])

    def finish(self) -> None:
        """Write what is left, and give the file the size of the content so far."""
        self._settle()
        os.truncate(self._descriptor, self._at)

    def close(self) -> None:
        """End the thread, and close the file."""
        super().close()
        os.close(self._descriptor)


def left_out(holes: Iterable[tuple[int, int]], size: int) -> int:
    """Bytes that take no room here of a content of ``size`` bytes with these ``holes``, as (offset, length)."""
    total = 0
    for offset, length in holes:
        first, end = -(-offset // RUN) * RUN, offset + length
        last = end if end == size else end // RUN * RUN
        total += max(0, last - first)
    return total


def _open(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_TRUNC, 0o666)
