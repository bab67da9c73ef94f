"""Makes the vectors of archives: ``python tests/vectors/make_archives.py`` writes them, below ``archives``.

Each is forged from a good archive whose every field can be replaced. ``good`` ones are taken; every other folder is
named by the code of the refusal, and each file in it has that one fault.
"""

from __future__ import annotations

import lzma
import re
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from formats.archive import MAX_MEMBERS
from formats.archive.header import SIGNATURE
from formats.errors import (
    FormatError,
    IllegalNameError,
    MalformedError,
    TooLargeError,
    UnexpectedError,
    UnknownFormatError,
)

FOLDER = Path(__file__).resolve().parent / "archives"
CONTENT = {"a": b"one", "b": b"four"}
CRCS = struct.pack("<2I", *map(zlib.crc32, CONTENT.values()))
COPY = b"\1\1\0"
SOLID = b"\1\x21\x21\1\x16"
FILE = 0x81A48020


def number(value: int) -> bytes:
    """7z's UINT64 in its shortest form."""
    for extra in range(8):
        if value < 1 << 7 * extra + 7:
            first = 0xFF00 >> extra & 0xFF | value >> 8 * extra
            return bytes([first]) + (value & (1 << 8 * extra) - 1).to_bytes(extra, "little")
    return b"\xff" + value.to_bytes(8, "little")


def start(
    data: bytes,
    header: bytes,
    *,
    version: bytes = b"\0\4",
    offset: int | None = None,
    size: int | None = None,
    crc: int | None = None,
) -> bytes:
    """A whole archive of ``data`` and ``header``, or of other claims about them."""
    where = struct.pack(
        "<QQI",
        len(data) if offset is None else offset,
        len(header) if size is None else size,
        zlib.crc32(header) if crc is None else crc,
    )
    return SIGNATURE + version + struct.pack("<I", zlib.crc32(where)) + where + data + header


def streams(
    *,
    position: int = 0,
    packs: int = 1,
    packed: Sequence[int] = (7,),
    folders: int = 1,
    external: int = 0,
    coder: bytes = COPY,
    unpacked: Sequence[int] = (7,),
    folder_crcs: bytes = b"",
    counts: bytes = b"\x0d\2",
    sizes: bytes = b"\x09\3",
    crcs: bytes = b"\x0a\1" + CRCS,
) -> bytes:
    return b"".join(
        (
            b"\4\6" + number(position) + number(packs) + b"\x09" + b"".join(map(number, packed)) + b"\0",
            b"\7\x0b" + number(folders) + bytes([external]) + coder + b"\x0c" + b"".join(map(number, unpacked)),
            folder_crcs + b"\0",
            b"\x08" + counts + sizes + crcs + b"\0\0",
        )
    )


def prop(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + number(len(body)) + body


def names(*values: str) -> bytes:
    return prop(0x11, b"\0" + "".join(f"{value}\0" for value in values).encode("utf-16-le", "surrogatepass"))


def times(*values: int) -> bytes:
    return prop(0x14, b"\1\0" + struct.pack(f"<{len(values)}Q", *values))


def attributes(*values: int) -> bytes:
    return prop(0x15, b"\1\0" + struct.pack(f"<{len(values)}I", *values))


NAMES, TIMES, ATTRIBUTES = names("a", "b"), times(1 << 56, 1 << 56), attributes(FILE, 0x20)


def files(*properties: bytes, count: int = 2) -> bytes:
    return b"\5" + number(count) + b"".join(properties or (NAMES, TIMES, ATTRIBUTES)) + b"\0"


def archive(streams: bytes = streams(), files: bytes = files(), *, before: bytes = b"", after: bytes = b"\0") -> bytes:
    return start(b"onefour", b"\1" + before + streams + files + after)


def named(*values: str) -> bytes:
    return archive(files=files(names(*values), TIMES, ATTRIBUTES))


def packed(
    header: bytes,
    *,
    coder: Callable[[bytes], bytes] = lambda properties: b"\1\x23\3\1\1\5" + properties,
    dictionary: int = 1 << 16,
    unpacked: int | None = None,
    crc: int | None = None,
    position: int = 7,
    after: bytes = b"\0",
    cut: int = 0,
) -> bytes:
    """An archive whose header is packed with LZMA."""
    method = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}
    stream = lzma.compress(header, lzma.FORMAT_RAW, filters=[method])
    stream = stream[: len(stream) - cut]
    info = b"".join(
        (
            b"\x17\6" + number(position) + b"\1\x09" + number(len(stream)) + b"\0",
            b"\7\x0b\1\0" + coder(struct.pack("<BI", 93, dictionary)),
            b"\x0c" + number(len(header) if unpacked is None else unpacked),
            b"\x0a\1" + struct.pack("<I", zlib.crc32(header) if crc is None else crc) + b"\0" + after,
        )
    )
    return start(b"onefour" + stream, info)


