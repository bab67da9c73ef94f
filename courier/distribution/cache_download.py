"""A download into a client's cache: room is judged before the first byte, and the package appears whole.

The cache is locked for other programs only while room is judged and while the package gets its name, not while bytes
come. What came stays when the download ends too early, and counts; the next one goes on from there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from courier.distribution.cache_entries import FILES, LISTING, write_record
from courier.distribution.cache_folder import Cache, changing
from courier.distribution.cache_place import Coming, Placing, has_room, judge_coming, make_way
from courier.distribution.cache_staged import (
    RECORD,
    StagedRecord,
    bytes_on_disk,
    delete_staged,
    staging_folder,
    working_on,
    write_staged,
)
from courier.errors import BusyError
from courier.files import sync_folder

_WAIT = 20.0
"""Seconds that another program, which changes the cache, is waited for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Staging:
    """Where a download is put until it is whole. ``resumed``: an earlier try may have left something."""

    folder: Path
    resumed: bool
    record: StagedRecord

    @property
    def files(self) -> Path:
        """The folder of the package's files."""
        return self.folder / FILES

    @property
    def listing(self) -> Path:
        """The package's listing."""
        return self.folder / LISTING

    @property
    def on_disk(self) -> int:
        """Bytes that it takes now."""
        return bytes_on_disk(self.folder)


@contextlib.contextmanager
def _changing(home: Path, *, make: bool = False) -> Iterator[Cache]:
    """As `changing`, but a program that is at work on the cache for a moment is waited for."""
    until = time.monotonic() + _WAIT
    with contextlib.ExitStack() as stack:
        while True:
            try:
                cache = stack.enter_context(changing(home, make=make))
                break
            except BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield cache


def making_cache(home: Path) -> None:
    """Make the cache at ``home`` where there is none. Raises what `changing` raises, also where there is one."""
    with _changing(home, make=True):
        pass


@contextlib.contextmanager
def staging(
    home: Path, package: str, version: int, *, listing: str, size: int, now_ns: int
) -> Iterator[Staging | Placing]:
    """Make the place for a download of ``size`` bytes whose listing has the SHA-256 ``listing``.

    Yields a `Placing` where there is nothing to download: the cache has it, or it would not fit, in which case nothing
    is changed. Raises `BusyError` where another program downloads the same, and what `changing` raises.
    """
    with contextlib.ExitStack() as stack:
        with _changing(home, make=True) as cache:
            folder = staging_folder(cache.content, package, version)
            stack.enter_context(working_on(folder))
            record = StagedRecord(package=package, version=version, listing=listing, bytes=size, started=now_ns)
            judged = judge_coming(cache, _coming(folder, record), now_ns=now_ns)
            found: Staging | Placing
            if isinstance(judged, Placing):
                found = _settled(judged, folder)
            else:
                found = Staging(folder=folder, resumed=write_staged(folder, record), record=record)
        yield found


def _coming(folder: Path, record: StagedRecord) -> Coming:
    return Coming(
        package=record.package, version=record.version, listing=record.listing, bytes=record.bytes, staged=folder
    )


def _settled(placing: Placing, folder: Path) -> Placing:
    """A placing that needs no download; what is left of one goes where the cache has the package already."""
    if placing.already and folder.is_dir():
        delete_staged(folder)
    return placing


def make_room(home: Path, ready: Staging, *, now_ns: int) -> Placing | None:
    """Delete what goes for a download, where the disk has no room for both; else that waits until it is whole.

    Call it once the listing is there, so that a wrong size makes nothing go. Returns a `Placing` where there is nothing
    to download any more, as `staging` has it.
    """
    with _changing(home) as cache:
        judged = judge_coming(cache, _coming(ready.folder, ready.record), now_ns=now_ns)
        if isinstance(judged, Placing):
            return _settled(judged, ready.folder)
        if not has_room(cache, ready.record.bytes - ready.on_disk):
            make_way(cache, judged)
    return None


def place_staged(home: Path, ready: Staging, *, now_ns: int) -> Placing:
    """Make an entry of a download whose files are all there and flushed; what goes for it goes now.

    Where it does not fit any more, because entries were locked meanwhile, nothing is changed and the download stays.
    Raises what `changing` raises.
    """
    with _changing(home) as cache:
        coming = _coming(ready.folder, ready.record)
        judged = judge_coming(cache, coming, now_ns=now_ns)
        if isinstance(judged, Placing):
            return _settled(judged, ready.folder)
        entry, folder = coming.entry(now_ns), cache.entry(coming.package, coming.version)
        make_way(cache, judged)
        write_record(ready.folder, entry)
        ready.folder.rename(folder)
        sync_folder(cache.content)
        (folder / RECORD).unlink(missing_ok=True)
        return Placing(verdict=judged.verdict, entry=entry)
