"""Keeping to the limits of an address while transfers run: they share one meter, and each has a pacer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from courier.channel.schedule import SECOND_NS, Limits
from courier.channel.transport import PausedError, check_going_on
from courier.site.outbox import PART

LOOK_AGAIN_NS = SECOND_NS
"""The longest sleep before the limits are read again (nanoseconds)."""
AHEAD_NS = 60 * SECOND_NS
"""A transfer that is noted further ahead of the clock was noted before the clock was set back (nanoseconds)."""


class Meter:
    """When the last piece went through one address, by whichever transfer, and how many bytes it had."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last_ns = 0
        self.last_count = 0

    def wait_ns(self, limits: Limits, now_ns: int) -> int:
        """Nanoseconds that the next piece must wait under ``limits``, which may have changed since the last piece."""
        if not self.last_count:
            return 0
        # A clock that was set back must not make us wait for the moment it was set back from. A reply that is held
        # back is noted a little ahead, and that counts.
        if self.last_ns - now_ns > AHEAD_NS:
            self.last_ns = now_ns
        since = max(0, now_ns - self.last_ns)
        return max(0, limits.pause_ns(self.last_count, now_ns) - since)

    def moved(self, count: int, now_ns: int) -> None:
        """Note that ``count`` bytes go at ``now_ns``."""
        self.last_ns, self.last_count = now_ns, count


class Pacer:
    """The `Pace` of transfers of messages of one ``priority``; ``limits`` gives the limits as they are when asked.

    Once ``stop`` is set nothing goes any more.
    """

    def __init__(
        self,
        meter: Meter,
        limits: Callable[[], Limits],
        *,
        priority: str,
        now: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], object] = time.sleep,
        stop: threading.Event | None = None,
    ) -> None:
        self._meter, self._limits, self._now, self._sleep = meter, limits, now, sleep
        self._stop = stop or threading.Event()
        self.priority = priority

    def block(self) -> int:
        """See `Pace.block`. Raises `StoppedError` too."""
        with self._meter.lock:
            while True:
                check_going_on(self._stop)
                limits, now_ns = self._limits(), self._now()
                if not limits.admits(self.priority, now_ns):
                    raise paused(limits, self.priority, now_ns)
                wait = self._meter.wait_ns(limits, now_ns)
                if not wait:
                    size = limits.block(now_ns, PART)
                    self._meter.moved(size, now_ns)
                    return size
                self._sleep(min(wait, LOOK_AGAIN_NS) / SECOND_NS)

    def moved(self, count: int) -> None:
        """See `Pace.moved`. The piece was counted whole when it was let go; a shorter one counts as what it was."""
        with self._meter.lock:
            self._meter.last_count = min(self._meter.last_count, max(count, 1))


def paused(limits: Limits, priority: str, now_ns: int) -> PausedError:
    """The error that says until when the schedule takes no message of a priority."""
    from formats.records import format_time

    opens = limits.opens_ns(priority, now_ns)
    when = f"until {format_time(opens)[:16].replace('T', ' ')} UTC" if opens else "at any hour of the week"
    return PausedError(
        f"its schedule takes no message of {priority} priority {when}",
        hint="the message waits; courier channel address set CODE ADDRESS --schedule changes that",
    )
