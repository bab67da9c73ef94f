"""What the commands of ``courier point`` share: arguments, and a point as JSON and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.console import time_text
from courier.text import size_text

if TYPE_CHECKING:
    from courier.cli.console import Console
    from courier.distribution.registry import PointSpace
    from courier.site.catalog.points import Point
    from courier.site.home import Site

POINT = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a point: letters, digits, dots, hyphens and underlines.")
]
POINTS = Annotated[list[str], typer.Option("--point", metavar="NAME", help="Point; repeat for more.")]


def describe(site: Site, row: Point) -> dict[str, Any]:
    """A point as JSON."""
    from courier.distribution.registry import folders_of

    return {
        "point": row.name,
        "branch": bool(row.branch),
        "paths": [str(path) for path in folders_of(site, row.name)],
        "url": row.url,
        "group": row.group_name,
        "reserve": row.reserve,
        "max_connections": row.max_connections,
        "peers": row.peers.split(),
        "serial": row.serial,
        "validated": time_text(row.validated_ns) if row.validated_ns else None,
        "damaged": row.damaged,
    }


def describe_space(space: PointSpace) -> dict[str, Any]:
    """The room of a folder of a point as JSON; ``free_bytes`` is null where the folder cannot be reached."""
    return {
        "path": str(space.path),
        "free_bytes": space.free,
        "reserve_bytes": space.reserve,
        "room_bytes": space.room,
        "excluded": space.excluded,
    }


def say_space(console: Console, spaces: Sequence[PointSpace]) -> None:
    """Tell people of the folders of a point."""
    for space in spaces:
        if space.free is None or space.reserve is None:
            console.warn(f"{space.path}: cannot be reached; is its disk or share mounted?")
            continue
        excluded = "; excluded by a file called no_courier" if space.excluded else ""
        console.say(
            f"{space.path}: {size_text(space.free)} free, {size_text(space.reserve)} of that in reserve{excluded}"
        )
