"""Large files, read and written piece by piece: threads hash and write the pieces before while the next one is read.

Pieces are written past the system's cache where the file system lets us (``O_DIRECT``): it saves a copy of every byte
and the work of keeping and dropping pages that nobody reads again soon, and no flush at the end has to wait for them.
Where it does not, the system is asked for every `WRITE_OUT` bytes to put them on the disk.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator, Sequence
from mmap import mmap
from typing import BinaryIO

from courier.files import WRITE_OUT
from formats.digest import SideWork

PIECE = 4 << 20
"""Bytes read at a time. A content of fewer bytes is not worth the threads."""
_BUFFERS = 5
"""Pieces in memory: one is read, and a thread works on one and has two before it."""
_PAGE = 4096
"""What offset, length and place in memory of a write past the cache are multiples of: enough for the disks of today."""


class Pieces:
    """Memory for the pieces of one stream at a time. It is used again and again, and taken when it is first needed.

    In it a byte lies as far from the beginning of a page as it does in its content: writing past the cache asks for it.
    """

    def __init__(self) -> None:
        self._buffers: list[memoryview] = []

    def pour(
        self, source: BinaryIO, works: Sequence[SideWork], *, at: int = 0, length: int | None = None
    ) -> Iterator[int]:
        """Read ``source`` on, hand every piece to all ``works``, and yield its bytes; at the end all have done theirs.

        ``at``: how many bytes of the content came before. ``length``: how many are read, to the end if None. Fewer are
        where the source ends. Raises what reading raises, and what the works raise.
        """
        ends: deque[list[int]] = deque()
        buffers, self._buffers = self._buffers, []
        number = 0
        while length is None or length:
            if len(ends) == _BUFFERS:
                _wait(works, ends.popleft())
            if number == len(buffers):
                buffers.append(memoryview(mmap(-1, PIECE)))
            start = at % PIECE
            room = buffers[number][start:] if length is None else buffers[number][start : start + length]
            count = _fill(source, room)
            if count:
                for work in works:
                    work.update(room[:count])
                ends.append([work.count for work in works])
                at += count
                length = None if length is None else length - count
                yield count
            if count < len(room):
                break
            number = (number + 1) % _BUFFERS
        _wait(works, [work.count for work in works])
        # Not where an error has ended this: a thread may be at work on them still.
        self._buffers = buffers


def _wait(works: Sequence[SideWork], counts: Sequence[int]) -> None:
    for work, count in zip(works, counts, strict=True):
        work.wait_for(count)


def _fill(source: BinaryIO, room: memoryview) -> int:
    done = 0
    while done < len(room) and (count := source.readinto(room[done:])):  # type: ignore[attr-defined]
        done += count
    return done


class PieceWriter(SideWork):
    """Writes the pieces of `Pieces` to an open file from byte ``at`` on, in a thread of its own.

    ``descriptor`` is used by nobody else meanwhile. What `close` has not waited for may not be there.
    """

    def __init__(self, descriptor: int, at: int = 0) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._at = at
        self._unwritten = 0
        self._is_direct = False
        self._can_be_direct = True

    def _take(self, data: bytes | memoryview) -> None:
        self._put(memoryview(data))

    def _put(self, data: memoryview) -> None:
        """Write the next bytes of the content."""
        while data:
            # An unaligned beginning or end goes through the cache.
            head = -self._at % _PAGE or len(data) // _PAGE * _PAGE or len(data)
            data = data[self._write(data[:head]) :]

    def _write(self, data: memoryview) -> int:
        self._be_direct(self._can_be_direct and not (self._at % _PAGE or len(data) % _PAGE))
        os.lseek(self._descriptor, self._at, os.SEEK_SET)
        try:
            count = os.write(self._descriptor, data)
        except OSError as error:
            if not self._is_direct or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            self._can_be_direct = False
            return 0
        self._at += count
        if not self._is_direct:
            self._write_out(count)
        return count

    def _be_direct(self, wanted: bool) -> None:
        if wanted == self._is_direct:
            return
        if set_direct(self._descriptor, wanted):
            self._is_direct = wanted
        else:
            self._can_be_direct = False

    def _write_out(self, count: int) -> None:
        self._unwritten += count
        if self._unwritten >= WRITE_OUT and hasattr(os, "posix_fadvise"):
            # Linux starts to write what it is told to drop from memory, and does not wait for it.
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            self._unwritten = 0

    def _leave_out(self, count: int) -> None:
        """Go on after a hole."""
        self._at += count


def set_direct(descriptor: int, wanted: bool) -> bool:
    """Have an open file written past the system's cache, or not any more; False where the system cannot."""
    try:
        import fcntl

        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        direct = os.O_DIRECT
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | direct if wanted else flags & ~direct)
    except (ImportError, AttributeError, OSError):
        return False
    return True
