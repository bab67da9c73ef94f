"""The GUID partition table and the protective MBR before it (UEFI 2.10, 5.2.3 and 5.3).

What is written here has sectors of 512 bytes, and so have disks whose both tables are read (`read_gpt`). `read_table`
takes the first table of any disk, and `stretched` moves the second one to the end of a larger disk.
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import BinaryIO
from uuid import UUID

from formats.errors import DigestMismatchError, MalformedError, TooLargeError

SECTOR = 512
SECTOR_SIZES = (512, 4096)
"""Sizes of sectors for which a table can have been made."""
ENTRIES = 128
"""Entries of a table; they take 16,384 bytes, the least that is allowed (5.3.1)."""
TABLE_SECTORS = 1 + ENTRIES * 128 // SECTOR
"""Sectors of a header and its entries: 33."""
FIRST_USABLE = 1 + TABLE_SECTORS
"""The first sector that a partition may have: 34."""
EFI_SYSTEM = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
BASIC_DATA = UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
READ_ONLY = 1 << 60
"""Attribute of a basic data partition."""
NO_DRIVE_LETTER = 1 << 63
"""Attribute of a basic data partition."""

_SIGNATURE = b"EFI PART"
_REVISION = 0x00010000
_HEADER = struct.Struct("<8sLLLLQQQQ16sQLLL")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_MOST_ENTRIES = 4096
_MOST_SECTORS = 1 << 48
"""Sectors of the largest disk that is read: no file has places beyond that."""
_PROTECTIVE = 0xEE
_BOOT_MARK = b"\x55\xaa"
_MBR_CODE = 446
"""Bytes before the partition records of an MBR; programs use 440, a disk signature and two zero bytes follow."""

ReadAt = Callable[[int, int], bytes]
"""Reads so many bytes at an offset; fewer at the end."""
Placed = tuple[bytes, int, bytes]
"""Both tables of a disk: its first bytes, with the MBR, then the offset of its last bytes, and those."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """A partition, its first and last sector included; ``name`` has at most 36 characters."""

    kind: UUID
    unique: UUID
    first: int
    last: int
    name: str
    attributes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpt:
    """A table as it was read: the disk's GUID, how many sectors the disk has, and its partitions."""

    disk: UUID
    sectors: int
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A partition on a disk: where it begins and how long it is, in bytes; ``label`` is its name in the table."""

    label: str
    begin: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The first table of a disk. ``sector``: bytes of a sector; ``size``: bytes of the disk that it was made for."""

    sector: int
    size: int
    spans: tuple[Span, ...]


