"""A whole download: the statement, room, the listing, the files, and then the package in the cache or in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from courier.distribution.asking import Asking
from courier.distribution.cache_class import apply_class
from courier.distribution.cache_download import Staging, make_room, making_cache, place_staged, staging
from courier.distribution.cache_entries import FILES
from courier.distribution.cache_folder import open_cache
from courier.distribution.cache_place import Placing
from courier.distribution.cache_staged import StagedRecord, bytes_on_disk, delete_staged, working_on, write_staged
from courier.distribution.download_files import fetch_files
from courier.distribution.download_plan import Found, fetch_statement, find, put_listing, read_cards
from courier.distribution.download_shared import Counts, Manner
from courier.distribution.download_tree import DownloadTree
from courier.distribution.http_source import http_source
from courier.distribution.seen_statements import SEEN, SEEN_BESIDE, Memory
from courier.distribution.source import Patience, Source, SourceReport
from courier.distribution.source_list import SourceList
from courier.distribution.space_left import SpaceLeft
from courier.errors import NoSpaceError, NotFoundError, UsageError
from courier.files import RESERVE, atomic_file, free_space, make_folder, naming_space, sync_folder
from courier.site.clock import now
from formats.documents.card import SiteCard
from formats.documents.listing import read_listing

PEER_PATIENCE = Patience(connect=3, answer=10, stall=10)
"""How long another computer of the branch is waited for: it may be switched off at any time."""
_RETRY_STATEMENT = 30.0
"""Seconds for which a statement alone is asked for."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows the progress of so many bytes under a title; see `courier.cli.console.Console.progress`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is to be downloaded, and from where.

    ``version``: None for the newest. ``points``: in the order of preference. ``cards``: by site, the first that of the
    site that runs the points. ``point``: the name that the point must have, empty for any. ``client_class``: whose
    settings the cache takes over from the statement, empty for none. ``ca_file``: the certificates by which peers are
    checked over https, as ``points`` were made with them; None: the system's.
    """

    package: str
    version: int | None
    points: tuple[Source, ...]
    cards: Mapping[str, SiteCard]
    manner: Manner
    point: str = ""
    client_class: str = ""
    ca_file: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a download. ``placing``: in a cache; without an entry it did not fit. ``where``: its files.

    ``set_id_dropped``: files and folders whose set-user-ID or set-group-ID bits were left out.
    """

    found: Found
    counts: Counts
    sources: tuple[SourceReport, ...]
    where: Path
    placing: Placing | None = None
    set_id_dropped: int = 0


class _Download:
    """What both kinds of download do."""

    def __init__(self, wish: Wish, memory: Memory, stop: threading.Event, progress: Progress) -> None:
        self.wish, self._stop, self._progress = wish, stop, progress
        self.sources = SourceList()
        self._set_id_dropped = 0
        for source in wish.points:
            self.sources.add(source)
        manner = wish.manner
        self._asking = Asking(self.sources, stop, retry_for=manner.retry_for, pace=manner.pace, warn=manner.warn)
        wish.manner.pace.wait_open()  # the time by which documents are judged is that of their coming
        self.found = find(
            self._asking,
            memory,
            wish.cards,
            package=wish.package,
            version=wish.version,
            now_ns=now(),
            point=wish.point,
        )
        self._add_peers()

    @property
    def size(self) -> int:
        """Bytes of all files, as the definition has it; proved once the listing is there."""
        return self.found.package.definition.listing.bytes

    def _add_peers(self) -> None:
        named = {source.name.rstrip("/") for source in self.wish.points}
        for url in self.found.statement.peers:
            if url.rstrip("/") not in named:
                with contextlib.suppress(UsageError):  # an address that this client cannot use
                    source = http_source(url, patience=PEER_PATIENCE, ca_file=self.wish.ca_file)
                    self.sources.add(source, peer=True)

    def fetch_listing(self, ready: Staging) -> None:
        """Put the listing into the staging folder, unless an earlier try did."""
        if ready.listing.is_file():
            with ready.listing.open("rb") as source:
                if hashlib.file_digest(source, "sha256").hexdigest() == ready.record.listing:
                    return
        ref = self.found.ref
        purpose = f"the listing of {ref.package}:{ref.version}"
        with atomic_file(ready.listing) as out:
            left = SpaceLeft(ready.folder, reserve=RESERVE, purpose=purpose, hint="free space there")
            put_listing(self._asking, self.found.package.definition, out, wrote=left.watching())

    def fetch(self, ready: Staging) -> Counts:
        """Fetch all files into the staging folder."""
        ref = self.found.ref
        make_folder(ready.files)
        with (
            ready.listing.open("rb") as listing,
            DownloadTree(ready.files, resumed=ready.resumed) as tree,
            self._progress(f"Downloading {ref.package}:{ref.version}", self.size) as progress,
        ):
            counts = fetch_files(
                read_listing(listing),
                tree,
                self.sources,
                self.wish.manner,
                stop=self._stop,
                progress=progress,
            )
            self._set_id_dropped = tree.set_id_dropped
            return counts

    def outcome(self, where: Path, counts: Counts, placing: Placing | None = None) -> Outcome:
        """What became of it."""
        return Outcome(
            found=self.found,
            counts=counts,
            sources=tuple(self.sources.reports()),
            where=where,
            placing=placing,
            set_id_dropped=self._set_id_dropped,
        )


