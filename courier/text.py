"""How things are said to people, at every floor: in messages, in logs, on screens."""

from __future__ import annotations

from collections.abc import Iterable

from formats.blocks import ranges


def plural(count: int, word: str) -> str:
    """``1 volume``, ``3 volumes``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def listed(numbers: Iterable[int]) -> str:
    """Sorted numbers: ``1 to 3, 7``."""
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in ranges(numbers))
