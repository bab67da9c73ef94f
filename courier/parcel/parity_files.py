"""Making the parity files of a parcel from its archives, group by group."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Protocol, cast

from courier.files import flush_files
from courier.parcel.parity_repair import Group, ParcelParity
from courier.progress import SILENT, Progress
from formats.blocks import SideBlockHasher
from formats.digest import CHUNK
from formats.documents.packing import PackingList
from formats.parity.column_files import ColumnFiles

OPEN_AT_ONCE = 256
"""Most files of a group that are open at the same time."""


class ParcelFiles(Protocol):
    """The files of a parcel, by their index in ``packing.files()``."""

    def open(self, index: int) -> BinaryIO:
        """Open an archive, or a parity file that has been made, for reading; seekable."""

    def parity_path(self, index: int) -> Path:
        """Where a parity file is, or will be made."""


class FilePool:
    """Opens files when they are used and closes the least recently used, so that a group of many volumes can be read.

    While a thread uses a file, the file is not in the pool: threads use different files at once, never the same.
    """

    def __init__(self, open_file: Callable[[int], BinaryIO]) -> None:
        self._open_file = open_file
        self._idle: OrderedDict[int, BinaryIO] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def use(self, index: int) -> Iterator[BinaryIO]:
        """File ``index``, open while the block runs."""
        with self._lock:
            file = self._idle.pop(index, None)
            if file is None:
                file = self._open_file(index)
        try:
            yield file
        finally:
            with self._lock:
                self._idle[index] = file
                if len(self._idle) > OPEN_AT_ONCE:
                    self._idle.popitem(last=False)[1].close()

    def close(self) -> None:
        """Close all files."""
        while self._idle:
            self._idle.popitem()[1].close()

    def __enter__(self) -> FilePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PooledFile(io.RawIOBase):
    """One file of a pool, with a position of its own; it is opened again if the pool has closed it.

    Not for several threads at once.
    """

    def __init__(self, pool: FilePool, index: int) -> None:
        super().__init__()
        self._pool = pool
        self._index = index
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position, counted from the start of the file."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        self._at = offset
        return offset

    def readinto(self, buffer: Any, /) -> int:
        """Read at the position, and advance it."""
        with self._pool.use(self._index) as file:
            file.seek(self._at)
            count = int(file.readinto(buffer) or 0)  # type: ignore[attr-defined]  # every binary file has it
        self._at += count
        return count

    def write(self, data: Any, /) -> int:
        """Write at the position, and advance it."""
        with self._pool.use(self._index) as file:
            file.seek(self._at)
            count = file.write(data)
        self._at += count
        return count


def make_parity(
    packing: PackingList, files: ParcelFiles, progress: Progress = SILENT, *, made: bool = False
) -> list[tuple[str, bytes]]:
    """Make every parity file of ``packing``; return (SHA-256, block digests) of each, in order.

    ``made``: they were made already, by `make_group`, and are only read back. ``progress`` is told the bytes of parity
    as they are made, then as they are read back.

    Groups over volumes come first in a packing list: later groups may cover the parity files that they make.
    """
    size = sum(file.size for file in packing.parity)
    if not made:
        if size:
            progress.begin("Making parity", size)
        for group in ParcelParity(packing).groups:
            make_group(group, files, progress)
    if size:
        progress.begin("Reading parity back", size)
    archives = len(packing.archives)
    return [_digests(files.parity_path(archives + n), progress) for n in range(len(packing.parity))]


def make_group(group: Group, files: ParcelFiles, progress: Callable[[int], None] = lambda _: None) -> None:
    """Make the parity files of one group, of files that are there. ``progress`` is told their bytes."""
    from formats.parity.reed_solomon import encode

    path = files.parity_path
    made = {index for column in group.files[group.geometry.data :] for index in column}
    for index in made:
        path(index).unlink(missing_ok=True)
        path(index).touch()
    with (
        FilePool(files.open) as readers,
        FilePool(lambda index: cast(BinaryIO, path(index).open("r+b", buffering=0))) as writers,
    ):
        pooled = {
            index: cast(BinaryIO, PooledFile(writers if index in made else readers, index))
            for column in group.files
            for index in column
        }
        columns = [[pooled[index] for index in column] for column in group.files]
        blocks = ColumnFiles(group.geometry, columns)

        def write(column: int, row: int, offset: int, data: Any) -> None:
            blocks.write(column, row, offset, data)
            progress(len(data))

        encode(group.geometry, blocks.read, write)
    flush_files([path(index) for index in made])


def _digests(path: Path, progress: Progress) -> tuple[str, bytes]:
    with path.open("rb") as source, SideBlockHasher() as hasher:
        while data := source.read(CHUNK):
            hasher.update(data)
            progress(len(data))
        return hasher.finish_all()
