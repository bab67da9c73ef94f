"""What becomes of captured state at the site: taken over from the points, released, deleted, recovered.

Clients have no site: they leave records at the point, which only they and the site can make. The site takes them over
whenever it lists, releases or makes a policy. Nothing is deleted that was not released, and the time until deletion
counts from the release.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from courier.deployment.shared_files import read_small
from courier.deployment.state_keys import MigrationKeys
from courier.deployment.state_points import check_mounted, check_whole_folder, find_point, is_mounted
from courier.deployment.state_restore import Restored, chosen_capture, restore_capture
from courier.deployment.state_store import HeldCapture, MigrationFolder, explain_state
from courier.error_codes import Code
from courier.errors import BusyError, CourierError, NotFoundError, RefusedError, UsageError
from courier.files import TEMP, path_text, remove_tree, sync_folder
from courier.progress import SILENT, Progress
from courier.site.catalog import computers, state
from courier.site.catalog.state import Migration, StatePoint
from courier.site.clock import now
from courier.site.home import Site
from courier.text import one_line
from formats.age import Identity
from formats.errors import FormatError

_NS = 10**9


def work_folder(site: Site) -> Path:
    """Where the site keeps the keys of captures that are made on its own computer."""
    return site.home / "state"


def take_over(site: Site) -> list[str]:
    """Take over what clients did at the points; return a note for each thing that could not be read there."""
    with site.catalogue.reading() as connection:
        points = {row.name: row for row in state.all_points(connection)}
        held = state.migrations(connection, states=state.HELD)
        keys = {name: _identity(connection, name) for name in {row.destination for row in held}}
    notes = []
    for name in sorted({row.point for row in held}):
        if name not in points or not is_mounted(site, points[name]):
            notes.append(f"state migration point {name} cannot be reached: what clients did there is not seen")
    for row in held:
        point, identity = points.get(row.point), keys[row.destination]
        if point is None or identity is None or not is_mounted(site, point):
            continue
        folder = MigrationFolder(Path(point.path), row.migration)
        try:
            captures = folder.captures([identity])
        except (FormatError, OSError) as error:
            said = error.message if isinstance(error, FormatError) else str(error.strerror or error)
            notes.append(f"state of {row.source} for {row.destination} at {row.point}: {one_line(said)}")
            continue
        seen = _as_seen(row, captures)
        if seen != row:
            with site.catalogue.writing() as connection:
                # Released meanwhile: that stays.
                present = state.find(connection, row.migration)
                if present is not None and present.state in state.HELD:
                    state.change(connection, seen)
    return notes


def _identity(connection: Connection, name: str) -> Identity | None:
    found = computers.find(connection, name)
    return Identity.from_text(found.row.identity) if found and found.row.identity else None


def _as_seen(row: Migration, captures: Sequence[HeldCapture]) -> Migration:
    """The row of a migration whose captures are these."""
    ours = [one for one in captures if (one.record.source, one.record.destination) == (row.source, row.destination)]
    if not ours:
        return row
    newest = ours[-1]
    record = newest.record
    restored = newest.restored_ns is not None
    return replace(
        row,
        state=state.RESTORED if restored else state.COMPLETE if record.is_complete else state.PARTIAL,
        files=record.files,
        bytes=record.bytes,
        skipped=record.unread,
        captured_ns=record.captured_ns,
        restored_ns=newest.restored_ns,
    )


def all_migrations(site: Site, *, states: Sequence[str] = ()) -> list[Migration]:
    """The migrations that the catalogue has, the oldest first; ``states``: only those."""
    with site.catalogue.reading() as connection:
        return state.migrations(connection, states=states)


def migrations_of(site: Site, computer: str, states: Sequence[str], *, migration: str = "") -> list[Migration]:
    """The migrations from or to a computer in these states; ``migration``: the beginning of the ID of the one meant."""
    with site.catalogue.reading() as connection:
        known = computers.find(connection, computer)
        name = known.name if known is not None else computer
        found = state.migrations(connection, states=states)
    return [
        row for row in found if name in (row.source, row.destination) and row.migration.startswith(migration.lower())
    ]


def find_migration(site: Site, text: str) -> Migration:
    """The migration whose ID begins with a text. Raises `NotFoundError` and `UsageError`."""
    found = [row for row in all_migrations(site) if row.migration.startswith(text.lower())]
    if not found:
        raise NotFoundError(f"there is no migration {text}", hint="courier state list shows them")
    if len(found) > 1:
        raise UsageError(f"{len(found):,} migrations begin with {text}", hint="give more of the ID")
    return found[0]


def release(site: Site, rows: Sequence[Migration]) -> list[Migration]:
    """Release migrations: they give up their places, take no further captures, and may be deleted.

    Return those that were released; what was released before stays as it is.
    """
    take_over(site)
    released = []
    with site.catalogue.writing() as connection:
        for row in rows:
            present = state.find(connection, row.migration)
            if present is None or present.state not in state.HELD:
                continue
            changed = replace(present, state=state.RELEASED, released_ns=now())
            state.change(connection, changed)
            released.append(changed)
        points = {row.name: row for row in state.all_points(connection)}
    for row in released:
        point = points.get(row.point)
        if point is not None and is_mounted(site, point):
            with contextlib.suppress(OSError):  # the next purge tries again
                MigrationFolder(Path(point.path), row.migration).close()
    return released


@dataclass(frozen=True, kw_only=True, slots=True)
class Purged:
    """What a purge deleted, what waits for its time (with the time in nanoseconds, UTC), and what hindered it."""

    deleted: tuple[Migration, ...]
    waiting: tuple[tuple[Migration, int], ...]
    failures: tuple[tuple[Migration, CourierError], ...]


def purge(site: Site) -> Purged:
    """Delete what was released long enough ago for its point. What a killed purge left is deleted too."""
    deleted, waiting, failures = [], [], []
    moment = now()
    for row in all_migrations(site, states=(state.RELEASED,)):
        try:
            point = find_point(site, row.point)
            check_mounted(site, point)
            MigrationFolder(Path(point.path), row.migration).close()  # it could not be reached when it was released
            due = (row.released_ns or 0) + point.delete_after * _NS
            if due > moment:
                waiting.append((row, due))
                continue
            _check_not_captured_since(site, point, row)
            deleted.append(_delete(site, point, row))
        except CourierError as error:
            failures.append((row, error))
    return Purged(deleted=tuple(deleted), waiting=tuple(waiting), failures=tuple(failures))


def _check_not_captured_since(site: Site, point: StatePoint, row: Migration) -> None:
    """Raise `RefusedError` where a client captured once more, and hold the migration again: that was not released."""
    with site.catalogue.reading() as connection:
        identity = _identity(connection, row.destination)
    captures: list[HeldCapture] = []
    with contextlib.suppress(FormatError):  # what nobody can open nobody waits for
        captures = MigrationFolder(Path(point.path), row.migration).captures([identity]) if identity else []
    seen = _as_seen(row, captures)
    if seen == row or seen.captured_ns == row.captured_ns:
        return
    with site.catalogue.writing() as connection:
        state.change(connection, replace(seen, released_ns=None))
    raise RefusedError(
        "it was captured again after its release, and is kept",
        hint=f"courier state release {row.source}, if that is not needed either",
        code=Code.STATE_HELD,
    )


def _delete(site: Site, point: StatePoint, row: Migration) -> Migration:
    """Delete the folder of a released migration, then say so. Raises `BusyError` and `RefusedError`."""
    folder = MigrationFolder(Path(point.path), row.migration)
    aside = folder.point / f"{TEMP}{folder.path.name}"
    if folder.path.exists():
        with folder.working():
            remove_tree(aside)
        # Windows renames no folder in which a file is open; a command that begins now finds the folder gone.
        folder.path.rename(aside)
    remove_tree(aside)
    if aside.exists():
        raise RefusedError(
            f"{path_text(aside)} cannot be deleted", hint="check who owns what is in it; then courier state purge"
        )
    sync_folder(folder.point)
    for path in work_folder(site).glob(f"state-{folder.path.name}.*"):
        path.unlink()
    gone = replace(row, state=state.DELETED, deleted_ns=now())
    with site.catalogue.writing() as connection:
        state.change(connection, gone)
    return gone


def recover(
    site: Site,
    row: Migration,
    into: Path,
    *,
    number: int | None = None,
    progress: Progress = SILENT,
    stop: threading.Event | None = None,
) -> Restored:
    """Bring back the state of a migration by the site's own recovery key; it does not count as restored.

    Raises as `courier.deployment.state_restore.restore` does.
    """
    if row.state == state.DELETED:
        raise NotFoundError("the state was released and deleted", hint="courier state list --all shows when")
    point = find_point(site, row.point)
    folder = MigrationFolder(Path(point.path), row.migration)
    check_whole_folder(site, point, folder.path)
    try:
        with folder.working():
            held = chosen_capture(folder, site.keyring.recovery_identities(), number)
            if held is None:
                raise NotFoundError(
                    f"nothing of {row.source} was captured yet",
                    hint=f"courier state capture {row.source} --from DIR --rules FILE",
                )
            return restore_capture(folder, held, into, progress=progress, stop=stop, told=False)
    except FormatError as error:
        raise explain_state(error, folder.point) from None


# --- after a lost catalogue ------------------------------------------------------------------------------------------


def unknown_folders(site: Site, point: StatePoint) -> list[Path]:
    """Folders of captured state at a point that the catalogue does not know, as after it was lost."""
    check_mounted(site, point)
    known = {MigrationFolder(Path(point.path), row.migration).path for row in all_migrations(site)}
    with contextlib.suppress(OSError):
        return sorted(path for path in Path(point.path).iterdir() if len(path.name) == 32 and path not in known)
    return []


def adopt(site: Site, point: StatePoint) -> list[Migration]:
    """Take the captured state at a point into the catalogue that does not know it; return what was taken.

    The recovery key opens it. Whoever could write to the point may have put it there: so this is never done by itself.
    """
    identities = site.keyring.recovery_identities()
    taken = []
    for path in unknown_folders(site, point):
        with contextlib.suppress(FormatError, OSError, BusyError):
            ids = {MigrationKeys.open(read_small(key), identities).migration for key in sorted(path.glob("*/key.age"))}
            folders = [MigrationFolder(Path(point.path), one) for one in sorted(ids)]
            for folder in folders:
                captures = folder.captures(identities) if folder.path == path else []
                if not captures:
                    continue
                record = captures[-1].record
                blank = Migration(
                    migration=folder.migration,
                    point=point.name,
                    source=record.source,
                    destination=record.destination,
                    state=state.BEGUN,
                    begun_ns=captures[0].record.begun_ns,
                )
                row = _as_seen(blank, captures)
                with site.catalogue.writing() as connection:
                    state.begin(connection, row)
                taken.append(row)
    return taken
