"""A large file while it is fetched: written in place block by block, each only after its digest was right.

What a kill leaves is read again: a block on the disk counts when its digest is right, so no record has to be kept in
step with the bytes. The file has holes where nothing came yet, and where the block is zeros; those are never fetched.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable

from courier.files import WRITE_OUT
from formats.blocks import BLOCK, BlockTable
from formats.documents.listing import FileEntry

_ZERO = hashlib.sha256(bytes(BLOCK)).digest()
_MISSING, _GOOD = 0, 1


class PartFile:
    """A file of ``entry`` that is open for writing as ``descriptor``. For use by several threads at one time."""

    def __init__(self, entry: FileEntry, descriptor: int, table: BlockTable) -> None:
        self.entry = entry
        self._descriptor = descriptor
        self._table = table
        self._state = bytearray(table.count(0))
        self._lock = threading.Lock()
        self._unwritten = 0
        self._closed = False
        self._users = 0
        self.avoid: set[int] = set()
        """Numbers of the sources that are not asked for it any more."""
        self.wrong: dict[tuple[int, int], int] = {}
        """How often a source, by its number, gave wrong bytes for a block."""
        self.streaming: set[int] = set()
        """Numbers of the sources that are sending it from its beginning, because they know no parts."""
        os.ftruncate(descriptor, entry.size)

    @property
    def blocks(self) -> int:
        """How many blocks it has."""
        return len(self._state)

    def length(self, block: int) -> int:
        """Bytes in a block."""
        return self._table.length(0, block)

    def is_good(self, block: int) -> bool:
        """Whether a block is there."""
        return self._state[block] == _GOOD

    @property
    def is_whole(self) -> bool:
        """Whether all blocks are there."""
        return _MISSING not in self._state

    def read_again(self, *, fresh: bool, check: Callable[[], None]) -> tuple[int, int]:
        """Find out which blocks are there; bytes of data that were there before, and bytes of blocks of zeros.

        ``fresh``: the file is new, so nothing is read. ``check`` is called between blocks; it raises to stop.
        """
        resumed = zeros = 0
        buffer = memoryview(bytearray(BLOCK))
        for block in range(self.blocks):
            length = self.length(block)
            digest = self._table.digest(0, block)
            zero = digest == (_ZERO if length == BLOCK else hashlib.sha256(bytes(length)).digest())
            if fresh or self._is_hole(block):
                if zero:
                    self._state[block] = _GOOD
                    zeros += length
                continue
            check()
            view = buffer[:length]
            if self._read(view, block) and hashlib.sha256(view).digest() == digest:
                self._state[block] = _GOOD
                resumed += length
            elif zero:
                self._write(memoryview(bytes(length)), block * BLOCK)
                self._state[block] = _GOOD
                zeros += length
        return resumed, zeros

    def _is_hole(self, block: int) -> bool:
        if not hasattr(os, "SEEK_DATA"):
            return False
        try:
            data = os.lseek(self._descriptor, block * BLOCK, os.SEEK_DATA)
        except OSError as error:
            return error.errno == errno.ENXIO  # no data from there on
        return data >= block * BLOCK + self.length(block)

    def missing(self, first: int, end: int) -> list[tuple[int, int]]:
        """The runs of blocks from ``first`` to before ``end`` that are not there: each its first and its end."""
        runs: list[tuple[int, int]] = []
        block = first
        while 0 <= (begin := self._state.find(_MISSING, block, end)) < end:
            after = self._state.find(_GOOD, begin, end)
            block = end if after < 0 else after
            runs.append((begin, block))
        return runs

    def put(self, block: int, view: memoryview) -> bool:
        """Write a block if its digest is right; return whether it was."""
        if hashlib.sha256(view).digest() != self._table.digest(0, block):
            return False
        self._write(view, block * BLOCK)
        with self._lock:
            self._state[block] = _GOOD
            self._unwritten += len(view)
            if self._unwritten >= WRITE_OUT and hasattr(os, "posix_fadvise"):
                # As `courier.files.writing_out` has it: the system begins to write, and does not keep the caller.
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                self._unwritten = 0
        return True

    def _write(self, view: memoryview, at: int) -> None:
        while view:
            if hasattr(os, "pwrite"):
                count = os.pwrite(self._descriptor, view, at)
            else:
                with self._lock:
                    os.lseek(self._descriptor, at, os.SEEK_SET)
                    count = os.write(self._descriptor, view)
            view, at = view[count:], at + count

    def _read(self, view: memoryview, block: int) -> bool:
        os.lseek(self._descriptor, block * BLOCK, os.SEEK_SET)
        filled = 0
        while filled < len(view) and (data := os.read(self._descriptor, len(view) - filled)):
            view[filled : filled + len(data)] = data
            filled += len(data)
        return filled == len(view)

    def begin_streaming(self, number: int) -> bool:
        """Note that a source sends the file from its beginning; False where it does so to another thread already."""
        with self._lock:
            if number in self.streaming:
                return False
            self.streaming.add(number)
            return True

    def enter(self) -> bool:
        """Say that a thread begins to write blocks, so that the file stays open; False where it is closed already."""
        with self._lock:
            if not self._closed:
                self._users += 1
            return not self._closed

    def leave(self) -> None:
        """Say that the thread has ended."""
        with self._lock:
            self._users -= 1

    def claim_close(self) -> bool:
        """Whether the caller is the one to close the file: it is whole, and no thread writes to it."""
        with self._lock:
            if self._closed or self._users or not self.is_whole:
                return False
            self._closed = True
            return True

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._descriptor

    def claim_abandoned(self) -> bool:
        """Whether the caller is the first to close a file that is not whole."""
        with self._lock:
            first, self._closed = not self._closed, True
            return first
