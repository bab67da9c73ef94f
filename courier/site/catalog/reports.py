"""Statements about site reports, received and sent, and about retired packages."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from courier.site.catalog import guests
from courier.site.catalog.schema import report, reported, retired


def keep(connection: Connection, site: str, *, issued_ns: int, envelope: bytes) -> bool:
    """Keep a site's report; False when the one that is kept is as new or newer."""
    there = connection.execute(select(report.c.issued_ns).where(report.c.site == site)).scalar()
    if there is not None and there >= issued_ns:
        return False
    connection.execute(delete(report).where(report.c.site == site))
    connection.execute(insert(report).values(site=site, issued_ns=issued_ns, envelope=envelope))
    return True


def find(connection: Connection, site: str) -> tuple[int, bytes] | None:
    """(time of issue, envelope) of a site's newest report, if it ever sent one."""
    row = connection.execute(select(report.c.issued_ns, report.c.envelope).where(report.c.site == site)).first()
    return (row.issued_ns, bytes(row.envelope)) if row else None


def last_reported(connection: Connection) -> dict[str, tuple[int, str, int]]:
    """Our last report to each site: (time of issue, SHA-256 of what it said, bytes free)."""
    rows = connection.execute(select(reported))
    return {row.site: (row.issued_ns, row.facts, row.free) for row in rows}


def note_reported(connection: Connection, site: str, *, issued_ns: int, facts: str, free: int) -> None:
    """Record our last report to a site; ``facts`` is the SHA-256 of what it said, without the free space."""
    connection.execute(delete(reported).where(reported.c.site == site))
    connection.execute(insert(reported).values(site=site, issued_ns=issued_ns, facts=facts, free=free))


def retire(
    connection: Connection, package: str, version: int, *, reason: str, retired_ns: int, envelope: bytes
) -> bool:
    """Record that a package version is retired; False when that was recorded before."""
    known = select(retired.c.version).where(retired.c.package == package, retired.c.version == version)
    if connection.execute(known).first():
        return False
    guests.count(connection, package[:3], len(envelope))
    values = {"package": package, "version": version, "reason": reason, "retired_ns": retired_ns, "envelope": envelope}
    connection.execute(insert(retired).values(values))
    return True


def retirements(connection: Connection) -> dict[tuple[str, int], str]:
    """The reason for each retired (package, version)."""
    rows = connection.execute(select(retired.c.package, retired.c.version, retired.c.reason))
    return {(package, version): reason for package, version, reason in rows}
