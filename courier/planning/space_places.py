"""``courier plan space``: the places of other sites, by the reports that they sent, and whether packages have room."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from courier.errors import UsageError
from courier.media.kinds import MEDIA
from courier.parcel.parity_plan import Redundancy
from courier.planning.held_there import held_contents, last_report
from courier.planning.media_choices import MOST_MEDIA
from courier.planning.space import (
    FileSystemSpace,
    Item,
    PlaceKind,
    PlaceSpace,
    SpacePlace,
    judge_place,
    sum_by_file_system,
)
from courier.sending.plan import ParcelDraft, ParcelRequest, draft_parcel
from courier.site.catalog import sites
from courier.site.clock import now
from courier.site.home import Site
from formats.holes import hole_bytes

USUAL_KINDS = ("bd25", "lto9")
"""The archives are reckoned for the first of these kinds of which no more than 1,000 media are needed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedPlace:
    """A `SpacePlace` as a site reported it. A site does not say which of its places share a file system."""

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
class SpacePlan:
    """The places, the file systems, and what the figures rest on. ``content``: bytes of the contents, each once."""

    content: int
    archives: int
    places: tuple[PlaceSpace, ...]
    file_systems: tuple[FileSystemSpace, ...]
    assumptions: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is known to fit, everywhere, by figures that are not old."""
        return not self.problems

    @property
    def problems(self) -> list[tuple[str, str]]:
        """(where, what to do) of each place and file system that is not known to have room."""
        places = [(f"{one.site} {one.name}", one.do) for one in self.places if not one.ok or one.is_old]
        disks = [
            (f"{one.name} ({', '.join(one.places)})", "free more there, or move one of the places to another disk")
            for one in self.file_systems
            if not one.ok
        ]
        return [*places, *disks]


def plan_space(
    site: Site, packages: Sequence[str], codes: Sequence[str], *, more: Sequence[SpacePlace] = ()
) -> SpacePlan:
    """Judge the space for packages at sites (all trusted ones, if none is named), and at ``more`` places.

    Raises `NotFoundError` (package), `RefusedError` (a site that is not trusted), `UsageError` (no site at all).
    """
    chosen = tuple(codes) or _trusted(site)
    draft = _draft(site, packages, chosen)
    items = [Item(sha256=content.sha256, bytes=content.size - hole_bytes(content.holes)) for content in draft.contents]
    kind, archives = _archives(draft)
    moment = now()
    places: list[SpacePlace] = [place for code in chosen for place in reported_places(site, code)]
    judged = tuple(judge_place(place, items, archives=archives, now_ns=moment) for place in (*places, *more))
    return SpacePlan(
        content=sum(item.bytes for item in items),
        archives=archives,
        places=judged,
        file_systems=tuple(sum_by_file_system(judged)),
        assumptions=(
            f"archives and parity are those of a parcel on {kind}, compressed contents at their largest possible size",
            "a store takes the archives while it gathers them, then the content; points and caches take the content",
            "of what a site holds only the newest version of each package is known, where this site has it too",
            "places whose file system is not known are taken to have one each",
            "parcel create counts the whole content, also what single instance saves",
        ),
    )


def _trusted(site: Site) -> tuple[str, ...]:
    with site.catalogue.reading() as connection:
        found = tuple(one.code for one in sites.everyone(connection) if not one.revoked and one.code != site.code)
    if not found:
        raise UsageError("no other site is trusted here, so that there is no place to plan for", hint="--to CODE")
    return found


def _draft(site: Site, packages: Sequence[str], codes: tuple[str, ...]) -> ParcelDraft:
    return draft_parcel(
        site,
        ParcelRequest(
            packages=tuple(packages),
            destinations=codes,
            media="",
            capacity=0,
            redundancy=Redundancy(fill=True),
            anyway="this is a plan",
        ),
    )


def _archives(draft: ParcelDraft) -> tuple[str, int]:
    """(kind of medium, most bytes of archives and parity of a parcel on it)."""
    size = sum(content.size for content in draft.contents)
    kinds = [kind for kind in USUAL_KINDS if size <= MOST_MEDIA * MEDIA[kind].usable_bytes]
    kind = kinds[0] if kinds else USUAL_KINDS[-1]
    preview = draft.plan(kind, MEDIA[kind].usable_bytes).preview
    return kind, sum(file.size for file in preview.files())


def reported_places(site: Site, code: str) -> list[SpacePlace]:
    """The places of a site by its last report: the store, then its distribution points."""
    report = last_report(site, code)
    if report is None:
        return [
            ReportedPlace(
                name="store", kind=PlaceKind.STORE, site=code, free_bytes=None, reserve_bytes=0, known_ns=None
            )
        ]
    held = held_contents(site, report)
    return [
        ReportedPlace(
            name=place.name,
            kind=PlaceKind.POINT if number else PlaceKind.STORE,
            site=code,
            free_bytes=place.free,
            reserve_bytes=place.reserve,
            known_ns=report.issued_ns,
            held=() if number else held,
        )
        for number, place in enumerate(report.places)
    ]
