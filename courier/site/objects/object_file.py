"""An object as a file that is read: ranges are asked for as they are needed, some ahead."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

from courier.errors import DamagedError
from courier.site.store.large_contents import ADD_AGAIN

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from courier.site.catalog.objects import Place
    from courier.site.objects.bucket import Bucket

AHEAD = 8 << 20
"""Bytes that are asked for at once where an object is read on; the first time, or after a jump, a small part of it."""
_FIRST = 256 << 10


class _ObjectReader(io.RawIOBase):
    def __init__(self, bucket: Bucket, place: Place, what: str) -> None:
        self._bucket, self._name, self._start, self._size = bucket, place.object, place.start, place.size
        self._what = what
        self._at = 0
        self._piece, self._piece_at = b"", 0
        self._ahead = _FIRST

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning of a file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        inside = self._at - self._piece_at
        if not 0 <= inside < len(self._piece):
            if self._at >= self._size:
                return 0
            follows = self._piece_at + len(self._piece) == self._at
            self._ahead = min(AHEAD, self._ahead * 4) if follows and self._at else _FIRST
            wanted = min(max(self._ahead, len(view)), self._size - self._at, AHEAD)
            try:
                self._piece = self._bucket.read(self._name, self._start + self._at, wanted)
            except FileNotFoundError:
                raise missing(self._what) from None
            self._piece_at, inside = self._at, 0
        part = self._piece[inside : inside + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)


def open_object(bucket: Bucket, place: Place, what: str) -> BinaryIO:
    """Open part of an object for reading; it can be sought in. ``what`` it is, as messages call it.

    What is read is compared with nothing; reading raises `DamagedError` where there is no such object. Memory: `AHEAD`
    and a little.
    """
    return cast(BinaryIO, io.BufferedReader(_ObjectReader(bucket, place, what), buffer_size=1 << 20))


def missing(what: str) -> DamagedError:
    """The error for what ought to be in the bucket."""
    return DamagedError(f"package store: {what} is missing", hint=ADD_AGAIN)
