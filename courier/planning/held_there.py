"""What another site last said of itself, and which contents of a parcel it holds already, as far as that is known."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from courier.parcel.archive_plan import Content
from courier.site.catalog import packages, reports
from courier.site.home import Site
from formats.documents.listing import FileEntry
from formats.documents.report import SiteReport
from formats.envelope import parse_envelope
from formats.holes import hole_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Contents as a place takes them, each once: how many, and their bytes, holes of sparse files not counted."""

    bytes: int
    files: int


def last_report(site: Site, code: str) -> SiteReport | None:
    """The newest report of a site, if it ever sent one."""
    with site.catalogue.reading() as connection:
        kept = reports.find(connection, code)
    return None if kept is None else SiteReport.parse(parse_envelope(kept[1]).payload)


def held_contents(site: Site, report: SiteReport | None) -> frozenset[bytes]:
    """The SHA-256 of the contents that a site holds: those of packages it reports of which we hold the same version.

    What else it holds is not known here; so this is the least that single instance saves there.
    """
    if report is None:
        return frozenset()
    with site.catalogue.reading() as connection:
        ours = {(one.package, one.version): one.listing for one in packages.versions(connection)}
    held = set[bytes]()
    for item in report.packages:
        listing = ours.get((item.package, item.version))
        if listing is None or listing.sha256 != item.listing:
            continue
        for entry in site.store.entries(listing):
            if isinstance(entry, FileEntry):
                held.add(bytes.fromhex(entry.sha256))
    return frozenset(held)


def load_of(contents: Iterable[Content], held: Collection[bytes] = ()) -> Load:
    """The contents that are not ``held``."""
    size = files = 0
    for content in contents:
        if bytes.fromhex(content.sha256) not in held:
            size += content.size - hole_bytes(content.holes)
            files += 1
    return Load(bytes=size, files=files)
