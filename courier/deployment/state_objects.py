"""The objects of a migration: pieces of files, each named by the keyed digest of its bytes, and encrypted.

They are written many at a time: to temporary names, flushed, read back from the disk and compared, then renamed. So an
object that has its name is whole, whenever the work was cut; a power cut may take names away again until `finish`. What
is there from earlier is read once, and not written again unless it is damaged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from courier.deployment.shared_files import make_below, open_file, read_small, write_new
from courier.deployment.state_keys import MigrationKeys
from courier.errors import DamagedError, NoSpaceError
from courier.files import TEMP, flush_files, free_space, path_text, sync_folder
from formats.documents.state import PIECE
from formats.errors import DigestMismatchError, FormatError

_BATCH_FILES = 1024
_BATCH_BYTES = 64 << 20
_MAX_OBJECT = 2 * PIECE
"""Bytes of the largest object that is read: encryption adds little to a piece."""
_NAME = re.compile("[0-9a-f]{64}")


class Objects:
    """The objects in the folder ``objects`` of a key's folder."""

    def __init__(self, folder: Path, keys: MigrationKeys) -> None:
        self._folder = folder / "objects"
        self._keys = keys

    def path(self, digest: str) -> Path:
        """The file of an object."""
        return self._folder / digest[:2] / digest

    def digest(self, content: bytes) -> str:
        """The name of the object with this content."""
        return self._keys.digest(content)

    def read(self, digest: str) -> bytes:
        """The bytes of an object, proved. Raises `FormatError`, its place the object, and `OSError`."""
        place = f"objects/{digest[:2]}/{digest}"
        try:
            content = self._keys.decrypt(read_small(self.path(digest), most=_MAX_OBJECT), most=PIECE)
        except FormatError as error:
            raise type(error)(error.message, place=place) from None
        if self._keys.digest(content) != digest:
            raise DigestMismatchError("holds other bytes than its name says", place=place)
        return content

    def held(self) -> Iterator[Path]:
        """The files of all objects."""
        if self._folder.is_dir():
            for folder in self._folder.iterdir():
                if folder.is_dir():
                    yield from (path for path in folder.iterdir() if _NAME.fullmatch(path.name))


class ObjectWriter(Objects):
    """Writes objects; a context manager is not needed: what `flush` did not write is not there.

    ``kept_free``: bytes that stay free on the point's disk; ``stop``: asked before each batch, raises to stop.
    """

    def __init__(
        self, folder: Path, keys: MigrationKeys, *, kept_free: Callable[[], int], stop: Callable[[], None]
    ) -> None:
        super().__init__(folder, keys)
        self.written = 0
        """Bytes of content written by this run."""
        self._kept_free = kept_free
        self._stop = stop
        self._waiting: dict[str, Path] = {}
        self._bytes = 0
        self._room = 0
        self._folders: set[Path] = set()
        make_below(self._folder)
        for path in self._folder.glob(f"{TEMP}*"):
            path.unlink()

    def put(self, content: bytes) -> str:
        """Take in a piece of a file; return its digest. Raises `NoSpaceError`, `DamagedError` and `OSError`."""
        digest = self._keys.digest(content)
        if digest in self._waiting or self._is_whole(digest):
            return digest
        encrypted = self._keys.encrypt(content)
        self._take_room(len(encrypted))
        path = self._folder / f"{TEMP}{digest}"
        write_new(path, encrypted)
        self._waiting[digest] = path
        self._bytes += len(encrypted)
        self.written += len(content)
        if len(self._waiting) >= _BATCH_FILES or self._bytes >= _BATCH_BYTES:
            self.flush()
        return digest

    def _is_whole(self, digest: str) -> bool:
        try:
            self.read(digest)
        except (FileNotFoundError, FormatError):
            return False
        return True

    def _take_room(self, needed: int) -> None:
        if self._room < needed:
            self.flush()
            self._room = free_space(self._folder) - self._kept_free()
            if self._room < needed:
                raise no_room(self._folder, needed, self._kept_free())
        self._room -= needed

    def flush(self) -> None:
        """Put on the disk what is waiting, and read it back. Raises `DamagedError` where it reads otherwise."""
        self._stop()
        flush_files(list(self._waiting.values()))
        for digest, temporary in self._waiting.items():
            try:
                whole = self._keys.digest(self._keys.decrypt(_from_disk(temporary), most=PIECE)) == digest
            except FormatError:
                whole = False
            if not whole:
                raise DamagedError(
                    f"{path_text(self._folder)}: what was written there reads back differently",
                    hint="check the disk of the state migration point, then give the same command again",
                )
        for digest, temporary in self._waiting.items():
            path = self.path(digest)
            if path.parent not in self._folders:
                make_below(path.parent)
                self._folders.add(path.parent)
            temporary.replace(path)
        self._waiting.clear()
        self._bytes = self._room = 0

    def finish(self) -> None:
        """Put everything on the disk, names and all: only then may a record say that it is there."""
        self.flush()
        for folder in sorted(self._folders):
            sync_folder(folder)
        sync_folder(self._folder)


def _from_disk(path: Path) -> bytes:
    """The bytes of a file that was flushed, from the disk itself where the system can forget its copy."""
    with open_file(path) as source:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return source.read(_MAX_OBJECT)


def no_room(folder: Path, needed: int, kept_free: int) -> NoSpaceError:
    """The error for a point whose disk has no room left above what stays free."""
    error = NoSpaceError.short_of(
        "capturing the state",
        needed=needed,
        free=free_space(folder),
        reserve=kept_free,
        place=f"the state migration point {path_text(folder)}",
    )
    error.hint = f"{error.hint}; then give the same command again: it goes on where it ended"
    return error
