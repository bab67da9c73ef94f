"""Files on their way to a medium: none of their bytes leaves this computer unless it is the one that was signed.

A tape keeps what it was given, and an encrypted view of other content under the same key would tell what both are. So
a payload file is compared block by block with the signed block table before a block is handed on; other files are
compared with their SHA-256 as a whole. The payload is tagged as it is handed on, for reading the medium back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, cast

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.media.written_tags import Tag, WrittenTags
from formats.digest import SideHash

_AHEAD = 4
"""Blocks that are read before the first of them is handed on, so that they are hashed beside reading and writing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file to put on a volume: ``open`` returns a new stream of its ``size`` bytes, whose SHA-256 is ``sha256``.

    ``is_good``: whether bytes are block number so-and-so (from 0) of the file; None where it has no block table.
    """

    path: str
    size: int
    sha256: str
    open: Callable[[], BinaryIO]
    is_good: Callable[[int, bytes], bool] | None = None


def checked(
    file: SourceFile, unit: int, progress: Callable[[int], None], tags: WrittenTags | None = None
) -> Callable[[], BinaryIO]:
    """What opens ``file`` as a stream that raises `DamagedError` where it is not what was signed.

    ``unit``: bytes of a block of the block table. ``progress`` is told the bytes handed on; ``tags`` gets the tag of a
    payload file, unless it is not read straight from its start to its end.
    """

    def open_it() -> BinaryIO:
        stream = _Hashed(file, progress) if file.is_good is None else _Blocks(file, unit, progress, tags)
        return cast(BinaryIO, stream)

    return open_it


def tagged(file: SourceFile, progress: Callable[[int], None], tags: WrittenTags) -> Callable[[], BinaryIO]:
    """What opens ``file``, whose digest is not known yet, as a stream that is tagged as it is handed on."""

    def open_it() -> BinaryIO:
        return cast(BinaryIO, _Tagged(file, progress, tags))

    return open_it


class _Stream:
    """What all kinds of streams have in common: one open file."""

    def __init__(self, file: SourceFile, progress: Callable[[int], None]) -> None:
        self._file = file
        self._raw = file.open()
        self._progress = progress

    def _take(self, size: int) -> bytes:
        """Read from our own disk; what fails there is said to be so, and not of the medium that is being written."""
        try:
            return self._raw.read(size)
        except OSError as error:
            where = error.filename or f"the content of {self._file.path}, on our own disk"
            raise OSError(error.errno, error.strerror, where) from None

    def _differs(self) -> DamagedError:
        return DamagedError(
            f"{self._file.path} differs from what was signed: its content changed on our own disk",
            hint="courier package verify names damaged content, to be added again; if there is none, courier "
            "parcel discard and then courier parcel write make all other files of the parcel again",
            code=Code.BUILD_DAMAGED,
        )

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Hashed(_Stream):
    """A file compared as a whole: at its end ``read`` raises `DamagedError` if the bytes differ.

    A stream that is not read straight from its start to its end is not checked; reading the medium back still is.
    """

    def __init__(self, file: SourceFile, progress: Callable[[int], None]) -> None:
        super().__init__(file, progress)
        self._digest = SideHash()
        self._hashed = True

    def read(self, size: int = -1) -> bytes:
        data = self._take(size)
        self._digest.update(data)
        self._progress(len(data))
        done = self._digest.count >= self._file.size
        if self._hashed and (done or not data):
            if self._digest.count != self._file.size or self._digest.hexdigest() != self._file.sha256:
                raise self._differs()
            self._hashed = False
        return data

    def tell(self) -> int:
        return self._raw.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        # The mastering library seeks to the start before it reads; any other seek ends the checking.
        at = self._raw.seek(offset, whence)
        self._hashed = self._hashed and at == self._digest.count
        return at

    def close(self) -> None:
        self._digest.close()
        super().close()


class _Tagged(_Stream):
    """A file that answers for its bytes itself, read straight from its start to its end."""

    def __init__(self, file: SourceFile, progress: Callable[[int], None], tags: WrittenTags) -> None:
        super().__init__(file, progress)
        self._tag = Tag()
        self._tags = tags

    def read(self, size: int = -1) -> bytes:
        data = self._take(size)
        if data:
            self._tag.update(data)
            if self._tag.count == self._file.size:
                self._tags.put(self._file.path, self._tag)
            self._progress(len(data))
        return data


class _Blocks(_Stream):
    """A file compared block by block: a block is handed on once it is known to be good."""

    def __init__(self, file: SourceFile, unit: int, progress: Callable[[int], None], tags: WrittenTags | None) -> None:
        super().__init__(file, progress)
        self._unit = unit
        self._tags = tags
        self._tag = None if tags is None else Tag()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="block")
        self._waiting: deque[tuple[bytes, Future[bool]]] = deque()
        self._next = 0
        self._at = 0
        self._good = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        left = self._file.size - self._at if size < 0 else min(size, self._file.size - self._at)
        pieces = []
        while left > 0:
            if not self._good:
                self._good = memoryview(self._good_block())
            piece = self._good[:left]
            self._good = self._good[len(piece) :]
            pieces.append(piece)
            left -= len(piece)
            self._at += len(piece)
        data = b"".join(pieces)
        if self._tag is not None and self._tags is not None:
            self._tag.update(data)
            if self._tag.count == self._file.size:
                self._tags.put(self._file.path, self._tag)
                self._tag = None
        self._progress(len(data))
        return data

    def _good_block(self) -> bytes:
        """The next block; raises `DamagedError` where it is not the one that was signed."""
        blocks = -(-self._file.size // self._unit)
        while len(self._waiting) < _AHEAD and self._next < blocks:
            data = self._block(min(self._unit, self._file.size - self._next * self._unit))
            self._waiting.append((data, self._pool.submit(self._is_good, self._next, data)))
            self._next += 1
        data, good = self._waiting.popleft()
        if not good.result():
            raise self._differs()
        return data

    def _block(self, length: int) -> bytes:
        pieces = []
        while length and (data := self._take(length)):
            pieces.append(data)
            length -= len(data)
        return b"".join(pieces)

    def _is_good(self, number: int, data: bytes) -> bool:
        return self._file.is_good is not None and self._file.is_good(number, data)

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, self._file.size)[whence]
        if at != self._at:
            self._tag = None
            self._waiting.clear()
            self._next = at // self._unit
            self._raw.seek(self._next * self._unit)
            self._at = at
            self._good = memoryview(b"")
            if at < self._file.size and at % self._unit:
                self._good = memoryview(self._good_block())[at % self._unit :]
        return self._at

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        super().close()
