"""Files in folders where others write as well, such as a point: opened so that none can mislead us or hold us up.

A pipe in the place of a file would keep its reader waiting for ever, one without an end would fill the memory, and a
symbolic link would have us write, or open to others, what lies elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from courier.files import let_all_read, sync_folder
from courier.niceties import set_mode
from formats.errors import MalformedError

_MAX_FILE = 1 << 20
"""Bytes of the largest file that is read whole."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_file(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """Open a file, for reading unless ``flags`` say otherwise.

    Raises `MalformedError` for a link, a pipe or a folder in its place, and `OSError`.
    """
    try:
        descriptor = os.open(path, flags | _NO_LINK, 0o666)
    except OSError as error:
        # ENXIO: a pipe that nobody reads, or a socket.
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise MalformedError("is a link, or no file", place=path.name) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MalformedError("is no file", place=path.name)
    return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b")


def read_small(path: Path, *, most: int = _MAX_FILE) -> bytes:
    """A file of at most ``most`` bytes. Raises `OSError`, and `MalformedError` for a larger one or for no file."""
    with open_file(path) as source:
        data = source.read(most + 1)
    if len(data) > most:
        raise MalformedError(f"over {most} bytes", place=path.name)
    return data


def write_new(path: Path, data: bytes) -> None:
    """Write a file under a temporary name that nobody else uses; whatever has that name is replaced, not written to.

    The site may be another user than the client, so everyone can read it; nobody can read what it means.
    """
    path.unlink(missing_ok=True)
    with path.open("xb") as out:
        out.write(data)
        let_all_read(path)


def make_lock(path: Path) -> None:
    """Make a lock file that site and clients, who may be different users, can each hold. Raises as `open_file` does."""
    with open_file(path, os.O_RDWR | os.O_CREAT) as lock:
        mode = stat.S_IMODE(path.parent.stat().st_mode) & 0o666
        if stat.S_IMODE(os.fstat(lock.fileno()).st_mode) != mode:
            set_mode(path, mode)


def check_no_link(path: Path) -> None:
    """Raise `MalformedError` for a symbolic link: what would be made or deleted in it lies elsewhere."""
    if path.is_symlink():
        raise MalformedError("is a link", place=path.name)


def make_below(folder: Path) -> None:
    """Make a folder where it is missing, with the permissions of the one that it is in.

    So whoever may write to a point may also go on with a capture there, and delete it, whatever the umask. Raises
    `MalformedError` for a link.
    """
    check_no_link(folder)
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        set_mode(folder, stat.S_IMODE(folder.parent.stat().st_mode))
        sync_folder(folder.parent)
