"""Which entries of a client's cache go, so that another package fits, and when a placing is tried again. Pure.

The rules are those that Configuration Manager documents for its client cache. The other packages are looked at oldest
first, by their last reference. If deleting any or all of the oldest that may go frees enough, they are deleted; if not,
nothing is deleted and the package is not placed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MB = 1_000_000
"""Bytes of a megabyte, as everywhere in this toolkit."""
DEFAULT_SIZE = 5120 * MB
"""Bytes that a cache may hold, without a setting."""
DEFAULT_MINIMUM_AGE = 1440
"""Minutes since its last reference for which an entry does not go, without a setting."""
MOST_MINIMUM_AGE = 10_080
"""Highest minimum age, in minutes: a week."""
RETRIES = 18
"""How often a placing is tried again."""
RETRY_SECONDS = 4 * 3600
"""Seconds between two tries."""
MOST_TIMES = 1000
"""Tries whose times are told at most: a site may have a client try a million times."""
_MINUTE = 60 * 10**9


class Reason(StrEnum):
    """Why an entry may not go."""

    LOCKED = "locked"
    PERSISTED = "persisted"
    YOUNG = "young"


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """An entry as the rules see it; ``bytes`` are its own, ``referenced_ns`` nanoseconds since 1970 (UTC).

    ``staged``: it is what came of a download so far, and no entry yet.
    """

    package: str
    version: int
    bytes: int
    referenced_ns: int
    locked: bool = False
    persisted: bool = False
    staged: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a cache may take.

    ``size``: bytes of all entries. ``minimum_age``: minutes since its last reference for which an entry does not go.
    ``reserve``: bytes that stay free on the disk, whatever the size of the cache.
    """

    size: int = DEFAULT_SIZE
    minimum_age: int = DEFAULT_MINIMUM_AGE
    reserve: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocked:
    """An entry that may not go, and why. ``until_ns``: when a young one is old enough; None for other reasons."""

    entry: Held
    reason: Reason
    until_ns: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a package fits, and what it takes.

    ``evict``: the entries to delete, oldest first; empty when it does not fit. ``blocked``: the entries that may not
    go, oldest first. ``would_have_to_go``: where it does not fit, the entries that would make room if nothing blocked
    them: those that may go, then the oldest of the blocked. ``short``: bytes that are missing after all that may go.
    ``too_large``: it is larger than the whole cache, so that no retry helps.
    """

    fits: bool
    too_large: bool = False
    evict: tuple[Held, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    would_have_to_go: tuple[Held, ...] = ()
    short: int = 0


def judge(
    size: int, held: Iterable[Held], limits: Limits, *, now_ns: int, free: int | None = None, unusable: int = 0
) -> Verdict:
    """Whether a package of ``size`` bytes fits beside ``held``, and which of them go for it.

    ``free``: bytes free on the disk of the cache; None where the disk does not matter. ``unusable``: bytes of damaged
    entries, which count but are never deleted unasked, because nobody knows whether they are in use.
    """
    entries = oldest_first(held)
    blocked = tuple(found for one in entries if (found := why_not(one, limits, now_ns=now_ns)))
    if size > limits.size:
        return Verdict(fits=False, too_large=True, blocked=blocked, short=size - limits.size)
    over = sum(one.bytes for one in entries) + unusable + size - limits.size
    if free is not None:
        over = max(over, size + limits.reserve - free)
    staying = {one.entry for one in blocked}
    may_go = [one for one in entries if one not in staying]
    if (missing := over - sum(one.bytes for one in may_go)) > 0:
        asked = _enough([*may_go, *(one.entry for one in blocked)], over)
        return Verdict(fits=False, blocked=blocked, would_have_to_go=asked, short=missing)
    return Verdict(fits=True, evict=_enough(may_go, over), blocked=blocked)


def why_not(entry: Held, limits: Limits, *, now_ns: int) -> Blocked | None:
    """Why ``entry`` may not go now, or None where it may. One from the future (the clock was set back) is young."""
    if entry.locked:
        return Blocked(entry=entry, reason=Reason.LOCKED)
    if entry.persisted:
        return Blocked(entry=entry, reason=Reason.PERSISTED)
    until_ns = entry.referenced_ns + limits.minimum_age * _MINUTE
    return Blocked(entry=entry, reason=Reason.YOUNG, until_ns=until_ns) if now_ns < until_ns else None


def oldest_first(held: Iterable[Held]) -> list[Held]:
    """The entries by their last reference; those of one moment by package and version."""
    return sorted(held, key=lambda one: (one.referenced_ns, one.package, one.version))


def _enough(entries: Sequence[Held], over: int) -> tuple[Held, ...]:
    """The first of ``entries`` that have ``over`` bytes together, without empty ones; all where they have fewer."""
    chosen = []
    for one in entries:
        if over <= 0:
            break
        if one.bytes:
            chosen.append(one)
            over -= one.bytes
    return tuple(chosen)


def retry_times(first_ns: int, *, seconds: int = RETRY_SECONDS, count: int = RETRIES) -> tuple[int, ...]:
    """When a placing that did not fit at ``first_ns`` is tried again, in nanoseconds since 1970 (UTC).

    ``seconds`` apart, ``count`` times, or as often as are worth a list (`MOST_TIMES`).
    """
    return tuple(first_ns + number * seconds * 10**9 for number in range(1, min(count, MOST_TIMES) + 1))
