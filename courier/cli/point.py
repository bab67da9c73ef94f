"""``courier point``: distribution points and branch points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from courier.cli import point_class, point_content, point_mirror, point_rule, point_serve, point_set
from courier.cli.command import command, console_of, group
from courier.cli.console import time_text
from courier.cli.point_document import POINT, describe, describe_space, say_space
from courier.text import plural, size_text

app = group("Distribution points: folders that clients fetch from.")


@command(
    app,
    "add",
    examples=[
        "courier point add P1 /srv/point --url http://10.0.0.2:8080/",
        "courier point add P2 /mnt/share/point --reserve 50GB --group north",
        "courier point add BRANCH1 /srv/branch --branch --peer http://10.1.0.5:8080/ --max-connections 10",
    ],
)
def add(
    context: typer.Context,
    *,
    name: POINT,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH_OR_URL", help="Folder that this site writes to; a URL where clients reach it needs --folder."
        ),
    ],
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Where clients reach the folder over HTTP.")
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option(
            "--folder", metavar="DIR", help="A further folder, filled when those before have no room; repeat for more."
        ),
    ] = None,
    branch: Annotated[
        bool, typer.Option("--branch", help="It is a branch point: on a computer of the client class.")
    ] = False,
    reserve: Annotated[
        str, typer.Option("--reserve", metavar="PART|SIZE", help="What is left free on each of its disks.")
    ] = "10%",
    max_connections: Annotated[
        int,
        typer.Option("--max-connections", metavar="N", min=1, max=100_000, help="Transfers at one time."),
    ] = 10,
    group_name: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="Group of clients that it serves.")
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", metavar="URL", help="Another computer of the branch to ask; repeat for more."),
    ] = None,
) -> None:
    """Add a distribution point: a folder of its own.

    The folder is on this computer or on a mounted share, and is made where it is missing. It holds
    plain files, named by digest, which any web server can serve.
    """
    from courier.distribution.registry import NewPoint, add_point
    from courier.errors import UsageError

    console = console_of(context)
    folders = list(folder or ())
    if path.startswith(("http://", "https://")):
        if url is not None or not folders:
            raise UsageError(
                f"{path}: this site writes to a folder, and clients read at a URL",
                hint=f"courier point add {name} FOLDER --url {path}",
            )
        url = path
    else:
        folders.insert(0, Path(path))
    new = NewPoint(
        name=name,
        folders=folders,
        url=url or "",
        branch=branch,
        reserve=reserve,
        max_connections=max_connections,
        group=group_name or "",
        peers=peer or (),
    )
    with console.site() as site:
        row = add_point(site, new)
        console.say(f"Point {row.name} added. Next: courier point distribute ID --point {row.name}")
        console.result(describe(site, row))


@command(app, "list", examples=["courier point list"])
def list_(context: typer.Context) -> None:
    """List the distribution points of this site."""
    from courier.distribution.registry import all_points, space_of, statement_of

    console = console_of(context)
    with console.site() as site:
        rows = []
        documents = []
        for row in all_points(site):
            statement = statement_of(row)
            space = space_of(site, row)
            held = len(statement.packages) if statement else 0
            room = size_text(sum(one.room for one in space))
            rows.append((row.name, "branch" if row.branch else "point", row.group_name or "-", held, room, row.url))
            documents.append({**describe(site, row), "room": sum(one.room for one in space)})
        console.table(("POINT", "KIND", "GROUP", "VERSIONS", "ROOM", "URL"), rows)
        if not rows:
            console.say("There is no distribution point yet: courier point add NAME PATH")
        console.result({"points": documents})


@command(app, "show", examples=["courier point show P1"])
def show(
    context: typer.Context,
    *,
    name: POINT,
    ask: Annotated[bool, typer.Option("--ask/--no-ask", help="Whether its web server is asked.")] = True,
) -> None:
    """Show a point: packages, bytes, room, its URL.

    Also what its URL serves, and when all of it was last read back.
    """
    from courier.distribution.overview import overview

    console = console_of(context)
    with console.site() as site:
        seen = overview(site, name, ask=ask)
        row, statement = seen.row, seen.statement
        kind = "branch point" if row.branch else "point"
        console.say(f"{kind} {row.name}: {plural(seen.files, 'content')}, {size_text(seen.bytes)}")
        held = statement.packages if statement else ()
        for ref in held:
            least = " (the least version that clients may take)" if _is_least(statement, ref) else ""
            console.say(f"  {ref.package}:{ref.version}{least}")
        for one in statement.withdrawn if statement else ():
            console.say(f"  withdrawn: {one.package}:{one.version}, {one.reason or 'no reason given'}")
        say_space(console, seen.space)
        console.say(f"Connections at one time: {row.max_connections}; group: {row.group_name or 'none'}")
        if seen.probe is None:
            console.say("URL: " + (row.url or "none given"))
        elif not seen.probe.reached:
            console.warn(f"URL {row.url}: not reached: {seen.probe.problem}")
        else:
            newest = "serves the newest statement" if seen.probe.is_newest else "serves an older or another statement"
            ranges = "ranges work" if seen.probe.ranges else "no ranges: what breaks off begins the file anew"
            console.say(f"URL {row.url}: {newest}; {ranges}")
        validated = time_text(row.validated_ns) if row.validated_ns else "never"
        damage = f", {plural(row.damaged, 'file')} damaged" if row.damaged else ""
        console.say(f"Last read back: {validated}{damage}")
        console.result(
            {
                **describe(site, row),
                "contents": seen.files,
                "bytes": seen.bytes,
                "folders": [describe_space(one) for one in seen.space],
                "packages": [
                    {"package_id": ref.package, "version": ref.version, "listing": ref.listing} for ref in held
                ],
                "least": dict(statement.least) if statement else {},
                "withdrawn": [
                    {"package_id": one.package, "version": one.version, "reason": one.reason}
                    for one in (statement.withdrawn if statement else ())
                ],
                "served": None
                if seen.probe is None
                else {
                    "reached": seen.probe.reached,
                    "newest": seen.probe.is_newest,
                    "ranges": seen.probe.ranges,
                    "problem": seen.probe.problem,
                },
            }
        )


def _is_least(statement: Any, ref: Any) -> bool:
    return bool(statement.least.get(ref.package) == ref.version)


@command(app, "lint", examples=["courier point lint", "courier point lint --group desk --group lab"])
def lint(
    context: typer.Context,
    *,
    group_name: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="NAME", help="Group of clients that must have a point; repeat for more."),
    ] = None,
) -> None:
    """Name what is amiss with the points.

    Groups of clients without a point, points that clients cannot use, and what waits.
    """
    from courier.distribution.lint import lint as act

    console = console_of(context)
    with console.site() as site:
        found = act(site, group_name or ())
    for one in found:
        console.say(f"{one.code}: {one.message}: {one.do}")
    if not found:
        console.say("Nothing is amiss.")
    console.result(
        {
            "findings": [
                {"code": one.code, "point": one.point, "group": one.group, "message": one.message, "do": one.do}
                for one in found
            ]
        }
    )


@command(app, "remove", examples=["courier point remove P1"])
def remove(context: typer.Context, *, name: POINT) -> None:
    """Forget a point. Its folders keep what they hold; withdraw its packages before to take that away."""
    from courier.distribution.registry import find_point, remove_point

    console = console_of(context)
    with console.site() as site:
        find_point(site, name)
        console.confirm(f"Forget point {name}?")
        folders = remove_point(site, name)
        console.say(f"Point {name} removed. What it holds is still in {', '.join(folders)}.")
        console.result({"point": name, "folders": list(folders)})


for commands in (point_set.app, point_content.app, point_serve.app, point_mirror.app):
    app.add_typer(commands)
app.add_typer(point_class.app, name="class")
app.add_typer(point_rule.app, name="rule")
