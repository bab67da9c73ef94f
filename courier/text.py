"""Texts for people: how numbers, lists and foreign texts are written in messages, in logs and on screens."""

from __future__ import annotations

from collections.abc import Iterable

from formats.blocks import ranges


def plural(count: int, word: str, several: str = "") -> str:
    """A number of things: ``1 volume``, ``3 volumes``; ``several`` is the word for them where an s does not make it."""
    return f"{count:,} {word if count == 1 else several or f'{word}s'}"


def listed(numbers: Iterable[int]) -> str:
    """Sorted numbers, with ranges: ``1 to 3, 7``."""
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in ranges(numbers))


def volumes(numbers: Iterable[int]) -> str:
    """Volumes by their numbers: ``volume 3``, ``volumes 1 to 3, 7``."""
    found = sorted(set(numbers))
    return f"volume{'' if len(found) == 1 else 's'} {listed(found)}"


def dashed(found: Iterable[tuple[int, int]]) -> str:
    """Ranges, first and last of each, in a short form: ``1-3, 7``."""
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in found)


def one_line(text: str) -> str:
    """Text from media, messages or errors, made fit for one line: control characters are escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def size_text(count: int) -> str:
    """A number of bytes for people: ``3.6 GB``."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return plural(count, "byte") if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


MAX_MESSAGE_TEXT = 2000
"""Longest message that is printed or logged, in characters: a text from outside may have any length."""


def harmless(text: str, most: int = MAX_MESSAGE_TEXT) -> str:
    """As `one_line`; of a text of more than ``most`` characters only its beginning, and how many were left out.

    Whatever may quote something from outside, and is only read by people, is printed and logged through this.
    """
    if len(text) <= most:
        return one_line(text)
    return f"{one_line(text[:most])}... ({len(text) - most:,} characters more)"
