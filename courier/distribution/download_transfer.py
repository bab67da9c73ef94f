"""What all connections of one download share: its sources, its pieces, its open files, and what is counted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from courier.distribution.download_limits import Priority
from courier.distribution.download_pace import Pace, Unpaced
from courier.distribution.download_tree import DownloadTree
from courier.distribution.download_work import Work
from courier.distribution.part_file import PartFile
from courier.distribution.source import Link
from courier.distribution.source_list import SourceList

CONNECTIONS = 4
"""Connections at one time, without another wish: a point gives a client half of its ten."""


@dataclass(kw_only=True)
class Counts:
    """Bytes of contents: fetched, found whole from an earlier try, and zeros that were not fetched."""

    fetched: int = 0
    resumed: int = 0
    zeros: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How to fetch: ``retry_for`` are the seconds without a byte after which it is given up."""

    connections: int = CONNECTIONS
    priority: Priority = Priority.FOREGROUND
    pace: Pace | Unpaced
    retry_for: float = 600


class Transfer:
    """What the threads of one download share."""

    def __init__(
        self, tree: DownloadTree, sources: SourceList, manner: Manner, work: Work, progress: Callable[[int], None]
    ) -> None:
        self.tree, self.sources, self.manner, self.work = tree, sources, manner, work
        self.counts = Counts()
        self._progress = progress
        self._lock = threading.Lock()
        self._links: set[Link] = set()
        self._files: set[PartFile] = set()

    def hang_up(self) -> None:
        """Close all connections, so that no thread waits for one."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    def opened(self, link: Link) -> Link:
        """Note a new connection, so that it can be hung up; return it."""
        with self._lock:
            self._links.add(link)
        return link

    def closed(self, link: Link) -> None:
        """Close a connection."""
        with self._lock:
            self._links.discard(link)
        link.close()

    def file_opened(self, file: PartFile) -> None:
        """Note a large file that is open now."""
        with self._lock:
            self._files.add(file)

    def close_if_whole(self, file: PartFile) -> None:
        """Flush and close a large file once all its blocks are there."""
        if file.claim_close():
            self.tree.close(file.entry, file.descriptor)
            with self._lock:
                self._files.discard(file)

    def close_files(self) -> None:
        """Close the large files that are not whole; call it when no thread runs any more."""
        for file in self._files:
            if file.claim_abandoned():
                os.close(file.descriptor)

    def came(self, number: int, count: int) -> None:
        """Note good bytes from a source."""
        self.sources.worked(number, count)
        self.work.went_on()
        with self._lock:
            self.counts.fetched += count
        self._progress(count)

    def was_there(self, resumed: int, zeros: int = 0) -> None:
        """Note bytes that need not be fetched."""
        self.work.went_on()
        with self._lock:
            self.counts.resumed += resumed
            self.counts.zeros += zeros
        self._progress(resumed + zeros)
