"""Statements about state migration points, and about what was captured there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, func, insert, select, update

from courier.site.catalog.schema import state_migration, state_point, values_of
from courier.site.log import note

BEGUN, PARTIAL, COMPLETE, RESTORED, RELEASED, DELETED = (
    "begun", "partial", "complete", "restored", "released", "deleted",
)  # fmt: skip
"""States of a migration: its place was given; something was captured, or all of it; it was brought back; it is not
needed any more; it is gone."""
HELD = (BEGUN, PARTIAL, COMPLETE, RESTORED)
"""States in which a migration has a place at its point, and is never deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatePoint:
    """A state migration point.

    ``max_clients``: how many migrations have a place at one time; ``min_free``: what stays free on its disk, ``10%`` or
    a number of bytes; ``restore_only``: 1 where nothing is captured; ``delete_after``: seconds from the release of a
    migration to its deletion, 0: at once.
    """

    name: str
    path: str
    max_clients: int
    min_free: str
    restore_only: int
    delete_after: int
    added_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """The state of ``source`` on its way to ``destination``; times are UTC, None for what did not happen yet.

    ``files``, ``bytes`` and ``skipped`` (what could not be read) are of its newest capture.
    """

    migration: str = field(repr=False)
    point: str
    source: str
    destination: str
    state: str
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    begun_ns: int
    captured_ns: int | None = None
    restored_ns: int | None = None
    released_ns: int | None = None
    deleted_ns: int | None = None


def add_point(connection: Connection, new: StatePoint) -> None:
    """Record a state migration point; the name must be free (see `find_point`)."""
    connection.execute(insert(state_point).values(values_of(new)))
    note(connection, f"state migration point {new.name} added: {new.path}")


def find_point(connection: Connection, name: str) -> StatePoint | None:
    """The state migration point of that name, if there is one."""
    row = connection.execute(select(state_point).where(state_point.c.name == name)).first()
    return StatePoint(**row._mapping) if row else None


def all_points(connection: Connection) -> list[StatePoint]:
    """All state migration points, by name."""
    rows = connection.execute(select(state_point).order_by(state_point.c.name))
    return [StatePoint(**row._mapping) for row in rows]


def remove_point(connection: Connection, name: str) -> None:
    """Forget a state migration point."""
    connection.execute(delete(state_point).where(state_point.c.name == name))
    note(connection, f"state migration point {name} removed")


def begin(connection: Connection, new: Migration) -> None:
    """Record a migration, and so give it a place at its point."""
    connection.execute(insert(state_migration).values(values_of(new)))
    note(connection, f"state of {new.source} for {new.destination}: {new.state} at {new.point}")


def change(connection: Connection, row: Migration) -> None:
    """Record what became of a migration, found by its ID."""
    values = values_of(row)
    connection.execute(update(state_migration).where(state_migration.c.migration == row.migration).values(values))
    note(connection, f"state of {row.source} for {row.destination}: {row.state} at {row.point}")


def find(connection: Connection, migration: str) -> Migration | None:
    """The migration with that ID, if there is one."""
    row = connection.execute(select(state_migration).where(state_migration.c.migration == migration)).first()
    return Migration(**row._mapping) if row else None


def migrations(
    connection: Connection,
    *,
    states: Sequence[str] = (),
    point: str | None = None,
    source: str | None = None,
    destination: str | None = None,
) -> list[Migration]:
    """The migrations in these states (none: in any), at this point, of these computers; the oldest first.

    The names of computers are those of their records.
    """
    query = select(state_migration).order_by(state_migration.c.begun_ns, state_migration.c.migration)
    if states:
        query = query.where(state_migration.c.state.in_(states))
    for column, value in (("point", point), ("source", source), ("destination", destination)):
        if value is not None:
            query = query.where(state_migration.c[column] == value)
    return [Migration(**row._mapping) for row in connection.execute(query)]


def places_taken(connection: Connection, point: str) -> int:
    """How many migrations have a place at a point."""
    query = select(func.count()).where(state_migration.c.point == point, state_migration.c.state.in_(HELD))
    return int(connection.execute(query).scalar_one())
