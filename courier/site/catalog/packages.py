"""Statements about packages: versions in the store, definitions received, IDs and versions allotted."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from courier.site.catalog.schema import counter, definition, package
from courier.site.log import note
from formats.documents.listing import ListingSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPackage:
    """A package version in the store. ``origin``: ``added``, or the ID of the parcel it came with."""

    package: str
    version: int
    name: str
    listing: ListingSummary
    created_ns: int
    added_ns: int
    origin: str


def _stored(row: Row[tuple[object, ...]]) -> StoredPackage:
    values = dict(row._mapping)
    summary = ListingSummary(
        sha256=values.pop("listing"),
        entries=values.pop("entries"),
        files=values.pop("files"),
        bytes=values.pop("bytes"),
    )
    return StoredPackage(listing=summary, **values)


def add(connection: Connection, new: StoredPackage) -> None:
    """Record a version; its content must be in the store."""
    connection.execute(
        insert(package).values(
            package=new.package,
            version=new.version,
            name=new.name,
            listing=new.listing.sha256,
            entries=new.listing.entries,
            files=new.listing.files,
            bytes=new.listing.bytes,
            created_ns=new.created_ns,
            added_ns=new.added_ns,
            origin=new.origin,
        )
    )
    how = "added" if new.origin == "added" else f"imported from {new.origin}"
    note(connection, f"package {new.package}:{new.version} ({new.name}) {how}")


def versions(connection: Connection, package_id: str | None = None) -> list[StoredPackage]:
    """Versions in the store, of one package or of all, oldest version first."""
    query = select(package).order_by(package.c.package, package.c.version)
    if package_id is not None:
        query = query.where(package.c.package == package_id)
    return [_stored(row) for row in connection.execute(query)]


def find(connection: Connection, package_id: str, version: int) -> StoredPackage | None:
    """One version."""
    query = select(package).where(package.c.package == package_id, package.c.version == version)
    row = connection.execute(query).first()
    return _stored(row) if row else None


def remove(connection: Connection, package_id: str, version: int) -> bool:
    """Forget a version; False when it is not there. Its content is collected by the store."""
    statement = delete(package).where(package.c.package == package_id, package.c.version == version)
    removed = connection.execute(statement).rowcount > 0
    if removed:
        note(connection, f"package {package_id}:{version} removed")
    return removed


def next_version(connection: Connection, package_id: str) -> int:
    """One more than the highest version ever used for the package, here or in a definition by its source site.

    What other sites say of the package does not count: one of them could use the numbers up.
    """
    here = select(func.max(package.c.version)).where(package.c.package == package_id)
    told = select(func.max(definition.c.version)).where(
        definition.c.package == package_id, definition.c.site == package_id[:3]
    )
    used = [connection.execute(query).scalar() or 0 for query in (here, told)]
    return max(*used, read_counter(connection, package_id)) + 1


IDS_LOST = "ids-lost"
"""A counter that is above 0 where the catalogue was lost and begun anew: which numbers were given out is not known."""


def read_counter(connection: Connection, name: str) -> int:
    """The last number allotted under ``name``, 0 if none."""
    return connection.execute(select(counter.c.value).where(counter.c.name == name)).scalar() or 0


def raise_counter(connection: Connection, name: str, value: int) -> None:
    """Remember ``value`` as the last number allotted under ``name``, unless a higher one is remembered."""
    if read_counter(connection, name) >= value:
        return
    changed = connection.execute(update(counter).where(counter.c.name == name).values(value=value)).rowcount
    if not changed:
        connection.execute(insert(counter).values(name=name, value=value))


def keep_definition(
    connection: Connection, package_id: str, version: int, site: str, *, listing: str, envelope: bytes, received_ns: int
) -> None:
    """Keep a definition received from ``site``, in place of an earlier one of the same content.

    One of other content stands beside it: which counts is for the ship notice to say, not for the order they came in.
    """
    where = (definition.c.package == package_id, definition.c.version == version, definition.c.site == site)
    connection.execute(delete(definition).where(*where, definition.c.listing == listing))
    connection.execute(
        insert(definition).values(
            package=package_id, version=version, site=site, listing=listing, envelope=envelope, received_ns=received_ns
        )
    )


def find_definitions(connection: Connection, package_id: str, version: int, site: str) -> dict[str, tuple[bytes, int]]:
    """(envelope, when it came) of the definitions that ``site`` signed, by the listing they name.

    There is one, but after a mishap.
    """
    query = select(definition.c.listing, definition.c.envelope, definition.c.received_ns).where(
        definition.c.package == package_id, definition.c.version == version, definition.c.site == site
    )
    return {listing: (bytes(envelope), came_ns) for listing, envelope, came_ns in connection.execute(query)}
