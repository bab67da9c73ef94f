"""Which parts of a file a request asks for: the ``Range`` header (RFC 9110 section 14.2), within limits. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_RANGES = 32
"""Ranges in one request, at most: many small ones are an attack, or a mistake."""
MAX_OVERLAPS = 2
"""Ranges that overlap another one, at most."""
MAX_HEADER = 2048
"""Characters of the header, at most."""
_SET = re.compile(r"(?i:bytes)[ \t]*=[ \t]*(.*)", re.DOTALL)
_SPEC = re.compile(r"([0-9]*)-([0-9]*)", re.ASCII)
_DIGITS = 19

Range = tuple[int, int]
"""Offset of the first byte, and of the one after the last."""


def parse_ranges(header: str, size: int) -> Sequence[Range] | None:
    """The ranges of a file of ``size`` bytes that a ``Range`` header asks for, in its order.

    None where it asks for none in a way that counts: another unit, or not of the form; then the whole file is the
    answer. Empty where nothing of what it asks for is there, or where it asks for too many or overlapping ranges; then
    the answer is 416.
    """
    if len(header) > MAX_HEADER:
        return ()
    match = _SET.fullmatch(header.strip(" \t"))
    if match is None:
        return None
    specs = [text for part in match[1].split(",") if (text := part.strip(" \t"))]
    if not specs:
        return None
    found: list[Range] = []
    for text in specs:
        spec = _SPEC.fullmatch(text)
        if spec is None or text == "-" or max(len(spec[1]), len(spec[2])) > _DIGITS:
            return None
        first, last = spec[1], spec[2]
        if first and last and int(last) < int(first):
            return None
        if not first:
            begin, end = max(0, size - int(last)), size
        else:
            begin, end = int(first), min(size, int(last) + 1) if last else size
        if begin < end:
            found.append((begin, end))
    if len(specs) > MAX_RANGES or _overlaps(found) > MAX_OVERLAPS:
        return ()
    return tuple(found)


def _overlaps(ranges: Sequence[Range]) -> int:
    """How many ranges begin before the end of one that begins no later."""
    count = reached = 0
    for begin, end in sorted(ranges):
        count += begin < reached
        reached = max(reached, end)
    return count
