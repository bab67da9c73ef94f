"""Tape labels: the 80-character records before and after every file of a labelled tape (ISO 1001, ANSI X3.27).

`COLUMNS` is the whole layout; records are composed and read by it, and ``docs/tape.md`` shows it. The standard labels
(VOL1, HDR1, HDR2, EOF1, EOF2, EOV1, EOV2) are what any program for labelled tapes reads. They have no room for a path,
a size past six digits of blocks, or a digest: these stand in user labels (UVL, UHL, UTL), which the standard leaves to
the writer. The first three fields of UHL1 lie where CERN's CASTOR and CTA have them (AUL format), for the same reason
as theirs: a block length over 99,999 does not fit HDR2, which then holds zeros.

Both user groups carry a CRC-32 of all records they belong to, so that a garbled label is known as one.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from formats.errors import IllegalName, Malformed, TooLarge, UnknownFormat
from formats.names import check_path
from formats.tape_drive import MAX_BLOCK

RECORD = 80
"""Bytes in a label."""
TAG = "CPT1"
"""What marks a user label as one of this layout: courier parcel tape, version 1."""
MAX_PATH = 500
"""Characters in a path; a label group holds at most seven records of it."""
MAX_NUMBER = 9_999
"""The highest file sequence number, file section number and reel number: four digits in HDR1."""
MAX_SIZE = 10**15 - 1
"""Bytes in the largest file: fifteen digits."""
MAX_RECORDS = 24
"""Labels in one run between tape marks: VOL1, UVL1, HDR1, HDR2, UHL1 to 9 are thirteen."""
IMPLEMENTATION = "COURIER TAPE1"

Kind = Literal["HDR", "EOF", "EOV"]
Value = str | int

_PIECE = 76
_RECORD_LENGTH = 1
_KINDS: tuple[Kind, ...] = ("HDR", "EOF", "EOV")
_USER = {"HDR": "UHL", "EOF": "UTL", "EOV": "UTL"}
_FIRST_PIECE = {"HDR": 2, "EOF": 3, "EOV": 3}
_VOLUME_ID = re.compile(r"[A-Z0-9]{6}")
_LABEL = re.compile(r"[!-~]{1,32}")
_PATH = re.compile(r"[ -~]{1,500}")
_OUR_NAME = re.compile(r"[A-Z0-9]{3}_([0-9]{6})_V([0-9]{3,4})")
_A_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !\"%&'()*+,-./:;<=>?")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A field: its name, its first and last character (from 1, as the standards count), and what it always holds.

    ``fixed`` is None for a field with a value: text is set left and filled with spaces, a ``number`` right with zeros.
    """

    name: str
    first: int
    last: int
    number: bool = False
    fixed: str | None = None

    @property
    def width(self) -> int:
        """Characters in the field."""
        return self.last - self.first + 1


def _text(name: str, first: int, last: int) -> Column:
    return Column(name=name, first=first, last=last)


def _number(name: str, first: int, last: int) -> Column:
    return Column(name=name, first=first, last=last, number=True)


def _fixed(name: str, first: int, last: int, value: str = "") -> Column:
    return Column(name=name, first=first, last=last, fixed=value.ljust(last - first + 1))


