"""When and how fast an address may be used, and when a failed one is tried again. Pure: the time is an argument.

There is a schedule by hour and weekday with four levels, in the sender's time zone; a cap in bytes a second by hour, or
pulse mode (a block, then a delay); two retries a minute apart, then ever longer pauses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

from courier.errors import RefusedError, UsageError
from courier.media.kinds import parse_size
from formats.errors import FormatError
from formats.records import Count, NamedRecord, integer, items, matching, read_named, text

Value = TypeVar("Value")

HOURS = 24
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SECOND_NS = 10**9
MAX_RETRIES = 100
MAX_WAIT_SECONDS = 7 * 24 * 3600

THREADS = 5
"""Deliveries at one time, to all sites together."""
THREADS_PER_SITE = 3
"""Deliveries at one time to one site."""
EXPIRY_NS = 90 * 24 * 3600 * SECOND_NS
"""A message that has not been acknowledged for this time becomes a dead letter."""
RESEND_FIRST_NS = 3600 * SECOND_NS
RESEND_LAST_NS = 24 * 3600 * SECOND_NS
"""A message that was delivered is delivered again after an hour without an acknowledgement, then after two, four ...
and at last once a day."""
BACK_OFF_LAST_NS = 3600 * SECOND_NS
"""The longest pause between two tries of an address that fails."""


class Level(StrEnum):
    """Which messages an address takes in an hour."""

    ALL = "all"
    MEDIUM = "medium"
    """Medium and high priority."""
    HIGH = "high"
    """High priority only."""
    CLOSED = "closed"


_LETTERS = {Level.ALL: "a", Level.MEDIUM: "m", Level.HIGH: "h", Level.CLOSED: "c"}
_LEVELS = {letter: level for level, letter in _LETTERS.items()}
_ADMITTED = {
    Level.ALL: {"high", "medium", "low"},
    Level.MEDIUM: {"high", "medium"},
    Level.HIGH: {"high"},
    Level.CLOSED: set[str](),
}
OPEN_WEEK = "a" * (HOURS * len(DAYS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(NamedRecord):
    """How an address may be used.

    ``week``: 168 letters, Monday 00h first: a (all), m (medium and high), h (high only), c (closed), in the time zone
    ``zone``. ``caps``: bytes a second for each hour of the day, 0 for no cap. ``pulse_bytes`` and ``pulse_ms``: pulse
    mode, a block and the delay after it; 0 for none. ``retries`` tries more after a failure, ``retry_seconds`` apart.
    """

    NAME = "limits"

    week: Annotated[str, matching(f"[amhc]{{{len(OPEN_WEEK)}}}")] = OPEN_WEEK
    zone: Annotated[str, text(100)] = "UTC"
    caps: Annotated[tuple[Count, ...], items(HOURS, HOURS)] = (0,) * HOURS
    pulse_bytes: Count = 0
    pulse_ms: Count = 0
    retries: Annotated[int, integer(0, MAX_RETRIES)] = 2
    retry_seconds: Annotated[int, integer(0, MAX_WAIT_SECONDS)] = 60

    def to_text(self) -> str:
        """As it is kept in the catalogue; the defaults are the empty text."""
        if self == Limits():
            return ""
        return self.json().decode()

    @classmethod
    def parse(cls, text: str) -> Limits:
        """From the catalogue; raises `RefusedError` for what `to_text` did not write."""
        if not text:
            return cls()
        try:
            limits = read_named(cls, text.encode())
            zone_of(limits.zone)
        except (FormatError, UsageError) as error:
            message = f"limits of an address: {error.message}"
            raise RefusedError(message, hint="courier channel address set CODE ADDRESS") from None
        return limits

    def level(self, now_ns: int) -> Level:
        """Which messages the address takes at a time (nanoseconds since 1970, UTC)."""
        moment = self._local(now_ns)
        return _LEVELS[self.week[moment.weekday() * HOURS + moment.hour]]

    def admits(self, priority: str, now_ns: int) -> bool:
        """Whether a message of a priority may go at a time."""
        return priority in _ADMITTED[self.level(now_ns)]

    def opens_ns(self, priority: str, now_ns: int) -> int | None:
        """When a message of a priority may next go, to a quarter of an hour; None when no hour of the week takes it."""
        hour = 3600 * SECOND_NS
        start = now_ns - now_ns % (hour // 4)
        # Quarter hours, because zones are offset by them; eight days, because a clock change may skip an hour.
        quarters = range(1, 8 * HOURS * 4)
        return next((start + n * hour // 4 for n in quarters if self.admits(priority, start + n * hour // 4)), None)

    def block(self, now_ns: int, longest: int) -> int:
        """How many bytes may go as one piece now, at most ``longest``: a pulse block, or a second's worth of a cap."""
        if self.pulse_bytes:
            return min(self.pulse_bytes, longest)
        cap = self.caps[self._local(now_ns).hour]
        return min(max(cap, 512), longest) if cap else longest

    def pause_ns(self, count: int, now_ns: int) -> int:
        """Nanoseconds from the start of a piece of ``count`` bytes until the next may start."""
        if self.pulse_bytes:
            return self.pulse_ms * 10**6
        cap = self.caps[self._local(now_ns).hour]
        return count * SECOND_NS // cap if cap else 0

    def _local(self, now_ns: int) -> datetime:
        return datetime.fromtimestamp(now_ns // SECOND_NS, tz=UTC).astimezone(zone_of(self.zone))


def retry_ns(limits: Limits, failures: int) -> int:
    """Nanoseconds to wait after ``failures`` in a row: as the limits say for retries, then twice as long each time."""
    wait = limits.retry_seconds * SECOND_NS
    beyond = min(max(0, failures - limits.retries), 32)
    return max(wait, min(wait << beyond, BACK_OFF_LAST_NS))


def resend_ns(attempts: int) -> int:
    """Nanoseconds until a message that was delivered ``attempts`` times, and not acknowledged, is delivered again."""
    return min(RESEND_FIRST_NS << min(max(0, attempts - 1), 16), RESEND_LAST_NS)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name such as ``Europe/Berlin``; raises `UsageError`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(f"unknown time zone {name[:60]!r}", hint="write it like Europe/Berlin or UTC") from None


_RULE = re.compile(r"(?:(?P<days>[a-z,-]+)\s+)??(?:(?P<start>\d{1,2})-(?P<end>\d{1,2})\s+)?(?P<level>[a-z+]+)")
_WORDS = {"all": Level.ALL, "medium": Level.MEDIUM, "medium+high": Level.MEDIUM, "high": Level.HIGH}
_WORDS |= {"closed": Level.CLOSED}


def parse_week(text: str) -> str:
    """168 letters from rules such as ``mon-fri 8-18 high; sat,sun closed``; hours not named are open to all.

    Hours are whole, from 0 to 24, ``22-6`` goes over midnight within each named day; a later rule wins. Raises
    `UsageError`.
    """
    week = list(OPEN_WEEK)
    for rule in _rules(text):
        match = _RULE.fullmatch(rule)
        level = _WORDS.get(match["level"]) if match else None
        if match is None or level is None:
            raise _bad_week(rule)
        hours = _hours(match["start"], match["end"], rule)
        for day in _days(match["days"], rule):
            for hour in hours:
                week[day * HOURS + hour] = _LETTERS[level]
    return "".join(week)


def _bad_week(rule: str) -> UsageError:
    hint = "write it like 'mon-fri 8-18 high; sat,sun closed' (levels: all, medium, high, closed)"
    return UsageError(f"{rule[:60]!r} is not a rule of a schedule", hint=hint)


def _rules(text: str) -> list[str]:
    return [" ".join(rule.lower().split()) for rule in text.split(";") if rule.strip()]


def _days(text: str | None, rule: str) -> list[int]:
    if text in (None, "daily"):
        return list(range(len(DAYS)))
    found = []
    for part in str(text).split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in DAYS or last not in DAYS:
            raise _bad_week(rule)
        start, end = DAYS.index(first), DAYS.index(last)
        found += [(start + n) % len(DAYS) for n in range((end - start) % len(DAYS) + 1)]
    return found


def _hours(start: str | None, end: str | None, rule: str) -> list[int]:
    if start is None or end is None:
        return list(range(HOURS))
    first, last = int(start), int(end)
    if first > 23 or last > 24 or first == last:
        raise UsageError(f"hours in {rule[:60]!r} are not within 0 to 24", hint="write hours like 8-18 or 22-6")
    return [(first + n) % HOURS for n in range((last - first) % HOURS or HOURS)]


def parse_caps(text: str) -> tuple[int, ...]:
    """24 caps from rules such as ``200KB/s`` or ``8-18 200KB/s; 18-8 5MB/s``; ``none`` is no cap.

    Raises `UsageError`.
    """
    caps = [0] * HOURS
    for rule in _rules(text) or [""]:
        match = re.fullmatch(r"(?:(\d{1,2})-(\d{1,2}) )?([0-9.]+ ?[a-z]*?|none)(?:/s)?", rule)
        if match is None:
            hint = "write it like 200KB/s, or '8-18 200KB/s; 18-8 5MB/s'"
            raise UsageError(f"{rule[:60]!r} is not a cap", hint=hint)
        cap = 0 if match[3] == "none" else parse_size(match[3])
        if match[3] != "none" and not 512 <= cap <= 10**12:
            raise UsageError(f"a cap of {match[3]} a second is out of range", hint="512 bytes to 1 TB; none for no cap")
        for hour in _hours(match[1], match[2], rule):
            caps[hour] = cap
    return tuple(caps)


def parse_pulse(text: str) -> tuple[int, int]:
    """(block bytes, delay in milliseconds) of ``64KB/5s`` or ``1MiB/250ms``; ``none`` is (0, 0).

    Raises `UsageError`.
    """
    if text.strip().lower() == "none":
        return 0, 0
    match = re.fullmatch(r"\s*([0-9.]+\s*[a-zA-Z]*)\s*/\s*(\d{1,6})\s*(ms|s)\s*", text)
    if match is None:
        raise UsageError(f"{text[:60]!r} is not a pulse", hint="write block and delay like 64KB/5s or 1MiB/250ms")
    block, delay = parse_size(match[1]), int(match[2]) * (1000 if match[3] == "s" else 1)
    if not 512 <= block <= 1 << 30 or not 1 <= delay <= 3_600_000:
        raise UsageError(
            f"pulse {text[:60]!r} is out of range", hint="blocks of 512 bytes to 1 GiB, delays of 1 ms to 1 h"
        )
    return block, delay


def change(limits: Limits, *, schedule: str | None, zone: str | None, cap: str | None, pulse: str | None) -> Limits:
    """The limits with those changes that are not None; a cap ends pulse mode and the other way round.

    Raises `UsageError`.
    """
    if cap is not None and pulse is not None and cap != "none" and pulse != "none":
        raise UsageError("--cap and --pulse exclude each other", hint="give one of them")
    if schedule is not None:
        limits = replace(limits, week=parse_week(schedule))
    if zone is not None:
        limits = replace(limits, zone=zone_of(zone).key)
    if cap is not None:
        limits = replace(limits, caps=parse_caps(cap), pulse_bytes=0, pulse_ms=0)
    if pulse is not None:
        block, delay = parse_pulse(pulse)
        caps = limits.caps if not block else (0,) * HOURS
        limits = replace(limits, pulse_bytes=block, pulse_ms=delay, caps=caps)
    return limits


def week_text(week: str) -> str:
    """The rules that `parse_week` reads as this week; equal days are named together."""
    by_day = [week[day * HOURS : (day + 1) * HOURS] for day in range(len(DAYS))]
    rules = []
    for pattern in dict.fromkeys(by_day):
        alike = [other == pattern for other in by_day]
        spans = [(DAYS[start], DAYS[end - 1]) for start, end, same in _runs(alike) if same]
        days = ",".join(first if first == last else f"{first}-{last}" for first, last in spans)
        for start, end, letter in _runs(pattern):
            if letter != "a":
                hours = "" if (start, end) == (0, HOURS) else f" {start}-{end}"
                rules.append(f"{days}{hours} {_LEVELS[letter]}")
    return "; ".join(rules) or "all"


def rate_text(limits: Limits) -> str:
    """Cap or pulse as an operator would write it; ``none`` for neither."""
    if limits.pulse_bytes:
        return f"pulse {_bytes(limits.pulse_bytes)}/{limits.pulse_ms}ms"
    if not any(limits.caps):
        return "none"
    runs = list(_runs(limits.caps))
    if len(runs) == 1:
        return f"{_bytes(runs[0][2])}/s"
    return "; ".join(f"{start}-{end} {f'{_bytes(cap)}/s' if cap else 'none'}" for start, end, cap in runs)


def _bytes(count: int) -> str:
    """A size in the largest unit that gives a whole number."""
    units = (("GB", 10**9), ("MB", 10**6), ("KB", 10**3))
    return next((f"{count // size}{unit}" for unit, size in units if count % size == 0), f"{count}B")


def _runs(values: Sequence[Value]) -> list[tuple[int, int, Value]]:
    """(start, end, value) of each run of equal values."""
    starts = [n for n in range(len(values)) if n == 0 or values[n] != values[n - 1]]
    return [(a, b, values[a]) for a, b in zip(starts, [*starts[1:], len(values)], strict=True)]
