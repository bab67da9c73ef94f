"""``courier point set``: changing a point that there is already."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.cli.point_class import push
from courier.cli.point_document import POINT, describe

app = group("")


@command(
    app,
    "set",
    examples=[
        "courier point set P1 --url http://10.0.0.2:8080/ --max-connections 50",
        "courier point set BRANCH1 --peer http://10.1.0.5:8080/ --peer http://10.1.0.6:8080/",
    ],
)
def set_(
    context: typer.Context,
    *,
    name: POINT,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Where clients reach the folder; empty for nowhere.")
    ] = None,
    branch: Annotated[
        bool | None, typer.Option("--branch/--no-branch", help="Whether it is on a computer of the client class.")
    ] = None,
    reserve: Annotated[
        str | None, typer.Option("--reserve", metavar="PART|SIZE", help="What is left free on each of its disks.")
    ] = None,
    max_connections: Annotated[
        int | None,
        typer.Option("--max-connections", metavar="N", min=1, max=100_000, help="Transfers at one time."),
    ] = None,
    group_name: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="Group of clients that it serves; empty for none.")
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", metavar="URL", help="Computers of the branch to ask, in place of all before; repeat."),
    ] = None,
    no_peers: Annotated[bool, typer.Option("--no-peers", help="No other computer of the branch is asked.")] = False,
) -> None:
    """Change a point. What is not given stays.

    Clients are told of the group and the peers at once. A server that runs keeps the number of transfers that it began
    with.
    """
    from courier.distribution.told_clients import PointChange, change_point
    from courier.errors import UsageError

    console = console_of(context)
    if no_peers and peer:
        raise UsageError("--no-peers and --peer at once", hint="give one of them")
    change = PointChange(
        url=url,
        branch=branch,
        reserve=reserve,
        max_connections=max_connections,
        group=group_name,
        peers=() if no_peers else peer or None,
    )
    with console.site() as site:
        row = change_point(site, name, change)
        console.say(f"Point {name} changed.")
        push(console, site, describe(site, row), [name])
