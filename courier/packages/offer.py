"""Offering packages: the operator says which other sites are told that this one holds them.

A sender builds on what a site reports that it holds. So a report names only what its reader may know: its own packages,
those that came from it, and those that an operator offers to it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from courier.errors import NotFoundError
from courier.packages.find import find_package, parse_reference
from courier.site.catalog import offers
from courier.site.catalog.offers import Offer
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import Site


def may_know(stored: StoredPackage, site: str, offered: Collection[Offer]) -> bool:
    """Whether ``site`` is told that a version is held here: its own, one that came from it, or one offered to it."""
    return (
        site in (stored.package[:3], stored.origin[:3])
        or (stored.package, 0) in offered
        or (stored.package, stored.version) in offered
    )


def offer_packages(site: Site, references: Sequence[str], codes: Sequence[str]) -> None:
    """Offer stored packages, or single versions, to trusted sites.

    Raises `NotFoundError` for a version that is not held, `RefusedError` for a site that is not trusted.
    """
    found = [_parsed(site, reference) for reference in references]
    for code in codes:
        site.trust().site(code)
    with site.catalogue.writing() as connection:
        for code in codes:
            for package, version in found:
                offers.add(connection, code, package, version, offered_ns=now())


def take_back(site: Site, references: Sequence[str], codes: Sequence[str]) -> None:
    """Take offers back, all or none. Raises `NotFoundError` for one that was not made."""
    with site.catalogue.writing() as connection:
        for code in codes:
            for reference in references:
                package, version = parse_reference(reference)
                if not offers.remove(connection, code, package, version or 0):
                    raise NotFoundError(
                        f"{reference} is not offered to {code}",
                        hint=f"courier package offer --to {code} lists what is",
                    )


def _parsed(site: Site, reference: str) -> offers.Offer:
    stored = find_package(site, reference)
    return stored.package, parse_reference(reference)[1] or 0
