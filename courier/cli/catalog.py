"""``courier catalog``: what this site knows of its parcels, and how to get that back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console

if TYPE_CHECKING:
    from courier.errors import CourierError
    from courier.parcel.rebuild import Rebuilt
    from courier.site.home import Site

app = group("The catalogue: what this site knows of its parcels.")


@app.callback()
def _group() -> None:
    """Without a callback typer would make the only command of a group the group itself."""


@command(
    app,
    "rebuild",
    examples=[
        "courier catalog rebuild /mnt/archive/volumes",
        "courier catalog rebuild --card HQ1.card --card BR1.card /mnt/archive/volumes",
    ],
)
def rebuild(
    context: typer.Context,
    *,
    media: Annotated[
        list[Path] | None,
        typer.Argument(
            readable=False,
            metavar="[MEDIUM...]",
            help="Volumes of parcels, or folders of volumes; without any an empty catalogue is begun.",
        ),
    ] = None,
    card: Annotated[
        list[Path] | None,
        typer.Option(
            "--card", metavar="FILE", help="Pin this card of another site, to trust what it signed; repeat for more."
        ),
    ] = None,
) -> None:
    """Enter parcels into the catalogue again from their media.

    This is for a catalogue that was lost and of which there is no backup. The cards of other sites were in it, too: a
    receiver gives that of the sender. Where nothing could be entered, no new catalogue stays.
    """
    from courier.errors import UsageError
    from courier.parcel.rebuild import rebuild as rebuild_from
    from courier.receiving.rebuild_received import rebuild_received
    from courier.sending.rebuild_sent import rebuild_sent
    from courier.site.lost_catalogue import catalogue_is_lost
    from courier.site.settings import find_home

    console = console_of(context)
    was_lost = catalogue_is_lost(find_home(console.home))
    if not media and not was_lost:
        raise UsageError("no media were given, and the catalogue is whole", hint="name the media of parcels")
    found: list[Rebuilt] = []
    failures: list[tuple[str, CourierError]] = []
    with console.site(lost_catalogue=True) as site:
        pinned = _pin(console, site, card or [])
        if not media:
            console.confirm("Begin an empty catalogue, which knows no parcel and no package?")
            console.say("An empty catalogue was begun; courier catalog rebuild MEDIUM... enters parcels later, too")
        else:
            found, failures = rebuild_from(site, media, sent=rebuild_sent, received=rebuild_received, note=console.note)
        _say(console, found)
        document = {"pinned": pinned, "volumes": [_document(one) for one in found]}
        if failures and not found:
            # Within the block: a catalogue that was begun for this goes again.
            raise typer.Exit(console.errors(failures, document))
    if failures:
        raise typer.Exit(console.errors(failures, document))
    console.result(document)


def _pin(console: Console, site: Site, paths: Sequence[Path]) -> list[str]:
    """Pin cards, once the operator has compared their fingerprints; return the codes of their sites."""
    from courier.site.peers import is_pinned, pin_card, read_card_file

    cards = [read_card_file(path) for path in paths]
    if new := [seen for _, seen in cards if not is_pinned(site, seen)]:
        for seen in new:
            console.say(f"Card of {seen.site} ({seen.name}), serial {seen.serial}")
            console.say(f"Fingerprint: {seen.fingerprint}")
        console.confirm("Do these sites read out the same fingerprints?", hint="compare them by phone, then give --yes")
    for data, seen in cards:
        pin_card(site, data, fingerprint=None)
        console.say(f"{seen.site} is trusted.")
    return [seen.site for _, seen in cards]


def _say(console: Console, found: Sequence[Rebuilt]) -> None:
    from courier.sending.rebuild_sent import UNKNOWN_PACKAGES

    for one in found:
        known = "added to the catalogue" if one.new else "is in the catalogue already"
        console.say(f"{one.path}: {one.parcel}, volume {one.number} of {one.of}; this site is its {one.side}: {known}")
        for note in one.notes:
            console.say(f"  {note}")
    unknown = {one.parcel for one in found if UNKNOWN_PACKAGES in one.notes}
    for parcel, side in sorted({(one.parcel, one.side) for one in found if one.new}):
        if side == "receiver":
            console.say(
                f"{parcel}: next, receive each of its volumes: courier parcel receive MEDIUM; {parcel[:3]} sends its "
                f"notice again by courier parcel ship {parcel}"
            )
        elif parcel not in unknown:
            console.say(f"{parcel}: if it was shipped, courier parcel ship {parcel} makes its receipts come again")


def _document(one: Rebuilt) -> dict[str, Any]:
    return {
        "parcel_id": one.parcel,
        "number": one.number,
        "of": one.of,
        "path": one.path,
        "side": one.side,
        "new": one.new,
        "notes": list(one.notes),
    }
