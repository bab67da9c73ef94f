"""Rates, spans of time and shares as operators type them, and as plans print them. Pure.

A rate always has its unit: ``2MB/s`` is bytes, ``16Mbit/s`` is bits. ``Mb`` could be either, and is refused.
"""

from __future__ import annotations

import re

from courier.errors import UsageError
from courier.media.kinds import parse_size
from courier.text import size_text

MAX_RATE = 10**12
"""Bytes a second of the fastest line, drive or disk that is believed."""
MAX_SPAN = 10 * 366 * 24 * 3600
"""Seconds of the longest span of time that is believed: ten years."""

_BITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_SPANS = {"s": 1, "min": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_RATE_HINT = "write it with its unit: 2MB/s (bytes) or 16Mbit/s (bits)"
_SPAN_HINT = "write it like 2d, 36h, 90min, or '1d 12h'"


def parse_rate(text: str) -> int:
    """Bytes a second of a text such as ``2MB/s`` or ``16Mbit/s``. Raises `UsageError`, also for a rate of nothing."""
    match = re.fullmatch(r"\s*([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([a-zA-Z]+)\s*(?:/\s*s|ps)\s*", text)
    if match is None:
        raise UsageError(f"{text[:60]!r} is not a rate", hint=_RATE_HINT)
    number, unit = match[1], match[2]
    if re.fullmatch("[kKmMgGtT]?b", unit):
        message = f"{text[:60]!r} may be bytes or bits, which differ by eight"
        raise UsageError(message, hint=_RATE_HINT)
    if unit.lower() in _BITS:
        whole, _, part = number.partition(".")
        rate = int(whole + part.ljust(6, "0")) * _BITS[unit.lower()] // (8 * 10**6)
    else:
        rate = parse_size(f"{number}{unit}")
    if not 0 < rate <= MAX_RATE:
        raise UsageError(f"a rate of {text[:60]!r} is out of range", hint="give 1B/s to 1TB/s")
    return rate


def rate_text(rate: float) -> str:
    """A rate in bytes and in bits, so that nobody mixes them up: ``2.0 MB/s (16.0 Mbit/s)``."""
    bits = size_text(int(rate * 8)).replace("bytes", "bit").replace("B", "bit")
    return f"{size_text(int(rate))}/s ({bits}/s)"


def parse_span(text: str) -> int:
    """Seconds of a text such as ``2d``, ``36h`` or ``1d 12h``; ``0`` is none. Raises `UsageError`."""
    if text.strip() == "0":
        return 0
    if not re.fullmatch(r"\s*(?:[0-9]{1,9}(?:\.[0-9]{1,3})?\s*(?:s|min|h|d|w)\s*)+", text):
        raise UsageError(f"{text[:60]!r} is not a span of time", hint=_SPAN_HINT)
    parts = re.findall(r"([0-9]+)(?:\.([0-9]+))?\s*(s|min|h|d|w)", text)
    thousandths = sum(int(whole + part.ljust(3, "0")) * _SPANS[unit] for whole, part, unit in parts)
    seconds = -(-thousandths // 1000)
    if seconds > MAX_SPAN:
        raise UsageError(f"{text[:60]!r} is longer than ten years", hint=_SPAN_HINT)
    return seconds


def span_text(seconds: int | None) -> str:
    """A span of time for people, in its two largest units: ``40 s``, ``2 h 10 min``, ``3 d 4 h``; None is never."""
    if seconds is None:
        return "never"
    if seconds < 90:
        return f"{seconds} s"
    minutes = -(-seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod(-(-seconds // 3600), 24)
    if days >= 100:
        return f"{-(-seconds // (24 * 3600)):,} d"
    return f"{days} d {rest} h" if rest else f"{days} d"


def share_text(share: float) -> str:
    """A share for people: ``40%``; what is little, and not nothing, is ``<1%``."""
    return "<1%" if 0 < share < 0.01 else f"{share:.0%}"


def parse_share(text: str) -> float:
    """A share between 0 and 1 of a text such as ``1%`` or ``0.5%``. Raises `UsageError`."""
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]{1,4})?)\s*%\s*", text)
    if match is None or float(match[1]) > 100:
        raise UsageError(f"{text[:60]!r} is not a share", hint="give 0% to 100%, such as 1%")
    return float(match[1]) / 100
