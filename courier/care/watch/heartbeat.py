"""The sign of life of a watch: a file in the home that says what it is doing, and when that was so.

Whether a watch runs is told by its lock, which the system drops however the process ends; the file says since when, and
after a crash when it was last seen.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Annotated

from courier.care.watch.service_manager import ServiceManager
from courier.errors import CourierError
from courier.files import make_folder, write_atomic
from courier.site.clock import now
from courier.site.file_names import WATCH
from courier.site.home import Site
from courier.text import one_line
from formats.errors import FormatError
from formats.records import Count, NamedRecord, Time, read_named, text

STATE, LOCK = "state.json", "lock"
BEAT_SECONDS = 30.0
STUCK_SECONDS = 6 * 3600.0
"""A step that gives no sign for so long is taken for stuck: the service manager is told nothing more, and ends it.

A message over a slow line, or a large disc, may well take hours.
"""
STALE_NS = 600 * 10**9
"""A watch that holds its lock and was not seen for so long is suspended, or its disk is full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchState(NamedRecord):
    """What a watch last said of itself.

    ``once``: it makes one round and ends. ``ended``: it has ended by itself. ``step``: what it is doing; ``trouble``:
    what failed last and is tried again, or empty.
    """

    NAME = "watch"

    process: Count
    host: Annotated[str, text(300)]
    user: Annotated[str, text(300)]
    started_ns: Time
    seen_ns: Time
    once: bool
    ended: bool
    step: Annotated[str, text(300)]
    trouble: Annotated[str, text(2000)]


def watch_folder(home: Path) -> Path:
    """The folder of a home in which a watch keeps its files."""
    return home / WATCH


def is_watched(site: Site) -> bool:
    """Whether a watch runs for the home of a site now, at whichever computer."""
    return site.is_locked(watch_folder(site.home) / LOCK)


def read_state(home: Path) -> WatchState | None:
    """What a watch last said of itself; None where none ever ran, or what it said cannot be read."""
    try:
        return read_named(WatchState, (watch_folder(home) / STATE).read_bytes().rstrip(b"\n"))
    except (OSError, FormatError):
        return None


class Heartbeat:
    """Writes the file, and tells the service manager, from a thread of its own while the block runs."""

    def __init__(self, home: Path, *, user: str, once: bool, manager: ServiceManager) -> None:
        self._path = make_folder(watch_folder(home)) / STATE
        self._manager = manager
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._sign = time.monotonic()
        host = socket.gethostname()[:300]
        begun = now()
        self._state = WatchState(
            process=os.getpid(),
            host=host,
            user=user[:300],
            started_ns=begun,
            seen_ns=begun,
            once=once,
            ended=False,
            step="it begins",
            trouble="",
        )
        pause = min(BEAT_SECONDS, manager.watchdog_seconds / 3 or BEAT_SECONDS)
        self._thread = threading.Thread(target=self._run, args=(pause,), name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        write_atomic(self._path, self._state.json() + b"\n", private=True)
        self._manager.ready()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._manager.stopping()
        with self._lock:
            self._state = replace(self._state, ended=True, step="")
        self._write()

    def step(self, what: str, *, is_long: bool = False) -> None:
        """A step begins; one that may take long (``is_long``) is in the file at once.

        It may name a medium, which is called what a stranger wants: a line of it would be an order for the manager.
        """
        with self._lock:
            self._state = replace(self._state, step=one_line(what)[:300])
        self.alive()
        if is_long:
            self._write()

    def alive(self) -> None:
        """The step goes on."""
        self._sign = time.monotonic()

    def trouble(self, what: str) -> None:
        """What failed and is tried again; empty: nothing any more. It is in the file at once."""
        what = one_line(what)[:2000]
        if what != self._state.trouble:
            with self._lock:
                self._state = replace(self._state, trouble=what)
            self._write()

    def _run(self, pause: float) -> None:
        written = time.monotonic()
        while not self._ended.wait(pause):
            moment = time.monotonic()
            if moment - self._sign < STUCK_SECONDS:
                self._manager.alive(self._state.step)
            if moment - written >= BEAT_SECONDS - pause:
                self._write()
                written = moment

    def _write(self) -> None:
        # A full disk, or a clock that is wrong: the work goes on, and says so itself.
        with contextlib.suppress(OSError, CourierError), self._lock:
            self._state = replace(self._state, seen_ns=now())
            write_atomic(self._path, self._state.json() + b"\n", private=True)
