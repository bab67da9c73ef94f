"""Times as operators write them: in UTC, like 2026-11-24T09:30."""

from __future__ import annotations

_LAST = 9_214_646_400
"""Seconds from 1970 to 2262: nanoseconds of what is earlier fit in 63 bits."""


def parse_moment(text: str | None, option: str) -> int | None:
    """Nanoseconds since 1970 of a time that an option gives; without a zone it is UTC. Raises `UsageError`."""
    from datetime import UTC, datetime

    from courier.errors import UsageError

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        hint = "write it in UTC, like 2026-11-24T09:30"
        raise UsageError(f"{option}: {text!r} is not a time", hint=hint) from None
    today = f"today is {datetime.now(UTC):%Y-%m-%d}"
    if seconds >= _LAST:
        hint = f"is the year right? {today}; without a limit leave it out"
        raise UsageError(f"{option}: {text!r} is after 2261", hint=hint)
    if seconds < 0:
        raise UsageError(f"{option}: {text!r} is before 1970", hint=f"is the year right? {today}")
    return seconds * 10**9
