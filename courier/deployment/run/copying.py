"""Copying bytes into a part of a disk image: runs of zeros become holes, or stay what they are where they are zeros."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from courier.files import sync_file

PIECE = 1 << 20
"""Bytes that are read and written at a time."""
_GRAIN = 64 << 10
"""Bytes of a run of zeros that is left out at least."""
_ZEROS = bytes(_GRAIN)


class Region:
    """A part of a disk image that is written in order. Nothing before or behind it is touched."""

    def __init__(self, disk: Path, begin: int, size: int) -> None:
        self._path, self._at, self._end = disk, begin, begin + size
        self._file = os.open(disk, os.O_RDWR | getattr(os, "O_BINARY", 0))
        self._disk_size = os.fstat(self._file).st_size

    def write(self, data: bytes | memoryview) -> None:
        """Write the next bytes. Raises `ValueError` for more than the part has room for."""
        view = memoryview(data)
        if self._at + len(view) > self._end:
            raise ValueError("more bytes than the part of the disk has")
        while view:
            piece = view[: _GRAIN - self._at % _GRAIN]
            if piece != _ZEROS[: len(piece)] or not self._is_zero(len(piece)):
                self._put(piece)
            self._at += len(piece)
            view = view[len(piece) :]

    def _put(self, view: memoryview) -> None:
        at = self._at
        while view:
            os.lseek(self._file, at, os.SEEK_SET)
            count = os.write(self._file, view)
            view, at = view[count:], at + count

    def _is_zero(self, count: int) -> bool:
        os.lseek(self._file, self._at, os.SEEK_SET)
        return os.read(self._file, count) == _ZEROS[:count]

    def zero_rest(self) -> None:
        """Write zeros up to the end of the part, where there are none."""
        while self._at < self._end:
            self.write(_ZEROS[: min(_GRAIN, self._end - self._at)])

    def close(self) -> None:
        """Flush the disk image and close it."""
        try:
            sync_file(self._file, self._path)
        finally:
            os.close(self._file)

    def __enter__(self) -> Region:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_region(disk: Path, begin: int, size: int, pieces: Iterable[bytes | memoryview]) -> int:
    """Write pieces into a part of a disk image, flushed; return how many bytes there were. The rest is left alone."""
    count = 0
    with Region(disk, begin, size) as region:
        for piece in pieces:
            region.write(piece)
            count += len(piece)
    return count


def read_pieces(path: Path, begin: int = 0, size: int | None = None) -> Iterator[bytes]:
    """The bytes of a part of a file, piece by piece; to its end without ``size``."""
    with path.open("rb") as source:
        source.seek(begin)
        left = size
        while left is None or left > 0:
            data = source.read(PIECE if left is None else min(PIECE, left))
            if not data:
                return
            if left is not None:
                left -= len(data)
            yield data


def copy_file(source: Path, target: Path, begin: int = 0, size: int | None = None) -> None:
    """Copy a file, or a part of it, into a new sparse file, flushed."""
    length = source.stat().st_size - begin if size is None else size
    with target.open("wb") as out:
        out.truncate(length)
    write_region(target, 0, length, read_pieces(source, begin, length))
