"""Tables for people: columns as wide as their texts, cells wrapped between words where a terminal is too narrow.

A list may have 100,000 rows, so a row costs little: a cell that fits its column is printed as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from courier.text import one_line

_GAP = 2
"""Columns between two columns of a table."""


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[object]], *, width: int) -> Iterator[str]:
    """The lines of a table, ``width`` columns wide at most, unless its longest words need more."""
    cells = [list(headings), *([one_line(str(cell)) for cell in row] for row in rows)]
    columns = list(zip(*cells, strict=True))
    texts = [max(map(_columns_of, column)) for column in columns]
    room = width - _GAP * (len(columns) - 1)
    widths = texts
    if sum(texts) > room:
        words = [max(_columns_of(word) for cell in column for word in cell.split() or [""]) for column in columns]
        widths = _column_widths(texts, words, room=room)
    numbers = [bool(rows) and all(isinstance(row[n], int) for row in rows) for n in range(len(headings))]
    for row in cells:
        yield from _row_lines(row, widths, numbers)


def _row_lines(row: Sequence[str], widths: Sequence[int], numbers: Sequence[bool]) -> Iterator[str]:
    """The lines of a row; what is wider than its column is wrapped. ``numbers``: columns that go to the right."""
    wrapped = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for line in zip_longest(*wrapped, fillvalue=""):
        padded = []
        for text, width, is_number in zip(line, widths, numbers, strict=True):
            space = " " * (width - _columns_of(text))
            padded.append(space + text if is_number else text + space)
        yield (" " * _GAP).join(padded).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most ``width`` columns, cut between words; no word is longer."""
    if _columns_of(text) <= width:
        return [text]
    lines = [""]
    for word in re.findall(r"\s*\S+", text):
        if lines[-1] and _columns_of(lines[-1] + word) > width:
            lines.append(word.lstrip())
        else:
            lines[-1] += word
    return lines


def _columns_of(text: str) -> int:
    """How many columns of a terminal a text takes; some characters take two, or none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _column_widths(texts: Sequence[int], words: Sequence[int], *, room: int) -> list[int]:
    """The width of each column: its longest text, or less, but never less than its longest word. The widest columns
    give way first.
    """
    widths = list(texts)
    while sum(widths) > room and (wrappable := [n for n, width in enumerate(widths) if width > words[n]]):
        widths[max(wrappable, key=lambda n: widths[n])] -= 1
    return widths
