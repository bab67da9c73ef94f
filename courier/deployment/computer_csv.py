"""A table of computers as text: its encoding, its separators, which column is what, and its rows. Pure.

A file may be UTF-8 with or without a byte order mark or UTF-16, with commas, semicolons or tabs, and with line breaks
within quotes. Every row that cannot be used is named by its line and the reason.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from courier.deployment.identifiers import is_scientific, parse_guid, parse_mac, parse_name, parse_variable
from courier.errors import UsageError
from courier.text import plural

MAX_BYTES = 256 << 20
"""Bytes of the largest file that is read."""
MAX_ROWS = 1_000_000
"""Rows of the largest file that is read; each is kept until all are judged."""
MAX_CELL = 4096
MAX_COLUMNS = 1000
DEFAULT_COLUMNS = ("NAME", "GUID", "MAC")
"""The columns of a file without a header, as Configuration Manager has them."""
SKIPPED = "-"
_WORDS = {
    "name": "NAME",
    "computername": "NAME",
    "computer name": "NAME",
    "computer": "NAME",
    "guid": "GUID",
    "smbios-guid": "GUID",
    "smbios guid": "GUID",
    "smbiosguid": "GUID",
    "uuid": "GUID",
    "mac": "MAC",
    "mac address": "MAC",
    "mac-address": "MAC",
    "macaddress": "MAC",
    "class": "CLASS",
    "group": "GROUP",
}
"""How the columns that are no variables may be called, without regard to case."""
_PLACE_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOOKED_AT = 1 << 16
"""Characters in which the separator is looked for."""
_SEPARATORS = (",", ";", "\t")
Columns = Sequence[str]
"""What each column is: NAME, GUID, MAC, CLASS, GROUP, ``-`` for nothing, or the name of a variable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A computer as a line has it. What the line says nothing of is empty; ``line`` counts from 1."""

    line: int
    name: str
    guid: str = ""
    macs: tuple[str, ...] = ()
    client_class: str = ""
    group_name: str = ""
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A line that cannot be taken, and why."""

    line: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """What a file holds: the columns as they were understood, its rows, and the lines that are refused."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    refused: tuple[Refused, ...]


def decode_text(data: bytes, *, name: str) -> str:
    """The text of a file; ``name`` is the file's. Raises `UsageError`."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif data[:1] and data[1:2] == b"\0":
        encoding = "utf-16-le"
    elif data[:1] == b"\0":
        encoding = "utf-16-be"
    else:
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{name}, line {line}: not {encoding.removesuffix('-sig').upper()}",
            hint="save it as UTF-8 (in a spreadsheet: CSV UTF-8)",
        ) from None


def parse_columns(text: str) -> tuple[str, ...]:
    """The columns of ``NAME,GUID,MAC,-,Variable``. Raises `UsageError`."""
    if ";" in text:
        raise UsageError("--columns: commas part the columns", hint=f"--columns '{text.replace(';', ',')}'")
    columns = tuple(_column(word.strip()) for word in text.split(","))
    _check_columns(columns, "--columns")
    return columns


def _column(word: str) -> str:
    if word == SKIPPED:
        return SKIPPED
    return _WORDS.get(word.casefold()) or parse_variable(word)


def _check_count(columns: Columns, where: str) -> None:
    if len(columns) > MAX_COLUMNS:
        raise UsageError(f"{where}: {len(columns):,} columns", hint=f"{MAX_COLUMNS:,} at most")


def _check_columns(columns: Columns, where: str) -> None:
    _check_count(columns, where)
    if (count := columns.count("NAME")) != 1:
        what = f"{count} columns are" if count else "no column is"
        raise UsageError(
            f"{where}: {what} NAME",
            hint="say which one has the computers' names: --columns NAME,GUID,MAC, with - for what is left out",
        )
    folded = [column.casefold() for column in columns if column not in ("MAC", SKIPPED)]
    twice = next((column for column in folded if folded.count(column) > 1), None)
    if twice:
        raise UsageError(f"{where}: two columns are {twice}", hint="write - for a column that is not to be used")


def read_table(text: str, *, name: str, columns: Columns | None = None, header: bool = True) -> Table:
    """Read a file; ``name`` is the file's.

    ``header``: whether its first line names the columns; where ``columns`` are given, that line is only skipped.
    Raises `UsageError` where the file as a whole cannot be read.
    """
    records = _records(text, name=name)
    first = next(records, None)
    if first is None:
        raise UsageError(f"{name} is empty", hint="it holds a line for each computer")
    line, cells = first
    if header:
        if _looks_like_a_computer(cells):
            raise UsageError(
                f"{name}, line {line}: a computer, where the names of the columns are to stand", hint="--no-header"
            )
        if columns is None:
            columns = _header(cells, f"{name}, line {line}")
        first = None
    chosen = tuple(columns or DEFAULT_COLUMNS)
    rows: list[Row] = []
    refused: list[Refused] = []
    for line, cells in _again(first, records):
        if len(rows) + len(refused) == MAX_ROWS:
            raise UsageError(f"{name} has more than {MAX_ROWS:,} lines", hint="import it in several files")
        found = _row(line, cells, chosen)
        if isinstance(found, Row):
            rows.append(found)
        else:
            refused.append(found)
    return Table(columns=chosen, rows=tuple(rows), refused=tuple(refused))


