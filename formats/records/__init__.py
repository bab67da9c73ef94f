"""Canonical JSON, and records that are declared by their fields and read and written through msgspec.

A record is a frozen dataclass derived from `Record`. The annotation of each field declares what JSON holds there::

    size: Count                                       # an integer from 0
    reason: Annotated[str, text(1000)]                # a string of at most 1,000 characters, without NUL
    issued_ns: Annotated[Time, Key("issued")]         # a time stamp, under the key "issued"
    revoked_ns: Annotated[Time | None, OPTIONAL] = None

A field with a default must still be in JSON, unless it is marked `OPTIONAL`: then it is left out where it has its
default. Rules that concern several fields are in the record's method ``check``. Keys that a release does not know are
passed over, so that records may gain fields within one major version (docs/decisions/0011-document-parsers.md).
"""

from formats.records.canonical import MAX_DEPTH, MAX_INT, MAX_VALUES, decode, encode, join
from formats.records.declare import (
    OPTIONAL,
    Check,
    Count,
    Digest,
    Form,
    Key,
    Number,
    Text,
    Time,
    base64_text,
    format_base64,
    integer,
    items,
    matching,
    one_each,
    parse_base64,
    text,
)
from formats.records.lines import LineCodec, LineReader, Many, Row, changed, read_rows
from formats.records.record import Document, NamedRecord, Record, read, read_named
from formats.records.times import format_time, parse_time

__all__ = [
    "MAX_DEPTH",
    "MAX_INT",
    "MAX_VALUES",
    "OPTIONAL",
    "Check",
    "Count",
    "Digest",
    "Document",
    "Form",
    "Key",
    "LineCodec",
    "LineReader",
    "Many",
    "NamedRecord",
    "Number",
    "Record",
    "Row",
    "Text",
    "Time",
    "base64_text",
    "changed",
    "decode",
    "encode",
    "format_base64",
    "format_time",
    "integer",
    "items",
    "join",
    "matching",
    "one_each",
    "parse_base64",
    "parse_time",
    "read",
    "read_named",
    "read_rows",
    "text",
]
