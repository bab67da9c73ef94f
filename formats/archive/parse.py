"""Parses the headers that `formats.archive.header` and 7-Zip's ``-mx0`` and ``-m0=LZMA2`` write; refuses all others.

7-Zip makes a folder of each stored member, pads with kDummy, and packs the header with LZMA. Every count is compared
with its limit before it is used, so that memory is bounded by `MAX_MEMBERS` and `MAX_HEADER` whatever a header claims.
Clauses are those of 7zFormat.txt.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from formats.archive.cursor import Cursor
from formats.archive.header import (
    ARCHIVE_LIMIT,
    COPY,
    LAST_TIME,
    MAX_HEADER,
    MAX_MEMBERS,
    MAX_NAME,
    SIGNATURE,
    START_SIZE,
    VERSION,
    Group,
    Id,
    Member,
    Stored,
    check_clashes,
    from_filetime,
)
from formats.codecs import LZMA2
from formats.errors import (
    FormatError,
    IllegalNameError,
    MalformedError,
    TooLargeError,
    UnexpectedError,
    UnknownFormatError,
)
from formats.names import MAX_MEMBER, check_member

_LZMA = b"\3\1\1"
_AES = b"\6\xf1\7\1"
_UNIX = 0x8000
# Read-only, hidden, system, archive, normal, not indexed, and the mark of the Unix extension in the upper half.
_FILE_ATTRIBUTES = 0x1 | 0x2 | 0x4 | 0x20 | 0x80 | 0x2000 | _UNIX


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where the header lies: ``offset`` from the start of the archive and ``size`` in bytes; and its CRC-32."""

    offset: int
    size: int
    crc32: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedHeader:
    """A header packed with LZMA: where it lies, the properties of its coder, its unpacked size in bytes and CRC-32."""

    offset: int
    size: int
    properties: bytes
    unpacked: int
    crc32: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Folder:
    """A folder of one coder: ``offset`` of its packed stream from the start of the archive, and sizes in bytes."""

    method: bytes
    properties: bytes
    offset: int
    packed: int
    size: int


def parse_start(data: bytes, *, size: int) -> Start:
    """Where the header of an archive of ``size`` bytes lies, from its first 32 bytes (clause SignatureHeader).

    Raises `MalformedError`, `UnknownFormatError` or `TooLargeError`; the archive must end with its header.
    """
    place = "start header"
    if len(data) < START_SIZE or data[:6] != SIGNATURE:
        raise MalformedError("not a finished 7z archive", place=place)
    if data[6:8] != VERSION:
        raise UnknownFormatError(f"7z version {data[6]}.{data[7]}, known is 0.4", place=place)
    crc, offset, length, header_crc = struct.unpack_from("<IQQI", data, 8)
    if zlib.crc32(data[12:START_SIZE]) != crc:
        raise MalformedError("does not have its CRC-32", place=place)
    end = START_SIZE + offset + length
    if size > ARCHIVE_LIMIT:
        raise TooLargeError(f"{size} bytes, {ARCHIVE_LIMIT} are the limit of an archive", place=place)
    if size < end:
        raise MalformedError(f"the archive ends at byte {size} of {end}", place=place)
    if size > end:
        raise MalformedError(f"{size - end} bytes follow the archive", place=place)
    if length == 0:
        raise MalformedError("no header, so no member", place=place)
    if length > MAX_HEADER:
        raise TooLargeError(f"header of {length} bytes, {MAX_HEADER} are the limit", place=place)
    return Start(offset=START_SIZE + offset, size=length, crc32=header_crc)


def _method(folder: _Folder) -> str:
    return "encrypted" if folder.method == _AES else f"packed by method {folder.method.hex()}"


def _coder(cursor: Cursor) -> tuple[bytes, bytes]:
    """Method and properties of a folder, which must have one simple coder (clause Folder)."""
    if cursor.number() != 1:
        raise MalformedError("a folder of several methods: packed or encrypted", place="header")
    flags = cursor.byte()
    if flags & 0xD0:
        raise MalformedError("a coder of several streams", place="header")
    method = bytes(cursor.take(flags & 0x0F))
    if not flags & 0x20:
        return method, b""
    return method, bytes(cursor.take(cursor.number()))


def _digests(cursor: Cursor, count: int) -> tuple[int, ...]:
    """The CRC-32s of ``count`` streams, all of which must be there (clause Digests)."""
    cursor.want(1)
    return cursor.values(count, "I")


def _folders(cursor: Cursor) -> list[_Folder]:
    """The folders, each of one packed stream, without gaps between them (clauses PackInfo, Coders Info)."""
    cursor.want(Id.PACK)
    start = START_SIZE + cursor.number()
    count = cursor.count("packed streams")
    cursor.want(Id.SIZE)
    packed = [cursor.number() for _ in range(count)]
    cursor.want(Id.END, Id.UNPACK, Id.FOLDER)
    if cursor.count("folders") != count:
        raise MalformedError("not as many folders as packed streams", place="header")
    cursor.want(0)
    coders = [_coder(cursor) for _ in range(count)]
    cursor.want(Id.UNPACK_SIZE)
    offsets = accumulate(packed, initial=start)
    return [
        _Folder(method=method, properties=properties, offset=offset, packed=size, size=cursor.number())
        for (method, properties), offset, size in zip(coders, offsets, packed, strict=False)
    ]


