"""``courier catalog``: what this site knows, and getting it back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from courier.cli.command import command, group
from courier.cli.console import Console

app = group("The catalogue: what this site knows of its parcels.")


@app.callback()
def _group() -> None:
    """Makes it a group although it has one command."""


@command(app, "rebuild")
def rebuild(
    console: Console,
    *,
    media: Annotated[
        list[Path], typer.Argument(readable=False, metavar="MEDIUM...", help="Volumes, or folders of volumes.")
    ],
) -> None:
    """Learn of parcels from their media alone, after the catalogue was lost."""
    from courier.parcel.rebuild import rebuild as rebuild_from
    from courier.receiving.rebuild_received import rebuild_received
    from courier.sending.rebuild_sent import rebuild_sent

    with console.site(lost_catalogue=True) as site:
        found, failures = rebuild_from(site, media, sent=rebuild_sent, received=rebuild_received)
        for one in found:
            known = "learnt" if one.new else "known"
            console.say(f"{one.path}: {one.parcel}, volume {one.number} of {one.of}, as {one.side}: {known}")
            for note in one.notes:
                console.say(f"  {note}")
        for parcel, side in sorted({(one.parcel, one.side) for one in found if one.new}):
            if side == "sender":
                console.say(f"{parcel}: if it was shipped: courier parcel ship {parcel}, and its receipts come again")
            else:
                console.say(f"{parcel}: Next: courier parcel receive MEDIUM, with each of its volumes")
        document = {
            "volumes": [
                {
                    "parcel_id": one.parcel,
                    "number": one.number,
                    "of": one.of,
                    "path": one.path,
                    "side": one.side,
                    "new": one.new,
                    "notes": list(one.notes),
                }
                for one in found
            ]
        }
        if failures:
            raise typer.Exit(console.errors(failures, document))
        console.result(document)
