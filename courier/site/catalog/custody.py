"""Statements about custody entries: what a site has of each parcel's ledger, and to whom it passed it on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from courier.site.catalog.schema import custody


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptEntry:
    """An entry: ``entry`` is the SHA-256 of its payload. ``due``: 1 while it may have to be passed on.

    ``shared``: sites that have it, as far as we know, comma-separated.
    """

    parcel: str
    entry: str
    envelope: bytes
    received_ns: int
    due: int = 1
    shared: str = ""


def keep(connection: Connection, new: KeptEntry) -> None:
    """Keep an entry that is not there yet."""
    connection.execute(insert(custody).values({name: getattr(new, name) for name in KeptEntry.__slots__}))


def change(connection: Connection, parcel: str, entry: str, **values: object) -> None:
    """Change what is kept of an entry."""
    where = (custody.c.parcel == parcel, custody.c.entry == entry)
    connection.execute(update(custody).where(*where).values(**values))


def of_parcel(connection: Connection, parcel: str) -> list[KeptEntry]:
    """All entries about a parcel."""
    query = select(custody).where(custody.c.parcel == parcel).order_by(custody.c.received_ns, custody.c.entry)
    return [KeptEntry(**row._mapping) for row in connection.execute(query)]


def find(connection: Connection, parcel: str, entry: str) -> KeptEntry | None:
    """One entry about a parcel; None where it is not kept."""
    row = connection.execute(select(custody).where(custody.c.parcel == parcel, custody.c.entry == entry)).first()
    return KeptEntry(**row._mapping) if row is not None else None


def due(connection: Connection) -> list[str]:
    """Parcels that have entries which may have to be passed on."""
    query = select(custody.c.parcel).where(custody.c.due == 1).distinct().order_by(custody.c.parcel)
    return list(connection.execute(query).scalars())


def note_shared(connection: Connection, kept: KeptEntry, sites: Iterable[str], *, due: int) -> None:
    """Note that these sites have an entry."""
    known = set(filter(None, kept.shared.split(","))) | set(sites)
    change(connection, kept.parcel, kept.entry, shared=",".join(sorted(known)), due=due)
