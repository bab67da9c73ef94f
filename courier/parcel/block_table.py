"""The block table of a parcel, as it lies on a volume: the digest of every block of its files."""

from __future__ import annotations

import mmap
from pathlib import Path

from formats.blocks import BlockTable
from formats.documents.packing import PackingList


def load_table(path: Path, packing: PackingList) -> BlockTable:
    """The block table in a file. It is mapped, not read: that of a parcel of 10 TB has 320 MB.

    Raises `MalformedError`, and `ValueError` for an empty file.
    """
    sizes = [file.size for file in packing.files()]
    with path.open("rb") as source:
        # A parcel of packages without a byte has an empty table, and an empty file cannot be mapped.
        table = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) if sizes else source.read(1)
        return BlockTable(table, sizes, packing.block_size)


PART_SUFFIX = ".repair"
"""Suffix of the files that hold a part of an answer to a repair request."""
