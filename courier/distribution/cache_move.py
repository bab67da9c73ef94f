"""Moving the entries of a client's cache to another folder, with every entry whole at every instant.

They are copied, compared with their digests and flushed; then one rename of ``cache.json`` switches to the copies, and
what was left behind is deleted. A kill before the switch leaves the old entries in use, and the same command goes on
with the copies that are whole; one after it leaves the new ones in use, and the next change of the cache deletes the
rest. The folder of the cache itself, with its settings, stays where it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from courier.distribution.cache_entries import (
    FILES,
    LISTING,
    EntryError,
    check_files,
    delete_entry,
    entry_folders,
    read_entry,
    write_listing_copy,
    write_record,
)
from courier.distribution.cache_folder import (
    MARK,
    OWN,
    Cache,
    changing,
    check_owner,
    finish_leaving,
    inventory,
    is_marked,
    save,
    told_command,
)
from courier.distribution.cache_place import copy_of
from courier.distribution.cache_records import EntryRecord
from courier.errors import BusyError, DamagedError, NoSpaceError, UsageError
from courier.files import (
    TEMP,
    free_space,
    make_folder,
    naming_space,
    path_text,
    remove_tree,
    sweep,
    sync_folder,
    write_atomic,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """What a move did: from where to where, how many entries, and their bytes. Equal folders: nothing was to do."""

    source: Path
    target: Path
    entries: int
    bytes: int


def move(home: Path, target: Path) -> Moved:
    """Move the entries of the cache at ``home`` into ``target``, a folder that is new, empty, or a move's own.

    Raises `UsageError` for a folder that cannot take them, `DamagedError` that names a damaged entry, `NoSpaceError`,
    `BusyError` while a program downloads into it, and what `changing` raises. In each case the entries stay where they
    are. What is left of downloads that ended too early is not moved, but deleted.
    """
    target = target.absolute()
    with changing(home) as cache:
        source = cache.content
        found = inventory(cache)
        moved = Moved(
            source=source,
            target=target,
            entries=len(found.entries),
            bytes=sum(one.bytes for one in found.entries),
        )
        if target == source or (target.exists() and target.samefile(source)):
            return replace(moved, target=source)
        _check_target(cache, target)
        if active := [one for one in found.downloads if one.active]:
            raise BusyError(
                f"{active[0].package}:{active[0].version} is being downloaded into the cache at {home}",
                hint="wait for it to end, or stop it; then give this command again",
            )
        if found.damaged:
            raise DamagedError(
                f"{found.damaged[0].path}: {found.damaged[0].problem}",
                hint="delete damaged entries first: "
                + told_command(home, f"clear {found.damaged[0].path.name.replace('-', ':')}"),
            )
        _prepare(cache, target)
        _copy_all(cache, found.entries, target)
        leaving = OWN if source == home else str(source)
        folder = "" if target == home else str(target)
        settings = replace(cache.settings, folder=folder, leaving=leaving)
        finish_leaving(save(replace(cache, settings=settings)))
        return moved


def _check_target(cache: Cache, target: Path) -> None:
    if path_text(target) != str(target):
        raise UsageError(f"{path_text(target)} is not a path in UTF-8", hint="name another folder")
    if target == cache.home:
        return
    real, inside = target.resolve(), (cache.content.resolve(), cache.home.resolve())
    if any(folder == real or folder in real.parents for folder in inside) or real in inside[0].parents:
        raise UsageError(
            f"{target} and the cache's folder {cache.content} lie one in the other", hint="name a folder beside it"
        )
    if not target.exists():
        return
    if not target.is_dir() or not (is_marked(target, cache.home) or _is_empty(target)):
        raise UsageError(f"{target} is not an empty folder", hint="name a folder that does not exist yet")
    check_owner(target)


def _is_empty(folder: Path) -> bool:
    """Whether nothing is in ``folder``, but for what a kill leaves of the mark, which comes first."""
    return all(path.name.startswith(TEMP) and path.name.endswith(f"-{MARK}") for path in folder.iterdir())


def _prepare(cache: Cache, target: Path) -> None:
    """Make the folder and mark it as one of this cache; delete what a killed move left in it half done."""
    make_folder(target)
    if target != cache.home:
        write_atomic(target / MARK, os.fsencode(cache.home) + b"\n")
    sweep(target)


def _copy_all(cache: Cache, entries: tuple[EntryRecord, ...], target: Path) -> None:
    """Copy the entries that ``target`` does not have whole yet, and delete there what is not among them."""
    names = {entry.name: entry for entry in entries}
    todo = dict(names)
    for folder in entry_folders(target):
        there = read_entry(folder, digests=True)
        wanted = names.get(folder.name)
        if wanted and isinstance(there, EntryRecord) and there.listing == wanted.listing:
            write_record(folder, wanted)
            del todo[folder.name]
        else:
            delete_entry(folder)
    needed, free = sum(entry.bytes for entry in todo.values()), free_space(target)
    if free < needed + cache.settings.reserve:
        raise NoSpaceError.short_of(
            "moving the cache", needed=needed, free=free, reserve=cache.settings.reserve, place=str(target)
        )
    with naming_space(target, lambda: needed, purpose="moving the cache"):
        for entry in todo.values():
            _copy(cache.content / entry.name, entry, target)


def _copy(source: Path, entry: EntryRecord, target: Path) -> None:
    """Copy one entry and read the copy back before it gets its name."""
    temporary = target / f"{TEMP}{os.getpid()}-{entry.name}"
    temporary.mkdir()
    try:
        write_listing_copy(temporary, source / LISTING)
        copy_of(source / FILES, source / LISTING)(temporary / FILES)
        check_files(temporary, entry.listing, digests=True)
        write_record(temporary, entry)
        temporary.rename(target / entry.name)
    except EntryError as error:
        remove_tree(temporary)
        raise DamagedError(
            f"{target}: the copy of {entry.name} did not read back the same: {error}",
            hint="use another disk; the cache stays where it is",
        ) from None
    except BaseException:
        remove_tree(temporary)
        raise
    sync_folder(target)
