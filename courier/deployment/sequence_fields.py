"""The kinds of values that a task sequence is written with: how each is read, and how the JSON schema says it. Pure.

A kind reads a value of TOML and raises `KindError` for one that it does not take; where it stands is said by
`courier.deployment.sequence_file`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from unicodedata import category

from courier.deployment.sequence import REST, PackageUse
from courier.errors import UsageError
from courier.media.kinds import parse_size
from formats.errors import FormatError
from formats.names import MAX_VERSION, check_package

PACKAGE_PATTERN = "^[A-Z0-9]{3}[0-9A-F]{5}(:[1-9][0-9]{0,18})?$"
VARIABLE_PATTERN = "^[A-Za-z_][A-Za-z0-9_.-]{1,254}$"
LABEL_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,35}$"
"""A GPT has room for 36 characters in the name of a partition."""
SIZE_PATTERN = "^[0-9]{1,18}(\\.[0-9]{1,18})? *([kKmMgGtT]([iI]?[bB])|[bB])?$"
MAX_TEXT = 4096
MAX_LIST = 1000
Schema = dict[str, Any]


class KindError(Exception):
    """A value that a kind does not take: ``what`` is wrong, and what to do about it, the ``remedy``."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(what)


class Kind(Protocol):
    """A kind of value."""

    def read(self, value: Any) -> Any:
        """The value as the records of `courier.deployment.sequence` have it. Raises `KindError`."""

    def schema(self) -> Schema:
        """What the JSON schema says of such a value."""


def shown(value: Any) -> str:
    """A value as it is quoted in a finding, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A text; ``pattern``: a regular expression for all of it, with ``form`` to say it in words.

    ``lines``: whether it may have several lines, and tabs.
    """

    pattern: str = ""
    form: str = "a text in quotes"
    most: int = MAX_TEXT
    least: int = 1
    lines: bool = False

    def read(self, value: Any) -> str:
        """The text itself."""
        if not isinstance(value, str):
            raise KindError(f"{shown(value)} is no text", f"write {self.form}")
        if not self.least <= len(value) <= self.most or (self.pattern and not re.fullmatch(self.pattern, value)):
            raise KindError(f"{shown(value)} is not what stands here", f"write {self.form}")
        allowed = "\t\n\r" if self.lines else ""
        if any(category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in allowed for one in value):
            raise KindError(
                f"{shown(value)} holds a control character", "write it without, in one line where it is a name"
            )
        return value

    def schema(self) -> Schema:
        """A string of JSON."""
        limits: Schema = {"type": "string", "minLength": self.least, "maxLength": self.most}
        return {**limits, "pattern": self.pattern} if self.pattern else limits


