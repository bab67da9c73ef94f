"""What a database said, as an error that tells people what to do."""

from __future__ import annotations

from pathlib import Path

from courier.error_codes import Code
from courier.errors import BusyError, CourierError, DamagedError, NoSpaceError, RefusedError, UnreachableError
from courier.files import free_space

_ROOM_TO_OPEN = 1 << 20
"""Free bytes that opening a local catalogue may need, even only to read it."""


def sqlite_error(file: Path, where: str, text: str) -> CourierError:
    """The error for what SQLite said of the catalogue in ``file``."""
    # SQLite only says "disk I/O error" when not even the file of its shared memory can grow.
    if ("disk I/O error" in text and free_space(file) < _ROOM_TO_OPEN) or "disk is full" in text or "No space" in text:
        free = f" ({free_space(file):,} bytes are free there)"
        return NoSpaceError(
            f"{where}: {text}{free}", hint="free some 100 MB on its disk, then run the same command again"
        )
    if "locking protocol" in text:
        hint = f"a site home wants a local disk, which knows locks: move {file.parent} there"
        return RefusedError(f"{where}: {text}", hint=hint, code=Code.NO_LOCKS)
    if "locked" in text:
        return BusyError(f"{where}: {text}", hint="wait for the other command to end, then run this one again")
    if any(word in text for word in ("readonly", "unable to open")):
        hint = f"{file.parent} must be writable for this: mount it so, or check who owns it and its permissions"
        return RefusedError(f"{where}: {text}", hint=hint, code=Code.PERMISSION)
    if any(word in text for word in _DAMAGE):
        return damaged_catalogue(where, text)
    return CourierError(f"{where}: {text}", hint="check the catalogue's file", code=Code.CATALOGUE)


_AWAY = ("08", "57P")
"""How the codes begin of a server that is being shut down or starts, or of a connection to it that broke."""
_DAMAGE = ("not a database", "malformed", "no such table", "no such column", "decode to UTF-8")
"""What SQLite says of a file that was cut, overwritten or is something else."""


def damaged_catalogue(where: str, why: str) -> DamagedError:
    """The error for a catalogue whose file is damaged."""
    return DamagedError(
        f"{where}: {why}",
        hint="restore it from a backup of the site home, with no catalogue.sqlite-wal or -shm beside it; without a "
        "backup: courier catalog rebuild --card CARD MEDIUM..., which puts the damaged file aside",
        code=Code.CATALOGUE,
    )


def server_error(where: str, text: str, *, state: str | None) -> CourierError:
    """The error for what a PostgreSQL server, or the library that connects to it, said.

    ``state``: its code of five characters, None where there was no answer.
    """
    if "No space left" in text or "disk full" in text:
        return NoSpaceError(f"{where}: {text}", hint="free some 100 MB on its disk, then run the same command again")
    if any(word in text for word in ("lock timeout", "deadlock")):
        return BusyError(f"{where}: {text}", hint="wait for the other command to end, then run this one again")
    if "password" in text or "authentication" in text:
        hint = "the password of the database belongs into ~/.pgpass (chmod 600), or into $PGPASSWORD"
        return RefusedError(f"{where}: {text}", hint=hint, code=Code.CATALOGUE)
    if state is None or state.startswith(_AWAY) or "too many" in text:
        hint = "is the server up, and are its host, port and name right? Then run the same command again"
        return UnreachableError(f"{where}: {text}", hint=hint, code=Code.CATALOGUE)
    return CourierError(f"{where}: {text}", hint="check the catalogue's server", code=Code.CATALOGUE)