def header_of(data: bytes) -> bytes:
    """What stands at the end of an archive: its header, or the description of its packed one."""
    return data[len(data) - int(struct.unpack_from("<Q", data, 20)[0]) :]


GOOD = archive()
HEADER = header_of(GOOD)
# A chunk of LZMA2 that is not compressed, after a reset of the dictionary, and the end of the stream.
SOLID_GOOD = start(b"\1\0\6onefour\0", b"\1" + streams(packed=(11,), coder=SOLID) + files() + b"\0")
GOODS = {
    "plain": GOOD,
    "packed header": packed(HEADER),
    "packed header with the largest dictionary": packed(HEADER, dictionary=(1 << 32) - 1),
    "padding": archive(files=files(prop(0x19, bytes(5)), NAMES, prop(0x19, b""), TIMES, ATTRIBUTES)),
    "solid group": SOLID_GOOD,
    "a stored member and a solid group of one": start(
        b"one\1\0\3four\0",
        b"\1"
        + streams(packs=2, packed=(3, 8), folders=2, coder=COPY + SOLID, unpacked=(3, 4), counts=b"", sizes=b"")
        + files()
        + b"\0",
    ),
    "two folders": archive(
        streams(packs=2, packed=(3, 4), folders=2, coder=COPY * 2, unpacked=(3, 4), counts=b"", sizes=b"")
    ),
}
"""Without a fault: two members, `CONTENT`."""
START = {
    "empty file": (b"", MalformedError),
    "signature alone": (SIGNATURE, MalformedError),
    "other signature": (b"PK\3\4" + GOOD[4:], MalformedError),
    "unknown version": (start(b"onefour", HEADER, version=b"\1\0"), UnknownFormatError),
    "truncated by a byte": (GOOD[:-1], MalformedError),
    "a byte more": (GOOD + b"\0", MalformedError),
    "no header": (start(b"onefour", b""), MalformedError),
    "CRC of the start header": (GOOD[:8] + b"\0\0\0\0" + GOOD[12:], MalformedError),
    "CRC of the header": (start(b"onefour", HEADER, crc=1), MalformedError),
    "header past the end": (start(b"onefour", HEADER, offset=1 << 40), MalformedError),
    "header before the start": (start(b"onefour", HEADER, offset=(1 << 64) - 32), MalformedError),
    "header of 2^63 bytes": (start(b"onefour", HEADER, size=1 << 63), MalformedError),
}
STRUCTURE = {
    "data before the members": (archive(streams(position=1)), MalformedError),
    "data after the members": (start(b"onefourfive", HEADER), MalformedError),
    "archive properties": (archive(before=b"\2\0"), MalformedError),
    "additional streams": (archive(before=b"\3\0"), MalformedError),
    "header goes on": (archive(after=b"\0\0"), MalformedError),
    "header ends early": (archive(after=b""), MalformedError),
    "no streams": (start(b"", b"\1" + files() + b"\0"), MalformedError),
    "no files": (archive(files=b""), MalformedError),
    "number not in its shortest form": (archive(streams(coder=b"\x80\1\1\0")), MalformedError),
    "external folders": (archive(streams(external=1, coder=b"\0")), MalformedError),
    "two packed sizes, one folder": (archive(streams(packs=2, packed=(3, 4))), MalformedError),
    "folder larger than its data": (archive(streams(unpacked=(8,))), MalformedError),
    "sizes past the folder": (archive(streams(sizes=b"\x09\x08")), MalformedError),
    "size of 2^63": (archive(streams(sizes=b"\x09" + number(1 << 63))), MalformedError),
    "size of 2^64-1": (archive(streams(packed=((1 << 64) - 1,), unpacked=((1 << 64) - 1,))), MalformedError),
    "sizes that wrap around 2^64": (
        archive(
            streams(
                packs=2, packed=(8, (1 << 64) - 1), folders=2, coder=COPY * 2, unpacked=(8, (1 << 64) - 1), counts=b""
            )
        ),
        MalformedError,
    ),
    "member of no bytes": (archive(streams(sizes=b"\x09\7")), MalformedError),
    "folder of no members": (archive(streams(counts=b"\x0d\0", sizes=b"")), MalformedError),
    "no CRC": (archive(streams(crcs=b"")), MalformedError),
    "one CRC not defined": (archive(streams(crcs=b"\x0a\0\x80" + CRCS[:4])), MalformedError),
    "CRC of the folder": (archive(streams(folder_crcs=b"\x0a\1\0\0\0\0")), MalformedError),
    "more members than content": (
        archive(files=files(names("a", "b", "c"), times(1, 1, 1), attributes(32, 32, 32), count=3)),
        MalformedError,
    ),
    "fewer members than content": (archive(files=files(names("a"), times(1), attributes(32), count=1)), MalformedError),
    "one name for two": (named("a"), MalformedError),
    "three names for two": (named("a", "b", "c"), MalformedError),
    "names without end": (archive(files=files(prop(0x11, b"\0a\0\0\0b\0"), TIMES, ATTRIBUTES)), MalformedError),
    "names twice": (archive(files=files(NAMES, NAMES, TIMES, ATTRIBUTES)), MalformedError),
    "external names": (archive(files=files(prop(0x11, b"\1\0"), TIMES, ATTRIBUTES)), MalformedError),
    "no names": (archive(files=files(TIMES, ATTRIBUTES)), MalformedError),
    "no times": (archive(files=files(NAMES, ATTRIBUTES)), MalformedError),
    "one time not defined": (
        archive(files=files(NAMES, prop(0x14, b"\0\x80\0" + bytes(8)), ATTRIBUTES)),
        MalformedError,
    ),
    "time past 9999": (archive(files=files(NAMES, times(1, (1 << 64) - 1), ATTRIBUTES)), MalformedError),
    "no attributes": (archive(files=files(NAMES, TIMES)), MalformedError),
    "property goes on": (archive(files=files(NAMES, prop(0x14, TIMES[2:] + b"\0"), ATTRIBUTES)), MalformedError),
    "property past the end": (archive(files=files(b"\x11" + number(1 << 62))), MalformedError),
    "comment": (archive(files=files(NAMES, TIMES, ATTRIBUTES, prop(0x16, b""))), MalformedError),
    "hidden in padding": (archive(files=files(NAMES, TIMES, ATTRIBUTES, prop(0x19, b"\0x"))), MalformedError),
}
METHODS = {
    "LZMA": (archive(streams(coder=b"\1\x23\3\1\1\5\x5d\0\0\1\0")), MalformedError),
    "LZMA2 without properties": (archive(streams(coder=b"\1\1\x21")), MalformedError),
    "LZMA2 with two properties": (archive(streams(coder=b"\1\x21\x21\2\x16\0")), MalformedError),
    "LZMA2 with a dictionary past 4 GiB": (archive(streams(coder=b"\1\x21\x21\1\x29")), MalformedError),
    "LZMA2 and BCJ": (archive(streams(coder=b"\2\4\3\3\1\3\x21\x21\1\x16\0\1", unpacked=(7, 7))), MalformedError),
    "solid group of no bytes": (
        archive(streams(packs=2, packed=(7, 0), folders=2, coder=COPY + SOLID, unpacked=(3, 4), counts=b"", sizes=b"")),
        MalformedError,
    ),
    "COPY with properties": (archive(streams(coder=b"\1\x21\0\1\0")), MalformedError),
    "AES": (archive(streams(coder=b"\1\x24\6\xf1\7\1\2\x13\0")), MalformedError),
    "COPY and COPY": (archive(streams(coder=b"\2\1\0\1\0\0\1", unpacked=(7, 7))), MalformedError),
    "coder of two streams": (archive(streams(coder=b"\1\x11\0\2\1\0\1")), MalformedError),
    "one folder stored, one not": (
        archive(
            streams(packs=2, packed=(3, 4), folders=2, coder=COPY + b"\1\1\x21", unpacked=(3, 4), counts=b"", sizes=b"")
        ),
        MalformedError,
    ),
}
ILLEGAL = {
    "climbs": "../a",
    "climbs inside": "a/../../b",
    "absolute": "/etc/passwd",
    "drive": "C:\\a",
    "drive with slash": "C:/a",
    "stream": "a:b",
    "UNC": "\\\\server\\share\\a",
    "UNC with slashes": "//server/share/a",
    "device": "CON",
    "device with extension": "aux.txt",
    "device in a folder": "a/NUL/b",
    "superscript device": "COM\N{SUPERSCRIPT ONE}",
    "empty": "",
    "dot": ".",
    "folder": "a/",
    "trailing dot": "a.",
    "control": "a\x1bb",
    "right to left": "a\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "long": "a" * 201,
    "as long as many": "a" * 700,
    "not NFC": f"e{chr(0x301)}",
    "half a surrogate pair": "\ud800",
}
CLASHES = {
    "same": ("a", "a"),
    "case": ("a", "A"),
    "sharp s": ("straße", "STRASSE"),
    "width": ("a", "\N{FULLWIDTH LATIN SMALL LETTER A}"),
    "file and folder": ("a", "A/b"),
    "folder and file": ("a/b/c", "a/B"),
}
PLAIN_FILE = 0o100644 << 16 | 0x8000
ATTRIBUTE_FAULTS = {
    "symbolic link": 0o120777 << 16 | 0x8000,
    "Unix folder": 0o040755 << 16 | 0x8000,
    "socket": 0o140755 << 16 | 0x8000,
    "character device": 0o020666 << 16 | 0x8000,
    "fifo": 0o010666 << 16 | 0x8000,
    "no type": 0o644 << 16 | 0x8000,
    "set-user-ID": 0o104755 << 16 | 0x8000,
    "Windows folder": 0x10,
    "reparse point": 0x420,
    "device": 0x40,
    "encrypted": 0x4000,
    "mode without its mark": 0o100644 << 16,
    "folder with a file's mode": PLAIN_FILE | 0x10,
}
OTHERS = {
    "folders or empty files": (archive(files=files(prop(0x0E, b"\x80"), NAMES, TIMES, ATTRIBUTES)), UnexpectedError),
    "empty files": (archive(files=files(prop(0x0F, b"\x80"), NAMES, TIMES, ATTRIBUTES)), UnexpectedError),
    "anti-items": (archive(files=files(prop(0x10, b"\x80"), NAMES, TIMES, ATTRIBUTES)), UnexpectedError),
}
PACKED = {
    "packed header in a packed header": (packed(header_of(packed(HEADER))), TooLargeError),
    "packed header of nothing": (packed(b""), MalformedError),
    "packed header's CRC": (packed(HEADER, crc=1), MalformedError),
    "packed header truncated": (packed(HEADER, cut=9), MalformedError),
    "packed header longer than it is": (packed(HEADER, unpacked=len(HEADER) + 1), MalformedError),
    "packed header shorter than it is": (packed(HEADER, unpacked=len(HEADER) - 1), MalformedError),
    "packed header with LZMA's impossible properties": (
        packed(HEADER, coder=lambda _: b"\1\x23\3\1\1\5\xff\0\0\1\0"),
        MalformedError,
    ),
    "packed header with LZMA2": (packed(HEADER, coder=lambda _: b"\1\x21\x21\1\x18"), MalformedError),
    "packed header encrypted": (packed(HEADER, coder=lambda _: b"\1\x24\6\xf1\7\1\2\x13\0"), MalformedError),
    "packed header elsewhere": (packed(HEADER, position=6), MalformedError),
    "packed header's description goes on": (packed(HEADER, after=b"\0\0"), MalformedError),
    "packed header of 2^63 bytes": (packed(HEADER, unpacked=1 << 63), TooLargeError),
}
BOMBS = {
    "2^40 members": (archive(files=files(count=1 << 40)), TooLargeError),
    "2^64-1 members": (archive(files=files(count=(1 << 64) - 1)), TooLargeError),
    "a member too many": (archive(files=files(count=MAX_MEMBERS + 1)), TooLargeError),
    "2^40 packed streams": (archive(streams(packs=1 << 40)), TooLargeError),
    "2^40 folders": (archive(streams(folders=1 << 40)), TooLargeError),
    "2^40 members in a folder": (archive(streams(counts=b"\x0d" + number(1 << 40))), TooLargeError),
    "properties of 2^40 bytes": (archive(streams(coder=b"\1\x21\x21" + number(1 << 40))), MalformedError),
    "LZMA2 with a dictionary of 96 MiB": (archive(streams(coder=b"\1\x21\x21\1\x1d")), TooLargeError),
    "LZMA2 with a dictionary of 4 GiB": (archive(streams(coder=b"\1\x21\x21\1\x28")), TooLargeError),
    "solid group of 2^40 bytes": (archive(streams(coder=SOLID, unpacked=(1 << 40,))), TooLargeError),
    "long names": (archive(files=files(prop(0x11, bytes(10_000)), TIMES, ATTRIBUTES)), TooLargeError),
}
ATTACKS: dict[str, tuple[bytes, type[FormatError]]] = {
    **START,
    **STRUCTURE,
    **METHODS,
    **{f"name: {fault}": (named("a", name), IllegalNameError) for fault, name in ILLEGAL.items()},
    **{f"names: {fault}": (named(*pair), MalformedError) for fault, pair in CLASHES.items()},
    **{
        f"attributes: {fault}": (archive(files=files(NAMES, TIMES, attributes(FILE, value))), UnexpectedError)
        for fault, value in ATTRIBUTE_FAULTS.items()
    },
    **OTHERS,
    **PACKED,
    **BOMBS,
}
"""Fault -> the archive, and the error it is refused with."""


def vectors() -> dict[str, bytes]:
    """Path below `FOLDER` -> bytes of every vector."""
    found = {f"good/{_file(name)}": data for name, data in GOODS.items()}
    return found | {f"{error.code}/{_file(fault)}": data for fault, (data, error) in ATTACKS.items()}


def _file(fault: str) -> str:
    return re.sub("[^a-z0-9]+", "-", fault.lower()).strip("-") + ".7z"


def main() -> None:
    """Write them, and remove what is no vector any more."""
    wanted = vectors()
    for path in FOLDER.rglob("*.7z"):
        if path.relative_to(FOLDER).as_posix() not in wanted:
            path.unlink()
    for name, data in wanted.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_bytes(data)
    print(f"{len(wanted)} vectors below {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
