"""Fetching the files of a package over several connections at one time.

Nothing is written before its digest was right: small files by their SHA-256, large ones block by block. What fails is
fetched again, from another source where there is one; the source that failed is named in the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from courier.distribution.background_priority import stand_back
from courier.distribution.download_connections import Connections
from courier.distribution.download_large import LargeFiles
from courier.distribution.download_pace import WindowClosedError
from courier.distribution.download_shared import Counts, Fetching, FilesTarget, Manner
from courier.distribution.download_small import SmallFiles
from courier.distribution.download_work import BATCH_BYTES, BATCH_FILES, Large, Piece, Segment, Small, Work
from courier.distribution.source import SourceFaultError
from courier.distribution.source_list import SourceList
from formats.blocks import BLOCK
from formats.documents.listing import Entry, FileEntry


def fetch_files(
    entries: Iterable[Entry],
    tree: FilesTarget,
    sources: SourceList,
    manner: Manner,
    *,
    stop: threading.Event,
    progress: Callable[[int], None] = lambda _: None,
) -> Counts:
    """Fetch the files of a listing into ``tree``; what is there from an earlier try is not fetched again.

    ``progress`` is told bytes, from several threads. Raises `DamagedError` where every source gives wrong bytes or has
    none, `UnreachableError` where nothing came for long, `StoppedError` once ``stop`` is set, and `OSError`.
    """
    work = Work(stop)
    fetching = Fetching(tree, sources, manner, work, progress)
    threads = [threading.Thread(target=_run, args=(fetching,), name=f"fetch {n}") for n in range(manner.connections)]
    for thread in threads:
        thread.start()
    try:
        for piece in _pieces(tree.files(entries), unchecked=tree.resumed):
            work.give(piece)
        work.finish()
    except BaseException as error:
        work.fail(error)
        fetching.hang_up()
        raise
    finally:
        for thread in threads:
            thread.join()
        fetching.close_files()
    tree.finish()
    return fetching.counts


def _pieces(files: Iterator[FileEntry], *, unchecked: bool) -> Iterator[Piece]:
    batch: list[FileEntry] = []
    size = 0
    for entry in files:
        if entry.size > BLOCK:
            yield Large(entry=entry)
            continue
        batch.append(entry)
        size += entry.size
        if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
            yield Small(entries=batch, unchecked=unchecked)
            batch, size = [], 0
    if batch:
        yield Small(entries=batch, unchecked=unchecked)


def _run(fetching: Fetching) -> None:
    """Do pieces, in a thread of its own, until there are no more."""
    try:
        stand_back(fetching.manner.priority)
        _Worker(fetching).run()
    except BaseException as error:
        fetching.work.fail(error)


class _Worker:
    """One thread with its connections."""

    def __init__(self, shared: Fetching) -> None:
        self._work = shared.work
        self._connections = Connections(shared)
        self._small, self._large = SmallFiles(self._connections), LargeFiles(self._connections)

    def run(self) -> None:
        try:
            while (piece := self._work.take()) is not None:
                self._work.done(*self._do(piece))
        finally:
            self._connections.close()

    def _do(self, piece: Piece) -> list[Piece]:
        """Do a piece as far as one source gives it; what is left of it."""
        connections = self._connections
        if isinstance(piece, Small) and piece.unchecked:
            return self._small.check(piece)
        avoid = piece.file.avoid if isinstance(piece, Segment) else piece.avoid
        number = connections.choose(piece, avoid)
        if number is None:
            return [piece]
        try:
            link = connections.link(number)
            match piece:
                case Small():
                    return self._small.fetch(piece, number, link)
                case Large():
                    return self._large.begin(piece, link)
                case Segment():
                    return self._large.fetch(piece, number, link)
        except WindowClosedError:
            connections.wait_open(number)
            return [piece]
        except SourceFaultError as error:
            connections.failed(number, error)
            connections.note(piece, number, error)
            return [piece]
        raise AssertionError
