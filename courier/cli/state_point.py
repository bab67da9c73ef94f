"""``courier state point``: the state migration points of this site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import duration_text
from courier.cli.download_options import seconds_of
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.deployment.state_points import PointRoom

app = group("State migration points: where users' state waits, encrypted.")

POINT = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a state migration point: letters, digits, dots, hyphens.")
]


@command(
    app,
    "add",
    examples=[
        "courier state point add STATE1 /srv/state --max-clients 50 --min-free 10%",
        "courier state point add STATE2 /mnt/share/state --max-clients 200 --min-free 50GB --delete-after 7d",
    ],
)
def add(
    context: typer.Context,
    *,
    name: POINT,
    path: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of the point, which computers reach at this path too.")
    ],
    max_clients: Annotated[
        int, typer.Option("--max-clients", metavar="N", min=1, max=1_000_000, help="Computers that have a place there.")
    ] = 100,
    min_free: Annotated[
        str, typer.Option("--min-free", metavar="PART|SIZE", help="What stays free on its disk: 10%, 500MB or 20GB.")
    ] = "10%",
    restore_only: Annotated[
        bool, typer.Option("--restore-only", help="Nothing is captured there; what is there is restored.")
    ] = False,
    delete_after: Annotated[
        str | None,
        typer.Option("--delete-after", metavar="TIME", help="From the release to the deletion: 7d; else at once."),
    ] = None,
) -> None:
    """Add a state migration point: a folder of its own.

    It is made where only the folder itself is missing. What is captured there is deleted after its
    release, and never before.
    """
    from courier.deployment.state_points import NewStatePoint, add_point

    console = console_of(context)
    new = NewStatePoint(
        name=name,
        path=path,
        max_clients=max_clients,
        min_free=min_free,
        restore_only=restore_only,
        delete_after=0 if delete_after is None else int(seconds_of(delete_after)),
    )
    with console.site() as site:
        row = add_point(site, new)
        console.say(f"State migration point {row.name} added: {row.path}")
        console.result({"point": row.name, "path": row.path})


@command(app, "list", examples=["courier state point list"])
def list_(context: typer.Context) -> None:
    """List the state migration points of this site."""
    from courier.deployment.state_points import rooms

    console = console_of(context)
    with console.site() as site:
        found = rooms(site)
        rows = [
            (
                one.point.name,
                f"{one.taken:,} of {one.point.max_clients:,}",
                "not there" if one.room is None else size_text(one.room),
                "restores only" if one.point.restore_only else "",
                one.point.path,
            )
            for one in found
        ]
        console.table(("POINT", "CLIENTS", "ROOM", "", "PATH"), rows)
        if not rows:
            console.say("There is no state migration point yet: courier state point add NAME FOLDER")
        console.result({"points": [_document(one) for one in found]})


@command(app, "show", examples=["courier state point show STATE1"])
def show(context: typer.Context, *, name: POINT) -> None:
    """Show a state migration point: its limits, and what it has left."""
    from courier.deployment.state_points import find_point, free_text, rooms

    console = console_of(context)
    with console.site() as site:
        find_point(site, name)
        one = next(room for room in rooms(site) if room.point.name == name)
        row = one.point
        console.say(f"State migration point {row.name}: {row.path}")
        console.say(f"Clients: {one.taken:,} of {row.max_clients:,} places are taken")
        room = "its folder is not there now" if one.room is None else f"{size_text(one.room)} above what stays free"
        console.say(f"Room: {room}; {free_text(row.min_free)} of its disk stays free")
        days, rest = divmod(row.delete_after, 86_400)
        time = duration_text(row.delete_after) if rest else plural(days, "day")
        after = f"{time} after its release" if row.delete_after else "when it is released"
        console.say(f"State is deleted {after}")
        if row.restore_only:
            console.say("It only restores: nothing is captured there")
        console.result(_document(one))


def _document(one: PointRoom) -> dict[str, Any]:
    row = one.point
    return {
        "point": row.name,
        "path": row.path,
        "max_clients": row.max_clients,
        "clients": one.taken,
        "min_free": row.min_free,
        "room": one.room,
        "restore_only": bool(row.restore_only),
        "delete_after_seconds": row.delete_after,
    }


@command(app, "remove", examples=["courier state point remove STATE1", "courier state point remove STATE1 --lost"])
def remove(
    context: typer.Context,
    *,
    name: POINT,
    lost: Annotated[
        bool, typer.Option("--lost", help="Its disk is lost, and with it all the state that it holds.")
    ] = False,
) -> None:
    """Forget a point that holds nothing any more.

    Its folder stays.
    """
    from courier.deployment.state_points import find_point, forget_lost_point, remove_point

    console = console_of(context)
    with console.site() as site:
        find_point(site, name)
        if lost:
            console.confirm(f"Give up all state at {name}, also what was not restored?")
            gone = forget_lost_point(site, name)
            console.say(f"State migration point {name} removed, and with it the state of {plural(gone, 'computer')}.")
            console.result({"point": name, "given_up": gone})
            return
        row = remove_point(site, name)
        console.say(f"State migration point {name} removed. Its folder is still at {row.path}.")
        console.result({"point": name, "given_up": 0})


@command(app, "adopt", examples=["courier state point adopt STATE1"])
def adopt(context: typer.Context, *, name: POINT) -> None:
    """After a lost catalogue: take in what a point holds.

    The recovery key of the site opens it. Do this only where nobody else could write to the point
    meanwhile.
    """
    from courier.deployment.state_migrations import adopt as act
    from courier.deployment.state_migrations import unknown_folders
    from courier.deployment.state_points import find_point

    console = console_of(context)
    with console.site() as site:
        point = find_point(site, name)
        unknown = unknown_folders(site, point)
        if unknown:
            console.confirm(f"Take in {plural(len(unknown), 'folder')} that this site does not know of?")
        taken = act(site, point) if unknown else []
        for row in taken:
            console.say(f"State of {row.source} for {row.destination}: {row.state}")
        if not unknown:
            console.say(f"State migration point {name} holds nothing that the catalogue does not know.")
        elif len(taken) < len(unknown):
            console.warn(
                f"{plural(len(unknown) - len(taken), 'folder')} hold no capture that this site's recovery key opens"
            )
        console.result(
            {
                "point": name,
                "adopted": [{"migration": row.migration, "source": row.source, "state": row.state} for row in taken],
                "left": len(unknown) - len(taken),
            }
        )
