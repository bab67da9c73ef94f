"""Changing the entries of a client's cache: who uses them, which are kept, and clearing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from courier.distribution.cache_entries import delete_entry, write_record
from courier.distribution.cache_folder import Cache, Inventory, changing, inventory, told_command
from courier.distribution.cache_records import MAX_LOCK_NAME, MAX_LOCKS, EntryRecord
from courier.distribution.cache_rules import Blocked, Reason
from courier.distribution.cache_staged import delete_idle
from courier.errors import BusyError, CourierError, DamagedError, NotFoundError, RefusedError, UsageError
from formats.errors import FormatError
from formats.names import MAX_VERSION, check_package


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The entries that an operator names: a package, and one version of it or all (None)."""

    package: str
    version: int | None = None

    def __str__(self) -> str:
        return self.package if self.version is None else f"{self.package}:{self.version}"

    def names(self, package: str, version: int) -> bool:
        """Whether a package version is among them."""
        return package == self.package and self.version in (None, version)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleared:
    """What a clearing did: names ``ID-VERSION`` of deleted entries, their bytes, and the entries that stay."""

    deleted: tuple[str, ...]
    bytes: int
    blocked: tuple[Blocked, ...]


def parse_wanted(text: str) -> Wanted:
    """The entries that ``ID[:VERSION]`` names. Raises `UsageError`."""
    package, colon, version = text.partition(":")
    try:
        check_package(package)
    except FormatError as error:
        raise UsageError(error.message, hint="courier cache list shows what the cache holds") from None
    if not colon:
        return Wanted(package=package)
    if not (
        version.isascii()
        and version.isdigit()
        and len(version) <= len(str(MAX_VERSION))
        and 1 <= int(version) <= MAX_VERSION
    ):
        raise UsageError(f"{version[:60]!r} is not a version", hint=f"a version is a number from 1 to {MAX_VERSION:,}")
    return Wanted(package=package, version=int(version))


def lock(home: Path, wanted: Wanted, *, by: str, now_ns: int) -> list[EntryRecord]:
    """Mark entries as in use by ``by``, so that they never go; they count as referenced now. Return them.

    Raises `UsageError` for a name that an entry cannot keep, or too many; `NotFoundError`, `DamagedError` for an entry
    that is not there or not whole; and what `changing` raises.
    """
    if not by.strip() or len(by) > MAX_LOCK_NAME:
        raise UsageError(f"a name that locks has 1 to {MAX_LOCK_NAME} characters", hint="give one with --by")

    def locked(entry: EntryRecord) -> EntryRecord:
        locks = tuple(sorted({*entry.locks, by}))
        if len(locks) > MAX_LOCKS:
            raise UsageError(
                f"{entry.package}:{entry.version} is locked by {MAX_LOCKS:,} names", hint="unlock it first"
            )
        return replace(entry, locks=locks, referenced_ns=now_ns)

    return _change(home, wanted, locked)


def unlock(home: Path, wanted: Wanted, *, by: str | None) -> list[EntryRecord]:
    """Take the mark of ``by`` from entries, or of everyone (None); return them. Raises as `lock` does."""
    return _change(
        home,
        wanted,
        lambda entry: replace(entry, locks=tuple(name for name in entry.locks if by not in (None, name))),
    )


def persist(home: Path, wanted: Wanted, *, on: bool) -> list[EntryRecord]:
    """Keep entries until an operator says otherwise, or not any more; return them. Raises as `lock` does."""
    return _change(home, wanted, lambda entry: replace(entry, persisted=on))


def _change(home: Path, wanted: Wanted, change: Callable[[EntryRecord], EntryRecord]) -> list[EntryRecord]:
    with changing(home) as cache:
        chosen = _chosen(cache, inventory(cache), wanted)
        changed = [change(entry) for entry in chosen]
        for before, after in zip(chosen, changed, strict=True):
            if after != before:
                write_record(cache.content / after.name, after)
        return changed


def _chosen(cache: Cache, found: Inventory, wanted: Wanted) -> list[EntryRecord]:
    """The entries that ``wanted`` names; raises `DamagedError` where one is damaged, `NotFoundError` for none."""
    for damage in found.damaged:
        package, _, version = damage.path.name.partition("-")
        if wanted.names(package, int(version)):
            raise DamagedError(
                f"{damage.path}: {damage.problem}",
                hint=f"delete it with {told_command(cache.home, f'clear {package}:{version}')}, then fetch it again",
            )
    chosen = [entry for entry in found.entries if wanted.names(entry.package, entry.version)]
    if not chosen:
        raise NotFoundError(
            f"the cache at {cache.home} does not hold {wanted}",
            hint=f"{told_command(cache.home, 'list')} shows what it holds",
        )
    return chosen


def clear(home: Path, wanted: Sequence[Wanted]) -> Cleared:
    """Delete the named entries, or all where none is named, damaged ones and what is left of downloads too.

    Locked and persisted entries stay, and downloads that a program is at work on.

    Raises `RefusedError`, and deletes nothing, where a named entry is locked or persisted, `BusyError` where it is
    being downloaded; `NotFoundError` where one is not there; and what `changing` raises.
    """
    with changing(home) as cache:
        found = inventory(cache)
        going: dict[str, int] = {}
        blocked = []
        missing = set(wanted)
        for name, size, entry in [
            *((one.path.name, one.bytes, None) for one in found.damaged),
            *((one.name, one.bytes, one) for one in found.entries),
        ]:
            package, _, version = name.partition("-")
            naming = [one for one in wanted if one.names(package, int(version))]
            missing -= set(naming)
            if wanted and not naming:
                continue
            if entry is not None and (entry.locks or entry.persisted):
                reason = Reason.LOCKED if entry.locks else Reason.PERSISTED
                blocked.append(Blocked(entry=entry.held, reason=reason))
            else:
                going[name] = size
        stopped = []
        for staged in found.downloads:
            naming = [one for one in wanted if one.names(staged.package, staged.version)]
            missing -= set(naming)
            if wanted and not naming:
                continue
            if staged.active:
                blocked.append(Blocked(entry=staged.held, reason=Reason.LOCKED))
            else:
                stopped.append(staged)
        if missing:
            raise NotFoundError(
                f"the cache at {home} does not hold {', '.join(sorted(map(str, missing)))}",
                hint=f"{told_command(home, 'list')} shows what it holds",
            )
        if wanted and blocked:
            raise _why_not_cleared(home, blocked[0])
        for name in going:
            delete_entry(cache.content / name)
        for staged in stopped:
            delete_idle(staged.folder)
            name = f"{staged.package}-{staged.version}"
            going[name] = going.get(name, 0) + staged.on_disk
        return Cleared(deleted=tuple(going), bytes=sum(going.values()), blocked=tuple(blocked))


def _why_not_cleared(home: Path, first: Blocked) -> CourierError:
    """The error of a clearing that names what may not go."""
    reference = f"{first.entry.package}:{first.entry.version}"
    if first.entry.staged:
        return BusyError(
            f"{reference} is being downloaded into the cache at {home}; nothing was deleted",
            hint="wait for it to end, or stop it; then give this command again",
        )
    way = "unlock" if first.reason is Reason.LOCKED else "persist --off"
    return RefusedError(
        f"{reference} is {first.reason}; nothing was deleted", hint=told_command(home, f"{way} {reference}")
    )
