"""Exporting a package version from the store into a folder."""

from __future__ import annotations

from pathlib import Path

from courier.files import naming_space, require_space
from courier.packages.find import find_package
from courier.packages.vouched import check_not_contradicted
from courier.packages.write_tree import Written, write_tree
from courier.progress import SILENT, Progress
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site


def export_package(
    site: Site, reference: str, target: Path, *, keep_set_id: bool = False, progress: Progress = SILENT
) -> tuple[StoredPackage, Written]:
    """Write a package version into ``target``, a new or empty folder, whole or not at all.

    ``keep_set_id``: see `write_tree`. ``progress`` is told the bytes of content as they are written. Return the
    version, and what an operator may want to know. Raises `NotFoundError`, `NoSpaceError`, and what `write_tree`
    raises.
    """
    stored = find_package(site, reference)
    check_not_contradicted(site, stored)
    folder, size, purpose = target.absolute().parent, stored.listing.allocated, "exporting the package"
    require_space(folder, size, purpose=purpose)
    progress.begin(f"Exporting {stored.package}:{stored.version}", stored.listing.bytes)
    with naming_space(folder, lambda: size, purpose=purpose):
        entries, open_content = site.store.entries(stored.listing), site.store.open_content
        written = write_tree(entries, target.absolute(), open_content, keep_set_id=keep_set_id, progress=progress)
    return stored, written
