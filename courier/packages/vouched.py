"""Who vouches for a stored package version: its source site, or for now only the site that brought it.

A version is what its source site signed. Where the source signs other content than the store holds, neither is used
until a person has found out which is right.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site

if TYPE_CHECKING:
    from sqlalchemy import Connection


def vouching_site(stored: StoredPackage, signed: Collection[tuple[str, int]]) -> str:
    """The site that vouches for a stored version: its source where that signed it, else the site that brought it.

    ``signed``: see `courier.site.catalog.packages.signed_by_source`.
    """
    source = stored.package[:3]
    if stored.origin == "added" or stored.origin[:3] == source or (stored.package, stored.version) in signed:
        return source
    return stored.origin[:3]


def is_contradicted(connection: Connection, stored: StoredPackage) -> bool:
    """Whether the source of a stored version signed other content for it, be it besides or instead."""
    signed = packages.find_definitions(connection, stored.package, stored.version, stored.package[:3])
    return bool(set(signed) - {stored.listing.sha256})


def check_not_contradicted(site: Site, stored: StoredPackage) -> None:
    """Raise `RefusedError` for a version whose source signed other content for it."""
    with site.catalogue.reading() as connection:
        if is_contradicted(connection, stored):
            raise contradicted(stored)


def contradicted(stored: StoredPackage) -> RefusedError:
    """The error for a version whose source signed other content for it."""
    source = stored.package[:3]
    return RefusedError(
        f"{stored.package}:{stored.version}: the store has other content than {source} signed for this version; it "
        "is not used",
        hint=f"ask {source} which is right; to take in its own: courier package remove "
        f"{stored.package}:{stored.version}, then import the parcel that has it",
        code=Code.DEFINITION_DISAGREES,
    )
