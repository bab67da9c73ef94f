"""GUID partition tables (UEFI specification 2.10, chapter 5): laying partitions out, writing and reading tables. Pure.

Disks have sectors of 512 bytes here. Partitions begin and end at whole MiB, as every present tool makes them.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from courier.deployment.sequence import REST, Part, PartitionKind
from courier.errors import DamagedError, NoSpaceError

SECTOR = 512
ALIGNMENT = 1 << 20
"""Bytes to whose multiples partitions are aligned."""
SECTOR_SIZES = (512, 4096)
"""Sizes of sectors for which a table can have been made."""
_ENTRIES, _ENTRY = 128, 128
_TABLE = _ENTRIES * _ENTRY
_BACKUP = SECTOR + _TABLE
"""Bytes at the end of a disk that the second table takes."""
_SIGNATURE = b"EFI PART"
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_LINE = struct.Struct("<16s16sQQQ72s")
_MOST_ENTRIES = 4096
_TYPES: dict[PartitionKind, str] = {
    "efi": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "linux": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    "windows": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
    "data": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
}
_BOOT_MARK = b"\x55\xaa"

ReadAt = Callable[[int, int], bytes]
"""Reads so many bytes at an offset; fewer at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A partition on a disk: where it begins and how long it is, in bytes; ``label`` is its name in the table."""

    label: str
    begin: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A partition table that was read. ``sector``: bytes of a sector; ``size``: of the disk that it was made for."""

    sector: int
    size: int
    spans: tuple[Span, ...]


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


def table_bytes(
    parts: Sequence[Part], spans: Sequence[Span], size: int, *, identity: uuid.UUID
) -> tuple[bytes, int, bytes]:
    """The table of a disk of ``size`` bytes: its first bytes, the offset of its last bytes, and those.

    ``identity``: the GUIDs of disk and partitions follow from it, so that a step that is done again makes the same.
    """
    lines = bytearray(_TABLE)
    for number, (part, span) in enumerate(zip(parts, spans, strict=True)):
        _LINE.pack_into(
            lines,
            number * _ENTRY,
            uuid.UUID(_TYPES[part.kind]).bytes_le,
            uuid.uuid5(identity, f"partition {number + 1}").bytes_le,
            span.begin // SECTOR,
            (span.begin + span.size) // SECTOR - 1,
            0,
            part.label.encode("utf-16-le")[:72],
        )
    return _both(bytes(lines), uuid.uuid5(identity, "disk").bytes_le, size, first_usable=2 + _TABLE // SECTOR)


def _both(lines: bytes, disk: bytes, size: int, *, first_usable: int) -> tuple[bytes, int, bytes]:
    last = size // SECTOR - 1
    count = len(lines) // SECTOR
    usable = (first_usable, last - count - 1)
    head = _mbr(last) + _header(1, last, 2, usable, disk, lines) + lines
    tail = lines + _header(last, 1, last - count, usable, disk, lines)
    return head, size // SECTOR * SECTOR - len(tail), tail


def _mbr(last: int) -> bytes:
    """The protective MBR: one partition of type 0xEE over the whole disk, so that old tools keep off."""
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(last, 0xFFFFFFFF))
    return bytes(446) + entry + bytes(48) + _BOOT_MARK


def _header(own: int, other: int, lines_at: int, usable: tuple[int, int], disk: bytes, lines: bytes) -> bytes:
    def packed(check: int) -> bytes:
        return _HEADER.pack(
            _SIGNATURE, 0x00010000, _HEADER.size, check, 0, own, other, *usable, disk, lines_at,
            len(lines) // _ENTRY, _ENTRY, zlib.crc32(lines),
        )  # fmt: skip

    return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")


def has_boot_mark(head: bytes) -> bool:
    """Whether the first bytes of a disk have the mark of a boot sector or partition table."""
    return head[510:512] == _BOOT_MARK


def read_table(read_at: ReadAt, *, sectors: Sequence[int] = SECTOR_SIZES) -> Table | None:
    """The table at the begin of a disk, for the first size of ``sectors`` that it has one for; None for no table.

    Raises `DamagedError` where its checksums are wrong.
    """
    for sector in sectors:
        head = read_at(sector, _HEADER.size)
        if len(head) == _HEADER.size and head.startswith(_SIGNATURE):
            return _read(read_at, head, sector)
    return None


def _read(read_at: ReadAt, head: bytes, sector: int) -> Table:
    _, _, length, check, _, _, other, _, _, _, at, count, entry, lines_check = _HEADER.unpack(head)
    whole = length == _HEADER.size and zlib.crc32(head[:16] + bytes(4) + head[20:]) == check
    if not whole or not 0 < count <= _MOST_ENTRIES or entry != _ENTRY:
        raise _broken("its header is damaged")
    lines = read_at(at * sector, count * entry)
    if len(lines) != count * entry or zlib.crc32(lines) != lines_check:
        raise _broken("its entries are damaged")
    spans = []
    for kind, _, first, last, _, name in _LINE.iter_unpack(lines):
        if kind != bytes(16):
            if not 0 < first <= last:
                raise _broken("a partition ends before it begins")
            label = name.decode("utf-16-le", "replace").partition("\0")[0]
            spans.append(Span(label=label, begin=first * sector, size=(last + 1 - first) * sector))
    return Table(sector=sector, size=(other + 1) * sector, spans=tuple(sorted(spans, key=lambda one: one.begin)))


def _broken(what: str) -> DamagedError:
    return DamagedError(f"partition table: {what}", hint="look at it with sgdisk --verify, and repair or replace it")


def stretched(read_at: ReadAt, size: int) -> tuple[bytes, int, bytes] | None:
    """The table of a disk image as it has to be on a disk of ``size`` bytes: the second table stands at its end.

    As `table_bytes`; the boot code of the first sector is kept. None where there is no table. Raises `DamagedError`.
    """
    if read_table(read_at, sectors=(SECTOR,)) is None:
        return None
    head = read_at(SECTOR, _HEADER.size)
    _, _, _, _, _, _, _, first_usable, _, disk, at, count, entry, _ = _HEADER.unpack(head)
    lines = read_at(at * SECTOR, count * entry)
    lines = lines.ljust(-(-len(lines) // SECTOR) * SECTOR, b"\0")
    if at != 2:
        raise _broken("its entries do not follow its header")
    new, tail_at, tail = _both(lines, disk, size, first_usable=first_usable)
    old_mbr = read_at(0, SECTOR)
    mbr = old_mbr[:446] + new[446:SECTOR] if old_mbr[450:451] == b"\xee" else old_mbr
    return mbr + new[SECTOR:], tail_at, tail
