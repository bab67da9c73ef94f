"""Verifying stored packages: their content is read again and compared with its digests."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator

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
    site: Site, reference: str | None, progress: Progress = SILENT, *, share: float = 1
) -> list[tuple[StoredPackage, list[Finding]]]:
    """Read the content of one version, or of all, again; return each version with what is wrong with it.

    ``share``: the part of the contents that is read, chosen anew each time; of the others it is only seen whether they
    are there. What is damaged is taken out of use, so that adding or receiving it again replaces it. A listing that is
    missing or differs is a finding too, with the path `LISTING`. ``progress`` is told each version, and its bytes as
    they are read. Raises `NotFoundError` for a version that the store does not hold.
    """
    if reference is not None:
        chosen = [find_package(site, reference)]
    else:
        with site.catalogue.reading() as connection:
            chosen = packages.versions(connection)
    is_read = _some(share)
    result = []
    for stored in chosen:
        progress.begin(f"Verifying {stored.package}:{stored.version}", stored.listing.bytes)
        findings = list(_findings(site, stored, progress, is_read))
        if findings:
            with site.store.lock():
                site.store.quarantine(*{finding.sha256 for finding in findings if finding.path != LISTING})
                if any(finding.path == LISTING for finding in findings):
                    site.store.quarantine_listing(stored.listing)
        result.append((stored, findings))
    return result


def _some(share: float) -> Callable[[str], bool]:
    """Whether a content is read, by its SHA-256: about that share of all of them, others each time."""
    if share >= 1:
        return lambda _: True
    salt = secrets.token_bytes(16)
    return lambda sha256: int.from_bytes(hashlib.sha256(salt + bytes.fromhex(sha256)).digest()[:6]) < share * 2**48


def _findings(
    site: Site, stored: StoredPackage, progress: Progress, chosen: Callable[[str], bool]
) -> Iterator[Finding]:
    try:
        yield from site.store.verify(stored.listing, progress, chosen)
    except DamagedError as error:  # of the listing; what was found before it counts all the same
        yield Finding(path=LISTING, sha256=stored.listing.sha256, problem=error.message)
