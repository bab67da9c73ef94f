"""``courier parcel write``: writing the volumes of a parcel, and burning their images to discs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.command import DRY_RUN, PARCEL, command, console_of, group
from courier.cli.console import Console, duration_text
from courier.cli.parcel_send import CAPACITY, MEDIA
from courier.cli.planned_parcel import packing_document, volume_cell
from courier.cli.written_bytes import say_written
from courier.cli.written_volume import layout_named, say_after_writing, say_volume, volume_written
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.sending.outgoing_parcel import OutgoingParcel
    from courier.sending.write import WritePlan, WrittenVolume
    from courier.site.home import Site

app = group("")


@command(
    app,
    "write",
    examples=[
        "courier parcel write HQ1-000042 --layout iso --out /srv/discs",
        "courier parcel write HQ1-000042 --layout folder --out /mnt/disk1 --out /mnt/disk2",
        "courier parcel write HQ1-000042 --layout iso --out /srv/discs --volume 3",
        "courier parcel write HQ1-000042 --layout iso --out /srv/discs --volume 3 --burn /dev/sr0",
    ],
)
def write(
    context: typer.Context,
    *,
    parcel: PARCEL,
    layout: Annotated[str, typer.Option("--layout", metavar="LAYOUT", help="Layout of a volume: iso, tape or folder.")],
    out: Annotated[
        list[Path],
        typer.Option("--out", metavar="DIR", help="Where volumes go; repeat for several drives, used in turn."),
    ],
    volume: Annotated[
        list[int] | None,
        typer.Option("--volume", metavar="N", min=1, max=9999, help="Write only this volume; repeat for more."),
    ] = None,
    media: MEDIA = None,
    capacity: CAPACITY = None,
    burn: Annotated[
        str,
        typer.Option(
            "--burn", metavar="DRIVE", help="Burn each ISO image in this drive (/dev/sr0), and read the disc back."
        ),
    ] = "",
    dry_run: DRY_RUN = False,
) -> None:
    """Write the volumes of a parcel and read each one back.

    With another --media or --capacity the parcel is laid out for it first; it is not built again.
    """
    from dataclasses import replace

    from courier.media.kinds import medium_capacity
    from courier.sending.burn import check_burning
    from courier.sending.missing_files import ensure_files
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.relayout import plan_relayout, relay_out
    from courier.sending.write import plan_writing, require_room, write_volumes

    console = console_of(context)
    layout_of = layout_named(layout, burn=bool(burn))

    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        if outgoing.sent.state == "Confirmed":
            console.note(f"{parcel} is confirmed: every destination has it. Writing it again does not change that.")
        kind, room = outgoing.packing.media, outgoing.packing.capacity
        if media is not None or capacity is not None:
            kind, room = medium_capacity(media, capacity)
        # Nothing is changed before the operator has seen the preview.
        relayout = None
        if (kind, room) != (outgoing.packing.media, outgoing.packing.capacity):
            relayout = plan_relayout(site, outgoing, media=kind, capacity=room)
        plan = plan_writing(
            site,
            relayout.preview if relayout else outgoing,
            layout=layout_of,
            outs=out,
            numbers=volume or (),
            spaces=relayout.layout.spaces if relayout else (),
        )
        if burn:
            check_burning(burn, len(plan.spaces), attended=console.change_media(""))
        _preview(console, plan)
        if relayout:
            _say_relayout(console, site, outgoing)
        if dry_run:
            console.result({"dry_run": True, **packing_document(plan.parcel.packing)})
            return
        console.confirm("Write them?")
        if relayout:
            require_room(site, plan, changed=console.change_media)
            ensure_files(site, outgoing, range(len(outgoing.packing.archives)))
            plan = replace(plan, parcel=relay_out(site, relayout))
        with console.phases() as progress:
            done = write_volumes(
                site,
                plan,
                progress=progress,
                written=lambda one: say_volume(console, one),
                changed=console.change_media,
            )
        burnt = _burn(console, site, parcel, done.volumes, burn) if burn else []
        disk = say_written(console, sum(plan.spaces[one.number].payload for one in done.volumes if not one.kept))
        say_after_writing(console, parcel, done, layout="" if burn else layout)
        volumes = [volume_written(one) for one in done.volumes]
        console.result({"parcel_id": parcel, "state": done.state, "volumes": volumes, "burnt": burnt, **disk})


def _burn(console: Console, site: Site, parcel: str, volumes: Sequence[WrittenVolume], drive: str) -> list[int]:
    """Burn the images of volumes, one after the other, and return which; a person changes the disc between two."""
    from courier.sending.burn import burn

    burnt: list[int] = []
    for one in volumes:
        if one.away:
            continue
        if burnt:
            console.change_media(f"Put a blank disc for volume {one.number} into {drive}")
        with console.phases() as progress:
            burn(site, parcel, one, drive, progress=progress)
        console.say(f"Volume {one.number} of {one.of}: burnt in {drive} and read back")
        console.event({"burnt": {"volume": one.number, "drive": drive}})
        burnt.append(one.number)
    return burnt


def _say_relayout(console: Console, site: Site, outgoing: OutgoingParcel) -> None:
    """Say, before it is done, what a new layout means for media that were written in the present one."""
    from courier.site.catalog import parcels

    name, edition = outgoing.sent.parcel, outgoing.sent.edition
    with site.catalogue.reading() as connection:
        written = [m for m in parcels.written_media(connection, name) if m.edition == edition]
        shipped = [to.site for to in parcels.destinations(connection, name) if to.shipped_ns]
    if written:
        numbers = len({m.number for m in written})
        console.note(
            f"this lays {name} out anew, as edition {edition + 1}. {plural(numbers, 'volume')} of edition "
            f"{edition} {'was' if numbers == 1 else 'were'} written before: receivers take them as well, but no more "
            "of that edition can be written, and the parity of two editions does not go together."
        )
    if shipped:
        console.note(
            f"{', '.join(shipped)} {'was' if len(shipped) == 1 else 'were'} told of edition {edition}. Once the "
            f"new one is written, this tells of it: courier parcel ship {name}"
        )


def _preview(console: Console, plan: WritePlan) -> None:
    """Say what will be written."""
    from courier.media.kinds import writing_seconds

    packing = plan.parcel.packing
    seconds = writing_seconds(packing.media, plan.payload)
    places = ", ".join(map(str, plan.outs))
    console.say(
        f"{packing.parcel}: {len(plan.spaces)} of {plural(packing.volumes, 'volume')} ({packing.media}, "
        f"{size_text(packing.capacity)} each) to {places}: {size_text(plan.payload)}, "
        f"about {duration_text(seconds)} with a typical drive, reading back included"
    )
    rows = [
        (
            volume_cell(packing.spares, one.number),
            size_text(one.payload),
            size_text(one.bytes),
            f"{one.bytes * 100 // packing.capacity}%",
        )
        for one in plan.spaces.values()
    ]
    console.table(
        ("VOLUME", "PAYLOAD", "ON THE MEDIUM", "FILL"),
        rows if len(rows) <= 20 else [*rows[:10], ("...", "", "", ""), *rows[-5:]],
    )
