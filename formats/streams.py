"""Binary streams whose bytes stand nowhere as they are read: composed, sealed, opened or checked on the way."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    class Stream(io.RawIOBase, BinaryIO):
        """What takes a BinaryIO takes our streams."""

else:
    Stream = io.RawIOBase


class View(Stream):
    """``size`` bytes to be read from anywhere; one thread at a time uses it.

    `read` and `readinto` give all that they are asked for, fewer at the end only. A kind of view says in `_fill` what
    stands where.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position in bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go anywhere from the start on; beyond the end there is nothing to read."""
        target = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if target < 0:
            raise ValueError(f"negative position {target}")
        self._position = target
        return target

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``, but at the end; returns the bytes read."""
        if self.closed:
            raise ValueError("read of a closed stream")
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self.size and (count := self._fill(view[done:])):
            done += count
            self._position += count
        return done

    def _fill(self, into: memoryview) -> int:
        """Put bytes from ``self._position`` on, which is before the end, at the beginning of ``into``; how many."""
        raise NotImplementedError
