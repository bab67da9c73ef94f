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

from courier.distribution.cache_entries import FILES, LISTING, delete_entry, write_record
from courier.distribution.cache_folder import Cache, changing
from courier.distribution.cache_place import Placing, entry_there, evict, judge_placing
from courier.distribution.cache_records import EntryRecord
from courier.distribution.cache_rules import Verdict
from courier.distribution.cache_staged import (
    RECORD,
    StagedRecord,
    bytes_on_disk,
    forget_lock,
    staging_folder,
    working_on,
    write_staged,
)
from courier.errors import BusyError
from courier.files import free_space, sync_folder

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
            there = entry_there(cache, package, version, digest=listing, now_ns=now_ns)
            folder = staging_folder(cache.content, package, version)
            stack.enter_context(working_on(folder))
            found: Staging | Placing
            if isinstance(there, EntryRecord):
                found = Placing(verdict=Verdict(fits=True), entry=there, already=True)
            else:
                verdict = judge_placing(cache, size, now_ns=now_ns, replaced=there, own=folder)
                record = StagedRecord(package=package, version=version, listing=listing, bytes=size, started=now_ns)
                if verdict.fits:
                    resumed = write_staged(folder, record)
                    found = Staging(folder=folder, resumed=resumed, record=record)
                else:
                    found = Placing(verdict=verdict)
        yield found


def make_room(home: Path, ready: Staging, *, now_ns: int) -> Verdict:
    """Delete what goes for a download, where the disk has no room for both; else that waits until it is whole.

    Call it once the listing is there, so that a wrong size makes nothing go. Returns the verdict as it is now.
    """
    size = ready.record.bytes
    with _changing(home) as cache:
        verdict = judge_placing(cache, size, now_ns=now_ns, own=ready.folder)
        if verdict.fits and free_space(cache.content) < size + cache.settings.reserve:
            evict(cache, verdict)
    return verdict


def place_staged(home: Path, ready: Staging, *, now_ns: int) -> Placing:
    """Make an entry of a download whose files are all there and flushed; what goes for it goes now.

    Where it does not fit any more, because entries were locked meanwhile, nothing is changed and the download stays.
    Raises what `changing` raises.
    """
    record = ready.record
    with _changing(home) as cache:
        there = entry_there(cache, record.package, record.version, digest=record.listing, now_ns=now_ns)
        if isinstance(there, EntryRecord):
            return Placing(verdict=Verdict(fits=True), entry=there, already=True)
        verdict = judge_placing(cache, record.bytes, now_ns=now_ns, replaced=there, own=ready.folder)
        if not verdict.fits:
            return Placing(verdict=verdict)
        entry = EntryRecord(
            package=record.package,
            version=record.version,
            listing=record.listing,
            bytes=record.bytes,
            placed_ns=now_ns,
            referenced_ns=now_ns,
        )
        folder = cache.entry(record.package, record.version)
        if there is not None:
            delete_entry(folder)
        evict(cache, verdict)
        write_record(ready.folder, entry)
        ready.folder.rename(folder)
        sync_folder(cache.content)
        (folder / RECORD).unlink(missing_ok=True)
        forget_lock(ready.folder)
        return Placing(verdict=verdict, entry=entry)
