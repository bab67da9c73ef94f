"""Statements about what lies in the bucket of a store: which contents and listings there are, and in which object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, delete, exists, func, insert, or_, select, update

from courier.site.catalog.schema_store import damaged_content, stored_content, stored_listing, stored_object

_T = TypeVar("_T")
_MANY = 500
"""Digests or names in one statement."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a content or listing lies: bytes ``start`` to ``start + size`` of an object."""

    object: str
    start: int
    size: int


def contents(connection: Connection, digests: Iterable[bytes]) -> dict[bytes, Place]:
    """Where those of many contents lie that there are."""
    found = {}
    for some in _batches(digests):
        query = select(stored_content).where(stored_content.c.digest.in_(some))
        found.update({bytes(row.digest): _place(row) for row in connection.execute(query)})
    return found


def contents_in(connection: Connection, name: str, after: int, most: int) -> list[tuple[bytes, Place]]:
    """The contents of an object that begin at ``after`` or later, in its order, ``most`` at most."""
    columns = stored_content.c
    query = select(stored_content).where(columns.object == name, columns.start >= after).order_by(columns.start)
    return [(bytes(row.digest), _place(row)) for row in connection.execute(query.limit(most))]


def page(connection: Connection, after: bytes, most: int) -> list[tuple[bytes, Place]]:
    """The next contents after a digest, in the order of the digests."""
    digest = stored_content.c.digest
    query = select(stored_content).where(digest > after).order_by(digest).limit(most)
    return [(bytes(row.digest), _place(row)) for row in connection.execute(query)]


def listing(connection: Connection, digest: bytes) -> Place | None:
    """Where a listing lies; None where there is none."""
    row = connection.execute(select(stored_listing).where(stored_listing.c.digest == digest)).first()
    return None if row is None else Place(object=row.object, start=0, size=row.size)


def listings(connection: Connection) -> list[bytes]:
    """The digest of every listing."""
    return [bytes(digest) for digest in connection.execute(select(stored_listing.c.digest)).scalars()]


def add_objects(connection: Connection, sizes: Mapping[str, int]) -> None:
    """Note objects that were written, each with its bytes."""
    if sizes:
        rows = [{"name": name, "size": size, "gone": 0} for name, size in sizes.items()]
        connection.execute(insert(stored_object), rows)


def put_contents(connection: Connection, places: Iterable[tuple[bytes, Place]]) -> None:
    """Note where contents lie, in place of where they lay before."""
    rest = iter(places)
    while some := list(islice(rest, _MANY)):
        forget_contents(connection, (digest for digest, _ in some))
        connection.execute(insert(stored_content), [_row(digest, place) for digest, place in some])


def put_listing(connection: Connection, digest: bytes, place: Place) -> None:
    """Note where a listing lies, in place of where it lay before."""
    forget_listings(connection, [digest])
    connection.execute(insert(stored_listing).values(digest=digest, size=place.size, object=place.object))


def forget_contents(connection: Connection, digests: Iterable[bytes]) -> None:
    """Note that contents are not in the store any more."""
    for some in _batches(digests):
        connection.execute(delete(stored_content).where(stored_content.c.digest.in_(some)))


def forget_listings(connection: Connection, digests: Iterable[bytes]) -> None:
    """Note that listings are not in the store any more."""
    for some in _batches(digests):
        connection.execute(delete(stored_listing).where(stored_listing.c.digest.in_(some)))


def keep_damaged(connection: Connection, digest: bytes, place: Place) -> None:
    """Put a content or listing into quarantine: its bytes stay, and it is out of use."""
    connection.execute(delete(damaged_content).where(damaged_content.c.digest == digest))
    connection.execute(insert(damaged_content).values(_row(digest, place)))


def damaged(connection: Connection) -> list[bytes]:
    """The digests of what is in quarantine."""
    return [bytes(digest) for digest in connection.execute(select(damaged_content.c.digest)).scalars()]


def empty_quarantine(connection: Connection) -> None:
    """Let go of what is in quarantine."""
    connection.execute(delete(damaged_content))


def mark_gone(connection: Connection) -> None:
    """Mark every object that holds nothing which is in use: it is to be deleted."""
    name = stored_object.c.name
    used = [exists().where(table.c.object == name) for table in (stored_content, stored_listing, damaged_content)]
    connection.execute(update(stored_object).where(stored_object.c.gone == 0, ~or_(*used)).values(gone=1))


def gone(connection: Connection) -> dict[str, int]:
    """The objects that are to be deleted, each with its bytes."""
    query = select(stored_object.c.name, stored_object.c.size).where(stored_object.c.gone == 1)
    return {row.name: row.size for row in connection.execute(query)}


def forget_objects(connection: Connection, names: Iterable[str]) -> None:
    """Note that objects are not in the bucket any more."""
    for some in _batches(names):
        connection.execute(delete(stored_object).where(stored_object.c.name.in_(some)))


def object_sizes(connection: Connection) -> Iterator[tuple[str, int]]:
    """Name and bytes of every object that is in use or to be deleted, in the order of the names."""
    yield from (
        tuple(row) for row in connection.execute(select(stored_object.c.name, stored_object.c.size).order_by("name"))
    )


def held_in(connection: Connection, names: Iterable[str]) -> int:
    """How many contents and listings lie in these objects."""
    found = 0
    for some in _batches(names):
        for table in (stored_content, stored_listing):
            query = select(func.count()).select_from(table).where(table.c.object.in_(some))
            found += connection.execute(query).scalar_one()
    return found


def forget_all_in(connection: Connection, names: Iterable[str]) -> None:
    """Note that all that lay in these objects is not in the store any more."""
    for some in _batches(names):
        for table in (stored_content, stored_listing, damaged_content):
            connection.execute(delete(table).where(table.c.object.in_(some)))


def live_bytes(connection: Connection, prefix: str) -> dict[str, tuple[int, int, int]]:
    """Of each object in use whose name begins with ``prefix``: its bytes, those of contents in it, and their number."""
    held = stored_content.c
    query = (
        select(stored_object.c.name, stored_object.c.size, func.coalesce(func.sum(held.size), 0), func.count(held.size))
        .outerjoin(stored_content, held.object == stored_object.c.name)
        .where(stored_object.c.gone == 0, stored_object.c.name.startswith(prefix, autoescape=True))
        .group_by(stored_object.c.name, stored_object.c.size)
        .order_by(stored_object.c.name)
    )
    return {name: (size, int(live), count) for name, size, live, count in connection.execute(query)}


def _place(row: object) -> Place:
    return Place(object=row.object, start=row.start, size=row.size)  # type: ignore[attr-defined]


def _row(digest: bytes, place: Place) -> dict[str, object]:
    return {"digest": digest, "size": place.size, "object": place.object, "start": place.start}


def _batches(values: Iterable[_T]) -> Iterator[list[_T]]:
    rest = iter(values)
    while some := list(islice(rest, _MANY)):
        yield some
