"""The sources of a download in the order of preference: which one is asked next, and what each did.

A source that fails is set aside for a while, the longer the more often it fails without a success between; the others
go on meanwhile. For use by several threads at one time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

from courier.distribution.source import (
    DeniedError,
    GoneError,
    Source,
    SourceBusyError,
    SourceFaultError,
    SourceReport,
    WrongBytesError,
)

FIRST_PAUSE, LAST_PAUSE = 0.2, 120.0
"""Seconds for which a source is set aside after its first fault, and at most; each fault doubles it."""
WRONG_PAUSE = 30.0
"""Seconds for which a source is set aside that gave wrong bytes, as long as another one is there."""
MOST_WRONG = 5
"""So often a source may give wrong bytes for one block or file; then it is not asked for that file again."""
_KEPT_WORDS = 20


@dataclass(kw_only=True)
class _Standing:
    source: Source
    kind: str
    until: float = 0.0
    failures: int = 0
    denied: str = ""
    bytes: int = 0
    refused: int = 0
    words: Counter[str] = field(default_factory=Counter)


class SourceList:
    """The sources, each known by its number here."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._all: list[_Standing] = []

    def add(self, source: Source, *, peer: bool = False) -> int:
        """Add a source behind the others; its number."""
        with self._lock:
            self._all.append(_Standing(source=source, kind="peer" if peer else "point"))
            return len(self._all) - 1

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, number: int) -> Source:
        return self._all[number].source

    def name(self, number: int) -> str:
        """What the operator calls it."""
        return self._all[number].source.name

    def points(self) -> list[int]:
        """The numbers of the sources that the operator named."""
        return [number for number, one in enumerate(self._all) if one.kind == "point"]

    def choose(self, avoid: Container[int] = ()) -> int | None:
        """The source to ask now: peers first, then as they were named. None where all are set aside."""
        with self._lock:
            now = self._now()
            ready = [n for n in self._candidates(avoid) if self._all[n].until <= now]
            return ready[0] if ready else None

    def pause(self, avoid: Container[int] = ()) -> float | None:
        """Seconds until a source can be asked again; None where there is none but those to ``avoid``."""
        with self._lock:
            waits = [self._all[n].until for n in self._candidates(avoid)]
            return max(0.0, min(waits) - self._now()) if waits else None

    def _candidates(self, avoid: Container[int]) -> list[int]:
        found = [n for n, one in enumerate(self._all) if n not in avoid and not one.denied]
        return sorted(found, key=lambda n: self._all[n].kind != "peer")

    def worked(self, number: int, count: int) -> None:
        """Note ``count`` good bytes of contents from a source."""
        with self._lock:
            one = self._all[number]
            one.bytes += count
            one.failures = 0

    def missed(self, number: int, error: GoneError) -> None:
        """Note that a source does not have a file; it is not set aside for that."""
        with self._lock:
            self._count(self._all[number], str(error))

    def failed(self, number: int, error: SourceFaultError) -> None:
        """Note a fault of a source, and set it aside."""
        with self._lock:
            one = self._all[number]
            text = str(error)
            self._count(one, text)
            if isinstance(error, GoneError):
                return
            if isinstance(error, DeniedError):
                one.denied = text
                return
            if isinstance(error, SourceBusyError):
                one.until = self._now() + error.seconds
                return
            if isinstance(error, WrongBytesError):
                one.refused += 1
            one.failures += 1
            pause = min(FIRST_PAUSE * 2.0 ** (one.failures - 1), LAST_PAUSE)
            others = [n for n in self._candidates(()) if self._all[n] is not one and self._all[n].until <= self._now()]
            if isinstance(error, WrongBytesError) and others:
                pause = max(pause, WRONG_PAUSE)
            one.until = max(one.until, self._now() + pause)

    @staticmethod
    def _count(one: _Standing, text: str) -> None:
        if text in one.words or len(one.words) < _KEPT_WORDS:
            one.words[text] += 1

    def blames(self) -> list[str]:
        """What went wrong last or most, one text for each source that failed: its name and the words."""
        with self._lock:
            return [f"{one.source.name}: {one.words.most_common(1)[0][0]}" for one in self._all if one.words]

    def reports(self) -> list[SourceReport]:
        """What became of each."""
        with self._lock:
            return [
                SourceReport(
                    name=one.source.name,
                    kind=one.kind,
                    bytes=one.bytes,
                    refused=one.refused,
                    faults=tuple(one.words.most_common()),
                )
                for one in self._all
            ]


def told(blames: Sequence[str]) -> str:
    """Blames in one text for a message."""
    return "; ".join(blames[:4]) + (f"; and {len(blames) - 4} more" if len(blames) > 4 else "")
