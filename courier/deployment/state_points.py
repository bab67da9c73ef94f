"""The state migration points of a site: adding and removing them, and the places and the room that they have."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from courier.deployment.shared_files import read_small
from courier.error_codes import Code
from courier.errors import DamagedError, NotFoundError, RefusedError, UsageError
from courier.files import TEMP, free_space, path_text, sync_folder, write_atomic
from courier.media.kinds import parse_size
from courier.site.catalog import state
from courier.site.catalog.state import StatePoint
from courier.site.clock import now
from courier.site.home import Site
from courier.site.point_places import reserve_bytes
from courier.text import size_text
from formats.errors import FormatError
from formats.records import encode

MARKER = ".courier-state-point"
"""File that marks the folder of a point; where it is missing, the folder's disk is not mounted."""
MAX_CLIENTS = 1_000_000
MAX_DELETE_AFTER = 36_500 * 86_400
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FOLDER = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True, slots=True)
class NewStatePoint:
    """A point as the operator describes it; ``min_free`` such as ``10%`` or ``20GB``, ``delete_after`` in seconds."""

    name: str
    path: Path
    max_clients: int
    min_free: str
    restore_only: bool = False
    delete_after: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PointRoom:
    """What a point has left: places for further migrations, and bytes above what stays free.

    ``room`` is None where the folder cannot be reached, or its disk is not mounted.
    """

    point: StatePoint
    taken: int
    room: int | None

    @property
    def places(self) -> int:
        """How many more migrations it takes."""
        return max(0, self.point.max_clients - self.taken)


def check_min_free(text: str) -> str:
    """What stays free as it is kept: ``10%``, or a number of bytes for ``500MB`` or ``20GB``. Raises `UsageError`."""
    if match := re.fullmatch(r"([0-9]{1,2})\s*%", text.strip()):
        return f"{int(match[1])}%"
    if "%" in text:
        raise UsageError(f"--min-free {text}: not a part of a disk", hint="give 0% to 99%, or a size such as 20GB")
    return str(parse_size(text))


def free_text(kept: str) -> str:
    """What `check_min_free` gave, for people."""
    return kept if kept.endswith("%") else size_text(int(kept))


def add_point(site: Site, new: NewStatePoint) -> StatePoint:
    """Add a state migration point; its folder is made where only that is missing.

    A folder that was a point of this name before keeps what it holds. Raises `UsageError`, `NotFoundError` and
    `RefusedError`.
    """
    if not _NAME.fullmatch(new.name):
        raise UsageError(
            f"{new.name[:80]!r} is not a name of a point",
            hint="1 to 64 letters, digits, dots, hyphens and underlines, the first a letter or digit",
        )
    if not 1 <= new.max_clients <= MAX_CLIENTS:
        raise UsageError(f"{new.max_clients:,} clients", hint=f"give 1 to {MAX_CLIENTS:,}")
    if not 0 <= new.delete_after <= MAX_DELETE_AFTER:
        raise UsageError("the time until deletion is too long", hint="give 100 years at most")
    folder = Path(path_text(new.path.absolute()))
    row = StatePoint(
        name=new.name,
        path=str(folder),
        max_clients=new.max_clients,
        min_free=check_min_free(new.min_free),
        restore_only=int(new.restore_only),
        delete_after=new.delete_after,
        added_ns=now(),
    )
    _check_folder(site, new.name, folder)
    with site.catalogue.writing() as connection:
        if state.find_point(connection, new.name) is not None:
            raise UsageError(
                f"there is a state migration point called {new.name} already",
                hint=f"courier state point show {new.name}",
            )
        for other in state.all_points(connection):
            if Path(other.path) == folder:
                raise UsageError(f"{folder} is the folder of state migration point {other.name}", hint="choose another")
        state.add_point(connection, row)
    if not folder.exists():
        folder.mkdir()
        sync_folder(folder.parent)
    write_atomic(folder / MARKER, _marker(site, new.name), readable=True)
    return row


def _marker(site: Site, name: str) -> bytes:
    return encode({"format": "courier-state-point/1", "point": name, "site": site.code}) + b"\n"


