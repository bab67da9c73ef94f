"""The 80-character records of tape labels (ISO 1001, ANSI X3.27): their fields and checksums.

`COLUMNS` is the layout by which records are composed and read; ``docs/tape.md`` shows it.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from formats.errors import MalformedError, TooLargeError

RECORD = 80
"""Bytes in a label."""
TAG = "CPT1"
"""The mark of a user label of this layout: courier parcel tape, version 1."""
IMPLEMENTATION = "COURIER TAPE1"

Value = str | int

_A_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !\"%&'()*+,-./:;<=>?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A field of a record: its name, and its first and last character, counted from 1 as in the standards.

    ``fixed`` is the text that the field always holds, or None for a field with a value. Text is filled up with spaces
    on the right, a ``number`` with zeros on the left.
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
"""Label -> its fields after the identifier in characters 1 to 4. UHL2 to UHL8 and UTL3 to UTL9 hold the path."""


def a_characters(text: str) -> str:
    """``text`` in a-characters of the standard: upper case, without accents, and a space for any other character."""
    plain = unicodedata.normalize("NFKD", text).upper()
    return "".join(
        character if character in _A_CHARACTERS else " " for character in plain if not unicodedata.combining(character)
    ).strip()


def compose_record(name: str, values: dict[str, Value]) -> bytes:
    """The record ``name`` with these values. Text that is too long is cut; such a number raises `TooLargeError`."""
    record = name
    for column in COLUMNS[name]:
        if column.fixed is not None:
            record += column.fixed
            continue
        value = values.get(column.name, "")
        if column.number:
            text = f"{value:0{column.width}d}"
            if len(text) > column.width or text.startswith("-"):
                raise TooLargeError(f"{value} does not fit {column.width} digits", place=f"{name} {column.name}")
        else:
            text = f"{value:<{column.width}.{column.width}}"
        record += text
    return record.encode("ascii")


def split_record(record: bytes) -> dict[str, str]:
    """The fields of a record, without the spaces at their end; raises `MalformedError`."""
    name = record[:4].decode("ascii", "replace")
    try:
        text = record.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError("not ASCII", place=name) from None
    values = {}
    for column in COLUMNS[name]:
        field = text[column.first - 1 : column.last]
        if column.number and not (field.isascii() and field.isdigit()):
            raise MalformedError(f"{field!a} is not a number", place=f"{name} {column.name}")
        values[column.name] = field.rstrip(" ")
    return values


def _checksum(records: Sequence[bytes], at: int) -> bytes:
    """CRC-32 of ``records`` in eight upper-case hexadecimal digits, with spaces in the field of the checksum itself."""
    body = b"".join(record[:72] + b" " * 8 if n == at else record for n, record in enumerate(records))
    return b"%08X" % zlib.crc32(body)


def add_checksum(records: list[bytes], at: int) -> list[bytes]:
    """Put the checksum of all ``records`` into record number ``at``, and return them."""
    records[at] = records[at][:72] + _checksum(records, at)
    return records


def check_checksum(records: Sequence[bytes], at: int, *, place: str = "VOL1") -> None:
    """Raise `MalformedError` unless record number ``at`` holds the checksum of all ``records``."""
    if any(len(record) != RECORD for record in records) or records[at][72:] != _checksum(records, at):
        raise MalformedError("the labels do not have their checksum", place=place)