VARIABLE = Text(pattern=VARIABLE_PATTERN, form="a name of two characters or more: letters, digits, _ . -")
LABEL = Text(pattern=LABEL_PATTERN, form="a label of at most 36 letters, digits, dots, hyphens and underlines")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, value: Any) -> str:
        """The word."""
        if value not in self.words:
            raise KindError(f"{shown(value)} is none of the words for it", f"write one of: {', '.join(self.words)}")
        return str(value)

    def schema(self) -> Schema:
        """An enumeration."""
        return {"enum": list(self.words)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """``true`` or ``false``."""

    def read(self, value: Any) -> bool:
        """The truth value."""
        if not isinstance(value, bool):
            raise KindError(f"{shown(value)} is neither true nor false", "write true or false, without quotes")
        return value

    def schema(self) -> Schema:
        """A boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """A whole number from ``least`` to ``most``."""

    least: int
    most: int

    def read(self, value: Any) -> int:
        """The number."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise KindError(
                f"{shown(value)} is not a number for it", f"write a number from {self.least} to {self.most:,}"
            )
        return value

    def schema(self) -> Schema:
        """An integer with its limits."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seconds:
    """A time span in seconds, more than nothing and at most a week."""

    most: int = 7 * 24 * 3600

    def read(self, value: Any) -> float:
        """Seconds."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= self.most:
            raise KindError(f"{shown(value)} is no number of seconds", f"write more than 0 and at most {self.most}")
        return float(value)

    def schema(self) -> Schema:
        """A number with its limits."""
        return {"type": "number", "exclusiveMinimum": 0, "maximum": self.most}


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """A number of bytes as text, such as ``64GB``; ``rest``: whether ``"rest"`` may stand in its place."""

    rest: bool = False

    def read(self, value: Any) -> int:
        """Bytes, or `REST`."""
        form = 'write it like "500MB", "20GiB"' + (' or "rest"' if self.rest else "")
        if self.rest and value == "rest":
            return REST
        if not isinstance(value, str):
            raise KindError(f"{shown(value)} is no size in quotes", form)
        try:
            size = parse_size(value)
        except UsageError:
            raise KindError(f"{shown(value)} is not a size", form) from None
        if size < 1:
            raise KindError(f"{shown(value)} is nothing", form)
        return size

    def schema(self) -> Schema:
        """A string with the form of a size."""
        sized: Schema = {"type": "string", "pattern": SIZE_PATTERN}
        return {"anyOf": [{"const": "rest"}, sized]} if self.rest else sized


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A path, or a shell pattern of paths, below a partition or folder, with ``/`` between its names."""

    def read(self, value: Any) -> str:
        """The path, as it was written, without a slash at its end."""
        text = Text(form="a path in quotes, such as 'Users/ada'").read(value)
        if "\\" in text or re.match("[A-Za-z]:", text):
            raise KindError(
                f"{shown(value)} is a path of Windows", "write it from the root, with / and without a drive"
            )
        path = text.rstrip("/")
        if text.startswith("/") or any(name in ("", ".", "..") for name in path.split("/")):
            raise KindError(
                f"{shown(value)} does not lie below the partition or folder",
                "write it without a / at its beginning, and without . and ..",
            )
        return path

    def schema(self) -> Schema:
        """A string that is no absolute path."""
        return {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "pattern": "^[^/\\\\][^\\\\]*$"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package: ``HQ100001`` for its newest version, or ``HQ100001:3``."""

    def read(self, value: Any) -> PackageUse:
        """The package and its version."""
        remedy = 'write it like "HQ100001", or "HQ100001:3" for one version'
        if not isinstance(value, str):
            raise KindError(f"{shown(value)} is no package", remedy)
        package, colon, version = value.partition(":")
        try:
            check_package(package)
        except FormatError:
            raise KindError(f"{shown(value)} is no package", remedy) from None
        if colon and (not re.fullmatch("[1-9][0-9]{0,18}", version) or int(version) > MAX_VERSION):
            raise KindError(f"{shown(value)} has no version after its colon", remedy)
        return PackageUse(package=package, version=int(version) if colon else None)

    def schema(self) -> Schema:
        """A string with the form of a package ID."""
        return {"type": "string", "pattern": PACKAGE_PATTERN}


@dataclass(frozen=True, kw_only=True, slots=True)
class Several:
    """A list of values of one kind; ``alone``: one value may stand without the brackets."""

    of: Kind
    least: int = 1
    alone: bool = False

    def read(self, value: Any) -> tuple[Any, ...]:
        """The values, in their order."""
        if self.alone and not isinstance(value, list):
            return (self.of.read(value),)
        if not isinstance(value, list) or not self.least <= len(value) <= MAX_LIST:
            raise KindError(f"{shown(value)} is no list of {self.least} or more", "write it in brackets: [..., ...]")
        return tuple(self.of.read(one) for one in value)

    def schema(self) -> Schema:
        """An array, or one value."""
        several: Schema = {
            "type": "array",
            "items": self.of.schema(),
            "minItems": self.least,
            "maxItems": MAX_LIST,
        }
        return {"anyOf": [self.of.schema(), several]} if self.alone else several


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A key of a table: its ``name``, the ``kind`` of its value, whether it ``must`` be there, what it ``says``.

    ``record``: the field of the record that it becomes; empty where it is called the same. ``tables``: where the value
    is a list of tables, the fields of each.
    """

    name: str
    kind: Kind | None
    says: str
    must: bool = False
    record: str = ""
    tables: tuple[Field, ...] = field(default=())

    @property
    def attribute(self) -> str:
        """The name of the record's field."""
        return self.record or self.name.replace("-", "_")


def table_schema(fields: Sequence[Field], more: Mapping[str, Any] | None = None) -> Schema:
    """What the JSON schema says of a table with these keys, and no others."""
    properties: Schema = {}
    for one in fields:
        inner = one.kind.schema() if one.kind else {"type": "array", "items": table_schema(one.tables)}
        properties[one.name] = {**inner, "description": one.says}
    required = [one.name for one in fields if one.must]
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        found["required"] = required
    return {**found, **(more or {})}
