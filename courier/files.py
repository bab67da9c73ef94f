"""Files on disk: writing them whole or not at all, flushing, locks, free space, and the system's errors in words.

A file appears under its name only when it is whole: it is written under a temporary name beside it, flushed to the
disk and renamed, and the folder is flushed. So a kill or a power cut at any moment loses nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import BusyError, CourierError, DamagedError, NoSpaceError, NotFoundError, RefusedError, UsageError
from courier.niceties import FLUSHING, REFUSALS, can_share_lock, nicety, set_mode, take_lock

TEMP = ".courier-tmp-"
"""Beginning of the names of files and folders that are not whole yet; what a kill leaves is recognised by it."""
# Error numbers of a drive that is not there or has no medium in it; not every system has all of them.
_NO_MEDIUM = {getattr(errno, name) for name in ("ENXIO", "ENODEV", "ENOMEDIUM") if hasattr(errno, name)}
WRITE_OUT = 32 << 20
"""Bytes written to a file before the system is asked to put them on the disk."""
RESERVE = 64 << 20
"""Bytes that are left free on a disk of ours that is written to."""


def path_text(path: Path) -> str:
    """A path as text for people and records; bytes that are not UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the system can.

    Not on Windows, whose renames are durable by journal, nor on mounts that say they cannot (FUSE, CIFS, 9p, WSL).
    """
    if os.name != "posix":
        return
    with nicety(folder, FLUSHING):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_file(descriptor: int, path: Path) -> None:
    """Flush the data of an open file to disk. Raises `OSError`, which names ``path``, where that fails."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def make_folder(folder: Path, *, readable: bool = False) -> Path:
    """Make ``folder`` and its parents if they do not exist, flushed to disk; return ``folder``.

    ``readable``: what is made can be read by everyone, as `let_all_read` has it.
    """
    if not folder.is_dir():
        make_folder(folder.parent, readable=readable)
        folder.mkdir(exist_ok=True)
        if readable:
            let_all_read(folder)
        sync_folder(folder.parent)
    return folder


def let_all_read(path: Path) -> None:
    """Let everyone read a file or folder that is handed over to other people, whatever this user's umask is.

    Where the file system has no such permissions (FAT, many shares), or the file is another user's, nothing happens.
    """
    if os.name == "posix":
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = mode | (0o755 if path.is_dir() else 0o644)
        if mode != wanted:
            set_mode(path, wanted)


def is_of_group(folder: Path) -> bool:
    """Whether a folder is kept by a group of users: what is made in it is the group's, and others cannot enter it."""
    if os.name != "posix":
        return False
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISGID) and mode & 0o077 == 0o070


def private_mode(folder: Path) -> int:
    """The permissions of a private file in ``folder``: for its owner alone, or for the group that keeps the folder."""
    return 0o660 if is_of_group(folder) else 0o600


@contextlib.contextmanager
def atomic_file(path: Path, *, private: bool = False, readable: bool = False) -> Iterator[BinaryIO]:
    """Write ``path`` whole or not at all: yields the temporary file, opened for writing and reading (``w+b``).

    On an error the temporary file is removed and ``path`` stays as it was. ``private``: the file has `private_mode`
    from its first byte. ``readable``: everyone can read it, as `let_all_read` has it.
    """
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f"{TEMP}{os.getpid()}-{time.monotonic_ns():x}-{path.name[-40:]}")
    mode = private_mode(path.parent) if private else 0o666
    try:
        with open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, mode)) as out:
            yield out
            out.flush()
            if readable:
                let_all_read(temporary)
            sync_file(out.fileno(), path)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            # The error names what was asked for, not the temporary file; and the folder, where that is missing.
            there = error.errno != errno.ENOENT or path.parent.exists()
            why = error.strerror if there else f"the folder {path.parent} does not exist"
            raise OSError(error.errno, why, str(path)) from None
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, data: bytes, *, private: bool = False, readable: bool = False) -> None:
    """Write ``data`` to ``path`` whole or not at all; ``private`` and ``readable`` as for `atomic_file`."""
    with atomic_file(path, private=private, readable=readable) as out:
        out.write(data)


def read_private(path: Path) -> bytes:
    """Read a file that holds a key; raises `RefusedError` when more users may read it than `private_mode` has."""
    if os.name == "posix":
        mode, wanted = stat.S_IMODE(path.stat().st_mode), private_mode(path.parent)
        if mode & 0o777 & ~wanted:
            raise RefusedError(
                f"{path} can be read by others (mode {mode:o})",
                hint=f"chmod {wanted:o} {path}; if others had access, rotate the key: courier site rotate-key --lost",
                code=Code.LAX_KEY_FILE,
            )
    return path.read_bytes()


def writing_out(out: BinaryIO, progress: Callable[[int], None] = lambda _: None) -> Callable[[int], None]:
    """A function to call with the bytes just written to ``out``; it calls ``progress``.

    It has the system write the data to the disk while the caller goes on. Otherwise most of a large file waits in
    memory until it is flushed at the end. On systems without `os.posix_fadvise` it is ``progress`` itself.
    """
    if not hasattr(os, "posix_fadvise"):
        return progress
    unwritten = 0

    def written(count: int) -> None:
        nonlocal unwritten
        progress(count)
        unwritten += count
        if unwritten >= WRITE_OUT:
            # Linux starts to write what it is told to drop from memory, and does not wait for it.
            os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            unwritten = 0

    return written


