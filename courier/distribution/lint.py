"""What is amiss with the points of a site as a whole: groups of clients without a point, points that nobody can use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from courier.distribution.by_rule import waiting
from courier.distribution.registry import all_points, space_of, statement_of
from courier.site.catalog.points import Point
from courier.site.home import Site


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something amiss. ``code``: what it is; ``point`` and ``group``: with which one, may be empty; ``do``: a way out.

    Codes: ``group-without-point``, ``group-of-branch-points``, ``no-point-for-all``, ``no-url``, ``away``, ``empty``,
    ``damaged``, ``waiting``.
    """

    code: str
    message: str
    do: str
    point: str = ""
    group: str = ""


def lint(site: Site, groups: Sequence[str] = ()) -> list[Finding]:
    """Look at all points, and at whether each of the ``groups`` of clients has one. Nothing is written.

    A point without a group is for every client.
    """
    rows = all_points(site)
    return [*_of_groups(rows, groups), *(found for row in rows for found in _of_point(site, row)), *_waiting(site)]


def _of_groups(rows: Sequence[Point], groups: Sequence[str]) -> Iterator[Finding]:
    for group in dict.fromkeys(groups):
        serving = [row for row in rows if row.group_name in ("", group)]
        if not serving:
            yield Finding(
                code="group-without-point",
                group=group,
                message=f"no point is for the clients of group {group}",
                do=f"courier point add NAME PATH --group {group}, or courier point set NAME --group {group}",
            )
        elif all(row.branch for row in serving):
            yield Finding(
                code="group-of-branch-points",
                group=group,
                message=f"group {group} has only branch points, which are computers of the client class themselves",
                do="add a point of that group, or one without a group",
            )
    if rows and all(row.group_name for row in rows):
        yield Finding(
            code="no-point-for-all",
            message="every point is for one group, so that clients of any other have none",
            do="courier point lint --group NAME for each group of clients; or a point without a group",
        )


def _of_point(site: Site, row: Point) -> Iterator[Finding]:
    statement = statement_of(row)
    if not row.url:
        yield Finding(
            code="no-url",
            point=row.name,
            message=f"point {row.name} has no URL, so that clients reach it only as a share or drive",
            do=f"courier point set {row.name} --url URL",
        )
    for folder in space_of(site, row):
        if folder.free is None:
            yield Finding(
                code="away",
                point=row.name,
                message=f"{folder.path}, a folder of point {row.name}, cannot be reached",
                do="is its disk or share mounted?",
            )
    if statement is None or not statement.packages:
        yield Finding(
            code="empty",
            point=row.name,
            message=f"point {row.name} has no package",
            do=f"courier point distribute ID --point {row.name}",
        )
    if row.damaged:
        yield Finding(
            code="damaged",
            point=row.name,
            message=f"point {row.name}: {row.damaged} files were damaged when it was last read back",
            do=f"courier point redistribute ID --point {row.name}, then courier point validate --point {row.name}",
        )


def _waiting(site: Site) -> Iterator[Finding]:
    for due in waiting(site):
        yield Finding(
            code="waiting",
            point=due.point,
            message=f"{due.package}:{due.version} was imported, and is to go to point {due.point} by rule",
            do="courier point rule apply",
        )
