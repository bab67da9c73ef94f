"""Statements about offers: packages of which another site is told that they are held here."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from courier.site.catalog.schema import offer
from courier.site.log import note

Offer = tuple[str, int]
"""Package ID and version; version 0 stands for every one."""


def offered_to(connection: Connection, site: str) -> set[Offer]:
    """What is offered to a site."""
    query = select(offer.c.package, offer.c.version).where(offer.c.site == site)
    return {(package, version) for package, version in connection.execute(query)}


def add(connection: Connection, site: str, package: str, version: int, *, offered_ns: int) -> None:
    """Record an offer, unless it is there already; ``offered_ns``: nanoseconds since 1970 (UTC)."""
    if (package, version) not in offered_to(connection, site):
        connection.execute(insert(offer).values(site=site, package=package, version=version, offered_ns=offered_ns))
        note(connection, f"{package}:{version or 'every version'} offered to {site}")


def remove(connection: Connection, site: str, package: str, version: int) -> bool:
    """Take an offer back; False where there is none."""
    where = offer.c.site == site, offer.c.package == package, offer.c.version == version
    return connection.execute(delete(offer).where(*where)).rowcount > 0
