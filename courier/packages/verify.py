"""Verifying stored packages: their content is read again and compared with its digests."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from courier.errors import DamagedError
from courier.packages.find import find_package
from courier.progress import SILENT, Progress
from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from courier.site.store.content_store import Finding

if TYPE_CHECKING:
    from concurrent.futures import Executor

LISTING = ""
"""The path in a finding about the listing of a version itself."""


def verify_packages(
    site: Site,
    reference: str | None,
    progress: Progress = SILENT,
    *,
    share: float = 1,
    executor: Executor | None = None,
) -> list[tuple[StoredPackage, list[Finding]]]:
    """Read the content of one version, or of all, again; return each version with what is wrong with it.

    ``share``: the part of the contents that is read, chosen anew each time; of the others it is only seen whether they
    are there. What is damaged is taken out of use, so that adding or receiving it again replaces it. A listing that is
    missing or differs is a finding too, with the path `LISTING`. ``progress`` is told each version, and its bytes as
    they are read. With an ``executor`` its workers read the contents; the findings are the same. Raises `NotFoundError`
    for a version that the store does not hold, and with workers what `verify_with_workers` raises.
    """
    if reference is not None:
        chosen = [find_package(site, reference)]
    else:
        with site.catalogue.reading() as connection:
            chosen = packages.versions(connection)
    is_read = _some(share)
    result: list[list[Finding]] = [[] for _ in chosen]
    for number, findings in _verified(site, chosen, progress, is_read, executor):
        if findings:
            with site.store.lock():
                site.store.quarantine(*{finding.sha256 for finding in findings if finding.path != LISTING})
                if any(finding.path == LISTING for finding in findings):
                    site.store.quarantine_listing(chosen[number].listing)
        result[number] = findings
    return list(zip(chosen, result, strict=True))


def _verified(
    site: Site,
    chosen: Sequence[StoredPackage],
    progress: Progress,
    is_read: Callable[[str], bool],
    executor: Executor | None,
) -> Iterator[tuple[int, list[Finding]]]:
    """The number of each version in ``chosen``, and what is wrong with it."""
    if executor is not None:
        from courier.packages.verify_workers import verify_with_workers

        def again(stored: StoredPackage, read: Callable[[str], bool]) -> list[Finding]:
            return list(_findings(site, stored, SILENT, read))

        yield from verify_with_workers(site, chosen, executor, progress, is_read, again)
        return
    for number, stored in enumerate(chosen):
        progress.begin(f"Verifying {stored.package}:{stored.version}", stored.listing.bytes)
        yield number, list(_findings(site, stored, progress, is_read))


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