def parse_packed(data: bytes, *, start: Start) -> PackedHeader | None:
    """The description of a packed header, or None where ``data`` is a plain header (clause HeaderInfo).

    Raises `MalformedError` or `TooLargeError`; the packed header must lie right before its description.
    """
    cursor = Cursor(data)
    if not cursor.next_is(Id.ENCODED_HEADER):
        return None
    folders = _folders(cursor)
    folder = folders[0]
    if len(folders) > 1 or folder.method != _LZMA or len(folder.properties) != 5:
        raise MalformedError(f"the header is {_method(folder)}, not with LZMA alone", place="header")
    cursor.want(Id.CRC)
    (crc,) = _digests(cursor, 1)
    cursor.want(Id.END, Id.END)
    cursor.end()
    if max(folder.size, folder.packed) > MAX_HEADER:
        raise TooLargeError(f"header of {folder.size} bytes, {MAX_HEADER} are the limit", place="header")
    if folder.offset + folder.packed != start.offset:
        raise MalformedError("the packed header does not lie at the end of the data", place="header")
    return PackedHeader(
        offset=folder.offset,
        size=folder.packed,
        properties=folder.properties,
        unpacked=folder.size,
        crc32=crc,
    )


def unpack_header(data: bytes, packed: PackedHeader) -> bytes:
    """Unpack a header; raises `MalformedError`, or `TooLargeError` for one that is packed twice."""
    first, dictionary = struct.unpack("<BI", packed.properties)
    rest, lc = divmod(first, 9)
    pb, lp = divmod(rest, 5)
    # No distance is longer than the unpacked header, so a larger dictionary is never needed.
    room = max(4096, min(dictionary, packed.unpacked))
    try:
        decoder = lzma.LZMADecompressor(
            lzma.FORMAT_RAW,
            filters=[{"id": lzma.FILTER_LZMA1, "dict_size": room, "lc": lc, "lp": lp, "pb": pb}],
        )
        header = decoder.decompress(data, packed.unpacked)
    except (lzma.LZMAError, ValueError):
        raise MalformedError("the packed header is not an LZMA stream", place="header") from None
    if len(header) != packed.unpacked or zlib.crc32(header) != packed.crc32:
        raise MalformedError("the packed header does not have its size and CRC-32", place="header")
    if header[:1] == bytes([Id.ENCODED_HEADER]):
        raise TooLargeError("a packed header in a packed header", place="header")
    return header


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stream:
    """The content of a member: see `Stored` for ``offset`` and ``group``, `Member` for ``packed``."""

    offset: int
    size: int
    crc32: int
    packed: int | None
    group: Group | None


def _check_folder(folder: _Folder) -> None:
    """Raise `MalformedError` or `TooLargeError` unless the folder is stored, or packed by LZMA2 within our memory."""
    if folder.method == LZMA2.method:
        try:
            LZMA2.memory_for(folder.properties)
        except FormatError as error:
            raise type(error)(error.message, place="header") from None
        if not folder.packed:
            raise MalformedError("a solid group of no bytes", place="header")
    elif folder.method != COPY:
        raise MalformedError(f"a member is {_method(folder)}, not stored", place="header")
    elif folder.properties or folder.size != folder.packed:
        raise MalformedError("a stored folder has properties, or two sizes", place="header")


def _streams(cursor: Cursor, *, end: int) -> list[_Stream]:
    """The content of every member; the data must end at byte ``end`` (clause Streams Info)."""
    folders = _folders(cursor)
    cursor.want(Id.END)
    offset = START_SIZE
    for folder in folders:
        _check_folder(folder)
        if folder.offset != offset:
            raise MalformedError("the data do not begin at the archive's start", place="header")
        offset += folder.packed
    if offset != end:
        raise MalformedError("the members do not fill the archive", place="header")
    cursor.want(Id.SUBSTREAMS)
    counts = [1] * len(folders)
    if cursor.next_is(Id.COUNTS):
        total = 0
        for n in range(len(folders)):
            counts[n] = cursor.count("members")
            total += counts[n]
            if total > MAX_MEMBERS:
                raise TooLargeError(f"more than {MAX_MEMBERS} members", place="header")
    if max(counts) > 1:
        cursor.want(Id.SIZE)
    sizes: list[list[int]] = []
    for folder, count in zip(folders, counts, strict=True):
        listed = [cursor.number() for _ in range(count - 1)]
        sizes.append([*listed, folder.size - sum(listed)])
        if min(sizes[-1]) < 1:
            raise MalformedError("a member is empty, or the sizes do not add up", place="header")
    cursor.want(Id.CRC)
    crcs = iter(_digests(cursor, sum(counts)))
    cursor.want(Id.END, Id.END)
    return [stream for folder, listed in zip(folders, sizes, strict=True) for stream in _members(folder, listed, crcs)]


