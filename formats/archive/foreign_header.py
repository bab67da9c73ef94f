"""The header of any 7z archive, read within bounds before a library decodes it (7zFormat.txt, 7-Zip 18.06).

py7zr makes whatever a header claims: 1,279 bytes made it take 2.8 GB. So every count is held against what the header
has bytes for, every coder against `METHODS`, and dictionaries, PPMd memory and key derivation rounds against limits;
only what passes is decoded. Archives of our own have a stricter reader, `formats.archive.parse`.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from formats.archive.cursor import Cursor
from formats.archive.foreign_member import MAX_FILES, MAX_TARGET, ForeignMember, Kind
from formats.archive.header import MAX_HEADER, SIGNATURE, START_SIZE, VERSION, Id, from_filetime
from formats.errors import MalformedError, TooLargeError, UnexpectedError, UnknownFormatError
from formats.names import check_path

MAX_CODERS = 8
"""Coders in one folder at most; 7-Zip itself writes four (AES, and BCJ2 with its parts)."""
MAX_MEMORY = 256 << 20
"""Bytes that the dictionary of one coder may ask for at most; 7-Zip's ultra preset asks for 64 MiB."""
MAX_CYCLES_POWER = 22
"""Key derivation takes two to the power of this many SHA-256 rounds at most; 7-Zip writes 19."""

_REPARSE = 0x400
_FOLDER = 0x10
_READ_ONLY = 0x1
_UNIX = 0x8000

AES = bytes.fromhex("06f10701")
LZMA = bytes.fromhex("030101")
LZMA2 = b"\x21"


@dataclass(frozen=True, kw_only=True, slots=True)
class Coder:
    """A coder of a folder: its method and properties."""

    method: bytes
    properties: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A chain of coders, ``outputs`` the unpacked bytes of each, ``packed`` the number of packed streams it reads."""

    coders: tuple[Coder, ...]
    outputs: tuple[int, ...]
    main: int
    packed: int

    @property
    def size(self) -> int:
        """Bytes that come out of it."""
        return self.outputs[self.main]

    @property
    def is_encrypted(self) -> bool:
        """Whether a password is needed."""
        return any(coder.method == AES for coder in self.coders)


@dataclass(frozen=True, kw_only=True, slots=True)
class Streams:
    """The packed streams (bytes from the start of the archive, sizes) and the folders that unpack them."""

    offset: int
    sizes: tuple[int, ...]
    folders: tuple[Folder, ...]
    counts: tuple[int, ...]
    members: tuple[int, ...]


def _no_memory(_: bytes) -> int:
    return 0


def _lzma_memory(properties: bytes) -> int:
    if len(properties) != 5:
        raise MalformedError("LZMA properties are not of 5 bytes", place="header")
    return int(struct.unpack_from("<I", properties, 1)[0])


def _lzma2_memory(properties: bytes) -> int:
    if len(properties) != 1 or properties[0] > 40:
        raise MalformedError("LZMA2 properties are not a dictionary size", place="header")
    return 0xFFFFFFFF if properties[0] == 40 else (2 | properties[0] & 1) << properties[0] // 2 + 11


def _ppmd_memory(properties: bytes) -> int:
    if len(properties) not in (5, 7):  # py7zr writes two more, which 7-Zip passes over
        raise MalformedError("PPMd properties are not of 5 or 7 bytes", place="header")
    return int(struct.unpack_from("<I", properties, 1)[0])


def _check_cycles(properties: bytes) -> int:
    if not properties:
        raise MalformedError("AES without properties", place="header")
    power = properties[0] & 0x3F
    if power > MAX_CYCLES_POWER:
        raise TooLargeError(
            f"a password that takes 2^{power} rounds, 2^{MAX_CYCLES_POWER} are the limit", place="header"
        )
    return 0


METHODS: dict[bytes, tuple[str, Callable[[bytes], int]]] = {
    b"\0": ("Copy", _no_memory),
    LZMA2: ("LZMA2", _lzma2_memory),
    b"\3": ("Delta", _no_memory),
    b"\4": ("BCJ", _no_memory),
    b"\5": ("PPC", _no_memory),
    b"\6": ("IA64", _no_memory),
    b"\7": ("ARM", _no_memory),
    b"\x08": ("ARMT", _no_memory),
    b"\x09": ("SPARC", _no_memory),
    LZMA: ("LZMA", _lzma_memory),
    bytes.fromhex("03030103"): ("BCJ", _no_memory),
    bytes.fromhex("03030205"): ("PPC", _no_memory),
    bytes.fromhex("03030401"): ("IA64", _no_memory),
    bytes.fromhex("03030501"): ("ARM", _no_memory),
    bytes.fromhex("03030701"): ("ARMT", _no_memory),
    bytes.fromhex("03030805"): ("SPARC", _no_memory),
    bytes.fromhex("030401"): ("PPMd", _ppmd_memory),
    bytes.fromhex("040108"): ("Deflate", _no_memory),
    bytes.fromhex("040109"): ("Deflate64", _no_memory),
    bytes.fromhex("040202"): ("BZip2", _no_memory),
    bytes.fromhex("04f71101"): ("Zstandard", _no_memory),
    bytes.fromhex("04f71102"): ("Brotli", _no_memory),
    AES: ("AES-256", _check_cycles),
}
"""Method -> its name, and the bytes of memory that its properties ask for (raises where they ask for too much).

