"""Verifying stored packages: their content is read again and compared with its digests."""

from __future__ import annotations

from collections.abc import Iterator

from courier.errors import DamagedError
from courier.packages.find import find_package
from courier.progress import SILENT, Progress
from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from courier.site.store.content_store import Finding

LISTING = ""
"""The path in a finding about the listing of a version itself."""


def verify_packages(
    site: Site, reference: str | None, progress: Progress = SILENT
) -> list[tuple[StoredPackage, list[Finding]]]:
    """Read the content of one version, or of all, again; return each version with what is wrong with it.

    What is damaged is taken out of use, so that adding or receiving it again replaces it. A listing that is missing or
    differs is a finding too, with the path `LISTING`. ``progress`` is told each version, and its bytes as they are
    read. Raises `NotFoundError` for a version that the store does not hold.
    """
    if reference is not None:
        chosen = [find_package(site, reference)]
    else:
        with site.catalogue.reading() as connection:
            chosen = packages.versions(connection)
    result = []
    for stored in chosen:
        progress.begin(f"Verifying {stored.package}:{stored.version}", stored.listing.bytes)
        findings = list(_findings(site, stored, progress))
        if findings:
            with site.store.lock():
                site.store.quarantine(*{finding.sha256 for finding in findings if finding.path != LISTING})
                if any(finding.path == LISTING for finding in findings):
                    site.store.quarantine_listing(stored.listing)
        result.append((stored, findings))
    return result


def _findings(site: Site, stored: StoredPackage, progress: Progress) -> Iterator[Finding]:
    try:
        yield from site.store.verify(stored.listing, progress)
    except DamagedError as error:  # of the listing; what was found before it counts all the same
        yield Finding(path=LISTING, sha256=stored.listing.sha256, problem=error.message)
