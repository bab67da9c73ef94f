"""The block table of a parcel, as it lies on a volume: the digest of every block of its files."""

from __future__ import annotations

import mmap
from pathlib import Path

from formats.blocks import BlockTable
from formats.documents.packing import PackingList


def load_table(path: Path, packing: PackingList) -> BlockTable:
    """The block table in a file. It is mapped, not read: that of a parcel of 10 TB has 320 MB.

    A parcel without any bytes has an empty one. Raises `MalformedError` where the length does not fit the packing list.
    """
    sizes = [file.size for file in packing.files()]
    with path.open("rb") as source:
        if not path.stat().st_size:  # which cannot be mapped
            return BlockTable(b"", sizes, packing.block_size)
        return BlockTable(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ), sizes, packing.block_size)


PART_SUFFIX = ".repair"
"""Suffix of the files that hold a part of an answer to a repair request."""
