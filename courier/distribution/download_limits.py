"""When and how fast a download in the background may run. Pure: the time is an argument.

The operator gives windows, such as ``22:00-06:00`` or ``sat,sun 00:00-24:00``, and a cap in bytes a second, by hour if
need be. A download in the foreground knows neither.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import StrEnum

from courier.channel.schedule import DAYS, HOURS, SECOND_NS, parse_caps, zone_of
from courier.errors import UsageError

_WEEK = len(DAYS) * HOURS * 60
"""Minutes of a week."""
_WINDOW = re.compile(r"(?:(?P<days>[a-z,-]+)\s+)?(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
_KEYS = {"window", "rate", "zone"}


class Priority(StrEnum):
    """How a download stands against what else the computer does, as in BITS."""

    FOREGROUND = "foreground"
    """Somebody waits for it: no windows, no caps, and no less of the computer than any program."""
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadLimits:
    """The windows and caps of a download.

    ``windows``: minutes of the week, first and end, from Monday 00:00 on; none: every minute. ``caps``: bytes a second
    for each hour of the day, 0 for no cap. ``zone``: the time zone of both; None: that of this computer.
    """

    windows: tuple[tuple[int, int], ...] = ()
    caps: tuple[int, ...] = (0,) * HOURS
    zone: tzinfo | None = field(default=None)

    def admits(self, now_ns: int) -> bool:
        """Whether a download may run at a time (nanoseconds since 1970, UTC)."""
        minute = self._minute(now_ns)
        return not self.windows or any(first <= minute < end for first, end in self.windows)

    def opens_ns(self, now_ns: int) -> int:
        """When the next window opens, to the minute; ``now_ns`` where one is open.

        A clock change may make it an hour wrong; who waits asks again.
        """
        if self.admits(now_ns):
            return now_ns
        minute = self._minute(now_ns)
        wait = min((first - minute) % _WEEK for first, _ in self.windows)
        start_of_minute = now_ns - now_ns % (60 * SECOND_NS)
        return start_of_minute + wait * 60 * SECOND_NS

    def cap(self, now_ns: int) -> int:
        """Bytes a second that may go at a time; 0 for no cap."""
        return self.caps[self._local(now_ns).hour]

    def _minute(self, now_ns: int) -> int:
        moment = self._local(now_ns)
        return (moment.weekday() * HOURS + moment.hour) * 60 + moment.minute

    def _local(self, now_ns: int) -> datetime:
        return datetime.fromtimestamp(now_ns // SECOND_NS, tz=UTC).astimezone(self.zone)


def make_limits(windows: Sequence[str], rate: str | None = None, *, zone: str = "") -> DownloadLimits:
    """The limits that an operator gives; no rate is no cap. Raises `UsageError`."""
    return DownloadLimits(
        windows=tuple(span for text in windows for span in parse_window(text)),
        caps=(0,) * HOURS if rate is None else parse_caps(rate),
        zone=zone_of(zone) if zone else None,
    )


def parse_window(text: str) -> list[tuple[int, int]]:
    """The minutes of the week of a window such as ``mon-fri 22:00-06:00``, which may go over midnight.

    Raises `UsageError`.
    """
    match = _WINDOW.fullmatch(" ".join(text.lower().split()))
    if match is None:
        raise _bad(text)
    hour, minute, end_hour, end_minute = (int(part) for part in match.groups()[1:])
    first, end = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or first >= HOURS * 60 or end > HOURS * 60 or first == end:
        raise _bad(text)
    length = (end - first) % (HOURS * 60) or HOURS * 60
    spans = []
    for day in _days(match["days"], text):
        begin = day * HOURS * 60 + first
        spans.append((begin, min(begin + length, _WEEK)))
        if begin + length > _WEEK:
            spans.append((0, begin + length - _WEEK))
    return spans


def _days(names: str | None, text: str) -> list[int]:
    if names is None:
        return list(range(len(DAYS)))
    found = []
    for part in names.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in DAYS or last not in DAYS:
            raise _bad(text)
        start = DAYS.index(first)
        found += [(start + n) % len(DAYS) for n in range((DAYS.index(last) - start) % len(DAYS) + 1)]
    return found


def _bad(text: str) -> UsageError:
    return UsageError(
        f"{text[:60]!r} is not a window", hint="write it like 22:00-06:00, mon-fri 18:00-07:30 or sat,sun 00:00-24:00"
    )


def parse_settings(data: bytes, *, where: str) -> DownloadLimits:
    """The limits in a settings file: TOML with ``window`` (a list), ``rate`` and ``zone``, each optional.

    Raises `UsageError` that names the file ``where``.
    """
    hint = 'write lines like window = ["22:00-06:00"], rate = "10MB/s" and zone = "Europe/Berlin"'
    try:
        found = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{where}: {error}", hint=hint) from None
    windows, rate, zone = found.get("window", []), found.get("rate", "none"), found.get("zone", "")
    windows = [windows] if isinstance(windows, str) else windows
    texts = isinstance(windows, list) and all(isinstance(one, str) for one in [*windows, rate, zone])
    if not texts or (strange := sorted(found.keys() - _KEYS)):
        what = f"{strange[0]!r} is no setting" if texts else "a setting is no text"
        raise UsageError(f"{where}: {what}", hint=hint)
    try:
        return make_limits(windows, rate, zone=zone)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from None
