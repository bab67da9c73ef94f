"""Copying the files of a package into a partition: each is verified as it is written, and none through a link."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from pathlib import Path

from courier.deployment.run.content import PackageFiles
from courier.errors import RefusedError
from courier.packages.tree_root import TreeRoot
from courier.packages.write_tree import check_native
from formats.documents.listing import FileEntry, FolderEntry, HardLinkEntry, LinkEntry


def copy_package(files: PackageFiles, folder: Path, to: str) -> int:
    """Put all that a package has below ``to`` in ``folder``; return the bytes of its files.

    What has the same name there is replaced. ``to`` is made where it is missing; empty for ``folder`` itself. Raises
    `RefusedError` where a link, or a file, stands in place of a folder.
    """
    size = 0
    with TreeRoot(folder) as root:
        _make(root, to)
        first: dict[str, FileEntry] = {}
        for entry in files.entries():
            check_native(entry.path)
            name = f"{to}/{entry.path}" if to else entry.path
            match entry:
                case FolderEntry():
                    _make(root, name)
                case LinkEntry():
                    root.delete(name)
                    root.symlink(entry.target, name)
                case HardLinkEntry():
                    _write(root, files, first[entry.first], name)
                case FileEntry():
                    if entry.further_names:
                        first[entry.path] = entry
                    _write(root, files, entry, name)
                    size += entry.size
        # Folders last: writing into one changes its time, and may need more permissions than it gets.
        for entry in files.entries():
            if isinstance(entry, FolderEntry):
                name = f"{to}/{entry.path}" if to else entry.path
                root.utime(name, entry.mtime_ns)
                root.chmod(name, entry.mode & 0o777 | 0o700)
    return size


def make_below(folder: Path, to: str) -> Path:
    """The folder ``to`` below ``folder``, made where it is missing. Raises `RefusedError` for a link on the way."""
    with TreeRoot(folder) as root:
        _make(root, to)
    return folder / to if to else folder


def _make(root: TreeRoot, name: str) -> None:
    """Make a folder and those above it. Raises `RefusedError` where one of them is a link or a file."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise RefusedError(f"{name} leads out of the partition", hint="name a folder below it, in the task sequence")
    for count in range(1, len(parts) + 1):
        below = "/".join(parts[:count])
        with contextlib.suppress(FileExistsError):
            root.mkdir(below)
            root.chmod(below, 0o755)
        if not stat.S_ISDIR(root.lstat(below).st_mode):
            raise RefusedError(
                f"{below} is not a folder but a link or a file", hint="name the folder that it leads to: to = PATH"
            )


def _write(root: TreeRoot, files: PackageFiles, entry: FileEntry, name: str) -> None:
    try:
        root.delete(name)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.EPERM):
            raise RefusedError(f"{name} is a folder there", hint="choose another folder: to = PATH") from None
        raise
    with io.FileIO(root.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as out:
        for piece in files.pieces(entry):
            view = memoryview(piece)
            while view:
                view = view[out.write(view) :]
        root.fchmod(out.fileno(), entry.mode & 0o777)
    root.utime(name, entry.mtime_ns)
