"""``courier point mirror``: a branch point that fills itself, on a computer without a site."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console
from courier.cli.download_options import (
    CA_FILE,
    CARD,
    FROM,
    PARALLEL,
    PRIORITY,
    RATE,
    RETRY_FOR,
    SETTINGS,
    TOKEN_FILE,
    WINDOW,
    manner_of,
    seconds_of,
    sources_of,
    stopping,
)
from courier.cli.download_told import say_sources, sources_json
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.distribution.mirror import Mirrored
    from courier.errors import CourierError

app = group("")


@command(
    app,
    "mirror",
    examples=[
        "courier point mirror /srv/branch --from http://p1.example --card HQ1.card --new",
        "courier point mirror /srv/branch --from http://p1 --from http://p2 --card HQ1.card --package HQ100001",
        "courier point mirror /srv/branch --from http://p1 --card HQ1.card --on-demand HQ1 --settings hours.toml"
        " --watch",
    ],
)
def mirror(
    context: typer.Context,
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the branch point, on this computer.")],
    addresses: FROM,
    cards: CARD,
    package: Annotated[
        list[str] | None,
        typer.Option(
            "--package", metavar="PREFIX", help="Packages to hold: beginning of their IDs; repeat for more. Else all."
        ),
    ] = None,
    on_demand: Annotated[
        list[str] | None,
        typer.Option(
            "--on-demand", metavar="PREFIX", help="Packages to hold once a client asked: beginning of their IDs."
        ),
    ] = None,
    point: Annotated[str, typer.Option("--point", metavar="NAME", help="Name that the point must have.")] = "",
    reserve: Annotated[
        str, typer.Option("--reserve", metavar="PART|SIZE", help="What is left free on its disk.")
    ] = "10%",
    new: Annotated[
        bool, typer.Option("--new", help="Begin a branch point in this folder, which is empty or not there yet.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read back all that is there, and fetch again what is damaged.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: fetch what is new, and what clients ask for, until Ctrl-C.")
    ] = False,
    every: Annotated[
        str, typer.Option("--every", metavar="TIME", help="With --watch: how often to look for what is new.")
    ] = "15m",
    priority: PRIORITY = "low",
    window: WINDOW = None,
    rate: RATE = None,
    settings: SETTINGS = None,
    token_file: TOKEN_FILE = None,
    ca_file: CA_FILE = None,
    parallel: PARALLEL = 2,
    retry_for: RETRY_FOR = "10m",
) -> None:
    """Keep a copy of a point: a branch point without a site.

    All is verified with the site's card. Clients see what is new once all of it is there; then what is
    no longer named is deleted. After an interruption the same command goes on.
    """
    from courier.distribution.background_priority import stand_back
    from courier.distribution.by_rule import check_prefix
    from courier.distribution.download_plan import read_cards
    from courier.distribution.mirror import Mirroring
    from courier.distribution.mirror import mirror as act
    from courier.distribution.mirror_watch import watch as keep
    from courier.distribution.room import check_reserve

    console = console_of(context)
    stop = threading.Event()
    manner = manner_of(
        console, priority, window or [], rate, settings, parallel=parallel, retry_for=retry_for, stop=stop
    )
    wanted = Mirroring(
        folder=folder.absolute(),
        points=sources_of(addresses, token_file, ca_file),
        cards=read_cards(cards),
        manner=manner,
        packages=tuple(map(check_prefix, package or ())),
        on_demand=tuple(map(check_prefix, on_demand or ())),
        reserve=check_reserve(reserve),
        point=point,
        verify=verify,
    )
    seconds = seconds_of(every)
    stand_back(manner.priority)  # also while it reads back what is there
    with stopping(stop):
        if not watch:
            done = act(wanted, new=new, stop=stop, progress=console.progress)
            _say(console, done)
            console.result(_document(done))
            return

        def told(done: Mirrored) -> None:
            if done.is_new or done.contents or done.freed:
                _say(console, done)
            console.event({"event": "mirrored", **_document(done)})

        def failed(error: CourierError) -> None:
            console.warn(f"{error.message}; it is tried again", hint=error.hint)
            console.event({"event": "failed", "error": {"code": error.code, "message": error.message}})

        keep(wanted, new=new, every=seconds, stop=stop, progress=console.progress, told=told, failed=failed)


def _say(console: Console, done: Mirrored) -> None:
    statement, held = done.statement, len(done.held)
    say_sources(console, done.sources)
    if done.freed:
        console.say(f"Deleted what is not needed any more: {size_text(done.freed)}")
    left = len(statement.packages) - held
    others = f"; {plural(left, 'other version')} of it are not held here" if left else ""
    console.say(
        f"Point {statement.point} of {statement.site}, statement {statement.serial}: "
        f"{plural(held, 'version')} here{others}"
    )


def _document(done: Mirrored) -> dict[str, Any]:
    return {
        "point": {"site": done.statement.site, "name": done.statement.point, "serial": done.statement.serial},
        "new_statement": done.is_new,
        "packages": [{"package_id": ref.package, "version": ref.version, "listing": ref.listing} for ref in done.held],
        "left_out": len(done.statement.packages) - len(done.held),
        "contents": done.contents,
        "fetched_bytes": done.counts.fetched,
        "resumed_bytes": done.counts.resumed,
        "zero_bytes": done.counts.zeros,
        "freed_bytes": done.freed,
        **sources_json(done.sources),
    }