def _check_folder(site: Site, name: str, folder: Path) -> None:
    """Refuse a folder that is another point's, or holds what is none of ours."""
    home = site.home.resolve()
    if folder.resolve().is_relative_to(home) or home.is_relative_to(folder.resolve()):
        raise RefusedError(
            f"{folder} and this site's home lie within each other, and the home holds private keys",
            hint="computers write to the point: choose a folder of its own",
        )
    if not folder.exists():
        if not folder.parent.is_dir():
            raise NotFoundError(f"{folder.parent} does not exist", hint="check the path, and that its disk is mounted")
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="name a folder")
    names = {path.name for path in folder.iterdir()}
    if MARKER in names and not _has_marker(site, folder, name):
        raise RefusedError(
            f"{folder} is marked as another state migration point: {path_text(folder / MARKER)} says which",
            hint="choose another folder",
        )
    strange = sorted(one for one in names if not (_FOLDER.fullmatch(one) or one in (MARKER, "lost+found")))
    strange = [one for one in strange if not one.startswith(TEMP)]
    if strange:
        raise RefusedError(
            f"{folder} holds {strange[0]!r}{' and more' if len(strange) > 1 else ''}, which is no captured state",
            hint="choose an empty folder",
        )


def find_point(site: Site, name: str) -> StatePoint:
    """The point of that name. Raises `NotFoundError`."""
    with site.catalogue.reading() as connection:
        found = state.find_point(connection, name)
    if found is None:
        raise NotFoundError(
            f"there is no state migration point called {name}", hint="courier state point list shows all"
        )
    return found


def remove_point(site: Site, name: str) -> StatePoint:
    """Forget a point that holds nothing any more; its folder stays. Raises `NotFoundError` and `RefusedError`."""
    row = find_point(site, name)
    with site.catalogue.writing() as connection:
        held = state.migrations(connection, states=(*state.HELD, state.RELEASED), point=name)
        if held:
            first = held[0]
            raise RefusedError(
                f"state migration point {name} still holds the state of {first.source} for {first.destination}"
                + (f", and {len(held) - 1:,} more" if len(held) > 1 else ""),
                hint=f"courier state release {first.destination}, then courier state purge",
                code=Code.STATE_HELD,
            )
        state.remove_point(connection, name)
    if is_mounted(site, row):
        (Path(row.path) / MARKER).unlink()
    return row


def forget_lost_point(site: Site, name: str) -> int:
    """Forget a point whose disk is lost, and give up what it held; return how many migrations.

    Raises `NotFoundError`, and `RefusedError` where the point can be reached.
    """
    row = find_point(site, name)
    if is_mounted(site, row):
        raise RefusedError(
            f"state migration point {name} is at {row.path}, and not lost",
            hint="release what it holds (courier state list), then remove it without --lost",
            code=Code.STATE_HELD,
        )
    with site.catalogue.writing() as connection:
        held = state.migrations(connection, states=(*state.HELD, state.RELEASED), point=name)
        for one in held:
            state.change(connection, replace(one, state=state.DELETED, deleted_ns=now()))
        state.remove_point(connection, name)
    return len(held)


def is_mounted(site: Site, row: StatePoint) -> bool:
    """Whether the folder of a point can be reached, and is its own."""
    return _has_marker(site, Path(row.path), row.name)


def _has_marker(site: Site, folder: Path, name: str) -> bool:
    try:
        return read_small(folder / MARKER) == _marker(site, name)
    except (OSError, FormatError):
        return False


def check_mounted(site: Site, row: StatePoint) -> None:
    """Raise `NotFoundError` unless the folder of a point can be reached."""
    if not is_mounted(site, row):
        raise NotFoundError(
            f"state migration point {row.name} is not at {row.path}", hint="mount its disk or share there, then go on"
        )


def room_of(site: Site, row: StatePoint) -> int | None:
    """Bytes at a point above what stays free; None where it cannot be reached."""
    if not is_mounted(site, row):
        return None
    folder = Path(row.path)
    return max(0, free_space(folder) - reserve_bytes(row.min_free, folder))


def rooms(site: Site) -> list[PointRoom]:
    """All points by name, with what each has left. Nothing is changed."""
    with site.catalogue.reading() as connection:
        found = [(row, state.places_taken(connection, row.name)) for row in state.all_points(connection)]
    return [PointRoom(point=row, taken=taken, room=room_of(site, row)) for row, taken in found]


def check_whole_folder(site: Site, row: StatePoint, folder: Path) -> None:
    """Raise `DamagedError` where a migration's folder is gone from a point that can be reached."""
    check_mounted(site, row)
    if not folder.is_dir():
        raise DamagedError(
            f"state migration point {row.name}: {path_text(folder)} is gone",
            hint="restore it from a backup; do not wipe the computer that it came from",
        )
