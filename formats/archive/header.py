"""The records of a 7z archive, and their bytes (7zFormat.txt of 7-Zip 18.06).

    start header   32 bytes: signature, version 0.4, CRC-32 of the rest, offset, size and CRC-32 of the header
    data           stored members and solid groups one after the other, nothing between them
    header         plain: folders of one coder each; of every member its size, CRC-32, name, time and attributes

Stored members that follow each other are a folder with the method COPY, a solid group is a folder with LZMA2.
`formats.archive.parse` reads them.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from formats.codecs import LZMA2
from formats.errors import MalformedError
from formats.names import MAX_MEMBER, fold
from formats.records import Many

ARCHIVE_LIMIT = (4 << 30) - 1
"""The most bytes in an archive: what FAT32 and ISO 9660 hold as one file."""
MAX_MEMBERS = 65_536
"""The most members in an archive, so that the list of them fits in memory."""
MAX_NAME = 4 * MAX_MEMBER + 2
"""The most bytes of a member name in a header: UTF-16 with a zero at its end."""
MAX_HEADER = 64 << 20
"""The most bytes of an unpacked header; `MAX_MEMBERS` of the longest names take 54 MB."""

SIGNATURE = b"7z\xbc\xaf\x27\x1c"
VERSION = b"\0\4"
START_SIZE = 32
COPY = b"\0"
ATTRIBUTES = 0o100644 << 16 | 0x8000 | 0x20
"""The attributes of every member: FILE_ATTRIBUTE_ARCHIVE, and in the Unix extension a regular file of mode 0644."""

_EPOCH = 116_444_736_000_000_000
"""1970-01-01 in FILETIME: units of 100 ns since 1601-01-01 UTC."""
LAST_TIME = _EPOCH + 253_402_300_800 * 10_000_000 - 1
"""The last FILETIME of the year 9999."""


class Id(IntEnum):
    """Property IDs of 7zFormat.txt."""

    END = 0x00
    HEADER = 0x01
    MAIN_STREAMS = 0x04
    FILES = 0x05
    PACK = 0x06
    UNPACK = 0x07
    SUBSTREAMS = 0x08
    SIZE = 0x09
    CRC = 0x0A
    FOLDER = 0x0B
    UNPACK_SIZE = 0x0C
    COUNTS = 0x0D
    EMPTY_STREAM = 0x0E
    EMPTY_FILE = 0x0F
    ANTI = 0x10
    NAMES = 0x11
    MTIME = 0x14
    ATTRIBUTES = 0x15
    ENCODED_HEADER = 0x17
    DUMMY = 0x19


class Member(Many, frozen=True, kw_only=True):
    """One file of an archive.

    ``name`` is legal by `formats.names.check_member`; ``size`` of its content is in bytes, 1 or more; ``mtime_ns`` is
    the time of the last change in nanoseconds since 1970, UTC, which an archive keeps rounded (`stored_time`).
    ``packed``: None for a member that is stored; for the first member of a solid group the bytes of the whole group's
    stream, and 0 for its other members, which follow the first.
    """

    name: str
    size: int
    mtime_ns: int
    packed: int | None = None

    @property
    def taken(self) -> int:
        """Bytes that it adds to the data of an archive."""
        return self.size if self.packed is None else self.packed


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A solid group: ``offset`` of its stream from the start of the archive, its size ``packed`` and unpacked."""

    offset: int
    packed: int
    size: int
    properties: bytes


class Stored(Many, frozen=True, kw_only=True):
    """A member in an archive: ``offset`` of its content in bytes, and its CRC-32.

    The offset is from the start of the archive or, where it is in a solid ``group``, within the content of that.
    """

    member: Member
    offset: int
    crc32: int
    group: Group | None = None


