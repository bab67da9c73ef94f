"""Keeping the reserve of a disk free while something is fetched to it, whoever else writes there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from courier.errors import NoSpaceError
from courier.files import free_space

_LOOK_AGAIN = 64 << 20
"""Bytes after which it is looked whether the disk still has its reserve."""


class SpaceLeft:
    """The disk of ``folder``, of which ``reserve`` bytes stay free. ``purpose`` and ``hint`` are for messages.

    For use by several threads at one time.
    """

    def __init__(self, folder: Path, *, reserve: int, purpose: str, hint: str) -> None:
        self._folder, self._reserve, self._purpose, self._hint = folder, reserve, purpose, hint
        self._lock = threading.Lock()
        self._since = 0

    def require(self, needed: int) -> None:
        """Raise `NoSpaceError` where the disk has less than ``needed`` bytes beside its reserve."""
        free = free_space(self._folder)
        if needed and free < needed + self._reserve:
            raise NoSpaceError(
                f"{self._purpose} needs {needed:,} bytes; the disk of {self._folder} has {free:,} free, "
                f"of which {self._reserve:,} stay free",
                hint=self._hint,
            )

    def watching(self, progress: Callable[[int], None] = lambda _: None) -> Callable[[int], None]:
        """``progress``, which also raises `NoSpaceError` when what was written comes near the reserve."""

        def done(count: int) -> None:
            with self._lock:
                self._since += count
                look = self._since >= _LOOK_AGAIN
                self._since = 0 if look else self._since
            if look:
                self.require(1)
            progress(count)

        return done
