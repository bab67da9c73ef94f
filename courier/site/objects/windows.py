"""Small contents read from packs in a bucket: a request gives many of them, as they are read in the order they came."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from courier.site.catalog.objects import Place
from courier.site.objects.bucket import Bucket

WINDOW = 4 << 20
"""Bytes of a pack that one request gives."""
_KEPT = 8
"""Windows that are kept in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Window:
    object: str
    start: int
    data: bytes

    def part(self, place: Place) -> bytes | None:
        at = place.start - self.start
        inside = self.object == place.object and at >= 0 and at + place.size <= len(self.data)
        return self.data[at : at + place.size] if inside else None


class PackWindows:
    """Parts of packs that were read for one content and are there for its neighbours. Threads may share it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._windows: deque[_Window] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def read(self, place: Place) -> bytes:
        """The bytes of a content, fewer where its pack ends before; raises `FileNotFoundError` where that is gone."""
        with self._lock:
            for window in reversed(self._windows):
                if (data := window.part(place)) is not None:
                    return data
        data = self._bucket.read(place.object, place.start, max(WINDOW, place.size))
        with self._lock:
            self._windows.append(_Window(object=place.object, start=place.start, data=data))
        return data[: place.size]

    def forget(self) -> None:
        """Keep nothing that was read, so that it is read anew."""
        with self._lock:
            self._windows.clear()