def _members(folder: _Folder, sizes: Sequence[int], crcs: Iterator[int]) -> Iterator[_Stream]:
    """The members of a folder; raises `TooLargeError` for a solid group that would take long to find one in."""
    if folder.method == COPY:
        for offset, size in zip(accumulate(sizes, initial=folder.offset), sizes, strict=False):
            yield _Stream(offset=offset, size=size, crc32=next(crcs), packed=None, group=None)
        return
    if len(sizes) > 1 and folder.size > LZMA2.run:
        raise TooLargeError(
            f"a solid group of several members and {folder.size} bytes, {LZMA2.run} are the limit", place="header"
        )
    group = Group(offset=folder.offset, packed=folder.packed, size=folder.size, properties=folder.properties)
    for offset, size in zip(accumulate(sizes, initial=0), sizes, strict=False):
        yield _Stream(offset=offset, size=size, crc32=next(crcs), packed=0 if offset else folder.packed, group=group)


def _names(body: Cursor, count: int) -> list[str]:
    body.want(0)
    if body.left > count * MAX_NAME:
        raise TooLargeError(f"names of {body.left} bytes for {count} members", place="header")
    try:
        text = str(body.take(body.left), "utf-16-le")
    except UnicodeDecodeError:
        raise IllegalNameError("a name is not valid UTF-16", place="header") from None
    if text.count("\0") != count or text[-1] != "\0":
        raise MalformedError(f"not {count} names", place="header")
    names = text[:-1].split("\0")
    for n, name in enumerate(names):
        if len(name) > MAX_MEMBER:  # before the name is quoted in an error
            raise IllegalNameError(f"name of {len(name)} characters, {MAX_MEMBER} are the limit", place=f"members[{n}]")
        check_member(name)
    return names


def _check_attributes(value: int, name: str) -> None:
    """Raise `UnexpectedError` unless these are of a regular file without set-ID and sticky bits."""
    low, mode = value & 0xFFFF, value >> 16
    # Windows' folder (0x10), device (0x40) and reparse point (0x400) are among those not allowed.
    if low & ~_FILE_ATTRIBUTES or (mode & ~0o777 != 0o100000 if low & _UNIX else mode):
        raise UnexpectedError(f"not a plain file (attributes 0x{value:08x})", place=name)


def _files(cursor: Cursor, count: int) -> list[tuple[str, int]]:
    """Name and FILETIME of ``count`` members (clause FilesInfo)."""
    cursor.want(Id.FILES)
    listed = cursor.count("members")
    names: Sequence[str] = ()
    times: Sequence[int] = ()
    attributes: Sequence[int] = ()
    while (kind := cursor.byte()) != Id.END:
        body = Cursor(cursor.take(cursor.number()))
        if kind == Id.DUMMY:
            if any(body.take(body.left)):
                raise MalformedError("padding is not of zeros", place="header")
        elif kind in (Id.EMPTY_STREAM, Id.EMPTY_FILE, Id.ANTI):
            raise UnexpectedError("the archive holds folders, empty files or anti-items", place="header")
        elif kind == Id.NAMES and not names:
            names = _names(body, listed)
        elif kind == Id.MTIME and not times:
            body.want(1, 0)
            times = body.values(listed, "Q")
        elif kind == Id.ATTRIBUTES and not attributes:
            body.want(1, 0)
            attributes = body.values(listed, "I")
        else:
            raise MalformedError(f"property 0x{kind:02x} is given twice, or is not supported", place="header")
        body.end()
    if listed != count:
        raise MalformedError(f"{listed} members, content of {count}", place="header")
    if not (names and times and attributes):
        raise MalformedError("members without name, time or attributes", place="header")
    for name, time, value in zip(names, times, attributes, strict=True):
        _check_attributes(value, name)
        if time > LAST_TIME:
            raise MalformedError("time past the year 9999", place=name)
    check_clashes(names)
    return list(zip(names, times, strict=True))


def parse_header(data: bytes, *, end: int) -> list[Stored]:
    """The members that a plain header lists, whose data must end at byte ``end`` of the archive (clause Header).

    Raises `MalformedError`, `TooLargeError`, `IllegalNameError`, and `UnexpectedError` for a member that is not a plain
    file with content.
    """
    cursor = Cursor(data)
    cursor.want(Id.HEADER, Id.MAIN_STREAMS)
    streams = _streams(cursor, end=end)
    files = _files(cursor, len(streams))
    cursor.want(Id.END)
    cursor.end()
    return [
        Stored(
            member=Member(name=name, size=stream.size, mtime_ns=from_filetime(time), packed=stream.packed),
            offset=stream.offset,
            crc32=stream.crc32,
            group=stream.group,
        )
        for (name, time), stream in zip(files, streams, strict=True)
    ]
