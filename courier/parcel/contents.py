"""The contents of a parcel: which packages it holds and what lies in every archive, opened where they can be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from courier.parcel.encryption import opened
from courier.parcel.keys import identities_for
from courier.site.home import Site
from formats.documents.contents import ContentsReader
from formats.documents.packing import PackingList

if TYPE_CHECKING:
    pass


@contextmanager
def open_contents(site: Site, packing: PackingList, path: Path) -> Iterator[ContentsReader]:
    """Read the contents of a parcel; raises `RefusedError` if they are encrypted for others."""
    with path.open("rb") as raw:
        source = opened(raw, identities_for(site, packing)) if packing.encrypted else raw
        yield ContentsReader(source, parcel=packing.parcel, archives=len(packing.archives))
