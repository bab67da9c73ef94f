"""One folder of a distribution point on the disk. Nothing here follows a link that somebody planted below it.

The folder may stand on a share that others write to. So every part of a path is opened for itself, from the open folder
on, and what is no plain file counts as missing. New files are written below ``.courier/new`` and flushed, and appear
under their names all or nothing. Whatever begins with a dot is no part of what is served.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

from courier.errors import RefusedError
from courier.files import sync_folder
from courier.site.point_places import EXCLUSION

NEW = ".courier/new"
"""Path of the files that are not whole yet."""
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_RELATIVE = {os.open, os.mkdir, os.stat, os.unlink, os.rename} <= os.supports_dir_fd
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENXIO}
"""What the system says of a path that leads over a link, a file, or nothing."""
MANY = 64
"""Files, or folders, from which on the system is told to flush everything: each for itself takes a write each."""


class PointFolder(AbstractContextManager["PointFolder"]):
    """An open folder of a point; paths are as in `formats.documents.point`, with ``/``."""

    def __init__(self, folder: Path) -> None:
        """``folder`` exists; a link to a folder is followed: it is the operator's own."""
        self.folder = folder
        self._fd = os.open(folder, _FOLDER & ~getattr(os, "O_NOFOLLOW", 0)) if _RELATIVE else None
        if not _RELATIVE and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        self._count = 0

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        # Two threads may do so at one time, while a third is at work; a descriptor that is closed twice may be another
        # file's by then.
        descriptor, self._fd = self._fd, None
        if descriptor is not None:
            os.close(descriptor)

    def _root(self) -> int:
        """The open folder. It is asked for once in each step, as another thread may close it: see `close`."""
        descriptor = self._fd
        if descriptor is None:
            raise OSError(errno.EBADF, "closed already", str(self.folder))
        return descriptor

    def path(self, path: str) -> Path:
        """Where a file is on the disk, for messages."""
        return self.folder / path

    @property
    def is_excluded(self) -> bool:
        """Whether an operator said, by a file called `EXCLUSION`, that nothing is to be put here."""
        return os.path.lexists(self.folder / EXCLUSION)

    def size(self, path: str) -> int | None:
        """Bytes of a plain file; None where there is none, or something else."""
        try:
            with self._parent(path) as (name, at):
                info = os.stat(name, follow_symlinks=False, **at)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        return info.st_size if stat.S_ISREG(info.st_mode) else None

    def open(self, path: str) -> BufferedReader:
        """Open a plain file for reading; raises `FileNotFoundError` where there is none, or something else."""
        return open(self.descriptor(path)[0], "rb")

    def descriptor(self, path: str) -> tuple[int, os.stat_result]:
        """Open a file as `open` does, for who reads it by its number and closes it; and what the system says of it."""
        try:
            descriptor = self._open_below(path)
        except OSError as error:
            if error.errno in _NOT_THERE:
                raise self._missing(path) from None
            raise
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            os.close(descriptor)
            raise self._missing(path)
        return descriptor, info

    def _open_below(self, path: str) -> int:
        """What `_parent` does and an open, in as few steps as can be: servers open every file that is asked for."""
        if not _RELATIVE:
            with self._parent(path) as (place, at):
                return os.open(place, os.O_RDONLY | _PLAIN, **at)
        *above, name = path.split("/")
        entered = [self._root()]
        try:
            for part in above:
                entered.append(os.open(part, _FOLDER, dir_fd=entered[-1]))
            return os.open(name, os.O_RDONLY | _PLAIN, dir_fd=entered[-1])
        finally:
            for descriptor in entered[1:]:
                os.close(descriptor)

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted; none where it is missing or something else."""
        try:
            with self._entered(path.split("/") if path else []) as at:
                return sorted(os.listdir(at.get("dir_fd", self.path(path))))
        except OSError as error:
            if error.errno in _NOT_THERE:
                return []
            raise

    def create(self) -> tuple[str, BufferedRandom]:
        """Make a new file that is not served yet; its path and the file, open for writing and reading."""
        self._count += 1
        path = f"{NEW}/{os.getpid()}-{self._count}"
        with self._parent(path, make=True) as (name, at):
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAIN, 0o644, **at)
        if hasattr(os, "fchmod"):
            with contextlib.suppress(OSError):  # a share without permissions
                os.fchmod(descriptor, 0o644)  # the web server is another user
        return path, open(descriptor, "w+b")

    def go_on(self, path: str) -> tuple[int, bool]:
        """Open a file that is not served yet, to write it bit by bit; its descriptor, and whether it is new."""
        with self._parent(path, make=True) as (name, at):
            try:
                return os.open(name, os.O_RDWR | _PLAIN, **at), False
            except FileNotFoundError:
                descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAIN, 0o644, **at)
        if hasattr(os, "fchmod"):
            with contextlib.suppress(OSError):  # as `create` has it
                os.fchmod(descriptor, 0o644)
        return descriptor, True

    def place(self, new: str, path: str) -> None:
        """Give a file that `create` made, and that is flushed, its path; what was there is replaced.

        The folders are flushed by `flush`.
        """
        with self._parent(new) as (old_name, old), self._parent(path, make=True) as (name, at):
            try:
                if at:
                    os.rename(old_name, name, src_dir_fd=old["dir_fd"], dst_dir_fd=at["dir_fd"])
                else:
                    Path(old_name).replace(name)
            except (IsADirectoryError, NotADirectoryError):
                raise self._in_the_way(path) from None

    def write(self, path: str, data: bytes) -> None:
        """Write a small file whole or not at all, flushed."""
        new, out = self.create()
        with out:
            out.write(data)
            os.fsync(out.fileno())
        self.place(new, path)
        self.flush([path])

    def delete(self, path: str) -> bool:
        """Delete a file, or a link in its place; False where there is none."""
        try:
            with self._parent(path) as (name, at):
                os.unlink(name, **at)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return False
            raise
        return True

    def sweep(self) -> None:
        """Delete what killed commands left. Call it under the lock of the point."""
        for name in self.names(NEW):
            self.delete(f"{NEW}/{name}")

    def flush(self, paths: Sequence[str]) -> None:
        """Flush the folders of these files, so that their names stay."""
        folders = {path.rpartition("/")[0] for path in paths}
        folders |= {folder.rpartition("/")[0] for folder in folders}
        if len(folders) > MANY and hasattr(os, "sync"):
            os.sync()
            return
        for folder in sorted(folders):
            with self._entered(folder.split("/") if folder else []) as at:
                if "dir_fd" not in at:
                    sync_folder(self.path(folder))
                    continue
                try:
                    os.fsync(at["dir_fd"])
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                        raise

    @contextlib.contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[str | Path, dict[str, Any]]]:
        """The name of a file to give to the system, and where that is relative to; the folders above are entered."""
        above, _, name = path.rpartition("/")
        with self._entered(above.split("/") if above else [], make=make) as at:
            yield (name if at else self.path(path)), at

    @contextlib.contextmanager
    def _entered(self, parts: Sequence[str], *, make: bool = False) -> Iterator[dict[str, Any]]:
        """The open folder of this path, part by part, none of them a link; ``make``: what is missing is made."""
        if not _RELATIVE:
            self._walk_by_name(parts, make=make)
            yield {}
            return
        at = root = self._root()
        try:
            for n, part in enumerate(parts):
                below = self._enter(part, at, make=make, path="/".join(parts[: n + 1]))
                if at != root:
                    os.close(at)
                at = below
            yield {"dir_fd": at}
        finally:
            if at != root:
                os.close(at)

    def _enter(self, part: str, at: int, *, make: bool, path: str) -> int:
        try:
            return os.open(part, _FOLDER, dir_fd=at)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            if make and error.errno in _NOT_THERE:
                raise self._in_the_way(path) from None
            raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o755, dir_fd=at)
        descriptor = os.open(part, _FOLDER, dir_fd=at)
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, 0o755)
        return descriptor

    def _walk_by_name(self, parts: Sequence[str], *, make: bool) -> None:
        """The same for systems that open nothing relative to a folder: each part is looked at."""
        folder = self.folder
        for part in parts:
            folder /= part
            if make and not folder.exists():
                folder.mkdir(exist_ok=True)
            if folder.is_symlink() or not folder.is_dir():
                if make:
                    raise self._in_the_way("/".join(parts))
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))

    def _missing(self, path: str) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path(path)))

    def _in_the_way(self, path: str) -> RefusedError:
        return RefusedError(
            f"{self.path(path)} is a link, or of another kind than the point has there; nothing was written over it",
            hint="find out who put it there; then delete it, and give the same command again",
        )