_FILE_1 = (
    _text("file identifier", 5, 21),
    _text("file set identifier", 22, 27),
    _number("file section number", 28, 31),
    _number("file sequence number", 32, 35),
    _fixed("generation number", 36, 39, "0001"),
    _fixed("generation version number", 40, 41, "00"),
    _text("creation date", 42, 47),
    _text("expiration date", 48, 53),
    _fixed("accessibility", 54, 54),
    _number("block count", 55, 60),
    _fixed("implementation identifier", 61, 73, IMPLEMENTATION),
    _fixed("reserved", 74, 80),
)
_FILE_2 = (
    _fixed("record format", 5, 5, "F"),
    _number("block length", 6, 10),
    _number("record length", 11, 15),
    _fixed("reserved for the implementation", 16, 50),
    _fixed("buffer offset length", 51, 52, "00"),
    _fixed("reserved", 53, 80),
)
_USER_1 = (
    _number("file number", 5, 14),
    _number("block length", 15, 24),
    _number("record length", 25, 34),
    _number("file size", 35, 49),
    _number("section start", 50, 64),
    _text("content", 65, 65),
    _number("path length", 66, 68),
    _fixed("layout", 69, 72, TAG),
    _text("checksum", 73, 80),
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "VOL1": (
        _text("volume identifier", 5, 10),
        _fixed("accessibility", 11, 11),
        _fixed("reserved", 12, 24),
        _fixed("implementation identifier", 25, 37, IMPLEMENTATION),
        _text("owner identifier", 38, 51),
        _fixed("reserved", 52, 79),
        _fixed("label standard version", 80, 80, "4"),
    ),
    "UVL1": (
        _fixed("layout", 5, 8, TAG),
        _text("parcel volume", 9, 40),
        _number("reel number", 41, 44),
        _text("file set identifier", 45, 50),
        _number("creation time", 51, 69),
        _fixed("reserved", 70, 72),
        _text("checksum", 73, 80),
    ),
    "HDR1": _FILE_1,
    "HDR2": _FILE_2,
    "UHL1": _USER_1,
    "EOF1": _FILE_1,
    "EOF2": _FILE_2,
    "EOV1": _FILE_1,
    "EOV2": _FILE_2,
    "UTL1": _USER_1,
    "UTL2": (_text("sha256", 5, 68), _number("section blocks", 69, 80)),
}
"""Label -> its fields, after the identifier in characters 1 to 4. UHL2 to UHL8, UTL3 to UTL9: the path's pieces."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeLabel:
    """VOL1 and UVL1: what one reel is. ``set_id`` is the ``volume_id`` of reel 1; ``created_ns`` since 1970, UTC."""

    volume_id: str
    owner: str
    label: str
    reel: int
    set_id: str
    created_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FileLabel:
    """A label group before (HDR) or after (EOF, EOV) the data blocks of a file, or of its section on this reel.

    ``number`` counts tape files from 1, in writing order, over all reels; ``section`` counts the reels a file is on;
    the section begins at byte ``offset`` of the file. ``blocks`` (of the section) and ``sha256`` (of the file from its
    start to the end of the section) are 0 and "" in HDR. ``date`` is six characters of HDR1, see `label_date`.
    """

    kind: Kind
    number: int
    path: str
    size: int
    block_size: int
    set_id: str
    date: str
    is_index: bool = False
    section: int = 1
    offset: int = 0
    blocks: int = 0
    sha256: str = ""


def label_date(created_ns: int) -> str:
    """The day of a moment (nanoseconds since 1970, UTC) as labels have it: a space for 19.. or 0 for 20.., then yyddd.

    Raises `Malformed` outside the years 1900 to 2099, which labels cannot tell apart.
    """
    try:
        moment = _EPOCH + timedelta(seconds=created_ns // 10**9)
    except OverflowError:
        raise Malformed(f"time out of range: {created_ns} ns since 1970") from None
    if not 1900 <= moment.year <= 2099:
        raise Malformed(f"the year {moment.year} cannot stand in a tape label")
    return f"{' ' if moment.year < 2000 else '0'}{moment:%y%j}"


def reel_id(label: str, reel: int) -> str:
    """The volume identifier of a reel of a parcel volume, unless the operator has another.

    Two digits of the parcel, three of the volume, one for the reel (1 to 9, A to Z): the first reel of
    ``HQ1_000042_V003`` is ``420031``. For another label the first five are its CRC-32, in base 36.
    """
    if not 1 <= reel < len(_DIGITS):
        raise TooLarge(f"no volume identifier for reel {reel}", place=label)
    match = _OUR_NAME.fullmatch(label)
    if match:
        return f"{match[1][-2:]}{match[2][-3:]}{_DIGITS[reel]}"
    number = zlib.crc32(label.encode())
    return "".join(_DIGITS[number // 36**n % 36] for n in range(5)) + _DIGITS[reel]


def check_volume_id(text: str) -> str:
    """Return ``text`` if it is six characters A-Z 0-9, as on a cartridge's barcode; raise `IllegalName` otherwise."""
    if not _VOLUME_ID.fullmatch(text):
        raise IllegalName("not a volume identifier (six characters A-Z 0-9)", place=ascii(text))
    return text


def check_label(text: str) -> str:
    """Return ``text`` if it can name a parcel volume in UVL1: 1 to 32 visible ASCII characters; else `IllegalName`."""
    if not _LABEL.fullmatch(text):
        raise IllegalName("not a volume name of 1 to 32 ASCII characters without spaces", place=ascii(text))
    return text


