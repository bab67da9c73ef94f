"""The archives of a plan by their index, although a plan only gives them in order."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from courier.parcel.archive_plan import PlannedArchive


class ArchivesByIndex:
    """The archives of a plan by their index. Nearly all are asked for in their order, in which they are planned."""

    def __init__(self, archives: Collection[PlannedArchive]) -> None:
        self._archives = archives
        self._rest = iter(archives)
        self._at = 0
        self._taken = set[int]()

    def get(self, index: int) -> PlannedArchive:
        """Archive ``index``, from 0; each is asked for once."""
        while self._at in self._taken:
            next(self._rest)
            self._taken.remove(self._at)
            self._at += 1
        if index == self._at:
            self._at += 1
            return next(self._rest)
        # A small one that filled up an earlier volume.
        self._taken.add(index)
        return next(islice(iter(self._archives), index, None))
