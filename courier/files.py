"""Files on disk: the one atomic writer, a settled batch, locks, free space, and the system's own errors translated.

A name appears only with its whole content behind it: data go to a temporary name beside the target, are flushed to
the disk, renamed, and the folder is flushed (decision 8 of the design: a kill at any instant loses nothing).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import CourierError, NoSpaceError, NotFoundError, RefusedError, UsageError

TEMP = ".courier-tmp-"
"""What names of files and folders begin with that are not whole yet; what a kill leaves is told by it to be ours."""
# Not every system has all of these.
_NO_MEDIUM = {getattr(errno, name) for name in ("ENXIO", "ENODEV", "ENOMEDIUM") if hasattr(errno, name)}
WRITE_OUT = 32 << 20
"""Bytes written to a file before the system is asked to put them on the disk."""
RESERVE = 64 << 20
"""Bytes that are left free on a disk we write to."""


def path_text(path: Path) -> str:
    """A path as a text for people and records; what of it is not UTF-8 is escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the system can.

    Not on Windows, whose renames are durable by journal, nor on mounts that say they cannot (FUSE, CIFS, 9p).
    """
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path) -> Path:
    """Make ``folder`` and its parents if they are not there, flushed to disk; return it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    return folder


@contextlib.contextmanager
def atomic_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Write ``path`` whole or not at all: yields the temporary file, opened ``w+b``.

    On an error the temporary file is removed and ``path`` is as it was. ``private`` makes it readable by its owner
    only, from its first byte.
    """
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f"{TEMP}{os.getpid()}-{time.monotonic_ns():x}-{path.name[-40:]}")
    mode = 0o600 if private else 0o666
    try:
        with open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, mode)) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            # The name that was asked for, not ours.
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write ``data`` to ``path`` whole or not at all."""
    with atomic_file(path, private=private) as out:
        out.write(data)


def read_private(path: Path) -> bytes:
    """Read a file that holds a key; raises `RefusedError` when others than its owner may read it."""
    if os.name == "posix":
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise RefusedError(
                f"{path} can be read by others (mode {mode:o})",
                hint=f"chmod 600 {path}; if others had access, rotate the key: courier site rotate-key --lost",
                code=Code.LAX_KEY_FILE,
            )
    return path.read_bytes()


def writing_out(out: BinaryIO, progress: Callable[[int], None] = lambda _: None) -> Callable[[int], None]:
    """``progress``, told of bytes written to ``out``, that has the system put them on the disk while we go on.

    Where it cannot be asked, most of a large file waits in memory until it is flushed, and the disk waits meanwhile.
    """
    if not hasattr(os, "posix_fadvise"):
        return progress
    unwritten = 0

    def told(count: int) -> None:
        nonlocal unwritten
        progress(count)
        unwritten += count
        if unwritten >= WRITE_OUT:
            # Linux begins to write what is to be dropped from memory, and does not wait for it.
            os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            unwritten = 0

    return told


def settle(paths: list[Path]) -> None:
    """Flush the data of freshly written files to disk, before they get their final names.

    Many small files are flushed by one `os.sync` where the system has it (Linux waits for it to finish), because a
    flush each costs a disk turn each.
    """
    if len(paths) > 64 and hasattr(os, "sync"):
        os.sync()
        return
    for path in paths:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a killed run left under temporary names in ``folder``. Call it under the site's lock only."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith(TEMP):
                remove_tree(path)


def sweep_beside(target: Path) -> None:
    """Remove what a killed run left of ``target`` under temporary names beside it. Nobody else may be writing it."""
    for path in target.parent.glob(f"{TEMP}*"):
        if path.name.endswith(f"-{target.name[-40:]}"):
            remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def standing_folder(folder: Path) -> Path:
    """``folder``, or where it would be made: the nearest above it that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder


def free_space(folder: Path) -> int:
    """Bytes free for us on the disk that holds ``folder`` (or would, once made)."""
    return shutil.disk_usage(standing_folder(folder)).free


def disk_of(folder: Path) -> int:
    """What tells the disk of ``folder`` (or where it would be made) from others."""
    return standing_folder(folder).stat().st_dev


def require_space(folder: Path, needed: int, *, purpose: str) -> None:
    """Raise `NoSpaceError` unless the disk of ``folder`` holds ``needed`` bytes more and `RESERVE` besides."""
    free = free_space(folder)
    if free < needed + RESERVE:
        raise NoSpaceError.short_of(purpose, needed=needed, free=free, reserve=RESERVE, place=str(folder))


@contextlib.contextmanager
def naming_space(folder: Path, needed: Callable[[], int], *, purpose: str) -> Iterator[None]:
    """Raise `NoSpaceError` where a disk fills up in the block: with the place, the bytes ``needed``, and those free.

    The system's own error says neither. `require_space` comes before the first byte; this is for what others write
    meanwhile, for quotas, and for file systems that take no file so large.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise NoSpaceError(
                f"{purpose}: the disk of {folder} takes no file so large ({error.strerror})",
                hint="its file system or a quota has that limit (FAT32: 4 GiB); use exFAT, NTFS or ext4, "
                "or for media --layout folder",
            ) from None
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        most, free = needed(), free_space(folder)
        hint = "free space there, or use another disk or medium, then run the same command again"
        if free > most:
            hint = f"its bytes would do, so it is out of file entries (df -i) or of a quota: {hint}"
        raise NoSpaceError(
            f"{purpose}: the disk of {folder} is full ({error.strerror}); {most:,} bytes are needed in all, "
            f"{free:,} are free",
            hint=hint,
        ) from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``: one writer at a time. Raises `RefusedError` when another process holds it.

    The system drops the lock when its holder ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as handle:
        try:
            _lock(handle)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise
            raise RefusedError(
                f"another courier command is at work on {path.parent}",
                hint="wait for it to end, then run this command again",
                code=Code.BUSY,
            ) from None
        yield


def _lock(handle: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def explain_os(error: OSError) -> CourierError:
    """The `CourierError` for an error of the operating system."""
    where = error.filename if isinstance(error.filename, str) else str(error.filename or "")
    if Path(where).name.startswith(TEMP):
        where = str(Path(where).parent)  # a name of ours says nothing to an operator
    text = f"{where}: {error.strerror}" if where else str(error.strerror or error)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return NoSpaceError(
                text, hint="free space there, or use another disk or medium, then run the same command again"
            )
        case errno.ENOENT:
            return NotFoundError(text, hint="check the path")
        case number if number in _NO_MEDIUM:
            return NotFoundError(text, hint="check that the drive is connected and has a medium in it")
        case errno.EACCES | errno.EPERM:
            return RefusedError(text, hint="check who owns it and what its permissions are", code=Code.PERMISSION)
        case errno.EROFS:
            return RefusedError(text, hint="it is mounted read-only; choose another place", code=Code.PERMISSION)
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR | errno.ENOTEMPTY | errno.ENAMETOOLONG | errno.EINVAL:
            return UsageError(text, hint="choose another path")
        case errno.EIO:
            from courier.errors import DamagedError

            return DamagedError(
                text, hint="the disk or medium could not be read or written there; try another drive", code=Code.IO
            )
    return CourierError(text, hint="run the same command again; if it stays so, check the disk")
