"""How long the network takes for an amount of content, within the schedule and the caps of an address. Pure.

A transfer costs its bytes, a round trip for each file, and a round trip for each piece that it is cut into. It goes
only in hours that the schedule opens to its priority, as fast as the line was measured and the caps of the hour allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.channel.schedule import DAYS, HOURS, SECOND_NS, Limits

SLOT_NS = 900 * SECOND_NS
"""Rates are looked up by quarter hours, because time zones are offset by them."""
WEEK_SLOTS = len(DAYS) * HOURS * 4
LONGEST_SECONDS = 100 * 366 * 24 * 3600
"""A transfer that takes longer, a hundred years, does not end."""
NO_LIMITS = Limits()
"""Always open, without a cap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line to another site.

    ``rate``: measured bytes a second. ``trip_ns``: nanoseconds of a round trip, which each request costs. ``piece``:
    most bytes of one request. ``parallel``: requests under way at one time, which share the cost of the trips.
    """

    rate: int
    trip_ns: int
    piece: int
    limits: Limits = NO_LIMITS
    priority: str = "medium"
    parallel: int = 1

    def speed(self, now_ns: int) -> int:
        """Bytes a second that get through at a time (nanoseconds since 1970, UTC); 0 while it is closed."""
        if not self.limits.admits(self.priority, now_ns):
            return 0
        block = self.limits.block(now_ns, self.piece)
        on_the_way = block * SECOND_NS // self.rate + self.trip_ns // self.parallel
        return max(1, block * SECOND_NS // max(on_the_way, self.limits.pause_ns(block, now_ns), 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """How a transfer goes.

    ``seconds`` from its start to its end, closed hours included; None: it never ends. ``open_seconds``: of them, those
    in which it moves. ``overhead_seconds``: of those, the ones that its files cost beside their bytes. ``share``: the
    part of the measured rate that it takes while its bytes move, between 0 and 1.
    """

    seconds: int | None
    open_seconds: int
    overhead_seconds: int
    share: float
    ends_ns: int | None


class Timetable:
    """The speeds of a line by quarter hours, for a week from ``start_ns`` on; the weeks after it are taken as alike."""

    def __init__(self, line: Line, start_ns: int) -> None:
        self._line, self._start_ns = line, start_ns
        self._first_ns = start_ns - start_ns % SLOT_NS
        self._speeds = [line.speed(self._first_ns + n * SLOT_NS) for n in range(WEEK_SLOTS)]
        self._open = [int(speed > 0) * SECOND_NS for speed in self._speeds]

    def transfer(self, size: int, files: int) -> Transfer:
        """How long ``size`` bytes in so many ``files`` take."""
        overhead_ns = files * self._line.trip_ns // self._line.parallel
        begun = self._until(self._open, self._start_ns, overhead_ns)
        ended = None if begun is None else self._until(self._speeds, begun, size)
        if begun is None or ended is None or ended - self._start_ns > LONGEST_SECONDS * SECOND_NS:
            return Transfer(seconds=None, open_seconds=0, overhead_seconds=0, share=0.0, ends_ns=None)
        moving = self._between(self._open, begun, ended) / SECOND_NS
        return Transfer(
            seconds=_up(ended - self._start_ns),
            open_seconds=_up(self._between(self._open, self._start_ns, ended)),
            overhead_seconds=overhead_ns // SECOND_NS,
            share=min(1.0, size / (moving * self._line.rate)) if moving else 0.0,
            ends_ns=ended,
        )

    def _slot(self, at_ns: int) -> tuple[int, int]:
        """(the number of a time's quarter hour in the week, when that quarter hour ends)."""
        number = (at_ns - self._first_ns) // SLOT_NS
        return number % WEEK_SLOTS, self._first_ns + (number + 1) * SLOT_NS

    def _until(self, speeds: Sequence[int], at_ns: int, amount: int) -> int | None:
        """When ``amount`` is done that goes on by ``speeds`` a second from ``at_ns`` on; None: never.

        All in whole numbers, and in the same steps whatever the amount, so that more never ends sooner.
        """
        week = sum(speeds) * (SLOT_NS // SECOND_NS)
        if not week and amount:
            return None
        is_aligned = False
        while amount > 0:
            slot, end_ns = self._slot(at_ns)
            if is_aligned and amount > week:
                weeks = (amount - 1) // week
                at_ns, amount = at_ns + weeks * WEEK_SLOTS * SLOT_NS, amount - weeks * week
                continue
            there = speeds[slot] * (end_ns - at_ns) // SECOND_NS
            if there >= amount:
                return at_ns - (-amount * SECOND_NS // speeds[slot])
            at_ns, amount, is_aligned = end_ns, amount - there, True
        return at_ns

    def _between(self, speeds: Sequence[int], begin_ns: int, end_ns: int) -> int:
        """How much goes by ``speeds`` a second between two times."""
        week_ns = WEEK_SLOTS * SLOT_NS
        weeks = (end_ns - begin_ns) // week_ns
        done, at_ns = weeks * sum(speeds) * (SLOT_NS // SECOND_NS), begin_ns + weeks * week_ns
        while at_ns < end_ns:
            slot, slot_end = self._slot(at_ns)
            until = min(slot_end, end_ns)
            done, at_ns = done + speeds[slot] * (until - at_ns) // SECOND_NS, until
        return done


def _up(ns: int) -> int:
    """Nanoseconds as seconds, rounded up."""
    return -(-ns // SECOND_NS)
