"""The contents of packages in the store, each once: what goes to a place that takes content as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from courier.distribution.fill import Content
from courier.packages.find import find_package
from courier.planning.held_there import Load
from courier.site.home import Site
from formats.documents.listing import FileEntry, ListingSummary
from formats.holes import hole_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeContent:
    """A content: SHA-256, bytes, those of them in holes, and the bytes that it takes at a distribution point."""

    sha256: str
    size: int
    holes: int
    at_point: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeLoad:
    """Packages, each by its listing, and their contents, each once."""

    listings: tuple[ListingSummary, ...]
    contents: tuple[WholeContent, ...]


def whole_load(site: Site, references: Sequence[str]) -> WholeLoad:
    """What packages are made of. Raises `NotFoundError` or `UsageError`."""
    listings = {one.sha256: one for one in (find_package(site, reference).listing for reference in references)}
    contents: dict[bytes, WholeContent] = {}
    for entry in _files(site, tuple(listings.values())):
        if entry.size and (key := bytes.fromhex(entry.sha256)) not in contents:
            room = Content(sha256=entry.sha256, size=entry.size, blocks=entry.blocks).room
            contents[key] = WholeContent(
                sha256=entry.sha256, size=entry.size, holes=hole_bytes(entry.holes), at_point=room
            )
    return WholeLoad(listings=tuple(listings.values()), contents=tuple(contents.values()))


def _files(site: Site, listings: Sequence[ListingSummary]) -> Iterator[FileEntry]:
    for listing in listings:
        for entry in site.store.entries(listing):
            if isinstance(entry, FileEntry):
                yield entry


def load_of_packages(site: Site, references: Sequence[str], held: Collection[bytes] = ()) -> Load:
    """The load of packages (``HQ100001`` or ``HQ100001:2``), without what is ``held``.

    Raises `NotFoundError` or `UsageError`.
    """
    seen = set[bytes]()
    size = 0
    for reference in references:
        for entry in site.store.entries(find_package(site, reference).listing):
            if not isinstance(entry, FileEntry) or not entry.size:
                continue
            name = bytes.fromhex(entry.sha256)
            if name not in seen and name not in held:
                seen.add(name)
                size += entry.size - hole_bytes(entry.holes)
    return Load(bytes=size, files=len(seen))
