"""Times in documents: UTC with nanoseconds, ``2026-11-24T09:30:00.000000000Z``; nanoseconds since 1970 in the code."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from formats.errors import MalformedError

# The hours are spelt out because newer Pythons read 24:00 as the next day's midnight.
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})\.([0-9]{9})Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_time(ns: int) -> str:
    """UTC time stamp of ``ns`` nanoseconds since 1970; raises `MalformedError` outside the years 1 to 9999."""
    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise MalformedError(f"time out of range: {ns} ns since 1970") from None
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}.{rest:09d}Z"


def parse_time(text: str, *, place: str = "") -> int:
    """Nanoseconds since 1970 of a UTC time stamp written by `format_time`; raises `MalformedError` otherwise."""
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        moment = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:
        raise MalformedError(f"not a UTC time stamp with nine decimals: {text[:40]!r}", place=place) from None
    delta = moment - _EPOCH
    return (delta.days * 86400 + delta.seconds) * 1_000_000_000 + int(match[2])