def check_tape_path(path: str) -> str:
    """Return ``path`` if a label can hold it: `formats.names.check_path`, printable ASCII, at most `MAX_PATH`."""
    if not _PATH.fullmatch(path):
        raise IllegalName(f"a path on tape is 1 to {MAX_PATH} printable ASCII characters", place=ascii(path))
    return check_path(path)


def volume_records(label: VolumeLabel) -> list[bytes]:
    """VOL1 and UVL1."""
    return _seal(
        [
            _compose("VOL1", {"volume identifier": label.volume_id, "owner identifier": a_characters(label.owner)}),
            _compose(
                "UVL1",
                {
                    "parcel volume": label.label,
                    "reel number": label.reel,
                    "file set identifier": label.set_id,
                    "creation time": label.created_ns,
                },
            ),
        ],
        at=1,
    )


def file_records(label: FileLabel) -> list[bytes]:
    """The group of a file: HDR1, HDR2, UHL1 to UHLn, or the same of EOF or EOV with UTL."""
    kind, user = label.kind, _USER[label.kind]
    records = [
        _compose(
            f"{kind}1",
            {
                "file identifier": a_characters(label.path.rpartition("/")[2]),
                "file set identifier": label.set_id,
                "file section number": label.section,
                "file sequence number": label.number,
                "creation date": label.date,
                "expiration date": label.date,
                "block count": label.blocks % 10**6,
            },
        ),
        _compose(
            f"{kind}2",
            {
                "block length": label.block_size if label.block_size < 10**5 else 0,
                "record length": _RECORD_LENGTH,
            },
        ),
        _compose(
            f"{user}1",
            {
                "file number": label.number,
                "block length": label.block_size,
                "record length": _RECORD_LENGTH,
                "file size": label.size,
                "section start": label.offset,
                "content": "I" if label.is_index else "D",
                "path length": len(label.path),
            },
        ),
    ]
    if kind != "HDR":
        records.append(_compose("UTL2", {"sha256": label.sha256, "section blocks": label.blocks}))
    for n, start in enumerate(range(0, len(label.path), _PIECE), _FIRST_PIECE[kind]):
        records.append(f"{user}{n}{label.path[start : start + _PIECE]:<{_PIECE}}".encode("ascii"))
    return _seal(records, at=2)


