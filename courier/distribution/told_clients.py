"""What a site tells the clients of its points beside packages: cache settings by class, peers, and the group.

It stands in the signed statement of every point. A change is recorded first, then signed and put there at once; a point
that cannot be reached now has it with the next command that works on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from courier.distribution.cache_rules import DEFAULT_MINIMUM_AGE, MOST_MINIMUM_AGE, RETRIES, RETRY_SECONDS
from courier.distribution.open_point import opened_point, publish
from courier.distribution.registry import all_points, check_settings, find_point
from courier.distribution.room import check_reserve
from courier.errors import CourierError, NotFoundError, UsageError
from courier.files import explain_os
from courier.site.catalog import points
from courier.site.catalog.points import Point
from courier.site.home import Site
from formats.documents.point import MAX_CLASSES, CacheSettings

MOST_RETRY_MINUTES = 525_600
MOST_RETRIES = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A point whose statement was brought up to date, or the ``error`` why not; ``serial`` of what stands there."""

    point: str
    serial: int = 0
    error: CourierError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PointChange:
    """What is to be changed of a point; None stays as it is. ``peers``: all of them; ``reserve``: as in `NewPoint`."""

    url: str | None = None
    branch: bool | None = None
    reserve: str | None = None
    max_connections: int | None = None
    group: str | None = None
    peers: Sequence[str] | None = None


def cache_classes(site: Site) -> list[CacheSettings]:
    """The cache settings of all classes, by class."""
    with site.catalogue.reading() as connection:
        return points.cache_classes(connection)


def set_class(
    site: Site,
    name: str,
    *,
    size: int | None = None,
    minimum_age: int | None = None,
    retry: int | None = None,
    retries: int | None = None,
) -> CacheSettings:
    """Record how clients of a class set their caches; what is None stays as it is, in a new class the usual value.

    ``size`` in bytes, ``minimum_age`` and ``retry`` in minutes. Raises `UsageError`.
    """
    known = {one.client_class: one for one in cache_classes(site)}
    check_settings(class_name=name)
    before = known.get(name)
    if before is None:
        if size is None:
            raise UsageError(f"the class {name} is new, and has no size", hint="--size 20GB")
        if len(known) >= MAX_CLASSES:
            raise UsageError(f"there are {MAX_CLASSES:,} classes already", hint="courier point class remove NAME")
        before = CacheSettings(
            client_class=name,
            size=size,
            minimum_age=DEFAULT_MINIMUM_AGE,
            retry=RETRY_SECONDS // 60,
            retries=RETRIES,
        )
    settings = replace(
        before,
        size=before.size if size is None else size,
        minimum_age=before.minimum_age if minimum_age is None else minimum_age,
        retry=before.retry if retry is None else retry,
        retries=before.retries if retries is None else retries,
    )
    _within("--size", settings.size, 1, 1 << 62)
    _within("--minimum-age", settings.minimum_age, 0, MOST_MINIMUM_AGE)
    _within("--retry", settings.retry, 1, MOST_RETRY_MINUTES)
    _within("--retries", settings.retries, 0, MOST_RETRIES)
    with site.catalogue.writing() as connection:
        points.set_cache_class(connection, settings)
    return settings


def _within(option: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{option} {value:,}", hint=f"give {least:,} to {most:,}")


def remove_class(site: Site, name: str) -> None:
    """Forget the settings of a class: its clients keep those that they have. Raises `NotFoundError`."""
    with site.catalogue.writing() as connection:
        if not points.remove_cache_class(connection, name):
            raise NotFoundError(f"there is no class called {name}", hint="courier point class list shows all classes")


def change_point(site: Site, name: str, change: PointChange) -> Point:
    """Record what is new about a point. Raises `NotFoundError` and `UsageError`."""
    with site.catalogue.writing() as connection:
        before = points.find(connection, name)
        if before is not None:
            row = _changed(before, change)
            check_settings(
                group=row.group_name, url=row.url, peers=row.peers.split(), max_connections=row.max_connections
            )
            points.change(connection, row)
    return find_point(site, name)


def _changed(row: Point, change: PointChange) -> Point:
    return replace(
        row,
        url=row.url if change.url is None else change.url,
        branch=row.branch if change.branch is None else int(change.branch),
        reserve=row.reserve if change.reserve is None else check_reserve(change.reserve),
        max_connections=row.max_connections if change.max_connections is None else change.max_connections,
        group_name=row.group_name if change.group is None else change.group,
        peers=row.peers if change.peers is None else "\n".join(sorted(set(change.peers))),
    )


def tell(site: Site, names: Sequence[str] | None = None) -> list[Told]:
    """Sign what changed into the statements of points, by name (None: all), and put them there.

    Nothing is signed where nothing changed. Raises nothing: each outcome says what happened.
    """
    return [_tell(site, name) for name in (names if names is not None else [one.name for one in all_points(site)])]


def _tell(site: Site, name: str) -> Told:
    try:
        with opened_point(site, name, writing=True) as point:
            return Told(point=name, serial=publish(point).serial)
    except CourierError as error:
        return Told(point=name, error=error)
    except OSError as error:
        return Told(point=name, error=explain_os(error))
