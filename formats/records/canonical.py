"""Canonical JSON: one byte string for one value.

UTF-8, keys sorted by code point, no white space, integers only, no duplicate keys. `decode` refuses everything else, so
a document has exactly one byte string and its digest names it. What msgspec refuses becomes an error of ours here.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import msgspec

from formats.errors import FormatError, MalformedError, TooLargeError

MAX_DEPTH = 32
"""Objects and lists within one another, at most; our documents need 4."""
MAX_VALUES = 2_000_000
"""Commas and opening brackets in one document, at most. This bounds the memory that its values take; a packing list of
100,000 archives and as many parity files has about half of them."""
MAX_INT = 2**63 - 1
"""The largest integer in a field that we know."""
_LEAST, _MOST = -(10**19), 10**20
"""An integer has at most 20 characters, also in a field that we do not know."""
START, END = r"\A(?:", r")\Z"
"""Added before and after the pattern of a text, so that the whole text has to match it."""
NO_NUL = r"\A[^\0]*\Z"
"""Pattern of a text without NUL: PostgreSQL cannot keep one, and no parcel may be importable at one site only."""

_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_EXPECTED = re.compile(r"Expected `(\w+)`(?:, got `\w+`)?")
_LENGTH = re.compile(r"Expected `(str|array)` of length ([<>])= ([0-9]+)")
_LIMIT = re.compile(r"Expected `int` ([<>])= (-?[0-9]+)")
_UNITS = {"str": "characters", "array": "items"}
_NOT = {"int": "an integer", "str": "a string", "bool": "true or false", "array": "a list", "object": "an object"}


def _refuse_float(text: str) -> None:
    raise msgspec.ValidationError(f"number not allowed in a document: {text[:40]}")


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(float_hook=_refuse_float)


def encode(value: object) -> bytes:
    """The canonical bytes of a JSON value (no trailing newline); integers, never floats."""
    return _ENCODER.encode(value)


def decode(data: bytes, *, place: str = "") -> Any:
    """Parse canonical JSON bytes; raise `MalformedError` for anything that `encode` would not have written.

    Raises `TooLargeError` beyond `MAX_VALUES` (before any value is built in memory) and `MAX_DEPTH`.
    """
    value = peek(_DECODER, data, place=place)
    _check_values(value, place)
    if encode(value) != data:
        raise MalformedError("not in canonical form", place=place)
    return value


def decode_as(decoder: msgspec.json.Decoder[Any], data: bytes, *, place: str = "") -> Any:
    """Parse canonical JSON bytes with a decoder that knows the type; keys that it does not know are passed over.

    Raises as `decode` does, and `MalformedError` with the place in the value where it is not of that type.
    """
    value = peek(decoder, data, place=place)
    if encode(value) != data:
        # Not canonical (a duplicate key, say, which msgspec takes), or a later release has added a field.
        decode(data, place=place)
    return value


def peek(decoder: msgspec.json.Decoder[Any], data: bytes, *, place: str = "") -> Any:
    """As `decode_as`, but bytes that are not canonical pass: only to tell what they claim to be."""
    _check_size(data, place)
    try:
        return decoder.decode(data)
    except _DECODE_ERRORS as error:
        raise _refusal(error, place) from None


def _check_size(data: bytes, place: str) -> None:
    """Raise `TooLargeError` where ``data`` holds more than `MAX_VALUES` values."""
    if data.count(b"[") + data.count(b"{") + data.count(b",") > MAX_VALUES:
        raise TooLargeError(f"more than {MAX_VALUES} values in one document", place=place)


def _check_values(value: Any, place: str) -> None:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        below = []
        for holder in level:
            for item in holder.values() if isinstance(holder, dict) else holder:
                if isinstance(item, dict | list):
                    below.append(item)
                elif isinstance(item, int) and not _LEAST < item < _MOST:
                    raise MalformedError("number not allowed in a document: more than 20 characters", place=place)
        if not below:
            return
        level = below
    raise TooLargeError(f"nested more than {MAX_DEPTH} deep", place=place)


def join(place: str, inner: str) -> str:
    """The place ``inner`` within ``place``: ``volumes[3]`` and ``size`` make ``volumes[3].size``."""
    return f"{place}.{inner}" if place and inner and not inner.startswith("[") else place + inner


def moved(error: FormatError, place: str) -> FormatError:
    """The same error, with ``place`` put before its own place."""
    return type(error)(error.message, place=join(place, error.place))


def _refusal(error: Exception, place: str) -> FormatError:
    """Our error for one of msgspec's: what is wrong in our words, and where (``volumes[3].archives[0].size``)."""
    if not isinstance(error, msgspec.ValidationError):
        return MalformedError("nested too deep" if isinstance(error, RecursionError) else "not JSON", place=place)
    message, _, path = str(error).rpartition(" - at `$")
    if not message:
        message, path = str(error), ""
    place = join(place, path.rstrip("`").removeprefix("."))
    if missing := _MISSING.fullmatch(message):
        return MalformedError("missing", place=join(place, missing[1]))
    return MalformedError(_in_our_words(message), place=place or "document")


def _in_our_words(message: str) -> str:
    if expected := _EXPECTED.fullmatch(message):
        return f"not {_NOT.get(expected[1], expected[1])}"
    # First of all: this one message quotes what the sender wrote, and that may look like any of the others.
    if message.startswith("Invalid "):
        return f"unknown value {message.partition(' value ')[2][:60]}"
    _, _, quoted = message.partition(" matching regex ")
    if quoted:
        pattern = ast.literal_eval(quoted)
        return "holds a NUL" if pattern == NO_NUL else f"not of the form {pattern[len(START) : -len(END)]}"
    if length := _LENGTH.fullmatch(message):
        return f"{'more' if length[2] == '<' else 'fewer'} than {length[3]} {_UNITS[length[1]]}"
    if limit := _LIMIT.fullmatch(message):
        return f"not an integer of {limit[2]} or {'more' if limit[1] == '>' else 'less'}"
    return message
