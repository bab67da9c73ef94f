"""The GUID partition table and the protective MBR before it (UEFI 2.10, 5.2.3 and 5.3). Sectors have 512 bytes."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import BinaryIO
from uuid import UUID

from formats.errors import DigestMismatchError, MalformedError, TooLargeError

SECTOR = 512
ENTRIES = 128
"""Entries of a table; they take 16,384 bytes, the least that is allowed (5.3.1)."""
TABLE_SECTORS = 1 + ENTRIES * 128 // SECTOR
"""Sectors of a header and its entries: 33."""
FIRST_USABLE = 1 + TABLE_SECTORS
"""The first sector that a partition may have: 34."""
EFI_SYSTEM = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
BASIC_DATA = UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
READ_ONLY = 1 << 60
"""Attribute of a basic data partition."""
NO_DRIVE_LETTER = 1 << 63
"""Attribute of a basic data partition."""

_SIGNATURE = b"EFI PART"
_REVISION = 0x00010000
_HEADER = struct.Struct("<8sLLLLQQQQ16sQLLL")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_PROTECTIVE = 0xEE
_MBR_CODE = 446
"""Bytes before the partition records of an MBR; programs use 440, a disk signature and two zero bytes follow."""


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
    return code.ljust(_MBR_CODE, b"\0") + record + bytes(48) + b"\x55\xaa"


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

    def header(mine: int, other: int, entries_at: int) -> bytes:
        fields = (FIRST_USABLE, last_usable, disk.bytes_le, entries_at, ENTRIES, _ENTRY.size, crc32(entries))
        blank = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER.size, 0, 0, mine, other, *fields)
        whole = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER.size, crc32(blank), 0, mine, other, *fields)
        return whole.ljust(SECTOR, b"\0")

    end = sectors - 1
    return header(1, end, 2) + entries, entries + header(end, 1, end - TABLE_SECTORS + 1)


def _entry(one: Partition) -> bytes:
    name = one.name.encode("utf-16-le")
    if len(name) > 72:
        raise TooLargeError("the name of a partition has at most 36 characters", place=one.name)
    return _ENTRY.pack(one.kind.bytes_le, one.unique.bytes_le, one.first, one.last, one.attributes, name)


def read_gpt(source: BinaryIO, sectors: int) -> Gpt:
    """The table of a disk or image of ``sectors`` sectors, and of its backup, which must agree.

    Raises `MalformedError` where there is no protective MBR or no table, and `DigestMismatchError` where one of the two
    is damaged, or they differ.
    """
    mbr = _sector(source, 0)
    if mbr[510:] != b"\x55\xaa" or mbr[_MBR_CODE + 4] != _PROTECTIVE:
        raise MalformedError("no protective MBR", place="sector 0")
    if int.from_bytes(mbr[_MBR_CODE + 8 : _MBR_CODE + 12], "little") != 1:
        raise MalformedError("the protective partition does not begin in sector 1", place="sector 0")
    first, other = _read_table(source, 1, sectors)
    if other != sectors - 1:
        raise MalformedError(f"the backup would be in sector {other} of {sectors}", place="sector 1")
    second, back = _read_table(source, other, sectors)
    if first != second or back != 1:
        raise DigestMismatchError("the two tables differ", place=f"sector {other}")
    return first


def _read_table(source: BinaryIO, at: int, sectors: int) -> tuple[Gpt, int]:
    data = _sector(source, at)
    place = f"sector {at}"
    fields = _HEADER.unpack_from(data)
    signature, _, size, check, _, mine, other, first, last, disk, entries_at, count, entry_size, entries_check = fields
    if signature != _SIGNATURE or size != _HEADER.size or mine != at:
        raise MalformedError("no GPT header", place=place)
    if crc32(data[:16] + bytes(4) + data[20 : _HEADER.size]) != check:
        raise DigestMismatchError("the header does not fit its CRC", place=place)
    if (count, entry_size) != (ENTRIES, _ENTRY.size) or not 0 < entries_at < sectors:
        raise MalformedError(f"{count} entries of {entry_size} bytes in sector {entries_at}", place=place)
    source.seek(entries_at * SECTOR)
    entries = source.read(ENTRIES * _ENTRY.size)
    if crc32(entries) != entries_check:
        raise DigestMismatchError("the entries do not fit their CRC", place=f"sector {entries_at}")
    found = []
    for at_byte in range(0, len(entries), _ENTRY.size):
        kind, unique, begin, end, attributes, name = _ENTRY.unpack_from(entries, at_byte)
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
    return Gpt(disk=UUID(bytes_le=disk), sectors=sectors, partitions=tuple(found)), other


def _sector(source: BinaryIO, at: int) -> bytes:
    source.seek(at * SECTOR)
    data = source.read(SECTOR)
    if len(data) != SECTOR:
        raise MalformedError("the disk ends before it", place=f"sector {at}")
    return data
