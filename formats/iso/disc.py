"""The disc or image that is being read: its blocks, the list of its files, and a stream over the data of a file."""

from __future__ import annotations

import errno
import io
import threading
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

from formats.errors import IllegalNameError, MalformedError, TooLargeError, UnreadableError
from formats.iso.layout import BLOCK
from formats.names import check_path

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_ENTRIES = 100_000
"""The most files and folders that a reader lists; a volume of a parcel has some thousands."""
MAX_FOLDER = 16 << 20
"""The most bytes of structure in one folder."""
MAX_STRUCTURE = 128 << 20
"""The most bytes of structure in all folders together."""
MAX_DEPTH = 64
"""The most components in a path."""
MAX_PATH = 1000
"""The most characters in a path."""


class Disc:
    """Reads from a seekable source, by several threads if need be; the caller closes the source."""

    def __init__(self, source: BinaryIO) -> None:
        self._source: BinaryIO | None = source
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop reading from the source."""
        self._source = None

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from byte ``offset``; raises `OSError` where the medium fails or ends."""
        pieces = []
        with self._lock:
            if self._source is None:
                raise ValueError("the reader of this image is closed")
            self._source.seek(offset)
            while size:
                data = self._source.read(size)
                if not data:
                    raise _ends(size)
                pieces.append(data)
                size -= len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with what begins at byte ``offset``; raises `OSError` as `read` does."""
        with self._lock:
            if self._source is None:
                raise ValueError("the reader of this image is closed")
            self._source.seek(offset)
            while view:
                count: int = self._source.readinto(view)  # type: ignore[attr-defined]  # every binary file has it
                if not count:
                    raise _ends(len(view))
                view = view[count:]

    def size(self) -> int:
        """Bytes on the medium; raises `UnreadableError` if it does not say."""
        with self._lock:
            if self._source is None:
                raise ValueError("the reader of this image is closed")
            try:
                return self._source.seek(0, io.SEEK_END)
            except OSError as error:
                raise UnreadableError(error.strerror or str(error)) from error

    def structure(self, block: int, size: int) -> bytes:
        """``size`` bytes of structure from block ``block``.

        Raises `UnreadableError` where the medium fails or ends, and `TooLargeError` beyond `MAX_FOLDER`.
        """
        if size > MAX_FOLDER:
            raise TooLargeError(f"{size} bytes of structure, where {MAX_FOLDER} are read", place=f"block {block}")
        try:
            return self.read(block * BLOCK, size)
        except OSError as error:
            raise UnreadableError(error.strerror or str(error), place=f"block {block}") from error


def _ends(left: int) -> OSError:
    return OSError(errno.EIO, f"the medium ends {left} bytes before the end of what is to be read")


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscFile:
    """A regular file: its path, its size in bytes, and (byte offset, bytes) of each extent of its data."""

    path: str
    size: int
    extents: tuple[tuple[int, int], ...]

    @property
    def place(self) -> tuple[int, str]:
        """The key that sorts files by where their data lie, empty files first."""
        return (self.extents[0][0] if self.size else 0), self.path


class Listing:
    """The files found in a tree; refuses loops, names that lead out of it, and more than the limits of this module."""

    def __init__(self) -> None:
        self.files: list[DiscFile] = []
        self._paths: set[str] = set()
        self._entered: set[int] = set()
        self._left = MAX_STRUCTURE
        self._entries = 0

    def charge(self, size: int) -> None:
        """Raise `TooLargeError` once more than `MAX_STRUCTURE` bytes of structure have been read."""
        self._left -= size
        if self._left < 0:
            raise TooLargeError(f"over {MAX_STRUCTURE} bytes of structure")

    def enter(self, block: int, size: int, *, place: str) -> None:
        """Count the folder at ``block`` as read; raise `MalformedError` if it has been read already."""
        if block in self._entered:
            raise MalformedError("a folder is in the tree twice", place=place)
        self._entered.add(block)
        self.charge(size)

    def count(self, place: str) -> None:
        """Count an entry of a folder; raise `TooLargeError` beyond `MAX_ENTRIES`."""
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise TooLargeError(f"over {MAX_ENTRIES} files and folders", place=place)

    def component(self, name: str, *, place: str) -> str:
        """Return ``name`` if it may be one component of a path; raise `MalformedError` otherwise."""
        if "/" in name or len(place) + len(name) > MAX_PATH or place.count("/") >= MAX_DEPTH:
            raise MalformedError(f"{name!a} is not a name, or its path is too long", place=place)
        try:
            return check_path(name, place=place)
        except IllegalNameError as error:
            raise MalformedError(error.message, place=place) from None

    def add(self, path: str, extents: list[tuple[int, int]]) -> None:
        """Add a file; raise `MalformedError` if there is one of this path."""
        if path in self._paths:
            raise MalformedError("two files have this path", place=path)
        self._paths.add(path)
        self.files.append(DiscFile(path=path, size=sum(size for _, size in extents), extents=tuple(extents)))


class Content(io.BufferedIOBase):
    """The data of a file as a seekable stream; a read that fails does not move the position."""

    def __init__(self, disc: Disc, file: DiscFile) -> None:
        self._disc = disc
        self._file = file
        self._starts = [0, *accumulate(size for _, size in file.extents)]
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes from the start of the file."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move as in any file; past the end there is nothing to read."""
        self._check_open()
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        if position < 0:
            raise ValueError(f"seek to {position}")
        self._position = position
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, fewer only at the end of the file; all that are left if ``size`` is None or below 0."""
        self._check_open()
        left = max(0, self._file.size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        pieces = []
        at = self._position
        while wanted:
            number = bisect_right(self._starts, at) - 1
            offset, length = self._file.extents[number]
            inside = at - self._starts[number]
            piece = self._disc.read(offset + inside, min(wanted, length - inside))
            pieces.append(piece)
            at += len(piece)
            wanted -= len(piece)
        self._position = at
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``, except at the end of the file; return the number of bytes."""
        self._check_open()
        view = memoryview(buffer).cast("B")[: max(0, self._file.size - self._position)]
        at, end = self._position, self._position + len(view)
        while at < end:
            number = bisect_right(self._starts, at) - 1
            offset, length = self._file.extents[number]
            inside = at - self._starts[number]
            count = min(end - at, length - inside)
            self._disc.read_into(offset + inside, view[at - self._position :][:count])
            at += count
        self._position = end
        return len(view)

    def read1(self, size: int = -1, /) -> bytes:
        """As `read`."""
        return self.read(size)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
