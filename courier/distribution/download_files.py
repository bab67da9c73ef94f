"""Fetching the files of a package over several connections at one time.

Nothing is written before its digest was right: small files by their SHA-256, large ones block by block. What fails is
fetched again, from another source where there is one; the source that failed is named in the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from courier.distribution.background_priority import stand_back
from courier.distribution.download_transfer import Counts, Manner, Transfer
from courier.distribution.download_tree import DownloadTree
from courier.distribution.download_work import BATCH_BYTES, BATCH_FILES, Large, Piece, Small, Work
from courier.distribution.download_worker import Worker
from courier.distribution.source_list import SourceList
from formats.blocks import BLOCK
from formats.documents.listing import Entry, FileEntry


def fetch_files(
    entries: Iterable[Entry],
    tree: DownloadTree,
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
    transfer = Transfer(tree, sources, manner, work, progress)
    threads = [threading.Thread(target=_run, args=(transfer,), name=f"fetch {n}") for n in range(manner.connections)]
    for thread in threads:
        thread.start()
    try:
        for piece in _pieces(tree.files(entries), unchecked=tree.resumed):
            work.give(piece)
        work.finish()
    except BaseException as error:
        work.fail(error)
        transfer.hang_up()
        raise
    finally:
        for thread in threads:
            thread.join()
        transfer.close_files()
    tree.finish()
    return transfer.counts


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


def _run(transfer: Transfer) -> None:
    """Do pieces in this thread until there are no more."""
    try:
        stand_back(transfer.manner.priority)
        Worker(transfer).run()
    except BaseException as error:
        transfer.work.fail(error)
