"""The contents of packages in the store, each once: what goes to a place that takes content as it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from courier.packages.find import find_package
from courier.planning.held_there import Load
from courier.site.home import Site
from formats.documents.listing import FileEntry
from formats.holes import hole_bytes


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
