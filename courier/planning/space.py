"""Whether content has room at the places it goes to: stores of sites, distribution points, client caches. Pure.

A place is anything with the interface `SpacePlace`. A need is summed for each file system as well, because two places
on one disk each have room alone, and not together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from courier.planning.quantities import span_text
from courier.sending.readiness import FRESH_SECONDS
from courier.text import size_text


class PlaceKind(StrEnum):
    """What a place is."""

    STORE = "store"
    """The package store of a site: it takes the parcel's archives, and then the content."""
    POINT = "point"
    BRANCH = "branch"
    CLIENT = "client"
    """The cache of one client of a class."""


class SpacePlace(Protocol):
    """A place that takes content."""

    @property
    def name(self) -> str:
        """What it is called at its site: ``store``, or the name of a point or client class."""

    @property
    def kind(self) -> PlaceKind:
        """What it is."""

    @property
    def site(self) -> str:
        """The code of the site it belongs to."""

    @property
    def file_system(self) -> str:
        """A text that is the same for places on one file system; empty where that is not known."""

    @property
    def free_bytes(self) -> int | None:
        """Bytes free there; None where nobody has said."""

    @property
    def reserve_bytes(self) -> int:
        """Bytes that stay free there."""

    @property
    def known_ns(self) -> int | None:
        """When it had so much free, in nanoseconds since 1970 (UTC); None where nobody has said."""

    def holds(self, sha256: str) -> bool:
        """Whether a content is there already, as far as known; then it takes no room again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownPlace:
    """A `SpacePlace` as it was measured here, or as a site reported it; ``held``: SHA-256 of what is there."""

    name: str
    kind: PlaceKind
    site: str
    free_bytes: int | None
    reserve_bytes: int
    known_ns: int | None
    held: Collection[bytes] = ()
    file_system: str = ""

    def holds(self, sha256: str) -> bool:
        """See `SpacePlace.holds`."""
        return bytes.fromhex(sha256) in self.held


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """What is to go there as one: its SHA-256, and the bytes that it takes there.

    A content; for a client's cache a package, by the SHA-256 of its listing.
    """

    sha256: str
    bytes: int


class Verdict(StrEnum):
    """Whether there is room."""

    FITS = "fits"
    SHORT = "short"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceSpace:
    """A place and its need, in bytes.

    ``compressed``: the parcel's archives and parity while it is imported. ``expanded``: contents that are not there
    yet. ``saved``: those that are, and take no room again. ``age_seconds`` of the figure ``free``; None where it is not
    known. ``do``: what to do, in a sentence; empty where nothing is to be done.
    """

    name: str
    kind: PlaceKind
    site: str
    file_system: str
    compressed: int
    expanded: int
    saved: int
    reserve: int
    free: int | None
    age_seconds: int | None
    verdict: Verdict
    do: str

    @property
    def needed(self) -> int:
        """Bytes that have to be free there: what comes, and the reserve."""
        return self.compressed + self.expanded + self.reserve

    @property
    def ok(self) -> bool:
        """Whether it is known to fit."""
        return self.verdict == Verdict.FITS

    @property
    def is_old(self) -> bool:
        """Whether what is known of it is too old to build on."""
        return self.age_seconds is not None and self.age_seconds > FRESH_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSystemSpace:
    """A file system, the places on it (``SITE name``), and the sum of what they need, one reserve included."""

    name: str
    places: tuple[str, ...]
    needed: int
    free: int | None
    ok: bool


def judge_place(place: SpacePlace, items: Iterable[Item], *, archives: int, now_ns: int) -> PlaceSpace:
    """What content needs at a place, and whether it has room; ``archives``: bytes of the parcel that brings it.

    Only a store takes the archives too. The ``items`` are different contents.
    """
    expanded = saved = 0
    largest = 0
    for item in items:
        largest = max(largest, item.bytes)
        if place.holds(item.sha256):
            saved += item.bytes
        else:
            expanded += item.bytes
    # Where all of the content is there already, nothing is left to send.
    compressed = archives if place.kind == PlaceKind.STORE and (expanded or not saved) else 0
    needed = compressed + expanded + place.reserve_bytes
    age = None if place.known_ns is None else max(0, now_ns - place.known_ns) // 10**9
    verdict = Verdict.UNKNOWN
    if place.free_bytes is not None:
        verdict = Verdict.FITS if place.free_bytes >= needed else Verdict.SHORT
    return PlaceSpace(
        name=place.name,
        kind=place.kind,
        site=place.site,
        file_system=place.file_system,
        compressed=compressed,
        expanded=expanded,
        saved=saved,
        reserve=place.reserve_bytes,
        free=place.free_bytes,
        age_seconds=age,
        verdict=verdict,
        do=_what_to_do(place, needed, verdict, age, largest=largest),
    )


def _what_to_do(place: SpacePlace, needed: int, verdict: Verdict, age: int | None, *, largest: int) -> str:
    where = place.site if place.kind == PlaceKind.STORE else f"{place.name} of {place.site}"
    sync = "courier channel sync at both sites"
    if verdict == Verdict.UNKNOWN or place.free_bytes is None:
        if place.known_ns is not None:
            return f"{where} cannot be reached now: is its disk or share mounted?"
        return f"nobody has said how much is free at {where}: {sync}"
    old = ""
    if age is not None and age > FRESH_SECONDS:
        old = f"the figure is {span_text(age)} old, which is too old to build on: {sync}"
    if verdict == Verdict.FITS:
        return old
    if place.kind == PlaceKind.CLIENT:
        why = "they fit one after the other, and not together"
        if largest > place.free_bytes:
            why = "a package is larger than the whole cache, and is refused at once"
        return f"{why}: courier point class set {place.name} --size {needed}"
    short = f"free {size_text(needed - place.free_bytes)} at {where}"
    if place.kind == PlaceKind.STORE:
        short += " (courier package remove, courier parcel discard)"
    return f"{short}; {old}" if old else short


def sum_by_file_system(places: Sequence[PlaceSpace]) -> list[FileSystemSpace]:
    """The needs of places that share a file system, summed; a place whose file system is not known stands alone."""
    groups: dict[str, list[PlaceSpace]] = {}
    for place in places:
        groups.setdefault(place.file_system or f"{place.site} {place.kind} {place.name}", []).append(place)
    found = []
    for name, members in groups.items():
        needed = sum(one.compressed + one.expanded for one in members) + max(one.reserve for one in members)
        known = [one.free for one in members if one.free is not None]
        free = min(known) if len(known) == len(members) else None
        found.append(
            FileSystemSpace(
                name=name,
                places=tuple(f"{one.site} {one.name}" for one in members),
                needed=needed,
                free=free,
                ok=free is not None and free >= needed,
            )
        )
    return found
