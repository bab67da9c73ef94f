"""Canonical JSON and the tiny typed getters that every document is parsed through.

One encoding per meaning: UTF-8, keys sorted, no white space, no floats, no duplicate keys. `decode` refuses anything
else, so that a document has exactly one byte string and its digest names it. Times are UTC with nanoseconds,
``2026-11-24T09:30:00.000000000Z``.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from formats.errors import MalformedError, TooLargeError, UnknownFormatError

MAX_DEPTH = 32
"""Objects and lists within one another; ours have 4."""
MAX_VALUES = 2_000_000
"""Commas and opening brackets in one document: bounds the memory its values take (a packing list of 100,000 archives
and as many parity files has about half of them)."""
MAX_INT = 2**63 - 1
# The hours are spelt out because newer Pythons read 24:00 as the next day's midnight.
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})\.([0-9]{9})Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# Made once: a listing has a line a file, and json's own functions make an encoder and a decoder for each.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: object) -> bytes:
    """The canonical bytes of a JSON value (no trailing newline)."""
    return _ENCODER.encode(value).encode()


def _refuse(text: str) -> NoReturn:
    raise MalformedError(f"number not allowed in a document: {text[:40]}")


def _integer(text: str) -> int:
    if len(text) > 20:
        _refuse(text)
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedError("a key stands twice in one object")
    return result


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_refuse, parse_int=_integer, parse_constant=_refuse)


def decode(data: bytes, *, place: str = "") -> Any:
    """Parse canonical JSON bytes; raise `MalformedError` for anything that `encode` would not have written.

    Raises `TooLargeError` beyond `MAX_VALUES` (before anything is built in memory) and `MAX_DEPTH`.
    """
    brackets = data.count(b"[") + data.count(b"{")
    if brackets + data.count(b",") > MAX_VALUES:
        raise TooLargeError(f"more than {MAX_VALUES} values in one document", place=place)
    try:
        value = _DECODER.decode(data.decode())
        if encode(value) != data:
            raise MalformedError("not in canonical form")
    except MalformedError as error:
        raise MalformedError(error.message, place=place) from None
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {type(error).__name__}", place=place) from None
    if brackets > MAX_DEPTH:
        _check_depth(value, place)
    return value


def _check_depth(value: Any, place: str) -> None:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for children in inner for child in children if isinstance(child, dict | list)]
        if not level:
            return
    raise TooLargeError(f"nested more than {MAX_DEPTH} deep", place=place)


def format_time(ns: int) -> str:
    """UTC time stamp of ``ns`` nanoseconds since 1970; raises `MalformedError` outside the years 1 to 9999."""
    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise MalformedError(f"time out of range: {ns} ns since 1970") from None
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}.{rest:09d}Z"


def parse_time(text: str, *, place: str = "") -> int:
    """Nanoseconds since 1970 of a UTC time stamp written by `format_time`; raises `MalformedError` otherwise."""
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        moment = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:
        raise MalformedError(f"not a UTC time stamp with nine decimals: {text[:40]!r}", place=place) from None
    delta = moment - _EPOCH
    return (delta.days * 86400 + delta.seconds) * 1_000_000_000 + int(match[2])


class Fields:
    """One JSON object being read; every getter checks type and range and names its place when it refuses."""

    __slots__ = ("_object", "place")

    def __init__(self, value: object, place: str = "") -> None:
        if not isinstance(value, dict):
            raise MalformedError("not an object", place=place or "document")
        self._object: dict[str, Any] = value
        self.place = place

    def at(self, name: str) -> str:
        """The place of field ``name``: ``volumes[3].size``."""
        return f"{self.place}.{name}" if self.place else name

    def has(self, name: str) -> bool:
        """Whether the field is present."""
        return name in self._object

    def _get(self, name: str) -> Any:
        if name not in self._object:
            raise MalformedError("missing", place=self.at(name))
        return self._object[name]

    def text(self, name: str, *, pattern: str | None = None, longest: int = 65_536) -> str:
        """A string without NUL of at most ``longest`` characters, matching ``pattern`` whole if given."""
        value = self._get(name)
        if not isinstance(value, str):
            raise MalformedError("not a string", place=self.at(name))
        if len(value) > longest:
            raise MalformedError(f"longer than {longest} characters", place=self.at(name))
        if "\0" in value:
            # PostgreSQL cannot keep it: a parcel must not be importable at one site and not at another.
            raise MalformedError("holds a NUL", place=self.at(name))
        if pattern is not None and not re.fullmatch(pattern, value):
            raise MalformedError(f"{value[:60]!r} is not of the form {pattern}", place=self.at(name))
        return value

    def digest(self, name: str) -> str:
        """A SHA-256 in lower-case hexadecimal."""
        return self.text(name, pattern="[0-9a-f]{64}")

    def integer(self, name: str, *, minimum: int = 0, maximum: int = MAX_INT) -> int:
        """An integer within the limits (booleans are not integers)."""
        value = self._get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise MalformedError("not an integer", place=self.at(name))
        if not minimum <= value <= maximum:
            raise MalformedError(f"{value} is not within {minimum} to {maximum}", place=self.at(name))
        return value

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise MalformedError("not true or false", place=self.at(name))
        return value

    def time(self, name: str) -> int:
        """A UTC time stamp, as nanoseconds since 1970."""
        return parse_time(self.text(name), place=self.at(name))

    def object(self, name: str) -> Fields:
        """A nested object."""
        return Fields(self._get(name), self.at(name))

    def _list(self, name: str) -> list[Any]:
        value = self._get(name)
        if not isinstance(value, list):
            raise MalformedError("not a list", place=self.at(name))
        return value

    def objects(self, name: str) -> list[Fields]:
        """A list of objects."""
        return [Fields(item, f"{self.at(name)}[{n}]") for n, item in enumerate(self._list(name))]

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        items = self._list(name)
        for n, item in enumerate(items):
            if not isinstance(item, str):
                raise MalformedError("not a string", place=f"{self.at(name)}[{n}]")
        return list(items)

    def integers(self, name: str, *, minimum: int = 0) -> list[int]:
        """A list of integers, none below ``minimum``."""
        items = self._list(name)
        for n, item in enumerate(items):
            if not isinstance(item, int) or isinstance(item, bool) or not minimum <= item <= MAX_INT:
                raise MalformedError(f"not an integer of {minimum} or more", place=f"{self.at(name)}[{n}]")
        return list(items)


def open_document(payload: bytes, *, name: str, major: int = 1) -> Fields:
    """Parse a document's canonical bytes and check its ``format`` field (``courier-NAME/MAJOR``) before all else.

    Raises `MalformedError`, or `UnknownFormatError` for another document or a major version this release does not know.
    """
    fields = Fields(decode(payload))
    found = fields.text("format", longest=100)
    if found != f"courier-{name}/{major}":
        raise UnknownFormatError(f"expected courier-{name}/{major}, found {found!r}", place="format")
    return fields
