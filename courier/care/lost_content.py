"""Package versions whose content a restored home does not have, found without reading any content."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from courier.care.after_restore import RESTORED
from courier.errors import DamagedError
from courier.site.catalog import parcels
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from formats.documents.listing import FileEntry

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOOKED_FOR = 8
"""Files of a version that are looked for. A version comes again whole, so that the first ones tell; some may be in the
store for the sake of another package."""


def lost_versions(connection: Connection, site: Site, stored: Iterable[StoredPackage]) -> set[tuple[str, int]]:
    """(package, version) of those versions in the catalogue of which the store has no content since a restore.

    A home that was never restored loses no version in silence, and a bucket is not lost with the home: nothing is
    looked for there.
    """
    restored_ns = parcels.last_logged(connection, "", RESTORED)
    if restored_ns is None or site.settings.store:
        return set()
    old = (one for one in stored if one.added_ns <= restored_ns)
    return {(one.package, one.version) for one in old if _is_lost(site, one)}


def _is_lost(site: Site, stored: StoredPackage) -> bool:
    files = (entry for entry in site.store.entries(stored.listing) if isinstance(entry, FileEntry) and entry.size)
    try:
        return any(not site.store.has(file.sha256, file.size) for file in islice(files, LOOKED_FOR))
    except DamagedError:
        return True
