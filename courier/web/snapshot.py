"""What takes long to gather, as it was at one moment: the facts of the site's status, disks, and who holds what.

It is gathered beside the requests (`courier.web.watch`): a page shows the newest that there is, and waits for no disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.care.facts import SiteFacts
from courier.care.gather import gather
from courier.care.parcel_facts import OPEN, OPEN_HERE
from courier.care.status import waiting
from courier.care.waiting import Waiting
from courier.distribution.registry import PointSpace, all_points, space_of, statement_of
from courier.packages.vouched import vouching_site
from courier.planning.held_there import last_report
from courier.site.catalog import messages, packages, parcel_pages, reports, sites
from courier.site.catalog.packages import StoredPackage
from courier.site.catalog.parcel_pages import RECEIVED, SENT, ListedParcel
from courier.site.home import Site
from courier.site.outbox import UnencryptedSite, unencrypted_sites
from formats.documents.report import Place, SiteReport
from formats.errors import FormatError

GOING_ON = (*((SENT, str(state)) for state in OPEN), *((RECEIVED, str(state)) for state in OPEN_HERE))
"""(side, state) of parcels that have not ended."""
LINES = 30
"""Parcels on the time line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldBySite:
    """What another site reported of itself: when, its disks, the media it reads, and whether it trusts this site."""

    issued_ns: int
    places: tuple[Place, ...]
    media: tuple[str, ...]
    trusts_us: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownVersion:
    """A version of a package, and who has it, as far as that is known here.

    ``stored``: what this site has of it, None where only others do. ``sites``: other sites that reported it;
    ``points``: the distribution points of this site with it. ``marks``: what a person should know of it.
    """

    package: str
    version: int
    stored: StoredPackage | None
    sites: tuple[str, ...]
    points: tuple[str, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A site at one moment.

    ``messages``: (direction, site, state, how many). ``unencrypted``: sites to which messages go without encryption.
    """

    facts: SiteFacts
    waiting: Sequence[Waiting]
    line: Sequence[ListedParcel]
    places: Sequence[PointSpace]
    told: dict[str, ToldBySite]
    versions: Sequence[KnownVersion]
    messages: Sequence[tuple[str, str, str, int]]
    unencrypted: Sequence[UnencryptedSite]


def take_snapshot(site: Site) -> Snapshot:
    """Gather it all; nothing is written. Raises `CourierError`."""
    facts = gather(site)
    with site.catalogue.reading() as connection:
        line = parcel_pages.newest_parcels(connection, GOING_ON, LINES)
        peers = [one.code for one in sites.everyone(connection)]
        counts, unencrypted = messages.counts(connection), unencrypted_sites(connection)
    told = {code: report for code in peers if (report := _report(site, code)) is not None}
    return Snapshot(
        facts=facts,
        waiting=waiting(facts),
        line=_by_state(line),
        places=[place for point in all_points(site) for place in space_of(site, point)],
        told={
            code: ToldBySite(
                issued_ns=report.issued_ns,
                places=report.places,
                media=report.media,
                trusts_us=site.code in report.trusts,
            )
            for code, report in told.items()
        },
        versions=_versions(site, told),
        messages=counts,
        unencrypted=unencrypted,
    )


def _by_state(line: Sequence[ListedParcel]) -> list[ListedParcel]:
    """Those that go on first, by state in the order of a parcel's life, then those that ended; the newest first."""
    order = {key: at for at, key in enumerate(GOING_ON)}
    return sorted(line, key=lambda one: (order.get((one.side, one.state), len(order)), -one.since_ns))


def _report(site: Site, code: str) -> SiteReport | None:
    try:
        return last_report(site, code)
    except FormatError:
        return None  # a form of a report that this release does not read: nothing is known of that site


def _versions(site: Site, told: dict[str, SiteReport]) -> list[KnownVersion]:
    """Every version of a package that this site, another one, or a point has."""
    holders: dict[tuple[str, int], list[str]] = {}
    for code, report in told.items():
        for held in report.packages:
            holders.setdefault((held.package, held.version), []).append(code)
    at_points: dict[tuple[str, int], list[str]] = {}
    for point in all_points(site):
        statement = statement_of(point)
        for one in statement.packages if statement else ():
            at_points.setdefault((one.package, one.version), []).append(point.name)
    with site.catalogue.reading() as connection:
        stored = {(one.package, one.version): one for one in packages.versions(connection)}
        retired = reports.retirements(connection)
        contradicted, signed = packages.contradicted(connection), packages.signed_by_source(connection)

    def marks(key: tuple[str, int]) -> tuple[str, ...]:
        found = ["retired"] if key in retired else []
        found += ["contradicted"] if key in contradicted else []
        if key in stored and (vouching := vouching_site(stored[key], signed)) != key[0][:3]:
            found.append(f"only {vouching} vouches for it")
        return tuple(found)

    return [
        KnownVersion(
            package=key[0],
            version=key[1],
            stored=stored.get(key),
            sites=tuple(sorted(holders.get(key, ()))),
            points=tuple(at_points.get(key, ())),
            marks=marks(key),
        )
        for key in sorted({*stored, *holders, *at_points}, key=lambda key: (key[0], -key[1]))
    ]
