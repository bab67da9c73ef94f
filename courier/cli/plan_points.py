"""``courier plan points``: how long points take to serve all clients, and how many are wanted where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console
from courier.cli.plan_send import PACKAGES, read_toml
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.planning.serving import ServingPlan, ServingPoint

app = group("")


@command(
    app,
    "points",
    examples=[
        "courier plan points HQ100001 --clients desk=120,100Mbit/s --point P1=desk,1Gbit/s,10",
        "courier plan points HQ100001 --file points.toml --within 12h",
    ],
)
def points(
    context: typer.Context,
    *,
    packages: PACKAGES,
    clients: Annotated[
        list[str] | None,
        typer.Option(
            "--clients", metavar="GROUP=N,RATE", help="A group, how many clients, the speed of each; repeat for more."
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            metavar="NAME=GROUP,RATE,N",
            help="A point, its group (or A+B), its speed and most connections; repeat for more.",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Groups and points in TOML, beside those given.")
    ] = None,
    within: Annotated[
        str, typer.Option("--within", metavar="SPAN", help="Time in which all clients are to be served.")
    ] = "8h",
    usual_rate: Annotated[
        str, typer.Option("--usual-rate", metavar="RATE", help="Speed of a point where more are wanted.")
    ] = "1Gbit/s",
    usual_connections: Annotated[
        int,
        typer.Option("--usual-connections", metavar="N", min=1, max=100_000, help="Most connections of such a point."),
    ] = 10,
) -> None:
    """Say how long points take to serve all clients.

    It names groups without a point, what holds each point up, and how many points are wanted where.
    """
    from courier.errors import UsageError
    from courier.planning.package_load import load_of_packages
    from courier.planning.quantities import parse_rate, parse_span
    from courier.planning.serving import Content, ServingPoint, plan_serving
    from courier.planning.serving_input import parse_clients, parse_point, parse_serving_file

    console = console_of(context)
    groups, known = parse_serving_file(read_toml(file, "--file"), name=str(file)) if file is not None else ([], [])
    groups += [parse_clients(one) for one in clients or ()]
    known += [parse_point(one) for one in point or ()]
    span = parse_span(within)
    if not span:
        raise UsageError("--within 0: nobody is served in no time", hint="--within 8h")
    usual = ServingPoint(name="usual", groups=(), rate=parse_rate(usual_rate), connections=usual_connections)
    with console.site() as site:
        load = load_of_packages(site, packages)
    plan = plan_serving(Content(bytes=load.bytes, files=load.files), groups, known, usual=usual, within=span)
    assumptions = _assumptions(usual)
    console.say(f"Each client fetches {size_text(load.bytes)} in {plural(load.files, 'file')}")
    _say(console, plan)
    console.say("It rests on:")
    for assumption in assumptions:
        console.say(f"  - {assumption}")
    console.result({"bytes": load.bytes, "files": load.files, "within": span, **_document(plan, assumptions)})


def _assumptions(usual: ServingPoint) -> list[str]:
    from courier.planning.quantities import rate_text
    from courier.planning.serving import FILE_MS

    return [
        "clients come all at once, and those that get no connection wait for the next round",
        "those that are served at one time share the line of the point evenly; nothing else uses any line",
        f"each file costs {FILE_MS} ms beside its bytes, and nothing is in a cache or with a peer yet",
        f"a usual point has {rate_text(usual.rate)} and {plural(usual.connections, 'connection')}",
    ]


_BOUNDS = {
    "connections": "clients wait for a connection",
    "line": "its line is full",
    "clients": "the clients' own lines are full",
}


def _say(console: Console, plan: ServingPlan) -> None:
    from courier.planning.quantities import rate_text, span_text

    rows = [
        (
            one.group.name,
            one.group.clients,
            rate_text(one.group.rate),
            ", ".join(one.points) or "none",
            "not served" if one.seconds is None else span_text(one.seconds),
            "in time" if one.is_in_time else "too late",
        )
        for one in plan.groups
    ]
    console.table(("GROUP", "CLIENTS", "SPEED OF EACH", "POINTS", "ALL SERVED IN", "VERDICT"), rows)
    for load in plan.points:
        served = ", ".join(f"{count} of {name}" for name, count in load.clients)
        console.say(f"{load.point.name} serves {served} in {span_text(load.seconds)}: {_BOUNDS[load.bound]}")
    for one in plan.groups:
        if one.do:
            console.say(f"{one.group.name}: {one.do}")


def _document(plan: ServingPlan, assumptions: list[str]) -> dict[str, Any]:
    return {
        "ok": plan.ok,
        "seconds": plan.seconds,
        "groups": [
            {
                "name": one.group.name,
                "clients": one.group.clients,
                "bytes_per_second": one.group.rate,
                "bits_per_second": 8 * one.group.rate,
                "points": list(one.points),
                "seconds": one.seconds,
                "ok": one.is_in_time,
                "points_wanted": one.wanted,
                "do": one.do or None,
            }
            for one in plan.groups
        ],
        "points": [
            {
                "name": load.point.name,
                "connections": load.point.connections,
                "bytes_per_second": load.point.rate,
                "bits_per_second": 8 * load.point.rate,
                "clients": dict(load.clients),
                "seconds": load.seconds,
                "bound": load.bound,
            }
            for load in plan.points
        ],
        "without_point": list(plan.without_point),
        "assumptions": assumptions,
    }
