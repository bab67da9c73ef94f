"""Statements about the ship notices of this site's parcels: each that was queued for a destination and not taken back.

They say what a destination was told of: its arrival reports and seals are judged by these, and a shipment can be taken
back while none of them has left.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from courier.site.catalog.schema import sent_notice, values_of


@dataclass(frozen=True, kw_only=True, slots=True)
class SentNotice:
    """A ship notice that was queued for ``site``; ``notice`` is the SHA-256 of its envelope.

    ``edition``: the layout that it announces. ``issued_ns``: when it was made (nanoseconds since 1970, UTC).
    """

    parcel: str
    site: str
    notice: str
    edition: int
    issued_ns: int


def put(connection: Connection, new: SentNotice) -> None:
    """Record a notice that is queued."""
    connection.execute(insert(sent_notice).values(values_of(new)))


def forget(connection: Connection, parcel: str, site: str, notice: str) -> None:
    """Delete the record of a notice that was taken back before it left; nothing is done where there is none."""
    this = (sent_notice.c.parcel == parcel, sent_notice.c.site == site, sent_notice.c.notice == notice)
    connection.execute(delete(sent_notice).where(*this))


def of_parcel(connection: Connection, parcel: str) -> dict[str, tuple[SentNotice, ...]]:
    """The notices of a parcel by destination, the oldest first; a destination without one is left out."""
    query = select(sent_notice).where(sent_notice.c.parcel == parcel)
    found: dict[str, tuple[SentNotice, ...]] = {}
    for row in connection.execute(query.order_by(sent_notice.c.issued_ns, sent_notice.c.notice)):
        one = SentNotice(**row._mapping)
        found[one.site] = (*found.get(one.site, ()), one)
    return found
