"""Statements about packages: versions in the store, definitions received, and the numbers given out."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, func, insert, select, update

from courier.site.catalog import guests
from courier.site.catalog.schema import counter, definition, package
from courier.site.log import note
from formats.documents.listing import ListingSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPackage:
    """A package version in the store.

    ``created_ns``: when its source site made it; ``added_ns``: when it came into this store. ``origin``: ``added``, or
    the ID of the parcel that it came with.
    """

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
        holes=values.pop("holes"),
        files=values.pop("files"),
        bytes=values.pop("bytes"),
    )
    return StoredPackage(listing=summary, **values)


def add(connection: Connection, new: StoredPackage) -> None:
    """Record a version whose content is in the store."""
    connection.execute(
        insert(package).values(
            package=new.package,
            version=new.version,
            name=new.name,
            listing=new.listing.sha256,
            entries=new.listing.entries,
            files=new.listing.files,
            bytes=new.listing.bytes,
            holes=new.listing.holes,
            created_ns=new.created_ns,
            added_ns=new.added_ns,
            origin=new.origin,
        )
    )
    how = "added" if new.origin == "added" else f"imported from {new.origin}"
    note(connection, f"package {new.package}:{new.version} ({new.name}) {how}")


def versions(connection: Connection, package_id: str | None = None) -> list[StoredPackage]:
    """Versions in the store, of one package or of all, by package and version."""
    query = select(package).order_by(package.c.package, package.c.version)
    if package_id is not None:
        query = query.where(package.c.package == package_id)
    return [_stored(row) for row in connection.execute(query)]


def contradicted(connection: Connection) -> set[tuple[str, int]]:
    """The stored versions whose source site signed other content for them."""
    return _defined_by_source(connection, definition.c.listing != package.c.listing)


def signed_by_source(connection: Connection) -> set[tuple[str, int]]:
    """The stored versions for whose very content a definition by their source site is here."""
    return _defined_by_source(connection, definition.c.listing == package.c.listing)


def _defined_by_source(connection: Connection, how: ColumnElement[bool]) -> set[tuple[str, int]]:
    same = (definition.c.package == package.c.package, definition.c.version == package.c.version)
    source = definition.c.site == func.substr(package.c.package, 1, 3)
    query = select(package.c.package, package.c.version).join(definition, and_(*same, source)).where(how)
    return {(name, version) for name, version in connection.execute(query)}


# Statements that a server runs for each definition that comes are put together once.
_FIND = select(package).where(
    package.c.package == bindparam("one_package"), package.c.version == bindparam("one_version")
)
_SIGNED = and_(
    definition.c.package == bindparam("one_package"),
    definition.c.version == bindparam("one_version"),
    definition.c.site == bindparam("one_site"),
)
_ONE_DEFINITION = and_(_SIGNED, definition.c.listing == bindparam("one_listing"))
_DEFINITIONS = select(definition.c.listing, definition.c.envelope, definition.c.received_ns).where(_SIGNED)
_DEFINITION_SIZE = select(func.length(definition.c.envelope)).where(_ONE_DEFINITION)
_FORGET_DEFINITION = delete(definition).where(_ONE_DEFINITION)
_KEEP_DEFINITION = insert(definition)


def find(connection: Connection, package_id: str, version: int) -> StoredPackage | None:
    """One version, if it is in the store."""
    row = connection.execute(_FIND, {"one_package": package_id, "one_version": version}).first()
    return _stored(row) if row else None


def remove(connection: Connection, package_id: str, version: int) -> bool:
    """Delete a version's record; False when there is none. Its content is deleted by `ContentStore.collect`."""
    statement = delete(package).where(package.c.package == package_id, package.c.version == version)
    removed = connection.execute(statement).rowcount > 0
    if removed:
        note(connection, f"package {package_id}:{version} removed")
    return removed


def next_version(connection: Connection, package_id: str) -> int:
    """One more than the highest version of the package that was ever used, here or in a definition by its source site.

    Definitions by other sites do not count: one of them could use up the numbers.
    """
    here = select(func.max(package.c.version)).where(package.c.package == package_id)
    told = select(func.max(definition.c.version)).where(
        definition.c.package == package_id, definition.c.site == package_id[:3]
    )
    used = [connection.execute(query).scalar() or 0 for query in (here, told)]
    return max(*used, read_counter(connection, package_id)) + 1


HOME = "home"
"""Counter: 1 where a home was made whose catalogue on a server this is."""
IDS_LOST = "ids-lost"
"""A counter that is above 0 when the catalogue was lost and begun anew: it is not known which numbers were used."""


def read_counter(connection: Connection, name: str) -> int:
    """The last number given out under ``name``; 0 when there was none."""
    return connection.execute(select(counter.c.value).where(counter.c.name == name)).scalar() or 0


def raise_counter(connection: Connection, name: str, value: int) -> None:
    """Record ``value`` as the last number given out under ``name``, unless a higher one is recorded."""
    if read_counter(connection, name) >= value:
        return
    changed = connection.execute(update(counter).where(counter.c.name == name).values(value=value)).rowcount
    if not changed:
        connection.execute(insert(counter).values(name=name, value=value))


def keep_definition(
    connection: Connection, package_id: str, version: int, site: str, *, listing: str, envelope: bytes, received_ns: int
) -> None:
    """Keep a definition that came from ``site``, in place of an earlier one with the same listing.

    Definitions with different listings are kept side by side: the ship notice says which of them counts, not the order
    in which they came.
    """
    which = {"one_package": package_id, "one_version": version, "one_site": site, "one_listing": listing}
    before = connection.execute(_DEFINITION_SIZE, which).scalar()
    guests.count(connection, site, len(envelope), replaced=before)
    if before is not None:
        connection.execute(_FORGET_DEFINITION, which)
    values = {"package": package_id, "version": version, "site": site, "listing": listing}
    connection.execute(_KEEP_DEFINITION, {**values, "envelope": envelope, "received_ns": received_ns})


def find_definitions(connection: Connection, package_id: str, version: int, site: str) -> dict[str, tuple[bytes, int]]:
    """(envelope, when it came) of the definitions that ``site`` signed, by the SHA-256 of the listing they name.

    There is more than one only when that site contradicted itself.
    """
    found = connection.execute(_DEFINITIONS, {"one_package": package_id, "one_version": version, "one_site": site})
    return {listing: (bytes(envelope), came_ns) for listing, envelope, came_ns in found}
