"""``courier catalog``: what this site knows of its parcels, and how to get that back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from courier.cli.command import command, console_of, group

app = group("The catalogue: what this site knows of its parcels.")


@app.callback()
def _group() -> None:
    """Without a callback typer would make the only command of a group the group itself."""


@command(app, "rebuild", examples=["courier catalog rebuild /mnt/archive/volumes"])
def rebuild(
    context: typer.Context,
    *,
    media: Annotated[
        list[Path],
        typer.Argument(readable=False, metavar="MEDIUM...", help="Volumes of parcels, or folders of volumes."),
    ],
) -> None:
    """Enter parcels into the catalogue again from their media.

    This is for a catalogue that was lost and of which there is no backup.
    """
    from courier.parcel.rebuild import rebuild as rebuild_from
    from courier.receiving.rebuild_received import rebuild_received
    from courier.sending.rebuild_sent import rebuild_sent

    console = console_of(context)
    with console.site(lost_catalogue=True) as site:
        found, failures = rebuild_from(site, media, sent=rebuild_sent, received=rebuild_received)
        for one in found:
            known = "added to the catalogue" if one.new else "is in the catalogue already"
            console.say(
                f"{one.path}: {one.parcel}, volume {one.number} of {one.of}; this site is its {one.side}: {known}"
            )
            for note in one.notes:
                console.say(f"  {note}")
        for parcel, side in sorted({(one.parcel, one.side) for one in found if one.new}):
            if side == "sender":
                console.say(f"{parcel}: if it was shipped, courier parcel ship {parcel} makes its receipts come again")
            else:
                console.say(f"{parcel}: next, receive each of its volumes: courier parcel receive MEDIUM")
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