def to_filetime(ns: int) -> int:
    """The FILETIME of ``ns`` nanoseconds since 1970: rounded down to 100 ns, and kept within the years 1601 to 9999."""
    return min(max(ns // 100 + _EPOCH, 0), LAST_TIME)


def from_filetime(filetime: int) -> int:
    """Nanoseconds since 1970 of a FILETIME."""
    return (filetime - _EPOCH) * 100


def stored_time(mtime_ns: int) -> int:
    """The time that an archive keeps for ``mtime_ns``: rounded down to 100 ns, and within the years 1601 to 9999."""
    return from_filetime(to_filetime(mtime_ns))


def check_clashes(names: Sequence[str]) -> None:
    """Raise `MalformedError` where two member names cannot both be files on every file system.

    Two names clash when they are equal, or one is a folder of the other, with case and Unicode form ignored.
    """
    # With NUL in place of the slash, what lies in a folder sorts right after a file that has the name of the folder.
    keys = sorted((fold(name).replace("/", "\0"), name) for name in names)
    for (key, first), (next_key, second) in pairwise(keys):
        if next_key == key:
            raise MalformedError(f"the same name as {first!r} when case and Unicode form are ignored", place=second)
        if next_key.startswith(f"{key}\0"):
            raise MalformedError(f"lies in the folder {first!r}, which is a member too", place=second)


def number(value: int) -> bytes:
    """The shortest form of a UINT64 of 7z: the leading one bits of the first byte count the bytes that follow."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:  # most sizes of small files
        return bytes((0x80 | value >> 8, value & 0xFF))
    extra = 2
    while extra < 8 and value >> (7 * extra + 7):
        extra += 1
    low = value.to_bytes(8, "little")[:extra]
    return bytes([0xFF00 >> extra & 0xFF | value >> 8 * extra]) + low


def number_size(value: int) -> int:
    """Bytes that `number` makes of ``value``."""
    return min(max(1, (value.bit_length() + 6) // 7), 9)


def begins_folder(name: str, packed: int | None, *, solid: bool, first: bool) -> bool:
    """Whether a member begins a folder; ``solid``: whether the one before it is in a solid group.

    Raises ValueError for one that goes on with a solid group where there is none.
    """
    if packed is None:
        return first or solid
    if not packed and not solid:
        raise ValueError(f"{name} goes on with a solid group where there is none")
    return packed > 0


def coder_bytes(*, solid: bool) -> bytes:
    """The one coder of a folder: COPY, or LZMA2 with the properties of what we pack."""
    if not solid:
        # One coder, simple, without properties, whose ID is one byte long.
        return bytes([1, len(COPY)]) + COPY
    return bytes([1, 0x20 | len(LZMA2.method)]) + LZMA2.method + bytes([len(LZMA2.properties)]) + LZMA2.properties


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The members of an archive in their order, field by field: those of `Member`, and the CRC-32 of each.

    ``packed`` is None where all are stored.
    """

    names: Sequence[str]
    sizes: Sequence[int]
    times_ns: Sequence[int]
    crc32s: Sequence[int]
    packed: Sequence[int | None] | None = None

    @property
    def taken(self) -> Sequence[int]:
        """Bytes that each adds to the data of the archive."""
        if self.packed is None:
            return self.sizes
        return [size if packed is None else packed for size, packed in zip(self.sizes, self.packed, strict=True)]

    def header(self) -> bytes:
        """The header of their archive.

        Raises ValueError for a member that goes on with a solid group where there is none.
        """
        count = len(self.names)
        names = "\0".join([*self.names, ""]).encode("utf-16-le")
        return b"".join(
            (
                bytes([Id.HEADER, Id.MAIN_STREAMS]),
                self._streams(),
                bytes([Id.END, Id.FILES]),
                number(count),
                # The first bytes say that all values are defined (times and attributes), and are not external.
                _property(Id.NAMES, b"\0" + names),
                _property(Id.MTIME, b"\1\0" + struct.pack(f"<{count}Q", *map(to_filetime, self.times_ns))),
                _property(Id.ATTRIBUTES, b"\1\0" + struct.pack("<I", ATTRIBUTES) * count),
                bytes([Id.END, Id.END]),
            )
        )

    def _folders(self) -> list[tuple[int, int]]:
        """The first member of each folder, and the one after its last."""
        count = len(self.names)
        if self.packed is None:
            return [(0, count)]
        begins, solid = [], False
        for at, packed in enumerate(self.packed):
            if begins_folder(self.names[at], packed, solid=solid, first=at == 0):
                begins.append(at)
            solid = packed is not None
        return list(zip(begins, [*begins[1:], count], strict=True))

    def _streams(self) -> bytes:
        """Clause Streams Info: where the members are, and how they are packed."""
        folders, sizes, taken = self._folders(), self.sizes, self.taken
        many = number(len(folders))
        packed = b"".join([number(sum(taken[begin:end])) for begin, end in folders])
        unpacked = b"".join([number(sum(sizes[begin:end])) for begin, end in folders])
        coders = b"".join(
            [coder_bytes(solid=self.packed is not None and self.packed[begin] is not None) for begin, _ in folders]
        )
        split = b""
        if len(sizes) > len(folders):
            # The last size of a folder is not written: it is what the others leave.
            split = b"".join([number(size) for begin, end in folders for size in sizes[begin : end - 1]])
            counts = b"".join([number(end - begin) for begin, end in folders])
            split = bytes([Id.COUNTS]) + counts + bytes([Id.SIZE]) + split
        return b"".join(
            (
                bytes([Id.PACK, 0]) + many + bytes([Id.SIZE]) + packed + bytes([Id.END]),
                # The zero: the folders stand here, and not elsewhere.
                bytes([Id.UNPACK, Id.FOLDER]) + many + b"\0" + coders,
                bytes([Id.UNPACK_SIZE]) + unpacked + bytes([Id.END]),
                bytes([Id.SUBSTREAMS]) + split + bytes([Id.CRC, 1]),
                struct.pack(f"<{len(sizes)}I", *self.crc32s) + bytes([Id.END]),
            )
        )


def columns_of(stored: Sequence[Stored]) -> Columns:
    """The same members, field by field."""
    members = [item.member for item in stored]
    packed = [member.packed for member in members]
    return Columns(
        names=[member.name for member in members],
        sizes=array("Q", [member.size for member in members]),
        times_ns=[member.mtime_ns for member in members],
        crc32s=array("I", [item.crc32 for item in stored]),
        packed=None if packed.count(None) == len(packed) else packed,
    )


def _property(kind: Id, body: bytes) -> bytes:
    return bytes([kind]) + number(len(body)) + body


def header_bytes(stored: Sequence[Stored]) -> bytes:
    """The header of an archive of these members, in their order.

    Raises ValueError for a member that goes on with a solid group where there is none.
    """
    return columns_of(stored).header()


def start_header(header: bytes, *, data: int) -> bytes:
    """The first 32 bytes of an archive of ``data`` bytes of content followed by ``header``."""
    where = struct.pack("<QQI", data, len(header), zlib.crc32(header))
    return SIGNATURE + VERSION + struct.pack("<I", zlib.crc32(where)) + where
