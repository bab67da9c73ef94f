"""Reading volumes back in a thread of its own, while the next one is written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Self

from courier.media.volume_in_making import VolumeInMaking
from courier.sending.member_source import BuildStoppedError


class ReadBackBeside:
    """Reads volumes back in a thread of its own, while the next is written. A context manager."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._pool = ThreadPoolExecutor(1, "read back")
        self._progress = progress
        self._stop = Event()
        self._begun: list[Future[None]] = []

    def begin(self, volume: VolumeInMaking) -> None:
        """Begin to read a volume back; raises what the reading of an earlier one has raised."""
        self._begun.append(self._pool.submit(volume.read_payload, self._told))
        for proof in self._begun:
            if proof.done():
                proof.result()

    def finish(self) -> None:
        """Wait until all are read back; raises what that has raised."""
        for proof in self._begun:
            proof.result()

    def _told(self, count: int) -> None:
        if self._stop.is_set():
            raise BuildStoppedError
        self._progress(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._stop.set()
        self._pool.shutdown(cancel_futures=True)
