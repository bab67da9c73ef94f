"""What is still to be fetched, in pieces that a connection takes one after the other.

Small files go many at a time, large ones in runs of blocks, so that several connections fetch one file. Pieces of a
file that is begun come before the next file. The number of pieces that wait is bounded, however long the listing is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from courier.distribution.download_pace import stopped
from courier.distribution.part_file import PartFile
from formats.documents.listing import FileEntry

BATCH_FILES, BATCH_BYTES = 64, 4 << 20
"""Small files of a piece at most, and their bytes."""
SEGMENT_BLOCKS = 64
"""Blocks of a request at most: a server is asked some 16 times for a GiB, not for every block."""
LEAST_SEGMENT = 4
WAITING = 16
"""Pieces that wait at most before more of the listing is read."""


@dataclass(kw_only=True)
class Small:
    """Small files to fetch. ``avoid``: numbers of sources not to ask. ``wrong``: how often a source gave wrong bytes.

    ``unchecked``: an earlier try may have left them on the disk.
    """

    entries: list[FileEntry]
    avoid: set[int] = field(default_factory=set)
    wrong: dict[int, int] = field(default_factory=dict)
    unchecked: bool = False


@dataclass(kw_only=True)
class Large:
    """A large file to begin. ``avoid``: numbers of sources that do not have its block table."""

    entry: FileEntry
    avoid: set[int] = field(default_factory=set)
    wrong: dict[int, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class Segment:
    """Blocks of a large file to fetch, from ``first`` to before ``end``."""

    file: PartFile
    first: int
    end: int


Piece = Small | Large | Segment


class Work:
    """The pieces that wait and those that are being done, for several threads."""

    def __init__(self, stop: threading.Event, *, now: Callable[[], float] = time.monotonic) -> None:
        self.stop = stop
        self._now = now
        self._changed = threading.Condition()
        self._waiting: deque[Piece] = deque()
        self._busy = 0
        self._all_given = False
        self._error: BaseException | None = None
        self._progress = now()

    def give(self, piece: Piece) -> None:
        """Add a piece of the listing; waits while many are waiting. Raises what `check` raises."""
        with self._changed:
            while len(self._waiting) >= WAITING and not self._over():
                self._changed.wait(0.5)
            self._raise()
            self._waiting.append(piece)
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait until every piece is done. Raises what went wrong in a thread, and `StoppedError`."""
        with self._changed:
            self._all_given = True
            self._changed.notify_all()
            while (self._waiting or self._busy) and not self._over():
                self._changed.wait(0.5)
            self._raise()

    def take(self) -> Piece | None:
        """The next piece to do; None where there will be no more."""
        with self._changed:
            while not self._waiting and not self._over() and (self._busy or not self._all_given):
                self._changed.wait(0.5)
            if self._over() or not self._waiting:
                return None
            self._busy += 1
            piece = self._waiting.popleft()
            self._changed.notify_all()
            return piece

    def done(self, *further: Piece) -> None:
        """Say that a piece is done, and what is left of it, which comes next."""
        with self._changed:
            self._waiting.extendleft(reversed(further))
            self._busy -= 1
            self._changed.notify_all()

    def postpone(self, piece: Piece) -> None:
        """Put a piece that cannot be done now behind all others."""
        with self._changed:
            self._waiting.append(piece)

    def fail(self, error: BaseException) -> None:
        """End all work because of an error."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def went_on(self, *, seconds: float = 0) -> None:
        """Note that something was fetched, or that ``seconds`` passed in which nothing could be."""
        self._progress = self._progress + seconds if seconds else self._now()

    @property
    def idle(self) -> float:
        """Seconds since something was fetched."""
        return self._now() - self._progress

    def check(self) -> None:
        """Raise what ended the work, if something did."""
        if self._over():
            with self._changed:
                self._raise()

    @property
    def is_over(self) -> bool:
        """Whether the work was ended by an error or from outside."""
        return self._over()

    def _over(self) -> bool:
        return self._error is not None or self.stop.is_set()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
        if self.stop.is_set():
            raise stopped()


def segments(file: PartFile, connections: int) -> list[Segment]:
    """The blocks that a file misses, so that ``connections`` of them have much the same to do."""
    runs = file.missing(0, file.blocks)
    missing = sum(end - first for first, end in runs)
    length = min(SEGMENT_BLOCKS, max(LEAST_SEGMENT, -(-missing // max(1, connections))))
    return [
        Segment(file=file, first=at, end=min(at + length, end))
        for first, end in runs
        for at in range(first, end, length)
    ]
