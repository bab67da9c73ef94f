"""``courier state restore`` and ``recover``: captured state comes back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console, time_text
from courier.cli.download_options import stopping
from courier.cli.state_computer import COMPUTER, SHOWN
from courier.text import one_line, plural, size_text

if TYPE_CHECKING:
    from courier.deployment.state_restore import Restored

app = group("")

CAPTURE = Annotated[
    int | None,
    typer.Option("--capture", metavar="N", min=1, max=999_999, help="Number of a capture; else the newest."),
]
INTO = Annotated[Path, typer.Option("--into", metavar="DIR", help="Folder that it goes into.")]


@command(app, "restore", examples=["courier state restore NEW-PC --into /mnt/disk"])
def restore(
    context: typer.Context,
    *,
    computer: COMPUTER,
    into: INTO,
    capture: CAPTURE = None,
    migration: Annotated[
        str | None, typer.Option("--migration", metavar="ID", help="Where several wait: the one that is meant.")
    ] = None,
) -> None:
    """Restore what was captured for a computer, all verified.

    What stands in the way is kept, under a name that ends in .before-restore. After an interruption the
    same command goes on.
    """
    from courier.deployment.state_migrations import take_over
    from courier.deployment.state_place import state_place_for
    from courier.deployment.state_restore import restore as act

    console = console_of(context)
    stop = threading.Event()
    with console.site() as site, stopping(stop), console.phases() as progress:
        place = state_place_for(site, computer, captures=False, restores=True, migration=migration, reserves=False)
        assert place is not None
        done = act(place, into, number=capture, progress=progress, stop=stop)
        take_over(site)
    _say_restored(console, done)
    if not done.unread:
        console.say(f"When all is well there: courier state release {place.destination}")


def _say_restored(console: Console, done: Restored) -> None:
    console.say(
        f"State of {done.source}, capture {done.number} of {time_text(done.captured_ns)}: "
        f"{plural(done.files, 'file')}, {size_text(done.bytes)}, all verified"
    )
    for path in done.kept_aside[:SHOWN]:
        console.say(f"  kept aside: {one_line(path)}")
    if done.aside > SHOWN:
        console.say(f"  and {done.aside - SHOWN:,} more")
    if done.unread:
        console.warn(f"Note: {plural(done.unread, 'thing')} could not be read when it was captured, and are not in it")
    if done.lost:
        console.warn(f"Note: the system did not take {plural(done.lost, 'owner or attribute', 'owners or attributes')}")
    console.result(
        {
            "migration": done.migration,
            "capture": done.number,
            "source": done.source,
            "files": done.files,
            "bytes": done.bytes,
            "written_bytes": done.written,
            "kept_aside": list(done.kept_aside),
            "aside": done.aside,
            "unread": done.unread,
            "lost": done.lost,
        }
    )


@command(app, "recover", examples=["courier state recover 3f9a0c51d2e4 --into /srv/recovered"])
def recover(
    context: typer.Context,
    *,
    migration: Annotated[
        str, typer.Argument(metavar="MIGRATION", help="ID of a migration, or its beginning, as courier state list has.")
    ],
    into: INTO,
    capture: CAPTURE = None,
) -> None:
    """Bring captured state back by the site's recovery key.

    So the new computer, or its key, may be lost. It does not count as restored.
    """
    from courier.deployment.state_migrations import find_migration
    from courier.deployment.state_migrations import recover as act

    console = console_of(context)
    stop = threading.Event()
    with console.site() as site, stopping(stop), console.phases() as progress:
        done = act(site, find_migration(site, migration), into, number=capture, progress=progress, stop=stop)
    _say_restored(console, done)