def download_to_cache(wish: Wish, home: Path, *, stop: threading.Event, progress: Progress) -> Outcome:
    """Download a package version into the cache at ``home``; one is made where there is none.

    Where it does not fit, nothing is changed, and the outcome has the verdict. Raises `RefusedError` for what may not
    be taken and for anyone but the owner of the cache, `NotFoundError`, `DamagedError`, `UnreachableError`,
    `NoSpaceError`, `BusyError`, `StoppedError`. What was fetched stays, and counts with the next try.
    """
    making_cache(home)
    download = _Download(wish, Memory(home / SEEN), stop, progress)
    if wish.client_class:
        apply_class(home, download.found.statement, wish.client_class)
    ref = download.found.ref
    with staging(home, ref.package, ref.version, listing=ref.listing, size=download.size, now_ns=now()) as ready:
        if isinstance(ready, Placing):
            return download.outcome(_placed(home, ready), Counts(), ready)
        with _explaining(home, ready.folder, download):
            download.fetch_listing(ready)
            if (placing := make_room(home, ready, now_ns=now())) is not None:
                return download.outcome(_placed(home, placing), Counts(), placing)
            counts = download.fetch(ready)
        placing = place_staged(home, ready, now_ns=now())
        return download.outcome(_placed(home, placing), counts, placing)


def _placed(home: Path, placing: Placing) -> Path:
    """The folder of the files of an entry, wherever the cache was moved to; empty where there is none."""
    entry = placing.entry
    return Path() if entry is None else open_cache(home).entry(entry.package, entry.version) / FILES


def download_to_folder(wish: Wish, target: Path, *, stop: threading.Event, progress: Progress) -> Outcome:
    """Download a package version into ``target``, a folder that does not exist yet or is empty, whole or not at all.

    Until it is whole its files are in a folder beside it, whose name begins with a dot. Raises `UsageError` where
    ``target`` holds something, and as `download_to_cache` does.
    """
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not an empty folder", hint="name a folder that does not exist yet")
    if not target.parent.is_dir():
        raise NotFoundError(f"{target.parent} is not there", hint="connect its disk, or make that folder first")
    download = _Download(wish, Memory(target.parent / SEEN_BESIDE), stop, progress)
    ref, size = download.found.ref, download.size
    folder = target.parent / f".{target.name[-100:]}.courier-download"
    record = StagedRecord(package=ref.package, version=ref.version, listing=ref.listing, bytes=size, started=now())
    with working_on(folder), _explaining(target.parent, folder, download):
        free = free_space(target.parent) + bytes_on_disk(folder)
        if free < size + RESERVE:
            raise NoSpaceError.short_of(
                f"downloading {ref.package}:{ref.version}",
                needed=size,
                free=free,
                reserve=RESERVE,
                place=str(target.parent),
            )
        resumed = write_staged(folder, record)
        ready = Staging(folder=folder, resumed=resumed, record=record)
        download.fetch_listing(ready)
        counts = download.fetch(ready)
        if target.exists():
            target.rmdir()
        ready.files.rename(target)
        sync_folder(target.parent)
        delete_staged(folder)
    return download.outcome(target, counts)


@contextlib.contextmanager
def _explaining(place: Path, folder: Path, download: _Download) -> Iterator[None]:
    """Say it in words where the disk fills up, or the place is taken away, while it runs."""
    ref = download.found.ref
    try:
        with naming_space(place, lambda: download.size, purpose=f"downloading {ref.package}:{ref.version}"):
            yield
    except OSError:
        if folder.is_dir():
            raise
        raise NotFoundError(
            f"{folder} was taken away while {ref.package}:{ref.version} was downloaded into it",
            hint="connect its disk again; then give the same command again",
        ) from None


def take_over_class(home: Path, client_class: str, points: tuple[Source, ...], card: Path) -> None:
    """Give the cache at ``home``, made where there is none, the settings that the site has for a class of clients.

    They come from the statement of the first point that gives it, verified with the site's ``card``. Raises as
    `download_to_cache` does.
    """
    making_cache(home)
    sources = SourceList()
    for source in points:
        sources.add(source)
    cards, memory = read_cards([card]), Memory(home / SEEN)
    own = next(iter(cards.values()))
    asking = Asking(sources, threading.Event(), retry_for=_RETRY_STATEMENT)
    statement = asking.first(lambda fetch: fetch_statement(fetch, memory, own, now_ns=now()))
    apply_class(home, statement, client_class)