def flush_files(paths: list[Path]) -> None:
    """Flush the data of new files to disk, before they get their final names.

    Where the system has `os.sync`, many files are flushed by one call of it, because flushing each takes a write of the
    disk each. Linux waits for it to finish.
    """
    if len(paths) > 64 and hasattr(os, "sync"):
        os.sync()
        return
    for path in paths:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            sync_file(handle, path)
        finally:
            os.close(handle)


def sweep(folder: Path, *, spare: str | None = None) -> None:
    """Remove what a killed command left under temporary names in ``folder``. Call it under the folder's lock only.

    ``spare``: the name of a file in it that others write without that lock; what is becoming that file stays.
    """
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith(TEMP) and not (spare and path.name.endswith(f"-{spare}")):
                remove_tree(path)


def sweep_beside(target: Path) -> None:
    """Remove what a killed command left of ``target`` beside it. Nobody else may be writing ``target``."""
    for path in target.parent.glob(f"{TEMP}*"):
        if path.name.endswith(f"-{target.name[-40:]}"):
            remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a file, a link, or a folder with all in it, also in folders that are closed to us, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            with contextlib.suppress(OSError):
                _open_up(path)
            shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _open_up(folder: Path) -> None:
    """Let ourselves into a folder and all below it, as far as they are ours: an export may have closed them already."""
    folder.chmod(0o700)
    for above, names, _ in os.walk(folder):
        for name in names:
            below = Path(above, name)
            with contextlib.suppress(OSError):
                if not below.is_symlink():
                    below.chmod(0o700)


def standing_folder(folder: Path) -> Path:
    """``folder``, or the nearest folder above it that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder


def free_space(folder: Path) -> int:
    """Bytes free for us on the disk that holds ``folder``, or will once it is made."""
    return shutil.disk_usage(standing_folder(folder)).free


def allocated(info: os.stat_result) -> int:
    """Bytes that a file takes on the disk: fewer than its size where it has holes. Its size where no system tells."""
    blocks = getattr(info, "st_blocks", None)
    return info.st_size if blocks is None else int(blocks) * 512  # the unit of POSIX, whatever the disk's is


def delete_files(paths: Iterable[Path]) -> int:
    """Delete files; return the bytes freed."""
    freed = 0
    for path in paths:
        freed += allocated(path.stat())
        path.unlink()
    return freed


def disk_of(folder: Path) -> int:
    """Device number of the disk that holds ``folder``, or will once it is made."""
    return standing_folder(folder).stat().st_dev


def require_space(folder: Path, needed: int, *, purpose: str) -> None:
    """Raise `NoSpaceError` unless the disk of ``folder`` has room for ``needed`` bytes more and `RESERVE`.

    ``purpose`` begins the message: "adding the package".
    """
    free = free_space(folder)
    if free < needed + RESERVE:
        raise NoSpaceError.short_of(purpose, needed=needed, free=free, reserve=RESERVE, place=str(folder))


@contextlib.contextmanager
def naming_space(folder: Path, needed: Callable[[], int], *, purpose: str) -> Iterator[None]:
    """Raise `NoSpaceError` when the disk of ``folder`` fills up in the block, with the bytes ``needed`` and free.

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
            hint = f"there are bytes enough, so it is out of file entries (df -i) or of a quota: {hint}"
        raise NoSpaceError(
            f"{purpose}: the disk of {folder} is full ({error.strerror}); {most:,} bytes are needed in all, "
            f"{free:,} are free",
            hint=hint,
        ) from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs. Raises `BusyError` at once when it is held already.

    It excludes other processes, other threads, and a second use in the same thread. The operating system drops the
    lock when its holder ends, however it ends; the file stays, unless its holder deletes it. A disk that knows no locks
    gives an `OSError` with ENOLCK that names ``path`` (decision 0015).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for last in (False, False, False, True):
        with path.open("a+b") as handle:
            if not _lock(handle, path):
                raise BusyError(
                    f"another courier command is at work on {path.parent}",
                    hint="wait for it to end, then run this command again",
                )
            # Its holder may have deleted it just after we had opened it; then it excludes nobody.
            if last or os.fstat(handle.fileno()).st_nlink:
                yield
                return


def _lock(handle: BinaryIO, path: Path) -> bool:
    try:
        return take_lock(handle.fileno())
    except OSError as error:
        if error.errno != errno.ENOLCK and error.errno not in REFUSALS:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise OSError(errno.ENOLCK, f"its disk knows no locks ({error.strerror})", str(path)) from None


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock file ``path``. Others who ask, or want to hold it, are not disturbed.

    It need not be ours to write. Where the system does not tell, it counts as held.
    """
    try:
        with path.open("rb") as handle:
            return not can_share_lock(handle.fileno())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def explain_os(error: OSError) -> CourierError:
    """The `CourierError` for an error of the operating system."""
    where = error.filename if isinstance(error.filename, str) else str(error.filename or "")
    if Path(where).name.startswith(TEMP):
        where = str(Path(where).parent)  # a temporary name says nothing to an operator
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
        case errno.ENOLCK:
            hint = "a site home wants a local disk: move it there, or name it with --home; media may lie on a share"
            return RefusedError(text, hint=hint, code=Code.NO_LOCKS)
        case errno.ELOOP:
            return UsageError(text, hint="the links there lead in a circle; choose another path")
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR | errno.ENOTEMPTY | errno.ENAMETOOLONG | errno.EINVAL:
            return UsageError(text, hint="choose another path")
        case errno.EIO:
            return DamagedError(
                text, hint="the disk or medium could not be read or written there; try another drive", code=Code.IO
            )
    return CourierError(text, hint="run the same command again; if it stays so, check the disk")
