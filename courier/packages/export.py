"""Exporting a package version from the store into a folder."""

from __future__ import annotations

from pathlib import Path

from courier.files import naming_space, require_space
from courier.packages.find import find_package
from courier.packages.trees import write_tree
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site


def export_package(site: Site, reference: str, target: Path) -> StoredPackage:
    """Write a package version into ``target``, a new or empty folder, whole or not at all; return the version.

    Raises `NotFoundError`, `NoSpaceError`, and what `write_tree` raises.
    """
    stored = find_package(site, reference)
    folder, size, purpose = target.absolute().parent, stored.listing.bytes, "exporting the package"
    require_space(folder, size, purpose=purpose)
    with naming_space(folder, lambda: size, purpose=purpose):
        write_tree(site.store.entries(stored.listing), target.absolute(), site.store.open_content)
    return stored
