"""What the connections of a download share: where files go, how to fetch, what was counted, what is open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from courier.distribution.download_limits import Priority
from courier.distribution.download_pace import Pace, Unpaced
from courier.distribution.download_work import Work
from courier.distribution.part_file import PartFile
from courier.distribution.source import Link
from courier.distribution.source_list import SourceList
from formats.blocks import BlockTable
from formats.documents.listing import Entry, FileEntry

CONNECTIONS = 4
"""Connections at one time, without another wish: a point gives a client half of its ten."""


class FilesTarget(Protocol):
    """Where the files of a listing are put: a folder of the package's own, or the contents of a point.

    `there`, `write`, `open` and `close` are called by several threads.
    """

    @property
    def resumed(self) -> bool:
        """Whether `there` has to be asked for small files: an earlier try may have left them."""

    def files(self, entries: Iterable[Entry]) -> Iterator[FileEntry]:
        """The files of a listing whose contents are needed."""

    def there(self, entry: FileEntry) -> bool:
        """Whether a small file is there whole, from an earlier try."""

    def write(self, entry: FileEntry, data: memoryview) -> None:
        """Write a small file whose bytes were compared with its digest."""

    def open(self, entry: FileEntry, table: BlockTable, /) -> tuple[int, bool]:
        """Open a large file to write its blocks; its descriptor, and whether it is new. ``table`` is verified."""

    def close(self, entry: FileEntry, descriptor: int) -> None:
        """Flush a large file whose blocks are all there, and close it."""

    def finish(self) -> None:
        """All files are there: flush them, and do what comes after."""


@dataclass(kw_only=True)
class Counts:
    """Bytes of contents: fetched, found whole from an earlier try, and zeros that were not fetched."""

    fetched: int = 0
    resumed: int = 0
    zeros: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How to fetch: ``retry_for`` are the seconds without a byte after which it is given up.

    ``warn`` is told when no source answers and it is waited for one.
    """

    connections: int = CONNECTIONS
    priority: Priority = Priority.FOREGROUND
    pace: Pace | Unpaced
    retry_for: float = 600
    warn: Callable[[str], None] = lambda _: None


class Fetching:
    """See the module."""

    def __init__(
        self, tree: FilesTarget, sources: SourceList, manner: Manner, work: Work, progress: Callable[[int], None]
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
        """Note an open connection, which `hang_up` closes."""
        with self._lock:
            self._links.add(link)
        return link

    def closed(self, link: Link) -> None:
        """Close a connection."""
        with self._lock:
            self._links.discard(link)
        link.close()

    def file_opened(self, entry: FileEntry, descriptor: int, table: BlockTable) -> PartFile:
        """The file that was opened as ``descriptor``, which `close_files` closes where nobody did."""
        try:
            file = PartFile(entry, descriptor, table)
        except BaseException:  # the disk takes no file of that size
            os.close(descriptor)
            raise
        with self._lock:
            self._files.add(file)
        return file

    def close_if_whole(self, file: PartFile) -> None:
        """Flush and close a large file once all its blocks are there."""
        if file.claim_close():
            self.tree.close(file.entry, file.descriptor)
            with self._lock:
                self._files.discard(file)

    def close_files(self) -> None:
        """Close the files that are not whole."""
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
