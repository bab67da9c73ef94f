"""Statements about distribution points, the rules by which packages go to them, and the settings of clients' caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, insert, select, update

from courier.site.catalog.schema import cache_class, point, point_due, point_folder, point_rule, values_of
from courier.site.log import note
from formats.documents.point import CacheSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A distribution point of this site.

    ``url``: where clients reach it; may be empty. ``branch``: 1 where it is on a computer of the client class, else 0.
    ``reserve``: what is left free on each of its disks, ``10%`` or a number of bytes. ``peers``: URLs, one a line.
    ``serial`` and ``statement``: of the newest signed statement, 0 and empty before the first. ``validated_ns``: when
    all of it was last read back (UTC); ``damaged``: how many files were damaged then.
    """

    name: str
    url: str
    branch: int
    reserve: str
    max_connections: int
    group_name: str
    peers: str
    added_ns: int
    serial: int = 0
    statement: bytes = b""
    validated_ns: int | None = None
    damaged: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """A package version that was imported at ``at_ns`` (UTC) and is to go to a point by rule."""

    point: str
    package: str
    version: int
    at_ns: int


def _point(row: Row[tuple[object, ...]]) -> Point:
    values = dict(row._mapping)
    return Point(**{**values, "statement": bytes(values["statement"])})


def add(connection: Connection, new: Point, folders: Sequence[str]) -> None:
    """Record a point and its folders, the first with the statement; the name must be free (see `find`)."""
    connection.execute(insert(point).values(values_of(new)))
    rows = [{"point": new.name, "position": n, "path": path} for n, path in enumerate(folders)]
    connection.execute(insert(point_folder), rows)
    note(connection, f"distribution point {new.name} added: {folders[0]}")


def find(connection: Connection, name: str) -> Point | None:
    """The point of that name, if there is one."""
    row = connection.execute(select(point).where(point.c.name == name)).first()
    return _point(row) if row else None


def everyone(connection: Connection) -> list[Point]:
    """All points, by name."""
    return [_point(row) for row in connection.execute(select(point).order_by(point.c.name))]


def folders(connection: Connection, name: str) -> list[str]:
    """The folders of a point, the one with the statement first."""
    query = select(point_folder.c.path).where(point_folder.c.point == name).order_by(point_folder.c.position)
    return [path for (path,) in connection.execute(query)]


def remove(connection: Connection, name: str) -> None:
    """Forget a point, its folders, its rules, and what is to go to it."""
    connection.execute(delete(point).where(point.c.name == name))
    for table in (point_folder, point_rule, point_due):
        connection.execute(delete(table).where(table.c.point == name))
    note(connection, f"distribution point {name} removed")


def change(connection: Connection, row: Point) -> None:
    """Record what an operator changed of a point, found by its name; its statement stays as it is."""
    values = {
        name: value for name, value in values_of(row).items() if name not in ("name", "serial", "statement", "added_ns")
    }
    connection.execute(update(point).where(point.c.name == row.name).values(values))
    note(connection, f"distribution point {row.name} changed")


def keep_statement(connection: Connection, name: str, *, serial: int, envelope: bytes) -> None:
    """Record the newest statement of a point, before it is written into the point's folder."""
    connection.execute(update(point).where(point.c.name == name).values(serial=serial, statement=envelope))
    note(connection, f"distribution point {name}: statement {serial}")


def note_validation(connection: Connection, name: str, *, at_ns: int, damaged: int) -> None:
    """Record that all of a point was read back, and how many files were damaged."""
    connection.execute(update(point).where(point.c.name == name).values(validated_ns=at_ns, damaged=damaged))


def add_rule(connection: Connection, prefix: str, name: str) -> bool:
    """Record that imported packages whose ID begins with ``prefix`` go to a point; False when it is recorded."""
    if (prefix, name) in rules(connection):
        return False
    connection.execute(insert(point_rule).values(prefix=prefix, point=name))
    return True


def remove_rule(connection: Connection, prefix: str, name: str) -> bool:
    """Remove a rule; False when there is none such."""
    statement = delete(point_rule).where(point_rule.c.prefix == prefix, point_rule.c.point == name)
    return connection.execute(statement).rowcount > 0


def rules(connection: Connection) -> list[tuple[str, str]]:
    """All rules (prefix of package IDs, point), sorted."""
    query = select(point_rule.c.prefix, point_rule.c.point).order_by(point_rule.c.prefix, point_rule.c.point)
    return [(prefix, name) for prefix, name in connection.execute(query)]


def note_import(connection: Connection, package: str, version: int, at_ns: int) -> None:
    """Record, in the transaction of an import, that a version is to go to the points of its package by rule."""
    chosen = {name for prefix, name in rules(connection) if package.startswith(prefix)}
    for name in sorted(chosen):
        settle_due(connection, name, package, version)
        connection.execute(insert(point_due).values(point=name, package=package, version=version, at_ns=at_ns))


def due(connection: Connection) -> list[Due]:
    """What is to go to points by rule, in the order of the imports."""
    order = (point_due.c.at_ns, point_due.c.point, point_due.c.package, point_due.c.version)
    return [Due(**row._mapping) for row in connection.execute(select(point_due).order_by(*order))]


def settle_due(connection: Connection, name: str, package: str, version: int) -> None:
    """Forget that a version is to go to a point: it is there, or never will be."""
    connection.execute(
        delete(point_due).where(
            point_due.c.point == name, point_due.c.package == package, point_due.c.version == version
        )
    )


def set_cache_class(connection: Connection, settings: CacheSettings) -> None:
    """Record the settings of the caches of one class of clients, in place of earlier ones."""
    connection.execute(delete(cache_class).where(cache_class.c.client_class == settings.client_class))
    connection.execute(insert(cache_class).values(values_of(settings)))
    note(connection, f"caches of class {settings.client_class}: {settings.size:,} bytes")


def remove_cache_class(connection: Connection, client_class: str) -> bool:
    """Forget the settings of a class of clients; False when there are none."""
    found = connection.execute(delete(cache_class).where(cache_class.c.client_class == client_class)).rowcount > 0
    if found:
        note(connection, f"caches of class {client_class}: no settings any more")
    return found


def cache_classes(connection: Connection) -> list[CacheSettings]:
    """The settings of clients' caches, by class."""
    query = select(cache_class).order_by(cache_class.c.client_class)
    return sorted((CacheSettings(**row._mapping) for row in connection.execute(query)), key=lambda c: c.client_class)
