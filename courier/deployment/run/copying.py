"""Copying bytes into a part of a disk image: runs of zeros become holes, or stay what they are where they are zeros."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from courier.files import sync_file
from courier.packages.holes import find_holes
from formats.holes import data_runs, hole_map

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
        try:
            # Only what lies before the next byte to be written changes, so these stay right.
            self._holes = find_holes(self._file, os.fstat(self._file).st_size)
        except BaseException:
            os.close(self._file)
            raise

    def write(self, data: bytes | memoryview) -> None:
        """Write the next bytes. Raises `ValueError` for more than the part has room for."""
        view = memoryview(data)
        self._check(len(view))
        while view:
            piece = bytes(view[: _GRAIN - self._at % _GRAIN])
            if piece == _ZEROS[: len(piece)]:
                self.zeros(len(piece))
            else:
                self._put(memoryview(piece))
                self._at += len(piece)
            view = view[len(piece) :]

    def zeros(self, count: int) -> None:
        """Let the next ``count`` bytes be zeros: what is a hole stays one. Raises `ValueError` as `write` does."""
        self._check(count)
        end = self._at + count
        while self._at < end:
            if (hole_end := self._hole_end()) > self._at:
                self._at = min(end, hole_end)
                continue
            length = min(_GRAIN, end - self._at)
            os.lseek(self._file, self._at, os.SEEK_SET)
            if os.read(self._file, length) != _ZEROS[:length]:
                self._put(memoryview(_ZEROS)[:length])
            self._at += length

    def zero_rest(self) -> None:
        """Let all be zeros up to the end of the part."""
        self.zeros(self._end - self._at)

    def _check(self, count: int) -> None:
        if self._at + count > self._end:
            raise ValueError("more bytes than the part of the disk has")

    def _hole_end(self) -> int:
        """Where the hole ends in which the next byte lies; no later place than that byte where it lies in none."""
        number = bisect_right(self._holes, (self._at, 1 << 62)) - 1
        return sum(self._holes[number]) if number >= 0 else 0

    def _put(self, view: memoryview) -> None:
        at = self._at
        while view:
            os.lseek(self._file, at, os.SEEK_SET)
            count = os.write(self._file, view)
            view, at = view[count:], at + count

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


def write_region(disk: Path, begin: int, size: int, pieces: Iterable[bytes | memoryview]) -> None:
    """Write pieces into a part of a disk image, flushed. What they do not fill is left alone."""
    with Region(disk, begin, size) as region:
        for piece in pieces:
            region.write(piece)


def copy_region(source: Path, disk: Path, begin: int, size: int) -> None:
    """Copy a file of ``size`` bytes into a part of a disk image, flushed; its holes are not read."""
    _copy(source, 0, disk, begin, size)


def copy_file(source: Path, target: Path, begin: int = 0, size: int | None = None) -> None:
    """Copy a file, or a part of it, into a new sparse file, flushed."""
    length = source.stat().st_size - begin if size is None else size
    with target.open("wb") as out:
        out.truncate(length)
    _copy(source, begin, target, 0, length)


def bytes_of_data(path: Path, begin: int, size: int) -> int:
    """Bytes in a part of a file that are in no hole: what a copy of it takes."""
    with path.open("rb") as file:
        return size - sum(length for _, length in _holes_in(file, begin, size))


def _holes_in(file: BinaryIO, begin: int, size: int) -> list[tuple[int, int]]:
    """The holes in a part of a file, as (offset in the part, length)."""
    end = begin + size
    cut = ((max(at, begin), min(at + length, end)) for at, length in find_holes(file.fileno(), end))
    return [(first - begin, last - first) for first, last in cut if last > first]


def _copy(source: Path, begin: int, target: Path, to: int, size: int) -> None:
    with source.open("rb") as file, Region(target, to, size) as region:
        at = 0
        for offset, length in data_runs(hole_map(_holes_in(file, begin, size)), size):
            region.zeros(offset - at)
            file.seek(begin + offset)
            for piece in _pieces(file, length):
                region.write(piece)
            at = offset + length
        region.zeros(size - at)


def _pieces(file: BinaryIO, length: int) -> Iterator[bytes]:
    left = length
    while left and (data := file.read(min(PIECE, left))):
        left -= len(data)
        yield data
