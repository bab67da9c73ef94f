"""SQLite's errors as those of this project and of the operating system, so that an operator learns what to do."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from courier.errors import BusyError, DamagedError

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SYSTEM = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the database file is cut, overwritten or no database."""
    return _code(error) in _DAMAGED


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection held the database for longer than was waited."""
    return _code(error) == sqlite3.SQLITE_BUSY


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise `BusyError`, `DamagedError` or `OSError` in place of an error of SQLite at the database ``path``."""
    try:
        yield
    except sqlite3.Error as error:
        if is_busy(error):
            raise BusyError(
                f"another courier command is at work on {path.parent}",
                hint="wait for it to end, then run this command again",
            ) from error
        if is_damaged(error):
            raise DamagedError(
                f"{path} was damaged", hint="run the same command again: what it says is read anew from beside it"
            ) from error
        if number := _SYSTEM.get(_code(error)):
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
