"""The contents of a parcel: which packages it holds and what lies in every archive, opened where they can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from courier.parcel.encryption import opened
from courier.parcel.keys import identities_for
from courier.site.home import Site
from formats.age import Identity
from formats.documents.contents import ContentsReader
from formats.documents.packing import PackingList


@contextmanager
def open_contents(
    site: Site, packing: PackingList, path: Path, identities: Sequence[Identity] | None = None
) -> Iterator[ContentsReader]:
    """Read the contents of a parcel from the file at ``path``.

    ``identities``: what decrypts them, where the caller knows it already. Raises `RefusedError` when they are encrypted
    for others.
    """
    if identities is None and packing.encrypted:
        identities = identities_for(site, packing)
    with path.open("rb") as raw:
        source = opened(raw, identities or ()) if packing.encrypted else raw
        yield ContentsReader(source, parcel=packing.parcel, archives=len(packing.archives))
