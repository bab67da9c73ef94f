"""A package version on the command line: how it is named, and its form as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.console import time_text

if TYPE_CHECKING:
    from courier.site.catalog.packages import StoredPackage

REFERENCE = Annotated[
    str,
    typer.Argument(metavar="ID[:VERSION]", help="Package, such as HQ100001, or one version of it, such as HQ100001:3."),
]


def describe(stored: StoredPackage) -> dict[str, Any]:
    """A package version as JSON."""
    return {
        "package_id": stored.package,
        "version": stored.version,
        "name": stored.name,
        "bytes": stored.listing.bytes,
        "bytes_in_holes": stored.listing.holes,
        "files": stored.listing.files,
        "entries": stored.listing.entries,
        "listing": stored.listing.sha256,
        "origin": stored.origin,
        "added": time_text(stored.added_ns),
    }
