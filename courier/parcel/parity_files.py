"""Making the parity files of a parcel, group by group, out of its archives."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Protocol, cast

from courier.files import flush_files
from courier.parcel.parity_repair import ParcelParity
from formats.blocks import BlockHasher
from formats.digest import CHUNK
from formats.documents.packing import PackingList
from formats.parity import encode
from formats.parity.column_files import ColumnFiles

OPEN_AT_ONCE = 256
"""Files of a group that are held open at the same time."""


class ParcelFiles(Protocol):
    """The files of a parcel, by their place in ``packing.files()``."""

    def open(self, index: int) -> BinaryIO:
        """An archive, or a parity file that is made, to be read from anywhere."""

    def parity_path(self, index: int) -> Path:
        """Where a parity file is, or is to be."""


class FilePool:
    """Opens files when they are used and closes those used longest ago, so that a group of many volumes can be read.

    A file that is in use is not in the pool, so threads read several at once, and each by one of them.
    """

    def __init__(self, open_file: Callable[[int], BinaryIO]) -> None:
        self._open_file = open_file
        self._idle: OrderedDict[int, BinaryIO] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def use(self, index: int) -> Iterator[BinaryIO]:
        """Have file ``index`` open."""
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
        """Close all."""
        while self._idle:
            self._idle.popitem()[1].close()

    def __enter__(self) -> FilePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PooledFile(io.RawIOBase):
    """One file of a pool, opened anew whenever it has been closed meanwhile. It keeps its own position.

    One thread at a time uses it.
    """

    def __init__(self, pool: FilePool, index: int) -> None:
        super().__init__()
        self._pool = pool
        self._index = index
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place from the start."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        self._at = offset
        return offset

    def readinto(self, buffer: Any, /) -> int:
        """Read at the position."""
        with self._pool.use(self._index) as file:
            file.seek(self._at)
            count = int(file.readinto(buffer) or 0)  # type: ignore[attr-defined]  # every binary file has it
        self._at += count
        return count

    def write(self, data: Any, /) -> int:
        """Write at the position."""
        with self._pool.use(self._index) as file:
            file.seek(self._at)
            count = file.write(data)
        self._at += count
        return count


def make_parity(
    packing: PackingList, files: ParcelFiles, progress: Callable[[int], None] = lambda _: None
) -> list[tuple[str, bytes]]:
    """Make every parity file of ``packing``; return (SHA-256, block digests) of each, in order.

    Groups over volumes come first in a packing list: what they make may itself be protected by later ones.
    """
    path = files.parity_path
    parity = ParcelParity(packing)
    archives = len(packing.archives)
    for group in parity.groups:
        with ExitStack() as stack:
            readers = stack.enter_context(FilePool(files.open))
            writers = stack.enter_context(FilePool(lambda index: cast(BinaryIO, path(index).open("r+b", buffering=0))))
            made = {n for column in group.files[group.geometry.data :] for n in column}
            for index in made:
                path(index).unlink(missing_ok=True)
                path(index).touch()
            columns: list[Sequence[BinaryIO]] = []
            opened: dict[int, BinaryIO] = {}
            for column in group.files:
                for index in column:
                    if index not in opened:
                        opened[index] = cast(BinaryIO, PooledFile(writers if index in made else readers, index))
                columns.append([opened[index] for index in column])
            blocks = ColumnFiles(group.geometry, columns)

            def write(column: int, row: int, start: int, data: bytes, blocks: ColumnFiles = blocks) -> None:
                blocks.write(column, row, start, data)
                progress(len(data))

            encode(group.geometry, blocks.read, write)
        flush_files([path(index) for index in made])
    return [_digests(path(archives + n)) for n in range(len(packing.parity))]


def _digests(path: Path) -> tuple[str, bytes]:
    hasher = BlockHasher()
    with path.open("rb") as source:
        while data := source.read(CHUNK):
            hasher.update(data)
    return hasher.finish()
