"""A file of a tape as a stream that is read forward, and names the bytes that could not be read."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from formats.tape.drive import LostBytesError


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Bytes ``start`` to ``end`` of a file; ``data`` is None if they could not be read, for ``reason``."""

    start: int
    end: int
    data: bytes | None
    reason: str = ""


class TapeStream(io.BufferedIOBase):
    """A file on tape. ``pieces`` cover it from byte 0 to ``size``, in order, without a gap.

    `read` gives all the bytes asked for, fewer only at the end of the file. Where one of them is lost, it raises
    `LostBytesError` and does not move: read the bytes before it, or seek past the loss and go on. `seek` goes forward
    only, and past the end there is nothing to read.
    """

    def __init__(self, path: str, size: int, pieces: Iterator[Piece]) -> None:
        self.path = path
        self.size = size
        self.lost: list[tuple[int, int]] = []
        """The ranges (start, end) found lost so far."""
        self._pieces = pieces
        self._held: deque[Piece] = deque()
        self._fetched = 0
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Never, because a tape does not go back; `seek` forward works all the same."""
        return False

    def tell(self) -> int:
        """Bytes from the start of the file."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go forward; raises `io.UnsupportedOperation` for a position before the present one."""
        self._check_open()
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if position < self._position:
            raise io.UnsupportedOperation(f"{self.path}: a tape does not go back")
        self._position = position
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, fewer at the end only; all that are left if None or below 0. Raises `LostBytesError`."""
        self._check_open()
        left = max(0, self.size - self._position)
        end = self._position + (left if size is None or size < 0 else min(size, left))
        while self._held and self._held[0].end <= self._position:
            self._held.popleft()
        parts = []
        for piece in self._until(end):
            if piece.data is None:
                start = max(piece.start, self._position)
                raise LostBytesError(piece.reason, place=self.path, start=start, end=piece.end)
            parts.append((piece.data, max(0, self._position - piece.start), min(piece.end, end) - piece.start))
        self._position = end
        if len(parts) == 1 and parts[0][1:] == (0, len(parts[0][0])):
            return parts[0][0]
        return b"".join(memoryview(data)[first:last] for data, first, last in parts)

    def read1(self, size: int = -1, /) -> bytes:
        """As `read`."""
        return self.read(size)

    def close(self) -> None:
        """Free what is held; the reader of the tape skips the rest of the file."""
        self._held.clear()
        super().close()

    def _until(self, end: int) -> Iterator[Piece]:
        """The pieces up to byte ``end``; those that are still on the tape are read and held."""
        if end <= self._position:
            return
        for piece in self._held:
            if piece.start >= end:
                return
            yield piece
        while self._fetched < end and (fetched := next(self._pieces, None)) is not None:
            self._fetched = fetched.end
            if fetched.data is None:
                self.lost.append((fetched.start, fetched.end))
            if fetched.end > self._position:
                self._held.append(fetched)
                yield fetched

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a tape file that has been passed")
