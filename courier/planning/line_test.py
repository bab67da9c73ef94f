"""A test run over the line to another site: what it carries, and what carrying that does to everybody's round trip.

Half of a budget of bytes goes up and half comes down, in requests that grow while they are quick. Meanwhile empty
requests take the round trip again and again: before the load, and under it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from courier.channel.connections import Network
from courier.channel.measurement import Measured, keep_measured, open_probe, seconds_of
from courier.errors import UsageError
from courier.site.home import Site
from courier.site.outbox import PART

LEAST_BUDGET = 4096
MOST_BUDGET = 10**12
MOST_SECONDS = 15.0
"""The load in one direction ends after this time, though its half of the budget is not spent."""
FIRST_REQUEST = 16 << 10
QUICK_SECONDS = 0.5
"""Requests grow while they take less: the time limit then holds on the slowest line, but for one request."""
IDLE_TRIPS = 7
PAUSE_SECONDS = 0.05
"""Between two round trips: more would be a load of their own, and servers take 50 requests a second of one site."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnderLoad:
    """What a load in one direction found.

    ``rate``: bytes a second, round trips taken off. ``moved``: bytes. ``trips_ms``: milliseconds of the round trips
    under it, of which there are none where it was over before the first.
    """

    rate: int
    moved: int
    trips_ms: tuple[float, ...]

    @property
    def trip_ms(self) -> float | None:
        """The round trip in the middle of those under load, in milliseconds."""
        return round(median(self.trips_ms), 3) if self.trips_ms else None

    @property
    def worst_ms(self) -> float | None:
        """The longest round trip under load, in milliseconds."""
        return round(max(self.trips_ms), 3) if self.trips_ms else None


@dataclass(frozen=True, kw_only=True, slots=True)
class LineTest:
    """What a test run found at ``at_ns`` (UTC); ``idle_ms``: the round trip without load, in milliseconds."""

    at_ns: int
    address: str
    idle_ms: float
    up: UnderLoad
    down: UnderLoad

    @property
    def moved(self) -> int:
        """Bytes that the test moved, both ways."""
        return self.up.moved + self.down.moved


def run_line_test(
    site: Site, code: str, address: str | None, *, budget: int, network: Network | None = None
) -> LineTest:
    """Test an address of a site (its first, if none is named) with at most ``budget`` bytes, and keep what it carries.

    Raises `UsageError` for a budget that is no test, or a site that fetches from us; `UnreachableError`.
    """
    if not LEAST_BUDGET <= budget <= MOST_BUDGET:
        raise UsageError(
            f"a test of {budget:,} bytes says nothing", hint="give --size 1MB to 1TB; 10MB is enough for most lines"
        )
    with open_probe(site, code, address, network=network) as probe:
        probe.down(0)  # opens the connection, which is not measured
        idle = [seconds_of(probe.down, 0) for _ in range(IDLE_TRIPS)]
        up = _load(probe.up, probe.down, budget // 2, min(idle))
        down = _load(probe.down, probe.down, budget // 2, min(idle))
    found = LineTest(
        at_ns=time.time_ns(),
        address=probe.address.address,
        idle_ms=round(median(idle) * 1000, 3),
        up=up,
        down=down,
    )
    kept = Measured(
        at_ns=found.at_ns,
        round_trip_ms=found.idle_ms,
        up_bytes_per_second=up.rate,
        down_bytes_per_second=down.rate,
        bytes_moved=found.moved,
    )
    keep_measured(site, probe.address, kept)
    return found


def _load(act: Callable[[int], None], trip: Callable[[int], None], budget: int, idle: float) -> UnderLoad:
    """Move ``budget`` bytes by ``act`` in a thread of its own, and take round trips by ``trip`` meanwhile."""
    bulk = _Bulk(act, budget, idle)
    thread = threading.Thread(target=bulk.run, name="line test", daemon=True)
    trips = []
    thread.start()
    try:
        while not bulk.ended.is_set():
            seconds = seconds_of(trip, 0)
            if not bulk.ended.is_set():  # else a part of it was without load
                trips.append(seconds * 1000)
            bulk.ended.wait(PAUSE_SECONDS)
    finally:
        bulk.stop.set()
        thread.join()
    if bulk.failed is not None:
        raise bulk.failed
    return UnderLoad(rate=bulk.rate, moved=bulk.moved, trips_ms=tuple(trips))


class _Bulk:
    """The load of one direction."""

    def __init__(self, act: Callable[[int], None], budget: int, idle: float) -> None:
        self._act, self._budget, self._idle = act, budget, idle
        self.moved, self.requests, self.spent = 0, 0, 0.0
        self.ended, self.stop = threading.Event(), threading.Event()
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Move bytes until the budget or the time is spent; an error is kept for who waits."""
        size = FIRST_REQUEST
        try:
            while self.moved < self._budget and self.spent < MOST_SECONDS and not self.stop.is_set():
                count = min(size, self._budget - self.moved, PART)
                seconds = seconds_of(self._act, count)
                self.moved, self.requests, self.spent = self.moved + count, self.requests + 1, self.spent + seconds
                if seconds < QUICK_SECONDS:
                    size = min(2 * size, PART)
        except BaseException as error:
            self.failed = error
        finally:
            self.ended.set()

    @property
    def rate(self) -> int:
        """Bytes a second, without the round trip that each request costs."""
        net = max(self.spent - self.requests * self._idle, self.spent / 10, 1e-6)
        return max(1, int(self.moved / net))
