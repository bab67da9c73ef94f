"""Where the client puts partitions on a disk, and the tables for them, which `formats.disk.gpt` makes and reads. Pure.

Disks have sectors of 512 bytes here. Partitions begin and end at whole MiB, as every present tool makes them.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from courier.deployment.sequence import REST, Part, PartitionKind
from courier.errors import DamagedError, NoSpaceError
from formats.disk import gpt
from formats.disk.gpt import (
    BASIC_DATA,
    EFI_SYSTEM,
    LINUX,
    SECTOR,
    TABLE_SECTORS,
    Partition,
    Placed,
    ReadAt,
    Span,
    Table,
)
from formats.errors import FormatError

ALIGNMENT = 1 << 20
"""Bytes to whose multiples partitions are aligned."""
_BACKUP = TABLE_SECTORS * SECTOR
"""Bytes at the end of a disk that the second table takes."""
_TYPES: dict[PartitionKind, uuid.UUID] = {
    "efi": EFI_SYSTEM,
    "linux": LINUX,
    "windows": BASIC_DATA,
    "data": BASIC_DATA,
}


def lay_out(parts: Sequence[Part], size: int) -> list[Span]:
    """Where partitions go on a disk of ``size`` bytes, in order. Raises `NoSpaceError` where it is too small."""
    room = (size - _BACKUP) // ALIGNMENT * ALIGNMENT - ALIGNMENT
    sizes = [part.size if part.size == REST else -(-part.size // ALIGNMENT) * ALIGNMENT for part in parts]
    left = room - sum(one for one in sizes if one != REST)
    least = ALIGNMENT if REST in sizes else 0
    if left < least:
        raise NoSpaceError(
            f"the partitions need {room - left + least + ALIGNMENT + _BACKUP:,} bytes with their table; the disk has "
            f"{size:,}",
            hint="use a larger disk, or make partitions smaller in the task sequence",
        )
    spans, at = [], ALIGNMENT
    for part, wanted in zip(parts, sizes, strict=True):
        length = left if wanted == REST else wanted
        spans.append(Span(label=part.label, begin=at, size=length))
        at += length
    return spans


def table_bytes(parts: Sequence[Part], spans: Sequence[Span], size: int, *, identity: uuid.UUID) -> Placed:
    """The tables of a disk of ``size`` bytes.

    ``identity``: the GUIDs of disk and partitions follow from it, so that a step that is done again makes the same.
    """
    partitions = [
        Partition(
            kind=_TYPES[part.kind],
            unique=uuid.uuid5(identity, f"partition {number}"),
            first=span.begin // SECTOR,
            last=(span.begin + span.size) // SECTOR - 1,
            name=part.label,
        )
        for number, (part, span) in enumerate(zip(parts, spans, strict=True), start=1)
    ]
    return gpt.placed_tables(partitions, sectors=size // SECTOR, disk=uuid.uuid5(identity, "disk"))


def read_table(read_at: ReadAt) -> Table | None:
    """As `formats.disk.gpt.read_table`. Raises `DamagedError` for a table that is not whole."""
    try:
        return gpt.read_table(read_at)
    except FormatError as error:
        raise _broken(error) from None


def stretched(read_at: ReadAt, size: int) -> Placed | None:
    """As `formats.disk.gpt.stretched`. Raises `DamagedError` for a table that is not whole."""
    try:
        return gpt.stretched(read_at, size)
    except FormatError as error:
        raise _broken(error) from None


def check_within(table: Table, size: int, *, where: str) -> None:
    """Raise `DamagedError` for a partition that ends behind the ``size`` bytes of ``where``."""
    for span in table.spans:
        if span.begin + span.size > size:
            raise DamagedError(
                f"{where}: the partition {span.label!r} ends behind its {size:,} bytes",
                hint="it was cut short: take a whole copy; sgdisk --verify FILE tells more",
            )


def _broken(error: FormatError) -> DamagedError:
    return DamagedError(f"partition table: {error}", hint="look at it with sgdisk --verify, and repair or replace it")
