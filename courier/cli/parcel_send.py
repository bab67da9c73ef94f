"""The sender's commands of ``courier parcel`` that make a parcel: create and write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import DRY_RUN, PARCEL, command, console_of, group
from courier.cli.config import config_of
from courier.cli.console import Console, duration_text
from courier.cli.planned_parcel import load_text, packing_document, say_plan, volume_cell, volumes_text
from courier.media.kinds import kinds_text
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.sending.outgoing_parcel import OutgoingParcel
    from courier.sending.retention import Retained
    from courier.sending.write import WritePlan, WrittenVolume
    from courier.site.home import Site
    from formats.documents.packing import KeyWay

app = group("")

MEDIA = Annotated[
    str | None, typer.Option("--media", metavar="KIND", help=f"Kind of medium to write to: {kinds_text()}.")
]
CAPACITY = Annotated[
    str | None,
    typer.Option("--capacity", metavar="SIZE", help="Usable size of a medium of any other kind, such as 64GB."),
]


@command(
    app,
    "create",
    examples=[
        "courier parcel create HQ100001 --to BR1 --media bd25",
        "courier parcel create HQ100001:2 HQ100004 --to BR1 --to BR2 --capacity 64GB --spare-volumes 1",
        "courier parcel create HQ100001 --to BR1 --media lto8 --dry-run",
    ],
)
def create(
    context: typer.Context,
    *,
    packages: Annotated[
        list[str],
        typer.Argument(metavar="ID[:VERSION]...", help="Packages to send; without a version, the newest one."),
    ],
    to: Annotated[
        list[str],
        typer.Option("--to", metavar="CODE", help="Site that it goes to, or @NAME of a group; repeat for several."),
    ],
    media: MEDIA = None,
    capacity: CAPACITY = None,
    compress: Annotated[
        str | None,
        typer.Option(
            "--compress",
            metavar="METHOD",
            help="Compression: auto, none, fast, or best (slow). Without it: as courier config says, else auto.",
        ),
    ] = None,
    encrypt: Annotated[
        bool | None,
        typer.Option(
            "--encrypt/--no-encrypt", help="Encrypt the content. Without either: if the cards of all sites allow it."
        ),
    ] = None,
    priority: Annotated[
        str, typer.Option("--priority", metavar="PRIORITY", help="How urgent it is: high, medium or low.")
    ] = "medium",
    spare_volumes: Annotated[
        int,
        typer.Option(
            "--spare-volumes",
            metavar="N",
            min=0,
            max=9999,
            help="Write N more volumes of parity, so that any N volumes may be lost.",
        ),
    ] = 0,
    redundancy: Annotated[
        str | None,
        typer.Option(
            "--redundancy",
            metavar="SHARE",
            help="Parity on each volume: fill (what space is left there, up to a tenth of the content), "
            "none, or a share of the medium such as 5%. Without it: as courier config says, else fill.",
        ),
    ] = None,
    anyway: Annotated[
        str,
        typer.Option(
            "--anyway",
            metavar="REASON",
            help="Create it although a check objects (no address, no space at a site, and so on), for this reason.",
        ),
    ] = "",
    key_by_network: Annotated[
        bool,
        typer.Option("--key-by-network", help="Send the key in the ship notice instead of on the media."),
    ] = False,
    release: Annotated[
        str,
        typer.Option(
            "--release",
            metavar="WHEN",
            help="on-arrival: send the key only after the destination has reported all seals.",
        ),
    ] = "",
    supersedes: Annotated[
        str,
        typer.Option("--supersedes", metavar="PARCEL", help="Parcel that this one replaces as soon as it is shipped."),
    ] = "",
    dry_run: DRY_RUN = False,
) -> None:
    """Plan, build and sign a parcel.

    Give --media or --capacity, or set one by courier config. Nothing is written to media yet: that is courier parcel
    write.
    """
    from courier.errors import UsageError
    from courier.media.kinds import medium_capacity
    from courier.parcel.parity_plan import Redundancy
    from courier.sending.build import build_parcel, building_bytes
    from courier.sending.estimate import estimate_parcel
    from courier.sending.plan import ParcelRequest, draft_parcel
    from courier.sending.retention import disk_bytes, keep_quota
    from courier.sending.supersede import check_supersedes
    from formats.codecs import COMPRESSIONS
    from formats.documents.packing import PRIORITIES

    console = console_of(context)
    config = config_of(console)
    to = config.expand(to)
    compress = config.compress or "auto" if compress is None else compress
    redundancy = config.redundancy or "fill" if redundancy is None else redundancy
    if compress not in COMPRESSIONS:
        raise UsageError(
            f"--compress {compress}: there is no such method", hint=f"give one of {', '.join(COMPRESSIONS)}"
        )
    if priority not in PRIORITIES:
        raise UsageError(
            f"--priority {priority}: there is no such priority", hint=f"give one of {', '.join(PRIORITIES)}"
        )
    if media is None and capacity is None:
        media, capacity = config.media or None, config.capacity or None
    kind, room = medium_capacity(media, capacity)
    request = ParcelRequest(
        packages=tuple(packages),
        destinations=tuple(to),
        media=kind,
        capacity=room,
        compress=compress,
        encrypt=encrypt,
        priority=priority,
        spares=spare_volumes,
        redundancy=Redundancy.parse(redundancy),
        key=_key_way(key_by_network=key_by_network, release=release, encrypt=encrypt),
        anyway=anyway,
        supersedes=supersedes,
    )
    with console.site() as site:
        draft = draft_parcel(site, request)
        plan = draft.plan(kind, room)
        if supersedes:
            check_supersedes(site, supersedes, to)
        for note in (*plan.notes, *(f"anyway: {one}" for one in plan.overridden)):
            console.warn(note)
        if dry_run:
            say_plan(console, plan, estimate_parcel(draft, plan), kept=building_bytes(plan))
            return
        _say_discarded(console, keep_quota(site, coming=building_bytes(plan)))
        with console.phases() as progress:
            parcel = build_parcel(site, plan, progress)
        packing = parcel.packing
        encrypted = f"encrypted for {', '.join(packing.destinations)}" if packing.encrypted else "not encrypted"
        console.say(
            f"{packing.parcel}: {plural(len(packing.archives), 'archive')}, {encrypted}; {load_text(packing)}; "
            f"on {volumes_text(packing)}"
        )
        kept, all_kept = disk_bytes(site, packing.parcel), keep_quota(site)
        _say_kept(console, site, kept, all_kept)
        console.say(f"Next: courier parcel write {packing.parcel} --layout iso --out DIR")
        notes = {"notes": list(plan.notes), "overridden": list(plan.overridden)}
        space = {"kept_bytes": kept, "built_bytes": all_kept.bytes, "parcel_quota": all_kept.quota}
        console.result({"state": parcel.sent.state, **notes, **space, **packing_document(packing)})


def _say_discarded(console: Console, kept: Retained) -> None:
    for name, freed in kept.discarded:
        console.say(f"{name} is confirmed; its files were deleted to keep the quota: {size_text(freed)} freed")


def _say_kept(console: Console, site: Site, kept: int, all_kept: Retained) -> None:
    """Say what the files of a parcel take in the sender's home, those of all, and what the quota does about it."""
    _say_discarded(console, all_kept)
    quota = f"of a quota of {size_text(all_kept.quota)}" if all_kept.quota else "without a quota"
    console.say(
        f"Kept in {site.home} until it is confirmed: {size_text(kept)}; by all built parcels: "
        f"{size_text(all_kept.bytes)} {quota}"
    )
    if all_kept.over:
        console.note(
            f"built parcels take {size_text(all_kept.over)} above the quota; none goes until it is confirmed.",
            hint="courier parcel list shows them; courier parcel discard PARCEL deletes the files of one, "
            "courier parcel limits --quota SIZE sets the quota",
        )


