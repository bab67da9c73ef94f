"""Gathering the facts of a site's status from its home. Nothing is written, and no other site is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.care.computer_facts import deployment_facts, state_facts
from courier.care.config import load_config
from courier.care.desk_facts import desk_facts
from courier.care.facts import CacheClassFacts, PeerFacts, PointFacts, SiteFacts
from courier.care.lost_content import lost_versions
from courier.care.parcel_facts import parcel_facts
from courier.care.transits import usual_seconds_from, usual_seconds_to
from courier.care.watch.facts import watch_facts
from courier.distribution.registry import all_points, space_of, statement_of
from courier.site.card import pinned_card
from courier.site.catalog import messages, packages, points, sites
from courier.site.catalog.points import Point
from courier.site.clock import now
from courier.site.home import Site

if TYPE_CHECKING:
    from sqlalchemy import Connection


def gather(site: Site) -> SiteFacts:
    """The facts of a site now. Raises `CourierError` where the catalogue or a card cannot be read."""
    counts, sent, received = parcel_facts(site)
    own_points = all_points(site)
    space = site.store.space()
    with site.catalogue.reading() as connection:
        stored = packages.versions(connection)
        lost = lost_versions(connection, site, stored)
        sizes = {(one.package, one.version): one.listing.bytes for one in stored}
        due = points.due(connection)
        return SiteFacts(
            site=site.code,
            now_ns=now(),
            key_until_ns=site.card.keys[0].valid_until_ns,
            counts=counts,
            sent=sent,
            transit_days=load_config(site.home).transit_days,
            received=received,
            desk=desk_facts(site),
            usual_to=usual_seconds_to(connection),
            usual_from=usual_seconds_from(connection),
            peers=_peers(connection),
            dead_letters=len(messages.dead_letters(connection)),
            free=space.free,
            reserve=space.reserve,
            packages=len(stored),
            lost=len(lost),
            package_bytes=sum(size for version, size in sizes.items() if version not in lost),
            contradicted=tuple(f"{name}:{version}" for name, version in sorted(packages.contradicted(connection))),
            quarantined=len(site.store.quarantined()),
            points=tuple(
                _point(site, point, due=sum(1 for one in due if one.point == point.name)) for point in own_points
            ),
            cache_classes=_classes(connection, own_points, sizes),
            states=state_facts(connection),
            deployments=deployment_facts(connection),
            watch=watch_facts(site),
        )


def _peers(connection: Connection) -> tuple[PeerFacts, ...]:
    found = []
    heard = messages.last_from_each(connection)
    for peer in sites.everyone(connection):
        if peer.revoked:
            continue
        queued = messages.queued(connection, peer.code)
        found.append(
            PeerFacts(
                code=peer.code,
                pinned_ns=peer.pinned_ns,
                key_until_ns=pinned_card(peer.card).keys[0].valid_until_ns,
                heard_ns=heard.get(peer.code),
                queued=len(queued),
                oldest_ns=min((one.created_ns for one in queued), default=None),
                addresses=tuple((one.address, one.failures) for one in sites.addresses(connection, peer.code)),
            )
        )
    return tuple(found)


def _point(site: Site, point: Point, *, due: int) -> PointFacts:
    statement = statement_of(point)
    short, unreachable = [], []
    for place in space_of(site, point):
        if place.excluded:
            continue
        if place.free is None or place.reserve is None:
            unreachable.append(str(place.path))
        elif place.free < place.reserve:
            short.append((str(place.path), place.free, place.reserve))
    return PointFacts(
        name=point.name,
        added_ns=point.added_ns,
        validated_ns=point.validated_ns,
        damaged=point.damaged,
        packages=len(statement.packages) if statement else 0,
        short=tuple(short),
        unreachable=tuple(unreachable),
        due=due,
    )


def _classes(
    connection: Connection, own_points: list[Point], sizes: dict[tuple[str, int], int]
) -> tuple[CacheClassFacts, ...]:
    """The classes of clients, each with the versions at points that none of its computers has room for."""
    statements = [statement for point in own_points if (statement := statement_of(point)) is not None]
    offered = sorted({(one.package, one.version) for statement in statements for one in statement.packages})
    known = [(f"{package}:{version}", sizes.get((package, version), 0)) for package, version in offered]
    return tuple(
        CacheClassFacts(
            name=one.client_class,
            size=one.size,
            too_large=tuple((version, size) for version, size in known if size > one.size),
        )
        for one in points.cache_classes(connection)
    )