def uuid_of(text: str) -> UUID:
    """A GUID that follows from ``text``, version 8 (RFC 9562, 5.8), so that the same input makes the same image."""
    raw = bytearray(sha256(text.encode()).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return UUID(bytes=bytes(raw))


def protective_mbr(sectors: int, code: bytes = b"") -> bytes:
    """The MBR of a disk of so many sectors: one partition of type 0xEE over all of it (5.2.3).

    ``code``: at most 446 bytes, the program that a BIOS starts, with the disk signature where it has one.
    """
    if len(code) > _MBR_CODE:
        raise TooLargeError(f"{len(code)} bytes, where an MBR has {_MBR_CODE} for its program", place="MBR")
    size = min(sectors - 1, 0xFFFFFFFF)
    # Start in cylinders, heads and sectors: 0, 0, 2. The end is beyond what these can say.
    record = struct.pack("<B3sB3sLL", 0, b"\x00\x02\x00", _PROTECTIVE, b"\xff\xff\xff", 1, size)
    return code.ljust(_MBR_CODE, b"\0") + record + bytes(48) + _BOOT_MARK


def has_boot_mark(head: bytes) -> bool:
    """Whether the first bytes of a disk have the mark of a boot sector or partition table."""
    return head[510:512] == _BOOT_MARK


def tables(partitions: Sequence[Partition], *, sectors: int, disk: UUID) -> tuple[bytes, bytes]:
    """The table that begins in sector 1, and its backup, which fills the last 33 sectors of the disk.

    Raises `MalformedError` for partitions that overlap, or do not lie between the two tables.
    """
    last_usable = sectors - TABLE_SECTORS - 1
    if len(partitions) > ENTRIES:
        raise TooLargeError(f"{len(partitions)} partitions, where {ENTRIES} are the most", place="GPT")
    for one in partitions:
        if not FIRST_USABLE <= one.first <= one.last <= last_usable:
            raise MalformedError(f"sectors {one.first} to {one.last} of {sectors}", place=one.name)
    ordered = sorted(partitions, key=lambda one: one.first)
    for one, other in pairwise(ordered):
        if other.first <= one.last:
            raise MalformedError(f"overlaps {one.name}", place=other.name)
    entries = b"".join(map(_entry, partitions)).ljust(ENTRIES * _ENTRY.size, b"\0")
    return _both(entries, disk.bytes_le, sectors, first_usable=FIRST_USABLE)


def placed_tables(partitions: Sequence[Partition], *, sectors: int, disk: UUID) -> Placed:
    """The protective MBR and both tables of a disk of so many sectors, for writing. Raises as `tables` does."""
    primary, backup = tables(partitions, sectors=sectors, disk=disk)
    return protective_mbr(sectors) + primary, sectors * SECTOR - len(backup), backup


def _entry(one: Partition) -> bytes:
    name = one.name.encode("utf-16-le")
    if len(name) > 72:
        raise TooLargeError("the name of a partition has at most 36 characters", place=one.name)
    return _ENTRY.pack(one.kind.bytes_le, one.unique.bytes_le, one.first, one.last, one.attributes, name)


def _both(entries: bytes, disk: bytes, sectors: int, *, first_usable: int) -> tuple[bytes, bytes]:
    """Both tables with these entries, a whole number of sectors; ``disk`` is its GUID as the header has it."""
    end, length = sectors - 1, len(entries) // SECTOR
    usable = first_usable, end - length - 1

    def header(mine: int, other: int, entries_at: int) -> bytes:
        fields = (*usable, disk, entries_at, len(entries) // _ENTRY.size, _ENTRY.size, crc32(entries))
        blank = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER.size, 0, 0, mine, other, *fields)
        whole = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER.size, crc32(blank), 0, mine, other, *fields)
        return whole.ljust(SECTOR, b"\0")

    return header(1, end, 2) + entries, entries + header(end, 1, end - length)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """The header of a table, whose checksum fits: numbers of sectors, and what its entries are."""

    mine: int
    other: int
    usable: tuple[int, int]
    disk: bytes
    entries_at: int
    count: int
    check: int

    def read(self, read_at: ReadAt, sector: int) -> bytes:
        """The entries. Raises `DigestMismatchError` where they are not what the header says."""
        size = self.count * _ENTRY.size
        entries = read_at(self.entries_at * sector, size)
        if len(entries) != size or crc32(entries) != self.check:
            raise DigestMismatchError("the entries do not fit their CRC", place=f"sector {self.entries_at}")
        return entries


def _parse_header(data: bytes, place: str) -> _Header:
    if len(data) < _HEADER.size or not data.startswith(_SIGNATURE):
        raise MalformedError("no GPT header", place=place)
    fields = _HEADER.unpack_from(data)
    _, _, size, check, _, mine, other, first, last, disk, entries_at, count, entry_size, entries_check = fields
    if size != _HEADER.size:
        raise MalformedError("no GPT header", place=place)
    if crc32(data[:16] + bytes(4) + data[20 : _HEADER.size]) != check:
        raise DigestMismatchError("the header does not fit its CRC", place=place)
    if not 0 < count <= _MOST_ENTRIES or entry_size != _ENTRY.size:
        raise MalformedError(f"{count} entries of {entry_size} bytes in sector {entries_at}", place=place)
    if max(mine, other, first, last, entries_at) >= _MOST_SECTORS:
        raise MalformedError("it names sectors that no disk has", place=place)
    return _Header(
        mine=mine,
        other=other,
        usable=(first, last),
        disk=disk,
        entries_at=entries_at,
        count=count,
        check=entries_check,
    )


def _parse_entries(entries: bytes, usable: tuple[int, int], place: str) -> tuple[Partition, ...]:
    """The partitions, in the order of their entries; each lies within the ``usable`` sectors."""
    first, last = usable
    found = []
    for kind, unique, begin, end, attributes, name in _ENTRY.iter_unpack(entries):
        if kind == bytes(16):
            continue
        if not first <= begin <= end <= last:
            raise MalformedError(f"a partition has the sectors {begin} to {end}", place=place)
        found.append(
            Partition(
                kind=UUID(bytes_le=kind),
                unique=UUID(bytes_le=unique),
                first=begin,
                last=end,
                name=name.decode("utf-16-le", "replace").partition("\0")[0],
                attributes=attributes,
            )
        )
    return tuple(found)


def sectors_told(source: BinaryIO) -> int:
    """How many sectors the disk has, as the first table of a disk or image tells: up to the end of the second one.

    Raises `MalformedError`, and `DigestMismatchError` where the header of the table is damaged.
    """
    return _parse_header(_sector(_reader(source), 1), "sector 1").other + 1