def _key_way(*, key_by_network: bool, release: str, encrypt: bool | None) -> KeyWay:
    from courier.errors import UsageError

    if release not in ("", "on-arrival"):
        raise UsageError(f"--release {release}: there is no such choice", hint="give --release on-arrival")
    if release and not key_by_network:
        raise UsageError("--release needs --key-by-network", hint="give both, or neither")
    if key_by_network and encrypt is False:
        raise UsageError("with --no-encrypt there is no key to send by network", hint="leave out one of the two")
    if not key_by_network:
        return "media"
    return "on-arrival" if release else "network"


@command(
    app,
    "write",
    examples=[
        "courier parcel write HQ1-000042 --layout iso --out /srv/discs",
        "courier parcel write HQ1-000042 --layout folder --out /mnt/disk1 --out /mnt/disk2",
        "courier parcel write HQ1-000042 --layout iso --out /srv/discs --volume 3",
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
    dry_run: DRY_RUN = False,
) -> None:
    """Write the volumes of a parcel and read each one back.

    With another --media or --capacity the parcel is laid out for it first; it is not built again.
    """
    from dataclasses import replace

    from courier.errors import UsageError
    from courier.media.kinds import medium_capacity
    from courier.media.reading import LAYOUTS
    from courier.sending.missing_files import ensure_files
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.relayout import plan_relayout, relay_out
    from courier.sending.write import plan_writing, require_room, write_volumes

    console = console_of(context)
    if layout not in LAYOUTS:
        raise UsageError(f"--layout {layout}: there is no such layout", hint=f"give one of {', '.join(LAYOUTS)}")

    def written(one: WrittenVolume) -> None:
        reels = f" on {one.reels} reels" if one.reels > 1 else ""
        what = "already written; verified again" if one.kept else f"written{reels} and read back"
        if one.away:
            what = f"written before, on a medium that is not here now; to write it again: --volume {one.number}"
        console.say(f"Volume {one.number} of {one.of}: {one.path}, {size_text(one.bytes)}, {what}")
        console.event({"volume": _written(one)})

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
            layout=layout,
            outs=out,
            numbers=volume or (),
            spaces=relayout.layout.spaces if relayout else (),
        )
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
            done = write_volumes(site, plan, progress=progress, written=written, changed=console.change_media)
        if done.state == "Written":
            console.say(f"All volumes are written. Next: courier parcel ship {parcel}")
        console.result({"parcel_id": parcel, "state": done.state, "volumes": [_written(one) for one in done.volumes]})


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


def _written(one: WrittenVolume) -> dict[str, Any]:
    return {
        "number": one.number,
        "of": one.of,
        "path": str(one.path),
        "bytes": one.bytes,
        "layout": one.layout,
        "state": "Written",
        "kept": one.kept,
        "away": one.away,
        # The reels of a medium that is not here are not counted again; the log of the parcel has their number.
        **({} if one.away else {"reels": one.reels}),
    }
