"""A client's cache as a folder: where it is, its settings, its lock and who may change it."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from courier.distribution.cache_entries import Damage, delete_entry, entry_folders, read_entry
from courier.distribution.cache_records import CacheSettings, EntryRecord
from courier.distribution.cache_staged import DOWNLOADS, Staged, staged_downloads
from courier.distribution.seen_statements import SEEN
from courier.error_codes import Code
from courier.errors import BusyError, DamagedError, NotFoundError, RefusedError, UsageError
from courier.files import TEMP, locked, make_folder, naming_space, remove_tree, sweep, write_atomic
from formats.errors import FormatError
from formats.records import read_named

SETTINGS, LOCK, MARK = "cache.json", "cache.lock", "cache-content"
"""Names in the folder of a cache, and the file that marks a folder elsewhere as one that holds its entries."""
_RECORD = 4096
"""Bytes that a change of one entry takes on the disk; what takes more, such as a placing, says so itself."""
OWN = "."
"""How `CacheSettings.leaving` calls the cache's own folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cache:
    """A cache that stands at ``home``, with its settings as they were when it was opened."""

    home: Path
    settings: CacheSettings

    @property
    def content(self) -> Path:
        """The folder of the entries."""
        return Path(self.settings.folder) if self.settings.folder else self.home

    def entry(self, package: str, version: int) -> Path:
        """Where the entry of a package version is, or would be."""
        return self.content / f"{package}-{version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """What a cache holds: the entries that are whole, those that are damaged, and downloads that are not ready."""

    entries: tuple[EntryRecord, ...]
    damaged: tuple[Damage, ...]
    downloads: tuple[Staged, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes that count for the size of the cache."""
        whole = sum(one.bytes for one in self.entries) + sum(one.bytes for one in self.damaged)
        return whole + sum(one.held.bytes for one in self.downloads)


def find_cache(given: Path | None) -> Path:
    """Where the cache is: ``given`` (``--cache``), else ``$COURIER_CACHE``, else the platform's folder for caches."""
    if given is not None:
        return given.absolute()
    if named := os.environ.get("COURIER_CACHE"):
        return Path(named).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("courier", appauthor=False)


def told_command(home: Path, words: str) -> str:
    """``courier cache WORDS`` as it has to be given for the cache at ``home``, for hints."""
    return f"courier cache {words}" + ("" if home == find_cache(None) else f" --cache {shlex.quote(str(home))}")


def open_cache(home: Path) -> Cache:
    """The cache at ``home``. Raises `NotFoundError` where there is none, or its entries' folder was taken away."""
    path = home / SETTINGS
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"no cache at {home}",
            hint="connect its disk, name another folder with --cache DIR or $COURIER_CACHE, or make one there: "
            + told_command(home, "config"),
        ) from None
    try:
        settings = read_named(CacheSettings, data.rstrip(b"\n"))
    except FormatError as error:
        raise DamagedError(
            f"{path}: {error}",
            hint=f"restore it from a backup; else delete the folder {home}, whose packages are then fetched again, and "
            f"set the cache up anew: {told_command(home, 'config')}",
        ) from None
    cache = Cache(home=home, settings=settings)
    if not cache.content.is_dir():
        raise NotFoundError(
            f"the entries of the cache at {home} are in {cache.content}, which is not there",
            hint=f"connect its disk; if it is lost, delete {path} and set the cache up again: "
            + told_command(home, "config"),
        )
    return cache


@contextlib.contextmanager
def changing(home: Path, *, make: bool = False) -> Iterator[Cache]:
    """Open the cache at ``home`` to change it, while no other program does; what a kill left is tidied up first.

    ``make``: one with the default settings is made where there is none yet. Raises `BusyError` when another program
    changes it, `RefusedError` for anyone but its owner and root, and what `open_cache` raises.
    """
    if make and not (home / SETTINGS).exists():
        _check_place(home)
    else:
        open_cache(home)
    check_owner(home)
    with _locked(home):
        if make and not (home / SETTINGS).exists():
            save(Cache(home=home, settings=CacheSettings()))
        cache = open_cache(home)
        for folder in {home, cache.content}:
            sweep(folder, spare=SEEN)  # a download remembers a statement while another one changes the cache
        with naming_space(cache.content, lambda: _RECORD, purpose=f"changing the cache at {home}"):
            yield finish_leaving(cache)


