"""Base classes of binary streams whose bytes are made while they are read: composed, encrypted, decrypted, checked."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    class Stream(io.RawIOBase, BinaryIO):
        """A raw stream that can be passed where a BinaryIO is asked for."""

else:
    Stream = io.RawIOBase


class View(Stream):
    """A stream of ``size`` bytes, readable from any byte on; one thread at a time may use it.

    `read` and `readinto` give all the bytes asked for, fewer only at the end. A subclass implements `_fill`.
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
        """Go to any position from the start on; past the end there is nothing to read."""
        target = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if target < 0:
            raise ValueError(f"negative position {target}")
        self._position = target
        return target

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``, except at the end; return the number of bytes read."""
        if self.closed:
            raise ValueError("read of a closed stream")
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self.size and (count := self._fill(view[done:])):
            done += count
            self._position += count
        return done

    def _fill(self, into: memoryview) -> int:
        """Put the bytes from ``self._position`` on at the beginning of ``into``; return how many, at least one.

        The position is before the end.
        """
        raise NotImplementedError


class JoinedFiles(View):
    """Several files one after the other as one stream: the parts of a split archive. One part is open at a time."""

    def __init__(self, parts: Sequence[tuple[int, Callable[[], BinaryIO]]]) -> None:
        """``parts``: the size of each in bytes, and what opens it."""
        super().__init__(sum(size for size, _ in parts))
        self._parts = parts
        self._starts = list(accumulate((size for size, _ in parts), initial=0))[:-1]
        self._open: tuple[int, BinaryIO] | None = None

    def _fill(self, into: memoryview) -> int:
        number = bisect_right(self._starts, self._position) - 1
        if self._open is None or self._open[0] != number:
            self._close_part()
            self._open = number, self._parts[number][1]()
        offset = self._position - self._starts[number]
        source = self._open[1]
        source.seek(offset)
        data = source.read(min(len(into), self._parts[number][0] - offset))
        into[: len(data)] = data
        return len(data)

    def _close_part(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        """Close the part that is open."""
        self._close_part()
        super().close()


class Section(View):
    """The ``size`` bytes from ``offset`` on of a seekable stream, which is closed with it and used by nobody else."""

    def __init__(self, source: BinaryIO, offset: int, size: int) -> None:
        super().__init__(size)
        self._source = source
        self._offset = offset

    def _fill(self, into: memoryview) -> int:
        self._source.seek(self._offset + self._position)
        data = self._source.read(min(len(into), self.size - self._position))
        into[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream."""
        self._source.close()
        super().close()
