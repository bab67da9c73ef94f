"""Keeping a download to its windows and caps while it runs: all its connections share one pace.

The settings file is read again while it runs, so that a change counts at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from courier.channel.schedule import SECOND_NS
from courier.distribution.download_limits import DownloadLimits, parse_settings
from courier.errors import StoppedError

LOOK_AGAIN_NS = SECOND_NS
"""The longest time until the settings file is looked at again, and the longest sleep (nanoseconds)."""
_PIECES_A_SECOND = 8
"""Under a cap bytes go in pieces of this part of a second, so that other programs feel no bursts."""
_LEAST = 512


class WindowClosedError(Exception):
    """The windows allow no transfer now."""


def stopped() -> StoppedError:
    """The error of a download that the operator or the system stopped."""
    return StoppedError("stopped; what was fetched is kept", hint="give the same command again to go on")


class Unpaced:
    """No limits, as in the foreground."""

    def take(self, most: int) -> int:
        """See `Pace.take`."""
        return most

    def wait_open(self) -> float:
        """See `Pace.wait_open`."""
        return 0


class Pace:
    """The pace under limits that ``limits`` tells whenever it is asked. For use by several threads at one time.

    ``now``: nanoseconds since 1970 (UTC). ``sleep`` takes seconds. Once ``stop`` is set nothing goes any more.
    """

    def __init__(
        self,
        limits: Callable[[], DownloadLimits],
        *,
        stop: threading.Event,
        now: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._limits, self._now, self._stop = limits, now, stop
        self._sleep = sleep or stop.wait
        self._lock = threading.Lock()
        self._next_ns = 0

    def take(self, most: int) -> int:
        """Wait until bytes may go, and return how many, at most ``most``; they count as gone.

        Raises `WindowClosedError` where no window is open, and `StoppedError`.
        """
        with self._lock:
            while True:
                if self._stop.is_set():
                    raise stopped()
                limits, now_ns = self._limits(), self._now()
                if not limits.admits(now_ns):
                    raise WindowClosedError
                cap = limits.cap(now_ns)
                if not cap:
                    self._next_ns = 0
                    return most
                # A clock that was set back must not make us wait for the moment it was set back from.
                wait = min(self._next_ns - now_ns, most * SECOND_NS // cap + LOOK_AGAIN_NS)
                if wait <= 0:
                    count = min(most, max(cap // _PIECES_A_SECOND, _LEAST))
                    # What was not used a moment ago may be made up for, but no more than a piece of it.
                    start = max(self._next_ns, now_ns - SECOND_NS // _PIECES_A_SECOND)
                    self._next_ns = start + count * SECOND_NS // cap
                    return count
                self._sleep(min(wait, LOOK_AGAIN_NS) / SECOND_NS)

    def wait_open(self) -> float:
        """Wait until a window is open; return the seconds that it took. Raises `StoppedError`."""
        begun_ns = self._now()
        while not self._limits().admits(self._now()):
            if self._stop.is_set():
                raise stopped()
            self._sleep(LOOK_AGAIN_NS / SECOND_NS)
        return max(0, self._now() - begun_ns) / SECOND_NS


class SettingsFile:
    """Limits that a file gives, read again when it changes, looked at once a second at most.

    While it cannot be read, or is wrong, the last good ones count.
    """

    def __init__(self, path: Path, *, warn: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        """Raises `UsageError` for a file that gives no limits, `OSError` where it cannot be read."""
        self._path, self._warn, self._now = path, warn, now
        self._lock = threading.Lock()
        self._state = self._stat()
        self._limits = parse_settings(path.read_bytes(), where=str(path))
        self._looked = now()

    def __call__(self) -> DownloadLimits:
        """The limits as they are now."""
        with self._lock:
            if self._now() - self._looked >= LOOK_AGAIN_NS / SECOND_NS:
                self._looked = self._now()
                self._look()
            return self._limits

    def _stat(self) -> tuple[int, int, int]:
        info = self._path.stat()
        return info.st_mtime_ns, info.st_size, info.st_ino

    def _look(self) -> None:
        from courier.errors import UsageError

        try:
            state = self._stat()
            if state == self._state:
                return
            self._state = state
            self._limits = parse_settings(self._path.read_bytes(), where=str(self._path))
        except OSError:
            return  # it is being replaced
        except UsageError as error:
            self._warn(f"{error.message}; the limits before it count")
