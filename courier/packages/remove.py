"""Removing package versions from the store, and deleting the content that nothing needs any more."""

from __future__ import annotations

from dataclasses import dataclass

from courier.errors import DamagedError, NotFoundError, RefusedError, UnreachableError
from courier.packages.find import matching_versions, parse_reference
from courier.parcel.bases_in_use import base_in_use, bases_in_use
from courier.parcel.recipes import pinned
from courier.parcel.states import ON_ITS_WAY
from courier.site.catalog import packages, parcels
from courier.site.home import Site
from courier.site.store.content_store import Collected


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What was removed: (package ID, version) of each, the bytes that this freed, and those still taken.

    Bytes are pending where content lies in one file with other content: they go once more of that is removed.
    ``unfreed``: why nothing could be freed, where the listing of another package is damaged or a bucket gives no
    answer; else empty. A later removal frees it.
    """

    versions: tuple[tuple[str, int], ...]
    freed: int
    pending: int
    unfreed: str = ""


def remove_package(site: Site, reference: str) -> Removal:
    """Remove a version, or every version of a package; content that another package holds stays.

    Content of a parcel on its way stays too: the parcel is written from the store, and the receiver may ask for its
    blocks. Raises `UsageError`, `NotFoundError` when the store holds no such version, and `RefusedError` for one that a
    parcel which arrives here builds on.
    """
    package, version = parse_reference(reference)
    with site.store.lock():
        used = bases_in_use(site)
        with site.catalogue.writing() as connection:
            chosen = matching_versions(packages.versions(connection, package), package, version)
            for stored in chosen:
                if parcel := used.get((stored.package, stored.version)):
                    raise base_in_use(stored.package, stored.version, parcel)
            for stored in chosen:
                packages.raise_counter(connection, package, stored.version)
                packages.remove(connection, package, stored.version)
        versions = tuple((stored.package, stored.version) for stored in chosen)
        try:
            collected = _delete_unneeded(site)
        except (DamagedError, NotFoundError, RefusedError, UnreachableError) as error:
            # What another package needs is not known, so everything stays until that one is mended or removed, or the
            # bucket answers. The removal itself is done.
            return Removal(versions=versions, freed=0, pending=0, unfreed=error.message)
    return Removal(versions=versions, freed=collected.freed, pending=collected.pending)


def _delete_unneeded(site: Site) -> Collected:
    """Delete content that no package and no parcel on its way needs."""
    with site.catalogue.reading() as connection:
        kept = [stored.listing for stored in packages.versions(connection)]
        under_way = [sent.parcel for sent in parcels.all_sent(connection) if sent.state in ON_ITS_WAY]
    needed = (sha256 for parcel in under_way for sha256 in pinned(site.outgoing(parcel)))
    return site.store.collect(kept, needed)
