"""Making the parity files of a parcel, group by group, out of its archives on our disk."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

from courier.files import settle
from courier.mending import Protection
from formats.blocks import BlockHasher
from formats.digest import CHUNK
from formats.documents.packing import PackingList
from formats.parity import encode
from formats.parity_files import ColumnFiles

OPEN_AT_ONCE = 128
"""Files of a group that are held open at the same time."""


class FilePool:
    """Opens files when they are used and closes those used longest ago, so that a group of many volumes can be read."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()

    def get(self, path: Path) -> BinaryIO:
        """The open file."""
        file = self._open.get(path)
        if file is None:
            if len(self._open) >= OPEN_AT_ONCE:
                self._open.popitem(last=False)[1].close()
            file = self._open[path] = cast(BinaryIO, path.open(self._mode, buffering=0))
        self._open.move_to_end(path)
        return file

    def close(self) -> None:
        """Close all."""
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> FilePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PooledFile(io.RawIOBase):
    """One file of a pool, opened anew whenever it has been closed meanwhile. It keeps its own position."""

    def __init__(self, pool: FilePool, path: Path, lock: Any) -> None:
        super().__init__()
        self._pool = pool
        self._path = path
        self._lock = lock
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place from the start."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        self._at = offset
        return offset

    def readinto(self, buffer: Any, /) -> int:
        """Read at the position."""
        with self._lock:
            file = self._pool.get(self._path)
            file.seek(self._at)
            count = int(file.readinto(buffer) or 0)  # type: ignore[attr-defined]  # every binary file has it
        self._at += count
        return count

    def write(self, data: Any, /) -> int:
        """Write at the position."""
        with self._lock:
            file = self._pool.get(self._path)
            file.seek(self._at)
            count = file.write(data)
        self._at += count
        return count


def make_parity(
    packing: PackingList, path: Callable[[int], Path], progress: Callable[[int], None] = lambda _: None
) -> list[tuple[str, bytes]]:
    """Make every parity file of ``packing`` at ``path(index)``; return (SHA-256, block digests) of each, in order.

    Groups over volumes come first in a packing list: what they make may itself be protected by later ones.
    """
    from threading import Lock

    protection = Protection(packing)
    archives = len(packing.archives)
    for group in protection.groups:
        with ExitStack() as stack:
            readers, writers = stack.enter_context(FilePool("rb")), stack.enter_context(FilePool("r+b"))
            read_lock, write_lock = Lock(), Lock()
            made = {n for column in group.files[group.geometry.data :] for n in column}
            for index in made:
                path(index).unlink(missing_ok=True)
                path(index).touch()
            columns: list[Sequence[BinaryIO]] = []
            opened: dict[int, BinaryIO] = {}
            for column in group.files:
                files = []
                for index in column:
                    if index not in opened:
                        pool, lock = (writers, write_lock) if index in made else (readers, read_lock)
                        opened[index] = cast(BinaryIO, PooledFile(pool, path(index), lock))
                    files.append(opened[index])
                columns.append(files)
            blocks = ColumnFiles(group.geometry, columns)

            def write(column: int, row: int, start: int, data: bytes, blocks: ColumnFiles = blocks) -> None:
                blocks.write(column, row, start, data)
                progress(len(data))

            encode(group.geometry, blocks.read, write)
        settle([path(index) for index in made])
    return [_digests(path(archives + n)) for n in range(len(packing.parity))]


def _digests(path: Path) -> tuple[str, bytes]:
    hasher = BlockHasher()
    with path.open("rb") as source:
        while data := source.read(CHUNK):
            hasher.update(data)
    return hasher.finish()