BCJ2 is not among them: py7zr does not read it.
"""


def parse_start(data: bytes, *, size: int) -> tuple[int, int, int]:
    """Offset, bytes and CRC-32 of the header, from the first 32 bytes of an archive of ``size`` bytes.

    Raises `MalformedError`, `UnknownFormatError` or `TooLargeError`. What follows the header is not looked at.
    """
    place = "start header"
    if len(data) < START_SIZE or data[:6] != SIGNATURE:
        raise MalformedError("not a 7z archive, or one that was not finished", place=place)
    if data[6] != VERSION[0]:
        raise UnknownFormatError(f"7z version {data[6]}.{data[7]}, known is 0", place=place)
    crc, offset, length, header_crc = struct.unpack_from("<IQQI", data, 8)
    if zlib.crc32(data[12:START_SIZE]) != crc:
        raise MalformedError("does not have its CRC-32", place=place)
    if START_SIZE + offset + length > size:
        raise MalformedError(f"ends at byte {size} of {START_SIZE + offset + length}: a part is missing", place=place)
    if length > MAX_HEADER:
        raise TooLargeError(f"header of {length} bytes, {MAX_HEADER} are the limit", place=place)
    return START_SIZE + offset, length, header_crc


def _count(cursor: Cursor, what: str, *, limit: int) -> int:
    """A number of things, of which each takes at least one byte of what is left."""
    value = cursor.number()
    if value > limit:
        raise TooLargeError(f"{value} {what}, {limit} are the limit", place="header")
    return value


def _bits(cursor: Cursor, count: int) -> list[bool]:
    data = cursor.take((count + 7) // 8)
    return [bool(data[n >> 3] & 0x80 >> (n & 7)) for n in range(count)]


def _defined(cursor: Cursor, count: int) -> list[bool]:
    return [True] * count if cursor.byte() else _bits(cursor, count)


def _digests(cursor: Cursor, count: int) -> list[bool]:
    there = _defined(cursor, count)
    cursor.take(4 * sum(there))
    return there


def _folder(cursor: Cursor) -> tuple[tuple[Coder, ...], int, int]:
    """Clause Folder: the coders, the index of the stream that comes out at the end, the number of packed streams."""
    number = _count(cursor, "coders", limit=MAX_CODERS)
    if not number:
        raise MalformedError("a folder without coders", place="header")
    coders, memory = [], 0
    for _ in range(number):
        flags = cursor.byte()
        if flags & 0xD0:
            raise UnexpectedError("packed by a coder of several streams (BCJ2), which is not read", place="header")
        method = bytes(cursor.take(flags & 0x0F))
        properties = bytes(cursor.take(cursor.number())) if flags & 0x20 else b""
        if method not in METHODS:
            raise UnexpectedError(f"packed by method {method.hex()}, which is not read", place="header")
        name, needs = METHODS[method]
        asked = needs(properties)
        if asked > MAX_MEMORY:
            raise TooLargeError(
                f"{name} asks for {asked >> 20} MiB of memory, {MAX_MEMORY >> 20} MiB are the limit", place="header"
            )
        memory += asked
        coders.append(Coder(method=method, properties=properties))
    bound_out = set()
    for _ in range(number - 1):
        into, out = cursor.number(), cursor.number()
        if into >= number or out >= number:
            raise MalformedError("a coder is bound to one that is not there", place="header")
        bound_out.add(out)
    main = [n for n in range(number) if n not in bound_out]
    if len(main) != 1:
        raise MalformedError("the coders of a folder are not one chain", place="header")
    return tuple(coders), main[0], 1


def _sub_streams(cursor: Cursor, folders: Sequence[Folder], crcs: Sequence[bool]) -> tuple[list[int], list[int]]:
    """Clause SubStreams Info, or what holds without it: how many members each folder has, and their sizes."""
    counts = [1] * len(folders)
    sizes: list[int] = []
    kind = cursor.byte()
    if kind == Id.COUNTS:
        counts = [_count(cursor, "members", limit=MAX_FILES) for _ in folders]
        if sum(counts) > MAX_FILES:
            raise TooLargeError(f"more than {MAX_FILES} members", place="header")
        kind = cursor.byte()
    listed = kind == Id.SIZE
    for folder, count in zip(folders, counts, strict=True):
        if count > 1 and not listed:
            raise MalformedError("several members in a folder, without sizes", place="header")
        own = [cursor.number() for _ in range(count - 1)] if listed else []
        if count:
            own.append(folder.size - sum(own))
            if own[-1] < 0:
                raise MalformedError("the sizes of members do not add up", place="header")
        sizes += own
    if listed:
        kind = cursor.byte()
    if kind == Id.CRC:
        known = [crc for crc, count in zip(crcs, counts, strict=True) if count == 1 and crc]
        _digests(cursor, len(sizes) - len(known))
        kind = cursor.byte()
    if kind != Id.END:
        raise MalformedError(f"property 0x{kind:02x} where the streams must end", place="header")
    return counts, sizes


def parse_streams(cursor: Cursor, *, end: int) -> Streams:
    """Clause Streams Info; the packed streams must lie between the start header and byte ``end``."""
    cursor.want(Id.PACK)
    offset = START_SIZE + cursor.number()
    streams = _count(cursor, "packed streams", limit=min(MAX_FILES, cursor.left))
    sizes: tuple[int, ...] = ()
    while (kind := cursor.byte()) != Id.END:
        if kind == Id.SIZE:
            sizes = tuple(cursor.number() for _ in range(streams))
        elif kind == Id.CRC:
            _digests(cursor, streams)
        else:
            raise MalformedError(f"property 0x{kind:02x} among packed streams", place="header")
    if len(sizes) != streams or offset + sum(sizes) > end:
        raise MalformedError("the packed streams are longer than the archive", place="header")
    cursor.want(Id.UNPACK, Id.FOLDER)
    number = _count(cursor, "folders", limit=min(MAX_FILES, cursor.left))
    cursor.want(0)
    chains = [_folder(cursor) for _ in range(number)]
    cursor.want(Id.UNPACK_SIZE)
    folders = [
        Folder(coders=coders, outputs=tuple(cursor.number() for _ in coders), main=main, packed=packed)
        for coders, main, packed in chains
    ]
    if sum(folder.packed for folder in folders) != streams:
        raise MalformedError("not as many packed streams as the folders read", place="header")
    kind = cursor.byte()
    crcs = [False] * number
    if kind == Id.CRC:
        crcs = _digests(cursor, number)
        kind = cursor.byte()
    if kind != Id.END:
        raise MalformedError(f"property 0x{kind:02x} among folders", place="header")
    kind = cursor.byte()
    counts, members = [1] * number, [folder.size for folder in folders]
    if kind == Id.SUBSTREAMS:
        counts, members = _sub_streams(cursor, folders, crcs)
        kind = cursor.byte()
    if kind != Id.END:
        raise MalformedError(f"property 0x{kind:02x} where the streams must end", place="header")
    return Streams(offset=offset, sizes=sizes, folders=tuple(folders), counts=tuple(counts), members=tuple(members))


@dataclass(kw_only=True, slots=True)
class _Properties:
    """What clause Files Info says of the files, one value a file; of empty ones where it says so."""

    number: int
    empty: list[bool]
    empty_file: list[bool]
    anti: list[bool]
    names: list[str]
    times: list[int | None]
    attributes: list[int | None]

    def read(self, kind: int, body: Cursor) -> None:
        """Take one property; creation and access times, comments and padding are not used."""
        match kind:
            case Id.EMPTY_STREAM:
                self.empty = _bits(body, self.number)
                self.empty_file = self.anti = [False] * sum(self.empty)
            case Id.EMPTY_FILE:
                self.empty_file = _bits(body, sum(self.empty))
            case Id.ANTI:
                self.anti = _bits(body, sum(self.empty))
            case Id.NAMES:
                self.names = _names(body, self.number)
            case Id.MTIME:
                self.times = self._values(body, "Q")
            case Id.ATTRIBUTES:
                self.attributes = self._values(body, "I")

    def _values(self, body: Cursor, code: str) -> list[int | None]:
        there = _defined(body, self.number)
        body.want(0)
        values = iter(body.values(sum(there), code))
        return [next(values) if one else None for one in there]


def parse_files(cursor: Cursor, streams: Streams | None) -> list[ForeignMember]:
    """Clause Files Info, with the sizes from the streams.

    Raises `MalformedError`, `TooLargeError`, `IllegalNameError` for a path that no package takes, and
    `UnexpectedError` for what is no file, folder or symbolic link.
    """
    number = _count(cursor, "files", limit=min(MAX_FILES, cursor.left))
    nothing: list[int | None] = [None] * number
    files = _Properties(
        number=number, empty=[False] * number, empty_file=[], anti=[], names=[], times=nothing, attributes=nothing
    )
    while (kind := cursor.byte()) != Id.END:
        files.read(kind, Cursor(cursor.take(cursor.number())))
    if len(files.names) != number:
        raise MalformedError("files without names", place="header")
    if any(files.anti):
        raise UnexpectedError("the archive holds orders to delete files (anti-items)", place="header")
    sizes, empties = iter(streams.members if streams else ()), iter(files.empty_file)
    result = []
    for name, is_empty, time, value in zip(files.names, files.empty, files.times, files.attributes, strict=True):
        size = 0 if is_empty else next(sizes, None)
        if size is None:
            raise MalformedError("more files than contents", place=name)
        kind_of, mode = _judge(name, value, is_folder=is_empty and not next(empties, False))
        if kind_of is Kind.LINK and size > MAX_TARGET:
            raise TooLargeError(f"link target of {size} bytes", place=name)
        mtime = None if time is None else from_filetime(time)
        result.append(ForeignMember(path=name, kind=kind_of, size=size, mtime_ns=mtime, mode=mode))
    if next(sizes, None) is not None:
        raise MalformedError("more contents than files", place="header")
    return result


def _names(body: Cursor, number: int) -> list[str]:
    body.want(0)
    try:
        text = str(body.take(body.left), "utf-16-le")
    except UnicodeDecodeError:
        raise MalformedError("a name is not valid UTF-16", place="header") from None
    names = text.split("\0")
    if names.pop() or len(names) != number:
        raise MalformedError(f"not {number} names", place="header")
    return [check_path(name.rstrip("/")) for name in names]


def _judge(name: str, attributes: int | None, *, is_folder: bool) -> tuple[Kind, int | None]:
    """What a member is, by its attributes, and its permission bits."""
    if attributes is None:
        return (Kind.FOLDER if is_folder else Kind.FILE), None
    mode = attributes >> 16 if attributes & _UNIX else None
    if mode is not None and stat.S_IFMT(mode):
        kinds = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}
        kind = kinds.get(stat.S_IFMT(mode))
        if kind is None:
            raise UnexpectedError("a device, socket or pipe", place=name)
        if (kind is Kind.FOLDER) != is_folder:
            raise MalformedError("a folder with content, or a file without", place=name)
        return kind, stat.S_IMODE(mode)
    if attributes & _REPARSE:
        raise UnexpectedError("a junction or other reparse point of Windows", place=name)
    if bool(attributes & _FOLDER) != is_folder:
        raise MalformedError("a folder with content, or a file without", place=name)
    return (Kind.FOLDER if is_folder else Kind.FILE), (0o444 if attributes & _READ_ONLY and not is_folder else None)
