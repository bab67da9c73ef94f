"""The records of a 7z archive that stores its members, and their bytes (7zFormat.txt of 7-Zip 18.06).

    start header   32 bytes: signature, version 0.4, CRC-32 of the rest, offset, size and CRC-32 of the header
    data           the members one after the other, nothing between them
    header         plain: one folder of one COPY coder; of every member its size, CRC-32, name, time and attributes

`formats.archive.parse` reads them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from formats.errors import MalformedError
from formats.names import MAX_MEMBER, fold

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file of an archive.

    ``name`` is legal by `formats.names.check_member`; ``size`` is in bytes, 1 or more; ``mtime_ns`` is the time of the
    last change in nanoseconds since 1970, UTC, which an archive keeps rounded (`stored_time`).
    """

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A member in an archive: ``offset`` of its content in bytes from the start of the archive, and its CRC-32."""

    member: Member
    offset: int
    crc32: int


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
    extra = 0
    while extra < 8 and value >> (7 * extra + 7):
        extra += 1
    low = value.to_bytes(8, "little")[:extra]
    return bytes([0xFF00 >> extra & 0xFF | value >> 8 * extra]) + low


def number_size(value: int) -> int:
    """Bytes that `number` makes of ``value``."""
    return min(max(1, (value.bit_length() + 6) // 7), 9)


def _name_size(name: str) -> int:
    return len(name.encode("utf-16-le")) + 2


class ArchiveGauge:
    """The exact size of an archive while its members are chosen one by one; each step takes constant time."""

    def __init__(self) -> None:
        self._count = 0
        self._data = 0
        self._names = 0
        self._sizes = 0
        self._last = 0

    def add(self, member: Member) -> None:
        """Count one more member."""
        self._count += 1
        self._data += member.size
        self._names += _name_size(member.name)
        self._sizes += self._last
        self._last = number_size(member.size)

    @property
    def size(self) -> int:
        """Bytes of the archive of the members so far, one or more."""
        count, data = self._count, number_size(self._data)
        pack, unpack, substreams = 5 + data, 9 + data, 4 + 4 * count
        if count > 1:
            substreams += 2 + number_size(count) + self._sizes
        names = 2 + number_size(self._names + 1) + self._names
        times = 3 + number_size(8 * count + 2) + 8 * count
        attributes = 3 + number_size(4 * count + 2) + 4 * count
        files = 1 + number_size(count) + names + times + attributes + 1
        return START_SIZE + self._data + 2 + pack + unpack + substreams + 1 + files + 1


def _property(kind: Id, body: bytes) -> bytes:
    return bytes([kind]) + number(len(body)) + body


def header_bytes(stored: Sequence[Stored]) -> bytes:
    """The header of an archive of these members, in their order."""
    members = [item.member for item in stored]
    count = len(members)
    data = number(sum(member.size for member in members))
    pack = bytes([Id.PACK, 0, 1, Id.SIZE]) + data + bytes([Id.END])
    # One folder, not external; one coder, simple, without properties, whose ID is one byte long.
    folder = bytes([Id.UNPACK, Id.FOLDER, 1, 0, 1, len(COPY)]) + COPY
    unpack = folder + bytes([Id.UNPACK_SIZE]) + data + bytes([Id.END])
    split = b""
    if count > 1:
        # The last size of a folder is not written: it is what the others leave.
        sizes = b"".join(number(member.size) for member in members[:-1])
        split = bytes([Id.COUNTS]) + number(count) + bytes([Id.SIZE]) + sizes
    crcs = struct.pack(f"<{count}I", *(item.crc32 for item in stored))
    substreams = bytes([Id.SUBSTREAMS]) + split + bytes([Id.CRC, 1]) + crcs + bytes([Id.END])
    names = "".join(f"{member.name}\0" for member in members).encode("utf-16-le")
    times = struct.pack(f"<{count}Q", *(to_filetime(member.mtime_ns) for member in members))
    return b"".join(
        (
            bytes([Id.HEADER, Id.MAIN_STREAMS]),
            pack,
            unpack,
            substreams,
            bytes([Id.END, Id.FILES]),
            number(count),
            # The first bytes say that all values are defined (times and attributes), and that they are not external.
            _property(Id.NAMES, b"\0" + names),
            _property(Id.MTIME, b"\1\0" + times),
            _property(Id.ATTRIBUTES, b"\1\0" + struct.pack("<I", ATTRIBUTES) * count),
            bytes([Id.END, Id.END]),
        )
    )


def start_header(header: bytes, *, data: int) -> bytes:
    """The first 32 bytes of an archive of ``data`` bytes of content followed by ``header``."""
    where = struct.pack("<QQI", data, len(header), zlib.crc32(header))
    return SIGNATURE + VERSION + struct.pack("<I", zlib.crc32(where)) + where
