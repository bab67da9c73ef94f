"""Planning what a parcel leaves out because its destinations hold it, and what it makes of what they hold (a delta).

What a destination holds is known from its last signed report and receipts (`courier.sending.held_versions`). A content
that is in a held version is left out whole; a changed one becomes a recipe over held contents where that saves bytes.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from courier.errors import RefusedError
from courier.parcel.archive_plan import Content
from courier.parcel.content_table import ContentTable
from courier.progress import Progress
from courier.sending.delta_bases import LEAST, Candidates, HeldVersion, Wanted, common, versions_to_try
from courier.sending.delta_patches import Job, Recipe, lines_of, make_recipes
from courier.sending.held_versions import held_versions
from courier.sending.held_whole import HeldWhole
from courier.sending.parcel_contents import contents_of
from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from courier.text import size_text
from formats.codecs import COMPRESSIONS, sampled_share
from formats.delta.rows import BaseVersionRow
from formats.documents.contents import ContentsGauge, ContentsWriter
from formats.documents.fields import PackageRef
from formats.documents.listing import FileEntry
from formats.errors import FormatError

DeltaWay = Literal["auto", "delta", "full"]
"""Whether a parcel may build on what its destinations hold: where it saves enough, wherever it saves, or never."""
_WORTH_IT = 0.05
"""The part of a parcel that a delta must save to be made unasked: its destinations must keep what it builds on."""
MOST_CHANGED = 1 << 16
"""Contents of a parcel that are compared with held ones, the largest: so a plan of a million files stays small."""
_COMPRESS = "auto"
_SHARE = 0.9
"""A recipe is used where it takes no more than this part of what the content would take."""


@dataclass(frozen=True, kw_only=True)
class DeltaPlan:
    """What a parcel builds on, leaves out and makes.

    ``left_out``: the contents that the destinations hold whole. ``saved``: bytes that need not travel, about.
    """

    bases: tuple[HeldVersion, ...]
    left_out: HeldWhole
    recipes: tuple[Recipe, ...]
    saved: int

    @property
    def refs(self) -> tuple[PackageRef, ...]:
        """The versions that it builds on, as documents name them."""
        return tuple(PackageRef(package=one.package, version=one.version, listing=one.listing) for one in self.bases)

    @property
    def patch_bytes(self) -> int:
        """Bytes of all patches together."""
        return sum(recipe.row.size for recipe in self.recipes)

    @property
    def left_out_bytes(self) -> int:
        """Bytes of the contents that are left out whole."""
        return self.left_out.bytes

    @property
    def digest(self) -> list[list[object]]:
        """What tells this plan from another one."""
        bases: list[list[object]] = [[one.package, one.version, one.listing] for one in self.bases]
        return bases + [[recipe.row.sha256, recipe.row.patch] for recipe in self.recipes]

    def base_contents(self) -> Iterator[tuple[str, int]]:
        """SHA-256 and size of every content that the destinations must hold, each once."""
        yield from self.left_out
        bases = {base for recipe in self.recipes for base in recipe.row.bases}
        yield from (base for base in bases if base[0] not in self.left_out)

    def travelling(self, contents: Iterable[Content]) -> ContentTable:
        """Of all ``contents`` of the packages those that travel; a patch in the place of what is made by a recipe."""
        patches = {one.row.sha256: one.patch for one in self.recipes}
        table, folder = ContentTable(), ""
        for content in contents:
            one = patches.get(content.sha256, content)
            if one is None or content.sha256 in self.left_out:
                continue
            if one.folder != folder:
                folder = one.folder
                table.folder(folder)
            table.add(
                sha256=one.sha256,
                size=one.size,
                mtime_ns=one.mtime_ns,
                path=one.path,
                coding=partial(str, one.coding),
                holes=one.holes,
            )
        return table

    def write(self, writer: ContentsWriter | ContentsGauge) -> None:
        """Write the section of the contents."""
        versions = [BaseVersionRow(package=one.package, version=one.version, listing=one.listing) for one in self.bases]
        writer.delta(versions, lines_of(self.recipes), lines=sum(recipe.lines for recipe in self.recipes))


@dataclass(frozen=True, kw_only=True)
class DeltaResult:
    """The delta, None where there is none, and what the operator should know."""

    plan: DeltaPlan | None
    notes: tuple[str, ...] = ()


def plan_delta(
    site: Site,
    chosen: Sequence[StoredPackage],
    contents: Collection[Content],
    destinations: Sequence[str],
    *,
    way: DeltaWay,
    compress: str,
    progress: Progress,
) -> DeltaResult:
    """The delta for packages and their ``contents``, each once; ``compress`` is one of `COMPRESSIONS`.

    Raises `RefusedError` where the operator asks for a delta and none is possible, `DamagedError` for bad content.
    """
    if way == "full" or not contents:
        return DeltaResult(plan=None)
    held = {code: held_versions(site, code) for code in destinations}
    known = {code: one for code, one in held.items() if one is not None}
    if len(known) < len(held):
        silent = [code for code in held if code not in known]
        if way == "delta":
            raise RefusedError(
                f"no delta for {', '.join(silent)}: what is held there is not known, or its release reads no deltas",
                hint="courier channel sync brings its report; or leave out --delta",
            )
        return DeltaResult(plan=None)
    sent = [(one.package, one.version) for one in chosen]
    versions, ours = _usable(site, common(known.values()), sent)
    notes = _splitting(site, chosen, contents, known, versions) if len(known) > 1 else ()
    if not versions:
        if way == "delta":
            raise RefusedError(
                f"no delta for {', '.join(destinations)}: no version that is held there as well as here is known",
                hint="leave out --delta: it goes in full",
            )
        return DeltaResult(plan=None, notes=notes)
    plan, more = _plan(site, contents, versions, ours, compress=compress, progress=progress)
    whole = sum(content.size for content in contents)
    if plan is None or (way == "auto" and plan.saved < whole * _WORTH_IT):
        plan = None
        if way == "delta":
            more = (*more, "a delta saves nothing: it goes in full")
    return DeltaResult(plan=plan, notes=(*notes, *more))


def usable_bases(site: Site, code: str, sent: Sequence[tuple[str, int]]) -> list[HeldVersion]:
    """The versions, likeliest first, that a parcel of the packages ``sent`` to one site may build on."""
    held = held_versions(site, code)
    return [] if held is None else _usable(site, common([held]), sent)[0]


def _usable(
    site: Site, held: set[HeldVersion], sent: Sequence[tuple[str, int]]
) -> tuple[list[HeldVersion], dict[HeldVersion, StoredPackage]]:
    """The versions to try that this site holds with the same content, and what it has of them."""
    with site.catalogue.reading() as connection:
        stored = {
            HeldVersion(package=one.package, version=one.version, listing=one.listing.sha256): one
            for one in packages.versions(connection)
        }
    here = {one for one in held if one in stored and site.store.has_listing(one.listing)}
    versions = versions_to_try(here, sent)
    return versions, {one: stored[one] for one in versions}


def _plan(
    site: Site,
    contents: Collection[Content],
    versions: Sequence[HeldVersion],
    ours: Mapping[HeldVersion, StoredPackage],
    *,
    compress: str,
    progress: Progress,
) -> tuple[DeltaPlan | None, tuple[str, ...]]:
    whole = HeldWhole(contents)
    for number, version in enumerate(versions):
        for entry in _files(site, ours[version]):
            whole.note(entry.sha256, number)
    used: set[int] = set()
    saved = 0
    changed = _Largest(MOST_CHANGED)
    for at, content in enumerate(contents):
        holder = whole.version(at)
        if holder is None:
            changed.take(content)
        else:
            used.add(holder)
            saved += _cost(site, content, compress)
    jobs, costs, of_base = _jobs(site, changed.found(), whole, versions, ours, compress)
    recipes, damaged = make_recipes(site, jobs, progress)
    for recipe in recipes:
        used |= {of_base[sha256] for sha256, _ in recipe.row.bases}
    notes = tuple(
        f"{versions[of_base[sha256]].package}:{versions[of_base[sha256]].version} is damaged in this store, so that "
        "nothing is made from it: courier package verify"
        for sha256 in sorted(damaged)
    )
    if not used:
        return None, notes
    saved += sum(costs[recipe.row.sha256] - recipe.row.size for recipe in recipes)
    bases = tuple(sorted(versions[number] for number in used))
    return DeltaPlan(bases=bases, left_out=whole, recipes=tuple(recipes), saved=saved), notes


def _jobs(
    site: Site,
    changed: Sequence[Content],
    whole: HeldWhole,
    versions: Sequence[HeldVersion],
    ours: Mapping[HeldVersion, StoredPackage],
    compress: str,
) -> tuple[list[Job], dict[str, int], dict[str, int]]:
    """(what is tried to be made of held contents, what each of it would cost, the version of each base)."""
    if not changed:
        return [], {}, {}
    candidates = Candidates(
        Wanted(sha256=one.sha256, size=one.size, package=one.folder[:8], path=one.path) for one in changed
    )
    for number, version in enumerate(versions):
        for entry in _files(site, ours[version]):
            if entry.size >= LEAST and not whole.is_wanted(entry.sha256):
                candidates.look(number, version.package, entry.path, entry.size, entry.sha256)
    jobs: list[Job] = []
    costs: dict[str, int] = {}
    of_base: dict[str, int] = {}
    for content in changed:
        found = [one for one in candidates.of(content.sha256) if site.store.has(one.sha256, one.size)]
        if found:
            costs[content.sha256] = _cost(site, content, compress)
            of_base |= {one.sha256: one.version for one in found}
            sources = tuple((one.sha256, one.size) for one in found)
            jobs.append(Job(content=content, bases=sources, most=int(costs[content.sha256] * _SHARE)))
    return jobs, costs, of_base


class _Largest:
    """The largest of the contents that it is given, ``most`` of them; those too small for a recipe do not count."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[int, int, Content]] = []
        self._taken = 0

    def take(self, content: Content) -> None:
        """Take a content into account."""
        if content.size < LEAST:
            return
        self._taken += 1
        one = content.size, -self._taken, content
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, one)
        else:
            heapq.heappushpop(self._heap, one)

    def found(self) -> list[Content]:
        """Those that are left, in the order in which they came."""
        return [content for _, _, content in sorted(self._heap, key=lambda one: -one[1])]