def group_size(path: str) -> int:
    """Bytes in the two label groups of a file with this path."""
    pieces = -(-len(path) // _PIECE)
    return RECORD * (3 + pieces + 4 + pieces)


def is_label(block: bytes) -> bool:
    """Whether a block looks like a label at all, of ours or another's."""
    return len(block) == RECORD and block[:3] in {b"VOL", b"UVL", b"HDR", b"UHL", b"EOF", b"EOV", b"UTL"}


def is_ours(record: bytes) -> bool:
    """Whether a record, whole or garbled, bears a mark of this layout."""
    name = record[:4].decode("ascii", "replace")
    return len(record) == RECORD and any(
        column.fixed in (TAG, IMPLEMENTATION) and record[column.first - 1 : column.last] == column.fixed.encode()
        for column in COLUMNS.get(name, ())
    )


def find_volume_label(records: Sequence[bytes]) -> VolumeLabel:
    """The reel's label among the records of a run.

    Raises `Malformed` where it is missing or garbled, `UnknownFormat` for a labelled tape that is not of this layout.
    """
    vol1 = next((record for record in records if record[:4] == b"VOL1"), None)
    uvl1 = next((record for record in records if record[:4] == b"UVL1"), None)
    if vol1 is None or uvl1 is None or not is_ours(uvl1):
        if vol1 is not None and not any(map(is_ours, records)):
            name = vol1[4:10].decode("ascii", "replace").strip()
            raise UnknownFormat(f"a labelled tape of another program, volume {name!a}", place="VOL1")
        raise Malformed("no volume label", place="VOL1")
    _check_seal([vol1, uvl1], at=1)
    first, own = _split(vol1), _split(uvl1)
    label = VolumeLabel(
        volume_id=first["volume identifier"],
        owner=first["owner identifier"],
        label=own["parcel volume"],
        reel=int(own["reel number"]),
        set_id=own["file set identifier"],
        created_ns=int(own["creation time"]),
    )
    if volume_records(label) != [vol1, uvl1]:
        raise Malformed("a field holds what it may not", place="VOL1")
    return label


def find_file_label(records: Sequence[bytes]) -> FileLabel:
    """The label group of a file among the records of a run; raises `Malformed` where it is missing or garbled."""
    start, kind = next(
        ((n, kind) for n, record in enumerate(records) for kind in _KINDS if record[:4] == f"{kind}1".encode()),
        (len(records), _KINDS[0]),
    )
    group = list(records[start:])
    if len(group) < 3 + (kind != "HDR") or group[2][:4] != f"{_USER[kind]}1".encode() or not is_ours(group[2]):
        raise Malformed("no label group of a file", place="HDR1")
    place = f"{kind}1"
    _check_seal(group, at=2, place=place)
    first, own = _split(group[0]), _split(group[2])
    has_digest = kind != "HDR"
    tail = _split(group[3]) if has_digest and group[3][:4] == b"UTL2" else {}
    length = int(own["path length"])
    label = FileLabel(
        kind=kind,
        number=int(own["file number"]),
        path="".join(record[4:].decode("ascii", "replace") for record in group[3 + has_digest :])[:length],
        size=int(own["file size"]),
        block_size=int(own["block length"]),
        set_id=first["file set identifier"],
        date=first["creation date"],
        is_index=own["content"] == "I",
        section=int(first["file section number"]),
        offset=int(own["section start"]),
        blocks=int(tail.get("section blocks", "0")),
        sha256=tail.get("sha256", ""),
    )
    try:
        check_tape_path(label.path)
    except IllegalName as error:
        raise Malformed(error.message, place=place) from None
    if not (
        1 <= label.number <= MAX_NUMBER
        and 1 <= label.section <= MAX_NUMBER
        and 1 <= label.block_size <= MAX_BLOCK
        and label.offset <= label.size
        and has_digest == bool(re.fullmatch("[0-9a-f]{64}", label.sha256))
        and file_records(label) == group
    ):
        raise Malformed("a field holds what it may not", place=place)
    return label


def a_characters(text: str) -> str:
    """``text`` in the standard's a-characters: upper case, without accents, a space for what has no place there."""
    plain = unicodedata.normalize("NFKD", text).upper()
    return "".join(
        character if character in _A_CHARACTERS else " " for character in plain if not unicodedata.combining(character)
    ).strip()


def _compose(name: str, values: dict[str, Value]) -> bytes:
    """A record. Text that is too long is cut; a number that is too long raises `TooLarge`."""
    record = name
    for column in COLUMNS[name]:
        if column.fixed is not None:
            record += column.fixed
            continue
        value = values.get(column.name, "")
        if column.number:
            text = f"{value:0{column.width}d}"
            if len(text) > column.width or text.startswith("-"):
                raise TooLarge(f"{value} does not fit {column.width} digits", place=f"{name} {column.name}")
        else:
            text = f"{value:<{column.width}.{column.width}}"
        record += text
    return record.encode("ascii")


def _split(record: bytes) -> dict[str, str]:
    """The fields of a record, without the spaces that fill them; raises `Malformed`."""
    name = record[:4].decode("ascii", "replace")
    try:
        text = record.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("not ASCII", place=name) from None
    values = {}
    for column in COLUMNS[name]:
        field = text[column.first - 1 : column.last]
        if column.number and not (field.isascii() and field.isdigit()):
            raise Malformed(f"{field!a} is not a number", place=f"{name} {column.name}")
        values[column.name] = field.rstrip(" ")
    return values


def _checksum(records: Sequence[bytes], at: int) -> bytes:
    """CRC-32 over ``records``, eight upper-case hexadecimal digits, its own eight characters taken as spaces."""
    body = b"".join(record[:72] + b" " * 8 if n == at else record for n, record in enumerate(records))
    return b"%08X" % zlib.crc32(body)


def _seal(records: list[bytes], at: int) -> list[bytes]:
    records[at] = records[at][:72] + _checksum(records, at)
    return records


def _check_seal(records: Sequence[bytes], at: int, *, place: str = "VOL1") -> None:
    if any(len(record) != RECORD for record in records) or records[at][72:] != _checksum(records, at):
        raise Malformed("the checksum of the labels does not fit", place=place)
