"""Statements about letters: signed documents about a parcel that are kept as they are, one of each kind for a site.

The kinds are ``recall`` (kept by the receiver), ``arrival`` and ``release`` (kept by sender and receiver), ``part``
(kept by the sender): the last partial receipt, and ``lost`` (kept by the sender): the last arrival report that named
lost volumes, or that followed it about the same layout.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from courier.site.catalog import guests
from courier.site.catalog.schema import letter, values_of
from courier.site.clock import now
from formats.envelope import Envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """A document about ``parcel`` from or to ``site``: its envelope, and when it was kept (nanoseconds, UTC)."""

    kind: str
    parcel: str
    site: str
    envelope: bytes
    at_ns: int


def letter_of(kind: str, parcel: str, site: str, envelope: Envelope) -> Letter:
    """A letter with that envelope, dated now."""
    return Letter(kind=kind, parcel=parcel, site=site, envelope=envelope.encode(), at_ns=now())


def keep(connection: Connection, new: Letter) -> None:
    """Keep a letter, in place of the one of the same kind, parcel and site."""
    where = (letter.c.kind == new.kind, letter.c.parcel == new.parcel, letter.c.site == new.site)
    before = connection.execute(select(func.length(letter.c.envelope)).where(*where)).scalar()
    guests.count(connection, new.site, len(new.envelope), replaced=before)
    connection.execute(delete(letter).where(*where))
    connection.execute(insert(letter).values(values_of(new)))


def find(connection: Connection, kind: str, parcel: str, site: str) -> Letter | None:
    """The letter of that kind, parcel and site, if there is one."""
    query = select(letter).where(letter.c.kind == kind, letter.c.parcel == parcel, letter.c.site == site)
    row = connection.execute(query).first()
    return Letter(**row._mapping) if row else None
