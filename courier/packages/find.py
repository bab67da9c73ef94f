"""Finding a package version in the store, and the definition by which this site vouches for it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from courier.errors import NotFoundError, UsageError
from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from formats.documents.package import PackageDefinition
from formats.errors import FormatError
from formats.names import check_package


def parse_reference(text: str) -> tuple[str, int | None]:
    """Package ID and version of ``HQ100001:3``; the version of ``HQ100001`` is None. Raises `UsageError`."""
    package, colon, version = text.partition(":")
    try:
        check_package(package)
        if colon and (not re.fullmatch("[0-9]{1,19}", version) or int(version) < 1):
            raise UsageError(f"{text!r}: the version is not a number", hint="write it like HQ100001:3")
    except FormatError as error:
        raise UsageError(error.message, hint="write it like HQ100001 or HQ100001:3") from None
    return package, int(version) if colon else None


def find_package(site: Site, reference: str) -> StoredPackage:
    """Return the stored version that ``HQ100001:3`` names; ``HQ100001`` names the newest.

    Raises `UsageError` for a reference of another form, `NotFoundError` when the store does not hold the version.
    """
    package, version = parse_reference(reference)
    with site.catalogue.reading() as connection:
        held = packages.versions(connection, package)
    return matching_versions(held, package, version)[-1]


def matching_versions(held: Sequence[StoredPackage], package: str, version: int | None) -> list[StoredPackage]:
    """Of the ``held`` versions of a package, return the one asked for, or all if ``version`` is None.

    Raises `NotFoundError` when none is left; its hint names the newest ten that are held.
    """
    found = [stored for stored in held if version in (None, stored.version)]
    if found:
        return found
    what = package if version is None else f"{package}:{version}"
    there = f"versions of {package} in it: {', '.join(str(stored.version) for stored in held[-10:])}; " if held else ""
    raise NotFoundError(f"package {what} is not in the store", hint=f"{there}courier package list shows all packages")


def definition_of(site: Site, stored: StoredPackage) -> PackageDefinition:
    """Return the definition of a stored version, for this site to sign."""
    return PackageDefinition(
        package=stored.package,
        version=stored.version,
        name=stored.name,
        site=site.code,
        created_ns=stored.created_ns,
        issued_ns=site.signing_time(stored.created_ns),
        listing=stored.listing,
    )