def _reader(source: BinaryIO) -> ReadAt:
    def read_at(offset: int, count: int) -> bytes:
        source.seek(offset)
        return source.read(count)

    return read_at


def read_gpt(source: BinaryIO, sectors: int) -> Gpt:
    """The table of a disk or image of ``sectors`` sectors, and of its backup, which must agree.

    Raises `MalformedError` where there is no protective MBR or no table, and `DigestMismatchError` where one of the two
    is damaged, or they differ.
    """
    read_at = _reader(source)
    mbr = _sector(read_at, 0)
    if not has_boot_mark(mbr) or mbr[_MBR_CODE + 4] != _PROTECTIVE:
        raise MalformedError("no protective MBR", place="sector 0")
    if int.from_bytes(mbr[_MBR_CODE + 8 : _MBR_CODE + 12], "little") != 1:
        raise MalformedError("the protective partition does not begin in sector 1", place="sector 0")
    first, other = _read_one(read_at, 1, sectors)
    if other != sectors - 1:
        raise MalformedError(f"the backup would be in sector {other} of {sectors}", place="sector 1")
    second, back = _read_one(read_at, other, sectors)
    if first != second or back != 1:
        raise DigestMismatchError("the two tables differ", place=f"sector {other}")
    return first


def _read_one(read_at: ReadAt, at: int, sectors: int) -> tuple[Gpt, int]:
    """One table of a disk, as `tables` makes them, and the sector of the other one."""
    place = f"sector {at}"
    header = _parse_header(_sector(read_at, at), place)
    if header.mine != at:
        raise MalformedError("no GPT header", place=place)
    if header.count != ENTRIES or not 0 < header.entries_at < sectors:
        raise MalformedError(f"{header.count} entries in sector {header.entries_at}", place=place)
    if header.usable[1] >= sectors:
        raise MalformedError(f"usable up to sector {header.usable[1]} of {sectors}", place=place)
    partitions = _parse_entries(header.read(read_at, SECTOR), header.usable, place)
    return Gpt(disk=UUID(bytes_le=header.disk), sectors=sectors, partitions=partitions), header.other


def _sector(read_at: ReadAt, at: int) -> bytes:
    data = read_at(at * SECTOR, SECTOR)
    if len(data) != SECTOR:
        raise MalformedError("the disk ends before it", place=f"sector {at}")
    return data


def read_table(read_at: ReadAt) -> Table | None:
    """The first table of a disk, for the first size of `SECTOR_SIZES` that it has one for; None for no table.

    The second table and the MBR may be anything: an image may have been cut off, or lie on a larger disk. Raises
    `MalformedError`, and `DigestMismatchError` where its checksums are wrong.
    """
    for sector in SECTOR_SIZES:
        head = read_at(sector, _HEADER.size)
        if len(head) == _HEADER.size and head.startswith(_SIGNATURE):
            header = _parse_header(head, "sector 1")
            entries = header.read(read_at, sector)
            spans = [
                Span(label=one.name, begin=one.first * sector, size=(one.last + 1 - one.first) * sector)
                for one in _parse_entries(entries, (1, _MOST_SECTORS), "sector 1")
            ]
            ordered = tuple(sorted(spans, key=lambda one: one.begin))
            return Table(sector=sector, size=(header.other + 1) * sector, spans=ordered)
    return None


def stretched(read_at: ReadAt, size: int) -> Placed | None:
    """The tables of a disk image as they have to be on a disk of ``size`` bytes: the second one stands at its end.

    The boot code of the first sector is kept. None where there is no table for sectors of 512 bytes. Raises
    `MalformedError` and `DigestMismatchError`.
    """
    head = read_at(SECTOR, _HEADER.size)
    if not head.startswith(_SIGNATURE):
        return None
    header = _parse_header(head, "sector 1")
    entries = header.read(read_at, SECTOR)
    if header.entries_at != 2:
        raise MalformedError("the entries do not follow the header", place="sector 1")
    entries = entries.ljust(-(-len(entries) // SECTOR) * SECTOR, b"\0")
    sectors = size // SECTOR
    primary, backup = _both(entries, header.disk, sectors, first_usable=header.usable[0])
    mbr = read_at(0, SECTOR)
    if mbr[_MBR_CODE + 4] == _PROTECTIVE:
        mbr = protective_mbr(sectors, mbr[:_MBR_CODE])
    return mbr + primary, sectors * SECTOR - len(backup), backup
