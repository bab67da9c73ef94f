"""The block table of a parcel: the digest of every block of its files, as it lies on a volume."""

from __future__ import annotations

import mmap
from pathlib import Path

from formats.blocks import BlockTable
from formats.documents.packing import PackingList


def load_table(path: Path, packing: PackingList) -> BlockTable:
    """The block table in a file, mapped rather than read: a parcel of 10 TB has 320 MB of it. Raises
    `MalformedError`."""
    sizes = [file.size for file in packing.files()]
    with path.open("rb") as source:
        return BlockTable(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ), sizes, packing.block_size)


PART_SUFFIX = ".repair"
"""What files with a part of an answer end with."""
