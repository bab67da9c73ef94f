"""Records that are one JSON array a line, read and written many at a time.

The first item of a line is its kind (the ``tag`` of a `msgspec.Struct` with ``array_like``), then come the fields in
the order in which the class declares them. As with the other records there is one encoding of a meaning: lines are
decoded, encoded again and compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Generic, TypeVar

import msgspec

from formats.errors import FormatError, MalformedError, TooLargeError, UnknownFormatError
from formats.records.canonical import decode_as, encode, join, moved


class Many(msgspec.Struct, frozen=True, kw_only=True):
    """A record of which there are very many: a frozen keyword-only dataclass that is made in a fifth of the time."""


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A record that is one JSON array a line; a subclass says ``tag="f", frozen=True, kw_only=True``."""


AnyRow = TypeVar("AnyRow", bound=msgspec.Struct)
SomeRow = TypeVar("SomeRow")
BATCH_LINES = 1024
"""Lines that are decoded at once, at most."""
BATCH_BYTES = 1 << 20
"""Bytes of lines that are decoded at once; a batch ends with the line that reaches them."""
_AT = re.compile(r"\[([0-9]+)\]")
_TAG = re.compile(rb'\["([a-z]+)"')
_ITEMS = re.compile(r"Expected `array` of at (least|most) length [0-9]+(?:, got [0-9]+)?")


def _in_our_words(items: re.Match[str]) -> str:
    return f"{'fewer' if items[1] == 'least' else 'more'} items than a line of its kind has"


class LineReader:
    """The lines of a binary file, one or many at a time. Raises `TooLargeError` and `MalformedError`."""

    def __init__(self, source: BinaryIO, *, longest: int, place: str) -> None:
        """``longest``: bytes of the longest line that is read; ``place`` begins the place of an error."""
        self._source = source
        self._longest = longest
        self.place = place
        self.number = 0
        """Lines read so far."""

    def line(self) -> bytes | None:
        """The next line, without its newline; None at the end of the file."""
        line = self._source.readline(self._longest + 1)
        if not line:
            return None
        self.number += 1
        if len(line) > self._longest:
            raise TooLargeError(f"line longer than {self._longest} bytes", place=f"{self.place}:{self.number}")
        if not line.endswith(b"\n"):
            raise MalformedError("last line is cut short", place=f"{self.place}:{self.number}")
        return line[:-1]

    def batch(self, most: int = BATCH_LINES) -> list[bytes]:
        """The next lines, without their newlines: ``most``, or fewer where they are long or the file ends."""
        lines: list[bytes] = []
        size = 0
        while len(lines) < min(most, BATCH_LINES) and size < BATCH_BYTES and (line := self.line()) is not None:
            lines.append(line)
            size += len(line)
        return lines


class LineCodec(Generic[SomeRow]):
    """Reads and writes lines of one kind of row, or of a union of kinds."""

    def __init__(self, kinds: Any, judge: Callable[[SomeRow], None]) -> None:
        """``judge`` raises `FormatError` for a row that breaks a rule, its place relative to the row."""
        self._decoder = msgspec.json.Decoder(kinds)
        self._encoder = msgspec.json.Encoder()
        self._judge = judge
        rows = getattr(kinds, "__args__", (kinds,))
        self._fields: dict[str, tuple[str, ...]] = {row.__struct_config__.tag: row.__struct_fields__ for row in rows}

    def encode(self, rows: Iterable[SomeRow]) -> bytes:
        """The lines of ``rows``, each with its newline; the rows are not judged."""
        return self._encoder.encode_lines(rows)

    def line(self, row: SomeRow) -> bytes:
        """The line of one row, with its newline, judged first."""
        self._judge(row)
        return self._encoder.encode(row) + b"\n"

    def lines(self, rows: Sequence[SomeRow]) -> bytes:
        """The lines of many rows, each with its newline, judged first."""
        for row in rows:
            self._judge(row)
        return self._encoder.encode_lines(rows)

    def decode(self, lines: Sequence[bytes], place: Callable[[int], str]) -> list[SomeRow]:
        """The rows of ``lines`` (without newlines), judged; ``place(n)`` is where the ``n``-th of them stands.

        Raises `MalformedError`, `TooLargeError` or `IllegalNameError`; `UnknownFormatError` for a kind of row that the
        codec does not know.
        """
        data = b"\n".join(lines)
        try:
            rows: list[SomeRow] = self._decoder.decode_lines(data)
            as_written = len(rows) == len(lines) and self.encode(rows) == (data + b"\n" if lines else b"")
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            as_written = False
        if not as_written:
            rows = [self._decode_one(line, place(n)) for n, line in enumerate(lines)]
        for n, row in enumerate(rows):
            try:
                self._judge(row)
            except FormatError as error:
                raise moved(error, place(n)) from None
        return rows

    def _decode_one(self, line: bytes, place: str) -> SomeRow:
        """The row of one line; its error names the field."""
        try:
            row: SomeRow = decode_as(self._decoder, line)
        except FormatError as error:
            raise self._named(error, line, place) from None
        if encode(row) != line:
            # Canonical JSON of this kind, so only an item at the end, which has a default, can be missing.
            raise MalformedError("fewer items than a line of its kind has", place=place)
        return row

    def _named(self, error: FormatError, line: bytes, place: str) -> FormatError:
        """The error with the name of the field in place of its number."""
        at = _AT.match(error.place)
        if at is None:
            message = _ITEMS.sub(_in_our_words, error.message)
            return type(error)(message, place=place)
        number, rest = int(at[1]), error.place[at.end() :]
        if number == 0:
            kind = error.message.removeprefix("unknown value ")
            if kind == error.message:
                return type(error)(error.message, place=place)
            # Not damage: a later release may have put it there.
            return UnknownFormatError(f"a line of the kind {kind}, which is not known here", place=place)
        tag = _TAG.match(line)
        fields = self._fields.get(tag[1].decode() if tag else "", ())
        name = fields[number - 1] if number <= len(fields) else at[0]
        return type(error)(error.message, place=join(place, name + rest))


def changed(row: AnyRow, **values: Any) -> AnyRow:
    """The same row with other values for some of its fields."""
    return msgspec.structs.replace(row, **values)


def read_rows(
    reader: LineReader, codec: LineCodec[SomeRow], *, count: int | None = None, place: Callable[[int], str]
) -> Iterator[tuple[SomeRow, bytes]]:
    """The next ``count`` rows, or all, each with its line (with the newline).

    ``place(n)`` is where the ``n``-th row stands. Raises `MalformedError` where there are fewer than ``count``, and
    what `LineReader` and `LineCodec.decode` raise.
    """
    done = 0
    while count is None or done < count:
        lines = reader.batch(BATCH_LINES if count is None else count - done)
        if not lines:
            if count is None:
                return
            raise MalformedError("ends early", place=reader.place)
        rows = codec.decode(lines, lambda n: place(done + n))  # noqa: B023 (called before it returns)
        for row, line in zip(rows, lines, strict=True):
            yield row, line + b"\n"
        done += len(lines)
