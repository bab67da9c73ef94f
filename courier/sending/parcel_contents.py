"""The contents of package versions, as a parcel carries them: each once, with the codec that suits it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from courier.parcel.archive_plan import Content
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from formats.codecs import HOLES, STORE, Compression
from formats.documents.listing import FileEntry


def contents_of(site: Site, chosen: Sequence[StoredPackage], compression: Compression) -> Iterator[Content]:
    """Every content of the packages, once, in listing order."""
    seen: set[bytes] = set()
    for stored in chosen:
        folder = f"{stored.package}-{stored.version}"
        for entry in site.store.entries(stored.listing):
            if not isinstance(entry, FileEntry) or not entry.size:
                continue
            key = bytes.fromhex(entry.sha256)
            if key in seen:
                continue
            seen.add(key)
            yield Content(
                sha256=entry.sha256,
                size=entry.size,
                mtime_ns=entry.mtime_ns,
                folder=folder,
                path=entry.path,
                coding=coding_of(site, entry, compression),
                holes=entry.holes,
            )


def coding_of(site: Site, entry: FileEntry, compression: Compression) -> str:
    """The name of the codec for a content: that of the compression where it makes the content smaller.

    Holes are never shipped as zeros, however an operator wants the rest compressed (decision 0020).
    """
    codec = compression.codec
    if entry.holes:
        return HOLES.name
    if codec.as_is:
        return codec.name
    with site.store.open_content(entry.sha256) as source:
        return codec.name if codec.saves(source, entry.size) else STORE.name
