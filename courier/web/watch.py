"""Noticing that something changed at a site, and keeping a snapshot of what takes long to gather.

One thread looks once a second, as long as somebody looks at the dashboard: at the catalogue, by whatever command it was
written, and at the folders in which blocks of arriving parcels gather. Pages ask what it found, and ask no disk.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from courier.errors import CourierError, explain
from courier.files import explain_os
from courier.site.home import Site
from courier.web.snapshot import Snapshot, take_snapshot
from formats.errors import FormatError

LOOK_SECONDS = 1.0
GATHER_AGAIN_SECONDS = 60.0
"""A snapshot is gathered anew after this time though nothing was written: what is overdue changes with the clock."""
LEAST_SECONDS = 3.0
TIMES_LONGER = 10
"""Between two snapshots there are at least `LEAST_SECONDS`, and so many times as long as one took to gather: however
often something changes, the site has its time for the commands."""
UNSEEN_SECONDS = 90.0
"""When nobody has asked for so long, nothing is looked at any more until somebody does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What was found last. ``mark`` is another text when anything changed; ``problem``: why nothing is newer."""

    mark: str
    snapshot: Snapshot | None
    problem: CourierError | None


class Watch:
    """Watches a site in a thread of its own, from `start` to `end`."""

    def __init__(
        self,
        site: Site,
        *,
        gather: Callable[[Site], Snapshot] = take_snapshot,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock``: seconds, from any beginning."""
        self._site, self._gather, self._clock = site, gather, clock
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._first = threading.Event()
        self._run = secrets.token_hex(4)
        self._changes = 0
        self._state = ""
        self._snapshot: Snapshot | None = None
        self._problem: CourierError | None = None
        self._asked = clock()
        self._gather_at = clock()
        self._not_before = float("-inf")
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._ended.is_set()

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def end(self) -> None:
        """Stop watching, and wait until what is being gathered is done."""
        self._ended.set()
        self._wanted.set()
        self._thread.join()

    def seen(self) -> Seen:
        """What was found last; whoever asks is looked for."""
        self._asked = self._clock()
        self._wanted.set()
        return Seen(mark=f"{self._run}-{self._changes}", snapshot=self._snapshot, problem=self._problem)

    def first(self, seconds: float) -> Seen:
        """As `seen`, once the first snapshot was gathered or could not be; waits for that so long at most."""
        self._first.wait(seconds)
        return self.seen()

    def _look_on(self) -> None:
        while not self._ended.is_set():
            try:
                self._watch_catalogue()
            except Exception as error:  # whatever it is, the pages say it, and it is tried again
                self._fail(error)
                self._ended.wait(LEAST_SECONDS)

    def _watch_catalogue(self) -> None:
        with self._site.catalogue.watching() as state:
            while not self._ended.is_set():
                found = f"{state()} {self._folders()}"
                changed, self._state = found != self._state, found
                if changed:
                    self._changes += 1
                    self._gather_at = min(self._gather_at, self._clock())
                if changed or self._clock() >= self._gather_at:
                    self._snapshot_when_due()
                self._pause()

    def _snapshot_when_due(self) -> None:
        """Gather, unless the last time was a moment ago: then what changed is gathered later."""
        begun = self._clock()
        if begun < self._not_before:
            self._gather_at = self._not_before
            return
        self._snapshot = self._gather(self._site)
        self._problem = None
        took = self._clock() - begun
        self._not_before = begun + took + max(LEAST_SECONDS, TIMES_LONGER * took)
        self._gather_at = max(self._not_before, begun + GATHER_AGAIN_SECONDS)
        self._changes += 1
        self._first.set()

    def _fail(self, error: Exception) -> None:
        problem = told(error)
        if self._problem is None or self._problem.message != problem.message:
            self._changes += 1
        self._problem = problem
        # It is over as soon as something is gathered again, also where nothing was written meanwhile.
        self._gather_at = min(self._gather_at, self._clock())
        self._first.set()

    def _pause(self) -> None:
        # In this order nobody who asks meanwhile, or ends the watch, is overlooked.
        self._wanted.clear()
        if self._clock() - self._asked > UNSEEN_SECONDS and not self._ended.is_set():
            self._wanted.wait()
        self._ended.wait(LOOK_SECONDS)

    def _folders(self) -> int:
        """A number that differs when blocks of an arriving parcel were put into its spool."""
        newest = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(self._site.home / "parcels" / "in") as spools:
            for spool in spools:
                with contextlib.suppress(OSError):
                    newest = max(
                        newest, (self._site.home / "parcels" / "in" / spool.name / "archives").stat().st_mtime_ns
                    )
        return newest


def told(error: Exception) -> CourierError:
    """An error as people are told it."""
    if isinstance(error, CourierError):
        return error
    if isinstance(error, FormatError):
        return explain(error)
    if isinstance(error, OSError):
        return explain_os(error)
    return CourierError(f"unexpected: {type(error).__name__}: {error}", hint="report this; the other commands work on")