def _check_place(home: Path) -> None:
    """Make the folder of a new cache; refuse one that holds something else, or whose disk may have been taken away."""
    if not home.exists():
        if home != find_cache(None) and not home.parent.is_dir():
            raise NotFoundError(f"{home.parent} is not there", hint="connect its disk, or make that folder first")
        make_folder(home)
    ours = {LOCK, SEEN, f"{SEEN}.lock"}
    strange = [path.name for path in home.iterdir() if path.name not in ours and not path.name.startswith(TEMP)]
    if not strange:
        return
    if entry_folders(home):
        raise DamagedError(
            f"{home}: entries of a cache, but no {SETTINGS}",
            hint="restore that file from a backup, or delete the folder; what was in it is fetched again",
        )
    raise UsageError(f"{home} holds other files ({strange[0]})", hint="name an empty or a new folder with --cache")


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(home / LOCK))
        except BusyError:
            raise BusyError(
                f"another program is changing the cache at {home}",
                hint="wait for it to end, then run this command again",
            ) from None
        yield


def check_owner(folder: Path) -> None:
    """Raise `RefusedError` unless this user owns ``folder`` or is root; where the system has no owners, pass."""
    if not hasattr(os, "geteuid"):
        return
    me, owner = os.geteuid(), folder.stat().st_uid
    if me not in (0, owner):
        raise RefusedError(
            f"the cache at {folder} belongs to user {owner}; this is user {me}",
            hint="only its owner or root may change or clear it; use your own with --cache DIR",
            code=Code.PERMISSION,
        )


def save(cache: Cache) -> Cache:
    """Write the settings of ``cache``, whole or not at all; return it."""
    write_atomic(cache.home / SETTINGS, cache.settings.json() + b"\n")
    return cache


def apply_settings(
    cache: Cache,
    *,
    size: int | None = None,
    minimum_age: int | None = None,
    reserve: int | None = None,
    set_by: str = "",
) -> Cache:
    """Give ``cache`` new settings, saved; None leaves one as it is. Call it within `changing`.

    ``size`` and ``reserve`` in bytes, ``minimum_age`` in minutes. ``set_by``: where they come from: empty for the
    operator of this computer, else the site whose signed statement named them. A smaller size deletes nothing: the next
    placing does. Raises `UsageError` for a value that the settings cannot have.
    """
    now = cache.settings
    settings = replace(
        now,
        size=now.size if size is None else size,
        minimum_age=now.minimum_age if minimum_age is None else minimum_age,
        reserve=now.reserve if reserve is None else reserve,
        set_by=set_by,
    )
    try:
        read_named(CacheSettings, settings.json())
    except FormatError as error:
        raise UsageError(f"settings of the cache: {error}", hint="courier cache config --help") from None
    return save(replace(cache, settings=settings))


def inventory(cache: Cache, *, digests: bool = False) -> Inventory:
    """What ``cache`` holds; ``digests``: the content of every file is read and compared as well."""
    found = [read_entry(folder, digests=digests) for folder in entry_folders(cache.content)]
    return Inventory(
        entries=tuple(one for one in found if isinstance(one, EntryRecord)),
        damaged=tuple(one for one in found if isinstance(one, Damage)),
        downloads=staged_downloads(cache.content),
    )


def is_marked(folder: Path, home: Path) -> bool:
    """Whether ``folder`` is marked as one that holds entries of the cache at ``home``."""
    mark = folder / MARK
    return mark.is_file() and mark.read_bytes() == os.fsencode(home) + b"\n"


def finish_leaving(cache: Cache) -> Cache:
    """Delete what a move left in the folder that the entries were moved from; return the cache without that task.

    A folder that is not there any more is left alone: the entries are in the new one.
    """
    if not cache.settings.leaving:
        return cache
    old = cache.home if cache.settings.leaving == OWN else Path(cache.settings.leaving)
    if old.is_dir() and old != cache.content and (old == cache.home or is_marked(old, cache.home)):
        for folder in entry_folders(old):
            delete_entry(folder)
        sweep(old)
        remove_tree(old / DOWNLOADS)
        if old != cache.home:
            (old / MARK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                old.rmdir()
    return save(replace(cache, settings=replace(cache.settings, leaving="")))
