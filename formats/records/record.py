"""Records and documents: frozen dataclasses that are read from canonical JSON, and written as it, by their fields."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeVar

import msgspec

from formats.errors import FormatError, UnknownFormatError
from formats.records.canonical import decode_as, encode, join, moved, peek
from formats.records.declare import text
from formats.records.schema import Codec, codec_of

Read = TypeVar("Read")


class _Head(msgspec.Struct):
    """What is read of a document first."""

    format: Annotated[str, text(100)]


_HEAD = msgspec.json.Decoder(_Head)


@cache
def _decoder(declaration: Any) -> tuple[msgspec.json.Decoder[Any], Codec]:
    codec = codec_of(declaration)
    return msgspec.json.Decoder(codec.wire), codec


def read(kind: type[Read], data: bytes, *, place: str = "") -> Read:
    """Read a record, or one of a union of records, from canonical JSON.

    Raises `FormatError` with the place of what is wrong, within ``place``: ``volumes[3].archives[0].size``.
    """
    declaration: Any = kind
    decoder, codec = _decoder(declaration)
    found = decode_as(decoder, data, place=place)
    if codec.load is None:
        return found  # type: ignore[no-any-return]
    try:
        return codec.load(found)  # type: ignore[no-any-return]
    except FormatError as error:
        raise moved(error, place) from None


class Record:
    """A frozen dataclass that is a JSON object; see `formats.records` for how its fields are declared.

    A class may have a method ``check`` for rules that concern several fields: it raises `FormatError`, its place
    relative to the record, and runs when a record has been read (that of a base class first, each by itself).
    ``TAG`` is the key and the value that tell this record from the others of a union.
    """

    __slots__ = ()
    TAG: ClassVar[tuple[str, str]]

    def json(self) -> bytes:
        """The record's canonical JSON (no newline)."""
        return encode(_wire(self))

    def record(self) -> dict[str, Any]:
        """The record as a JSON object of plain dicts, lists and texts."""
        found: dict[str, Any] = msgspec.to_builtins(_wire(self))
        return found


def _wire(record: Record) -> Any:
    """What msgspec encodes for ``record``."""
    declaration: Any = type(record)
    dump = codec_of(declaration).dump
    return record if dump is None else dump(record)


class NamedRecord(Record):
    """A record that is a file or a message of its own: the key ``format`` names it, ``courier-NAME/1``."""

    __slots__ = ()
    NAME: ClassVar[str]


Named = TypeVar("Named", bound=NamedRecord)


def read_named(kind: type[Named], data: bytes, *, place: str = "") -> Named:
    """Read a record of one kind from canonical JSON; what it claims to be is judged before all else.

    Raises `UnknownFormatError` for another kind or a major version this release does not know, and `FormatError` for
    what does not follow the declarations, with its place within ``place``.
    """
    expected = f"courier-{kind.NAME}/1"
    found = peek(_HEAD, data, place=place).format
    if found != expected:
        raise UnknownFormatError(f"expected {expected}, found {found!r}", place=join(place, "format"))
    return read(kind, data, place=place)


class Document(NamedRecord):
    """A record that is signed."""

    __slots__ = ()

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return self.json()

    @classmethod
    def parse(cls, payload: bytes, *, place: str = "") -> Self:
        """Read canonical bytes; raises `FormatError`, as `read_named` does."""
        return read_named(cls, payload, place=place)