def travelling_bytes(site: Site, held: StoredPackage, sent: StoredPackage, progress: Progress) -> tuple[int, int]:
    """Bytes that a version takes in a parcel to a site that holds another one, and to a site that holds none, about."""
    contents = tuple(contents_of(site, [sent], COMPRESSIONS[_COMPRESS]))
    version = HeldVersion(package=held.package, version=held.version, listing=held.listing.sha256)
    whole = sum(_cost(site, content, _COMPRESS) for content in contents)
    plan, _ = _plan(site, contents, [version], {version: held}, compress=_COMPRESS, progress=progress)
    return whole - (0 if plan is None else plan.saved), whole


def _files(site: Site, stored: StoredPackage) -> Iterator[FileEntry]:
    """The files with content of a version; none of one whose listing is damaged here."""
    try:
        for entry in site.store.entries(stored.listing):
            if isinstance(entry, FileEntry) and entry.size:
                yield entry
    except FormatError:
        return


def _cost(site: Site, content: Content, compress: str) -> int:
    """Bytes that a content takes in a parcel, about."""
    if COMPRESSIONS[compress].codec.as_is and not content.holes:
        return content.size
    with site.store.open_content(content.sha256) as source:
        return int(content.size * min(1.0, sampled_share(source, content.size)))


def _splitting(
    site: Site,
    chosen: Sequence[StoredPackage],
    contents: Collection[Content],
    known: Mapping[str, Mapping[tuple[str, int], str]],
    versions: Sequence[HeldVersion],
) -> tuple[str, ...]:
    """What parcels of their own would leave out in addition for each destination, as far as whole contents tell."""
    sent = [(one.package, one.version) for one in chosen]
    everything = sum(content.size for content in contents)

    def left_out(usable: Mapping[HeldVersion, StoredPackage]) -> int:
        whole = HeldWhole(contents if usable else ())
        for stored in usable.values():
            for entry in _files(site, stored):
                whole.note(entry.sha256, 0)
        return whole.bytes

    together = left_out(_usable(site, set(versions), sent)[1])
    notes = []
    for code, held in known.items():
        alone_versions, alone = _usable(site, common([held]), sent)
        more = left_out(alone) - together
        newer = [one for one in alone_versions if one not in versions and one.package in {p for p, _ in sent}]
        if more >= max(1 << 20, _WORTH_IT * everything):
            notes.append(f"a parcel of its own for {code} would leave out {size_text(more)} more, which is held there")
        elif newer and not versions:
            names = ", ".join(f"{one.package}:{one.version}" for one in newer)
            notes.append(f"a parcel of its own for {code} could build on {names}, which the other sites do not hold")
    return tuple(notes)
