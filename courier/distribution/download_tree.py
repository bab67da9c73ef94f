"""The files of a package while it is downloaded: each is written where it will be, in a folder that nobody uses yet.

What is there from an earlier try counts only after its bytes were compared with the listing. Symbolic links come last,
so that nothing is ever written through one; the times and permissions of folders after them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from courier.packages.tree_root import TreeRoot
from courier.packages.write_tree import NO_HARD_LINKS, check_native
from formats.blocks import BLOCK, BlockTable
from formats.documents.listing import Entry, FileEntry, FolderEntry, HardLinkEntry, LinkEntry

_SET_ID = stat.S_ISUID | stat.S_ISGID
_NEW = os.O_RDWR | os.O_CREAT


class DownloadTree(AbstractContextManager["DownloadTree"]):
    """The tree in ``folder``, which exists. ``resumed``: an earlier try may have left something in it."""

    def __init__(self, folder: Path, *, resumed: bool) -> None:
        self.folder = folder
        self.resumed = resumed
        self._root = TreeRoot(folder)
        self._folders: list[FolderEntry] = []
        self._links: list[LinkEntry] = []
        self._hard_links: list[HardLinkEntry] = []
        self._first: dict[str, str] = {}
        self._copies: list[tuple[str, FileEntry]] = []
        self.set_id_dropped = 0
        """Files and folders of the listing whose set-user-ID or set-group-ID bits are left out."""

    def __exit__(self, *_: object) -> None:
        self._root.close()

    def files(self, entries: Iterable[Entry]) -> Iterator[FileEntry]:
        """Make the folders of a listing, and yield the files whose contents are needed.

        A large content with several files is needed once; the others are copied by `finish`. Raises `RefusedError` for
        a name this system cannot keep.
        """
        for entry in entries:
            check_native(entry.path)
            if isinstance(entry, FileEntry | FolderEntry):
                self.set_id_dropped += bool(entry.mode & _SET_ID)
            match entry:
                case FolderEntry():
                    self._make_folder(entry.path)
                    self._folders.append(entry)
                case LinkEntry():
                    check_native(entry.target)
                    self._links.append(entry)
                case HardLinkEntry():
                    self._hard_links.append(entry)
                case FileEntry() if entry.size > BLOCK and entry.sha256 in self._first:
                    self._copies.append((self._first[entry.sha256], entry))
                case FileEntry():
                    if entry.size > BLOCK:
                        self._first[entry.sha256] = entry.path
                    yield entry

    def _make_folder(self, path: str) -> None:
        try:
            self._root.mkdir(path)
        except FileExistsError:
            self._root.chmod(path, 0o700)  # a kill may have left it as closed as it will be

    def there(self, entry: FileEntry) -> bool:
        """Whether a small file is there whole, from an earlier try."""
        try:
            if self._root.lstat(entry.path).st_size != entry.size:
                return False
            self._root.chmod(entry.path, 0o600)
            descriptor = self._root.open(entry.path)
        except FileNotFoundError:
            return False
        with io.FileIO(descriptor, "rb") as source:
            if hashlib.file_digest(source, "sha256").hexdigest() != entry.sha256:
                return False
        self._put_right(entry)
        return True

    def write(self, entry: FileEntry, data: memoryview) -> None:
        """Write a whole small file, whose bytes were compared."""
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if self.resumed else os.O_EXCL)
        descriptor = self._open(entry.path, flags)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            if not hasattr(os, "sync"):
                os.fsync(descriptor)  # else `finish` flushes all of them at once
        finally:
            os.close(descriptor)
        self._put_right(entry)

    def open(self, entry: FileEntry, _table: BlockTable, /) -> tuple[int, bool]:
        """Open a large file to write its blocks; its descriptor, and whether it is new."""
        fresh = not self.resumed
        if not fresh:
            try:
                self._root.lstat(entry.path)
            except FileNotFoundError:
                fresh = True
        return self._open(entry.path, _NEW), fresh

    def close(self, entry: FileEntry, descriptor: int) -> None:
        """Flush a large file whose blocks are all there, and close it."""
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._put_right(entry)

    def _open(self, path: str, flags: int) -> int:
        try:
            return self._root.open(path, flags)
        except PermissionError:
            if not self.resumed:
                raise
            self._root.chmod(path, 0o600)
            return self._root.open(path, flags)

    def _put_right(self, entry: FileEntry) -> None:
        """Give a file that is closed its time and its permissions, as far as its file system keeps them."""
        self._root.utime(entry.path, entry.mtime_ns)
        if os.name == "posix":
            self._root.chmod(entry.path, entry.mode & ~_SET_ID)

    def finish(self) -> None:
        """Make copies and links, flush everything, and give the folders their times and permissions."""
        for first, entry in self._copies:
            self._copy(first, entry)
        for hard in self._hard_links:
            self._link(hard)
        for link in self._links:
            self._root.delete(link.path)
            self._root.symlink(link.target, link.path)
            self._root.utime(link.path, link.mtime_ns)
        if hasattr(os, "sync"):
            os.sync()
        for folder in reversed(self._folders):
            self._root.utime(folder.path, folder.mtime_ns)
            if os.name == "posix":
                self._root.chmod(folder.path, folder.mode & ~_SET_ID)

    def _link(self, hard: HardLinkEntry) -> None:
        self._root.delete(hard.path)
        try:
            self._root.link(hard.first, hard.path)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            info = self._root.lstat(hard.first)
            self._copy_bytes(hard.first, hard.path, mode=stat.S_IMODE(info.st_mode), mtime_ns=info.st_mtime_ns)

    def _copy(self, first: str, entry: FileEntry) -> None:
        self._root.delete(entry.path)
        self._copy_bytes(first, entry.path, mode=entry.mode & ~_SET_ID, mtime_ns=entry.mtime_ns)

    def _copy_bytes(self, first: str, path: str, *, mode: int, mtime_ns: int) -> None:
        """Copy a file of this tree, whose blocks were compared when they came."""
        with contextlib.suppress(NotImplementedError):
            before = stat.S_IMODE(self._root.lstat(first).st_mode)
            self._root.chmod(first, before | 0o400)
        try:
            with (
                io.FileIO(self._root.open(first), "rb") as source,
                io.FileIO(self._root.open(path, _NEW), "wb") as out,
            ):
                while data := source.read(4 << 20):
                    view = memoryview(data)
                    while view:
                        view = view[out.write(view) :]
                os.fsync(out.fileno())
        finally:
            with contextlib.suppress(NotImplementedError):
                self._root.chmod(first, before)
        self._root.utime(path, mtime_ns)
        if os.name == "posix":
            self._root.chmod(path, mode)
