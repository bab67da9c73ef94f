"""A folder on the disk whose entries are reached by their paths below it.

Where the system can, each is opened relative to the open folder: a path is then as long as the package's own limit
allows, however deep the folder itself stands. Nothing here follows a symbolic link at the end of a path.
"""

from __future__ import annotations

import contextlib
import io
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from courier.niceties import PERMISSIONS, TIMES, nicety

NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags to open a file with that is not to be a link or pipe by now; a pipe would keep us waiting."""
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_ROOT = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
"""Where the system can, the folder that all is below need not be one whose names may be read, only entered."""
_PATH_MAX = 4096
"""Bytes of the shortest path, with the NUL at its end, that Linux does not take."""
_RELATIVE = {os.open, os.mkdir, os.stat, os.readlink, os.symlink, os.link, os.utime, os.chmod} <= os.supports_dir_fd


class SourceFile(io.FileIO):
    """An open file whose errors on reading name it."""

    def __init__(self, descriptor: int, path: Path | str) -> None:
        self._path = path
        try:
            super().__init__(descriptor, "rb")
        except OSError as error:  # it is a folder
            os.close(descriptor)
            raise OSError(error.errno, error.strerror, str(path)) from None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes."""
        try:
            return super().read(-1 if size is None else size) or b""
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None


class TreeRoot(AbstractContextManager["TreeRoot"]):
    """An open folder; ``name`` is always a path below it with ``/``, the empty one the folder itself."""

    def __init__(self, folder: Path) -> None:
        """``folder`` exists; a link to a folder is followed."""
        self._folder = folder
        self._text = str(folder)
        self._fd = os.open(folder, _ROOT) if _RELATIVE else None

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def path(self, name: str) -> Path:
        """Where an entry is on the disk, for messages."""
        return self._folder / name if name else self._folder

    def text(self, name: str) -> str:
        """The same as text, for each of very many files."""
        return os.path.join(self._text, name) if name else self._text

    def _at(self, name: str) -> tuple[str | Path, dict[str, Any]]:
        return (self.path(name), {}) if self._fd is None else (name or ".", {"dir_fd": self._fd})

    def names(self, name: str) -> list[str]:
        """The names of what a folder holds, sorted by their UTF-8 bytes."""
        path, at = self._at(name)
        if not at:
            return _sorted(os.listdir(path))
        descriptor = os.open(path, _FOLDER, **at)
        try:
            return _sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)

    def lstat(self, name: str) -> os.stat_result:
        """What the system tells of an entry."""
        path, at = self._at(name)
        return os.stat(path, follow_symlinks=False, **at)

    def readlink(self, name: str) -> str:
        """What a symbolic link holds."""
        path, at = self._at(name)
        return os.readlink(path, **at)

    def leads_nowhere(self, name: str) -> bool:
        """Whether a symbolic link leads to nothing that is there now."""
        path, at = self._at(name)
        try:
            os.stat(path, **at)
        except OSError:
            return True
        return False

    def can_read(self, name: str) -> bool:
        """Whether the system says that this user may read a file."""
        path, at = self._at(name)
        if os.access in os.supports_effective_ids:
            return os.access(path, os.R_OK, effective_ids=True, **at)
        return os.access(path, os.R_OK)

    def attributes(self, name: str) -> list[str]:
        """The names of an entry's extended attributes, but for one that the system gives to every file by itself."""
        if not hasattr(os, "listxattr"):
            return []
        path = f"{self._text}/{name}"
        if self._fd is not None and len(os.fsencode(path)) >= _PATH_MAX:
            path = f"/proc/self/fd/{self._fd}/{name}"  # they cannot be asked for relative to an open folder
        try:
            return [one for one in os.listxattr(path, follow_symlinks=False) if one != "security.selinux"]
        except OSError:
            return []  # a file system without them

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file, never through a link, and return its descriptor; a new one is its owner's alone."""
        path, at = self._at(name)
        return os.open(path, flags | NO_LINK, 0o600, **at)

    def mkdir(self, name: str) -> None:
        """Make a folder that is its owner's alone."""
        path, at = self._at(name)
        os.mkdir(path, 0o700, **at)

    def delete(self, name: str) -> None:
        """Delete a file or link, if it is there."""
        path, at = self._at(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path, **at)

    def rename(self, name: str, new: str) -> None:
        """Give an entry another path below the folder, in place of a file that has it."""
        old, at = self._at(name)
        path, _ = self._at(new)
        if at:
            os.replace(old, path, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        else:
            os.replace(old, path)

    def chown(self, name: str, uid: int, gid: int) -> bool:
        """Give an entry, a link itself, its owner and group by number; return whether the system let us."""
        if not hasattr(os, "lchown"):
            return False
        path, at = self._at(name)
        try:
            os.chown(path, uid, gid, follow_symlinks=False, **at)
        except OSError:
            return False
        return True

    def symlink(self, target: str, name: str) -> None:
        """Make a symbolic link that holds ``target``."""
        path, at = self._at(name)
        os.symlink(target, path, **at)

    def link(self, first: str, name: str) -> None:
        """Make a further name of the file ``first``."""
        old, at = self._at(first)
        new, _ = self._at(name)
        if at:
            os.link(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False)
        else:
            os.link(old, new)

    def name_too(self, name: str, target: Path) -> bool:
        """Give a file one more name, ``target``; whether the file system could."""
        path, at = self._at(name)
        try:
            if at:
                os.link(path, target, src_dir_fd=self._fd, follow_symlinks=False)
            else:
                os.link(path, target)
        except (OSError, NotImplementedError):
            return False
        return True

    def delete_folder(self, name: str) -> bool:
        """Delete a folder if it is empty; whether it is gone."""
        path, at = self._at(name)
        try:
            os.rmdir(path, **at)
        except OSError:
            return False
        return True

    def utime(self, name: str, mtime_ns: int) -> None:
        """Set the time of an entry, of a link itself where the system can."""
        path, at = self._at(name)
        with nicety(self._folder, TIMES):
            if os.utime in os.supports_follow_symlinks:
                os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False, **at)
            elif not Path(path).is_symlink():
                os.utime(path, ns=(mtime_ns, mtime_ns), **at)

    def chmod(self, name: str, mode: int) -> None:
        """Set the permission bits of a file or folder, which is known to be no link."""
        path, at = self._at(name)
        with nicety(self._folder, PERMISSIONS):
            os.chmod(path, mode, **at)

    def fchmod(self, descriptor: int, mode: int) -> None:
        """Set the permission bits of an open file."""
        with nicety(self._folder, PERMISSIONS):
            os.fchmod(descriptor, mode)


def _sorted(names: list[str]) -> list[str]:
    """Names by their UTF-8 bytes, which is how ASCII sorts anyway."""
    return sorted(names) if "".join(names).isascii() else sorted(names, key=os.fsencode)
