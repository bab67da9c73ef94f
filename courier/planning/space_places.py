"""``courier plan space``: whether packages have room at the points and classes of this site, and at other sites.

Places of other sites are judged by the reports that they sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from courier.errors import UsageError
from courier.media.kinds import MEDIA
from courier.parcel.parity_plan import Redundancy
from courier.planning.held_there import held_contents, last_report
from courier.planning.media_choices import MOST_MEDIA
from courier.planning.own_places import own_places
from courier.planning.package_load import whole_load
from courier.planning.space import (
    FileSystemSpace,
    Item,
    KnownPlace,
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
from formats.documents.report import Place

USUAL_KINDS = ("bd25", "lto9")
"""The archives are reckoned for the first of these kinds of which no more than 1,000 media are needed."""


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
    """Judge the space for packages at sites (this one and all trusted ones, if none is named), and at ``more`` places.

    Raises `NotFoundError` (package), `RefusedError` (a site that is not trusted), `UsageError` (no place at all).
    """
    chosen = dict.fromkeys(codes or (site.code, *_trusted(site)))
    others = tuple(code for code in chosen if code != site.code)
    load = whole_load(site, packages)
    moment = now()
    places: list[SpacePlace] = [place for code in others for place in reported_places(site, code)]
    if site.code in chosen:
        places += own_places(site, load.contents)
    if not (places or more):
        raise UsageError(
            "no other site is trusted here, and this site has no distribution point and no class of clients, so that "
            "there is no place to plan for",
            hint="courier point add NAME PATH; or --to CODE",
        )
    kind, archives = _archives(_draft(site, packages, others)) if others else ("", 0)
    items = {
        PlaceKind.STORE: [Item(sha256=one.sha256, bytes=one.size - one.holes) for one in load.contents],
        PlaceKind.CLIENT: [Item(sha256=one.sha256, bytes=one.bytes) for one in load.listings],
        PlaceKind.POINT: [Item(sha256=one.sha256, bytes=one.at_point) for one in load.contents],
    }
    items[PlaceKind.BRANCH] = items[PlaceKind.POINT]
    judged = tuple(
        judge_place(place, items[place.kind], archives=archives, now_ns=moment) for place in (*places, *more)
    )
    return SpacePlan(
        content=sum(item.bytes for item in items[PlaceKind.STORE]),
        archives=archives,
        places=judged,
        file_systems=tuple(sum_by_file_system(judged)),
        assumptions=tuple(_assumptions({one.kind for one in judged}, kind, own=site.code in chosen)),
    )


def _assumptions(kinds: AbstractSet[PlaceKind], media: str, *, own: bool) -> Iterator[str]:
    if PlaceKind.STORE in kinds:
        yield f"archives and parity are those of a parcel on {media}, what is compressed at its largest possible size"
        yield "a store takes the archives while it gathers them, then the content; points and caches take the content"
        yield "of what a site holds only the newest version of each package is known, where this site has it too"
        yield "parcel create counts the whole content, also what single instance saves"
    if kinds & {PlaceKind.POINT, PlaceKind.BRANCH}:
        yield "a point takes contents whole, also the holes of sparse files, each in pages of 4,096 bytes"
        if own:
            yield "the points of this site were measured now; those on one disk are summed"
        yield "of the points of other sites nobody says what they hold, nor which of them share a disk"
    if PlaceKind.CLIENT in kinds:
        yield "a cache keeps every package for itself; what else is in the caches of clients is not known here"


def _trusted(site: Site) -> tuple[str, ...]:
    with site.catalogue.reading() as connection:
        return tuple(one.code for one in sites.everyone(connection) if not one.revoked and one.code != site.code)


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
    size = draft.contents.bytes
    kinds = [kind for kind in USUAL_KINDS if size <= MOST_MEDIA * MEDIA[kind].usable_bytes]
    kind = kinds[0] if kinds else USUAL_KINDS[-1]
    preview = draft.plan(kind, MEDIA[kind].usable_bytes).preview
    return kind, sum(file.size for file in preview.files())


def reported_places(site: Site, code: str) -> list[SpacePlace]:
    """The places of a site by its last report: the store, then its distribution points."""
    report = last_report(site, code)
    if report is None:
        return [
            KnownPlace(name="store", kind=PlaceKind.STORE, site=code, free_bytes=None, reserve_bytes=0, known_ns=None)
        ]
    held = held_contents(site, report)
    return [
        KnownPlace(
            name=place.name,
            kind=_kind(place) if number else PlaceKind.STORE,
            site=code,
            free_bytes=place.free,
            reserve_bytes=place.reserve,
            known_ns=report.issued_ns,
            held=() if number else held,
        )
        for number, place in enumerate(report.places)
    ]


def _kind(place: Place) -> PlaceKind:
    return PlaceKind.BRANCH if place.branch else PlaceKind.POINT
