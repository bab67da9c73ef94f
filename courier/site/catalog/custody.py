"""Statements about custody entries: those of each parcel that a site has, and which sites have them too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from courier.site.catalog import guests
from courier.site.catalog.schema import custody, values_of


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptEntry:
    """A custody entry that is kept here, as its signed envelope.

    ``entry``: SHA-256 of its payload. ``due``: 1 while it may have to be passed on to other sites, else 0. ``shared``:
    codes of the sites that are known to have it, separated by commas. ``source``: the site that passed it on; empty
    for one that was written or merged here.
    """

    parcel: str
    entry: str
    envelope: bytes
    received_ns: int
    due: int = 1
    shared: str = ""
    source: str = ""


def keep(connection: Connection, new: KeptEntry) -> None:
    """Keep an entry that is not kept yet; it counts for the site that passed it on."""
    connection.execute(insert(custody).values(values_of(new)))
    if new.source:
        guests.count(connection, new.source, len(new.envelope))


def change(connection: Connection, parcel: str, entry: str, **values: object) -> None:
    """Change fields of an entry that is kept."""
    where = (custody.c.parcel == parcel, custody.c.entry == entry)
    connection.execute(update(custody).where(*where).values(**values))


def of_parcel(connection: Connection, parcel: str) -> list[KeptEntry]:
    """All entries about a parcel, in the order they came."""
    query = select(custody).where(custody.c.parcel == parcel).order_by(custody.c.received_ns, custody.c.entry)
    return [KeptEntry(**row._mapping) for row in connection.execute(query)]


def count_of_parcel(connection: Connection, parcel: str) -> int:
    """How many entries about a parcel are kept."""
    query = select(func.count()).select_from(custody).where(custody.c.parcel == parcel)
    return int(connection.execute(query).scalar_one())


def newest_of_parcel(connection: Connection, parcel: str, limit: int) -> list[KeptEntry]:
    """The entries about a parcel that came last, ``limit`` of them at most, in the order they came."""
    newest = select(custody.c.entry).where(custody.c.parcel == parcel)
    newest = newest.order_by(custody.c.received_ns.desc(), custody.c.entry.desc()).limit(limit)
    names = connection.execute(newest).scalars().all()
    query = select(custody).where(custody.c.parcel == parcel, custody.c.entry.in_(names))
    query = query.order_by(custody.c.received_ns, custody.c.entry)
    return [KeptEntry(**row._mapping) for row in connection.execute(query)]


def due_of_parcel(connection: Connection, parcel: str) -> list[KeptEntry]:
    """The entries about a parcel that may have to be passed on, in the order they came."""
    query = select(custody).where(custody.c.parcel == parcel, custody.c.due == 1)
    query = query.order_by(custody.c.received_ns, custody.c.entry)
    return [KeptEntry(**row._mapping) for row in connection.execute(query)]


def parcels_with_entries(connection: Connection) -> list[str]:
    """IDs of the parcels about which entries are kept."""
    return list(connection.execute(select(custody.c.parcel).distinct().order_by(custody.c.parcel)).scalars())


def passed_on_by(connection: Connection, parcel: str, source: str) -> int:
    """How many entries about a parcel are kept that a site passed on."""
    query = select(func.count()).where(custody.c.parcel == parcel, custody.c.source == source)
    return int(connection.execute(query).scalar_one())


def find(connection: Connection, parcel: str, entry: str) -> KeptEntry | None:
    """One entry about a parcel; None where it is not kept."""
    row = connection.execute(select(custody).where(custody.c.parcel == parcel, custody.c.entry == entry)).first()
    return KeptEntry(**row._mapping) if row is not None else None


def due(connection: Connection) -> list[str]:
    """IDs of the parcels with entries that may have to be passed on."""
    query = select(custody.c.parcel).where(custody.c.due == 1).distinct().order_by(custody.c.parcel)
    return list(connection.execute(query).scalars())


def note_shared(connection: Connection, kept: KeptEntry, sites: Iterable[str], *, due: int) -> None:
    """Record that these sites have an entry, and whether (1) others may still have to get it."""
    known = set(filter(None, kept.shared.split(","))) | set(sites)
    change(connection, kept.parcel, kept.entry, shared=",".join(sorted(known)), due=due)
