"""The commands of ``courier parcel`` that end a parcel, or its files: fail, refuse, accept, discard."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.command import command
from courier.cli.console import Console, size_text

PARCEL = Annotated[str, typer.Argument(metavar="PARCEL", help="Parcel ID, such as HQ1-000042.")]
REASON = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the log.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to ``courier parcel``."""
    for name, function in (("fail", fail), ("refuse", refuse), ("accept", accept), ("discard", discard)):
        command(app, name)(function)


def fail(console: Console, *, parcel: PARCEL, reason: REASON) -> None:
    """Mark a parcel of ours Failed: lost on the road, or given up. It can be shipped again."""
    from courier.sending.close import fail_parcel
    from courier.site.catalog import parcels

    with console.site() as site:
        state = fail_parcel(site, parcel, reason)
        console.say(f"{parcel} is {state}. Its content again: courier parcel create ... --supersedes {parcel}")
        with site.catalogue.reading() as connection:
            has = [to.site for to in parcels.destinations(connection, parcel) if to.receipt is not None]
        if has:
            console.say(f"  note: {', '.join(has)} imported it and sent the receipt")
        console.result({"parcel_id": parcel, "state": state})


def refuse(console: Console, *, parcel: PARCEL, reason: REASON) -> None:
    """Refuse a parcel that was announced or arrives: nothing more of it is taken, and it is not imported."""
    from courier.receiving.refuse import refuse_parcel

    with console.site() as site:
        state = refuse_parcel(site, parcel, reason)
        console.say(f"{parcel} is {state}. Its files: courier parcel discard {parcel}")
        console.result({"parcel_id": parcel, "state": state})


def accept(console: Console, *, parcel: PARCEL) -> None:
    """Take a parcel after all that was refused."""
    from courier.receiving.refuse import accept_parcel

    with console.site() as site:
        state = accept_parcel(site, parcel)
        console.say(f"{parcel} is {state}. Next: courier parcel receive MEDIUM, or courier parcel import {parcel}")
        console.result({"parcel_id": parcel, "state": state})


def discard(console: Console, *, parcel: PARCEL) -> None:
    """Delete a parcel's files from this computer's disk; its record and the packages in the store stay."""
    from courier.parcel.discard import discard_parcel
    from courier.receiving.discard_received import discard_received
    from courier.sending.discard_sent import discard_sent

    with console.site() as site:
        console.confirm(f"Delete the files of {parcel} from {site.home}?")
        freed = discard_parcel(site, parcel, (discard_sent, discard_received))
        console.say(f"{parcel}: {size_text(freed)} freed.")
        console.result({"parcel_id": parcel, "freed": freed})