def _again(
    first: tuple[int, list[str]] | None, rest: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    if first is not None:
        yield first
    yield from rest


def _looks_like_a_computer(cells: Sequence[str]) -> bool:
    for cell in cells:
        for parse in (parse_guid, parse_mac):
            try:
                parse(cell)
            except UsageError:
                continue
            return True
    return False


def _header(cells: Sequence[str], where: str) -> tuple[str, ...]:
    _check_count(cells, where)
    unknown = [cell for cell in cells if cell.strip() and cell.strip().casefold() not in _WORDS]
    if unknown or not any(cell.strip() for cell in cells):
        mapped = ",".join(_WORDS.get(cell.strip().casefold()) or _as_variable(cell) for cell in cells)
        raise UsageError(
            f"{where}: no column of ours is called {unknown[0][:80]!r}" if unknown else f"{where}: no names of columns",
            hint=f"say what each column is: NAME, GUID, MAC, a variable by its name, or - for nothing. As it is now: "
            f"--columns '{mapped}'; or --no-header",
        )
    columns = tuple(_WORDS.get(cell.strip().casefold(), SKIPPED) for cell in cells)
    _check_columns(columns, where)
    return columns


def _as_variable(cell: str) -> str:
    """A name of a variable near the header of a column, for a hint; ``-`` where there is none."""
    word = re.sub("[^A-Za-z0-9_.-]", "", cell)
    try:
        return parse_variable(word)
    except UsageError:
        return SKIPPED


def _records(text: str, *, name: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line that it begins on."""
    begin = 1
    separator = ""
    if found := re.match(r"sep=([,;\t|])\r?\n", text):  # what spreadsheets write and read
        separator, begin, text = found[1], 2, text[found.end() :]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator or _separator(text), strict=True, skipinitialspace=True
    )
    line = begin
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = begin + reader.line_num
    except csv.Error as error:
        if "field limit" in str(error):
            raise UsageError(
                f"{name}, line {line}: a cell of more than {csv.field_size_limit():,} characters",
                hint="is it a table of computers? A quote without its end makes one cell of all that follows",
            ) from None
        raise UsageError(
            f"{name}, line {line}: {error}", hint="a quote within quotes is written twice; each quote has its end"
        ) from None


def _separator(text: str) -> str:
    """The separator that stands most often in the first line that has any, outside quotes."""
    for line in text[:_LOOKED_AT].splitlines()[:20]:
        outside = re.sub('"[^"]*"', "", line)
        counts = {one: outside.count(one) for one in _SEPARATORS}
        if any(counts.values()):
            return max(counts, key=lambda one: counts[one])
    return ","


def _row(line: int, cells: Sequence[str], columns: Columns) -> Row | Refused:
    """The computer of a row, or why it is refused."""
    while len(cells) > len(columns) and not cells[-1].strip():
        cells = cells[:-1]
    if len(cells) != len(columns):
        return Refused(line=line, reason=f"{plural(len(cells), 'column')}, where there are to be {len(columns)}")
    fixed: dict[str, str] = {"NAME": ""}
    macs: list[str] = []
    variables: dict[str, str] = {}
    for number, (column, raw) in enumerate(zip(columns, cells, strict=True), start=1):
        cell = raw.strip()
        if column == SKIPPED or not (cell or column == "NAME"):
            continue
        if is_scientific(cell):
            reason = f"column {number} ({column}): a spreadsheet made {cell} of it; format the column as text"
            return Refused(line=line, reason=reason)
        try:
            if column == "MAC":
                macs += [mac for mac in _macs(cell) if mac not in macs]
            elif column in _PARSERS:
                fixed[column] = _PARSERS[column](cell)
            else:
                variables[column] = _value(cell)
        except UsageError as error:
            return Refused(line=line, reason=f"column {number} ({column}): {error.message}")
    return Row(
        line=line,
        name=fixed["NAME"],
        guid=fixed.get("GUID", ""),
        macs=tuple(sorted(macs)),
        client_class=fixed.get("CLASS", ""),
        group_name=fixed.get("GROUP", ""),
        variables=variables,
    )


def _macs(cell: str) -> list[str]:
    """The MAC addresses of a cell: one, or several with blanks, commas, semicolons or bars between them."""
    try:
        return [parse_mac(cell)]
    except UsageError:
        several = [part for part in re.split(r"[\s,;|]+", cell) if part]
        if len(several) < 2:
            raise
    return [parse_mac(part) for part in several]


def parse_place_name(text: str) -> str:
    """The name of a class of clients, or of a group of points. Raises `UsageError`."""
    if not _PLACE_NAME.fullmatch(text):
        raise UsageError(
            f"{text[:80]!r} is not a name of a class or group",
            hint="1 to 64 letters, digits, dots, hyphens and underlines, the first a letter or digit",
        )
    return text


def _value(cell: str) -> str:
    if len(cell) > MAX_CELL:
        raise UsageError(f"{len(cell):,} characters", hint=f"{MAX_CELL:,} at most")
    if "\0" in cell:
        raise UsageError("it holds a NUL", hint="leave it out")
    return cell


_PARSERS = {"NAME": parse_name, "GUID": parse_guid, "CLASS": parse_place_name, "GROUP": parse_place_name}
