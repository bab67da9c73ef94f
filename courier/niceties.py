"""What a file system may refuse without harm: to flush a folder, to set permissions or times, to forget its cache.

Shares (SMB), FUSE and WSL answer with all kinds of errors. The work goes on; a command says once for each medium what
was refused there. What a file holds is never a nicety: that its data cannot be flushed stays an error, and so does
every other answer of the system, such as that of a failing disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

REFUSALS = frozenset(
    getattr(errno, name)
    for name in ("EBADF", "ENOSYS", "EACCES", "EPERM", "EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOTTY", "ESPIPE")
    if hasattr(errno, name)
)
"""Error numbers that say "not here", not that the disk is full or fails."""
FLUSHING, PERMISSIONS, TIMES = "flush folders", "set permissions", "set times"
"""What a file system may refuse, as it stands in a note."""


class Refusals:
    """What file systems refused while a command ran: for the top folder of each, what it refused and why."""

    def __init__(self) -> None:
        self._refused: dict[Path, dict[str, str]] = {}

    def add(self, path: Path, what: str, error: OSError) -> None:
        """Note that ``what`` was refused at ``path``."""
        self._refused.setdefault(_top_of(path), {}).setdefault(what, error.strerror or str(error))

    def notes(self) -> list[str]:
        """One note for each medium."""
        return [
            f"the file system at {top} refuses to {' and to '.join(refused)} "
            f"({', '.join(dict.fromkeys(refused.values()))}). That harms nothing: the work went on"
            for top, refused in self._refused.items()
        ]


def _top_of(path: Path) -> Path:
    """The top folder of the file system that holds ``path``."""
    try:
        path = path.absolute()
        while not path.is_mount() and path != path.parent:
            path = path.parent
    except OSError:
        pass
    return path


_listening: list[Refusals] = []


@contextlib.contextmanager
def telling_refusals(tell: Callable[[str], None]) -> Iterator[None]:
    """When the block ends, ``tell`` once for each medium what its file system refused meanwhile."""
    refusals = Refusals()
    _listening.append(refusals)
    try:
        yield
    finally:
        _listening.remove(refusals)
        for note in refusals.notes():
            tell(note)


@contextlib.contextmanager
def nicety(path: Path, what: str = "") -> Iterator[None]:
    """Go on when the file system of ``path`` refuses what the block does; ``what`` as in a note, or empty for no note.

    Every other error is raised, and names ``path`` where the system named nothing.
    """
    try:
        yield
    except NotImplementedError as error:
        _note(path, what, OSError(errno.ENOSYS, str(error)))
    except OSError as error:
        if error.errno not in REFUSALS:
            if error.filename is None:
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise
        _note(path, what, error)


def _note(path: Path, what: str, error: OSError) -> None:
    if what:
        for refusals in _listening:
            refusals.add(path, what, error)


def set_time(path: Path, mtime_ns: int) -> None:
    """Set the times of a file (nanoseconds since 1970), where its file system lets us."""
    with nicety(path, TIMES):
        os.utime(path, ns=(mtime_ns, mtime_ns))


def set_mode(path: Path, mode: int) -> None:
    """Set the permission bits of a file or folder, where its file system lets us."""
    with nicety(path, PERMISSIONS):
        path.chmod(mode)


def take_lock(descriptor: int) -> bool:
    """Lock an open file for its holder alone, by ``flock`` where there is one; False where another holds it already.

    Raises `OSError` where the file system refuses. `filelock` locks the same way, but takes long to load, and every
    command takes a lock.
    """
    try:
        import fcntl
    except ImportError:
        from filelock import lock_descriptor

        return lock_descriptor(descriptor, blocking=False)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}:  # some file systems say EACCES
            raise
        return False
    return True


_FICLONE = 0x40049409
"""The request of Linux that has a file share all blocks of another: XFS, Btrfs, bcachefs, NFS 4.2, SMB."""


def share_blocks(source: int, target: int) -> bool:
    """Have the open file ``target``, which is empty, share the blocks of ``source`` on the disk; whether that was done.

    Both then hold the same bytes, and a change of one is not seen in the other. No byte is copied. False where the
    system or the file system cannot, and for files on two of them.
    """
    try:
        import fcntl

        fcntl.ioctl(target, _FICLONE, source)
    except (ImportError, OSError):
        # Whatever the reason is: the bytes are copied then, and a disk that fails says so there.
        return False
    return True


def same_disk(one: int, folder: Path) -> bool:
    """Whether an open file is on the file system of ``folder``."""
    return os.fstat(one).st_dev == folder.stat().st_dev


def can_share_lock(descriptor: int) -> bool:
    """Whether nobody holds the lock of an open file for itself alone; two may ask at one time. Raises `OSError`.

    Where the system has no locks to share, it is taken for an instant.
    """
    try:
        import fcntl
    except ImportError:
        from filelock import lock_descriptor

        return lock_descriptor(descriptor, blocking=False)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
