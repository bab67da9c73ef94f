"""How a field of a record is declared: what JSON holds there, within which limits, and under which key.

These stand in the annotation of the field, ``Annotated[type, ...]``. A bare ``int`` or ``str`` is no declaration: each
has limits.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from msgspec import Meta

from formats.errors import MalformedError
from formats.records.canonical import END, MAX_INT, NO_NUL, START
from formats.records.times import format_time, parse_time

Value = TypeVar("Value")
LONGEST = 65_536
"""Characters of a text for which no shorter limit is given."""


@dataclass(frozen=True, slots=True)
class Key:
    """The key of the field in JSON, where it is not the name of the attribute."""

    name: str


@dataclass(frozen=True, slots=True)
class Optional:
    """Marks a field whose key is left out where the field has its default value; JSON never spells the default."""


OPTIONAL = Optional()


@dataclass(frozen=True, kw_only=True, slots=True)
class Form(Generic[Value]):
    """How JSON carries a value that is none of its own.

    ``carried`` is the declaration of what JSON holds; ``load`` makes the value of it (and raises `FormatError`, its
    place relative to the field), ``dump`` the reverse.
    """

    carried: Any
    load: Callable[[Any], Value]
    dump: Callable[[Value], Any]


class Judge(Protocol):
    """A function of `formats.names`: takes a text, raises `FormatError` for one that is not legal."""

    def __call__(self, text: str, /, *, place: str = "") -> str:
        """Return ``text`` if it is legal."""


@dataclass(frozen=True, slots=True)
class Check:
    """A further rule for the value of a field, judged once it has been read; the value stays as it is."""

    judge: Judge


def text(longest: int = LONGEST) -> Meta:
    """A string without NUL of at most ``longest`` characters."""
    return Meta(max_length=longest, pattern=NO_NUL)


def matching(form: str) -> Meta:
    """A string that matches the regular expression ``form`` from its beginning to its end."""
    return Meta(pattern=f"{START}{form}{END}")


def integer(minimum: int = 0, maximum: int = MAX_INT) -> Meta:
    """An integer within these limits, both included."""
    return Meta(ge=minimum, le=maximum)


def items(minimum: int, maximum: int) -> Meta:
    """A list of so many items, both limits included."""
    return Meta(min_length=minimum, max_length=maximum)


Text = Annotated[str, text()]
Count = Annotated[int, integer()]
"""An integer from 0."""
Number = Annotated[int, integer(1)]
"""An integer from 1."""
Digest = Annotated[str, matching("[0-9a-f]{64}")]
"""A SHA-256 in lower-case hexadecimal."""
Time = Annotated[int, Form(carried=Text, load=parse_time, dump=format_time)]
"""Nanoseconds since 1970 (UTC), carried as a time stamp."""


def base64_text(longest: int) -> Form[bytes]:
    """Bytes, carried as at most ``longest`` characters of base64 in its one spelling."""
    return Form(carried=Annotated[str, text(longest)], load=parse_base64, dump=format_base64)


def format_base64(data: bytes) -> str:
    """``data`` in base64 (RFC 4648, with padding)."""
    return base64.b64encode(data).decode()


def parse_base64(text: str | bytes, *, place: str = "") -> bytes:
    """The bytes of base64 text; raises `MalformedError` where it is not as `format_base64` writes it."""
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    try:
        data = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("not base64", place=place) from None
    if base64.b64encode(data) != raw:
        raise MalformedError("not canonical base64", place=place)
    return data


def one_each(kind: type, key: str, value: str, *, most: int | None = None) -> Form[Mapping[Any, Any]]:
    """A mapping, carried as a list of records of class ``kind``, each key once, in ascending order.

    ``key`` and ``value`` are the fields of ``kind`` that hold the two. The list has at most ``most`` items.
    """

    def load(listed: tuple[Any, ...]) -> Mapping[Any, Any]:
        found = {getattr(item, key): getattr(item, value) for item in listed}
        if len(found) != len(listed) or list(found) != sorted(found):
            raise MalformedError("each once, in order")
        return found

    def dump(mapping: Mapping[Any, Any]) -> list[Any]:
        return [kind(**{key: name, value: mapping[name]}) for name in sorted(mapping)]

    return Form(carried=Annotated[tuple[kind, ...], Meta(max_length=most)], load=load, dump=dump)  # type: ignore[valid-type]
