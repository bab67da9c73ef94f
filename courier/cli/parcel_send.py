"""The sender's commands of ``courier parcel``: create, write, ship."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command
from courier.console import Console, duration_text, size_text
from courier.wording import listed, plural

if TYPE_CHECKING:
    from courier.prepare import ParcelPlan
    from courier.ship import Shipment
    from formats.documents.packing import KeyWay, PackingList

PARCEL = Annotated[str, typer.Argument(metavar="PARCEL", help="Parcel ID, such as HQ1-000042.")]
MEDIA = Annotated[
    str | None, typer.Option("--media", metavar="KIND", help="cd74 cd80 dvd5 dvd9 bd25 bd50 bd100 lto5-9.")
]
CAPACITY = Annotated[str | None, typer.Option("--capacity", metavar="SIZE", help="Usable bytes of a drive: 64GB.")]
MAX_SERIAL = 200
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")]


def add_to(app: typer.Typer) -> None:
    """Add the sender's commands to ``courier parcel``."""
    for name, function in (("create", create), ("write", write), ("ship", ship), ("recall", recall)):
        command(app, name)(function)


def create(
    console: Console,
    *,
    packages: Annotated[list[str], typer.Argument(metavar="ID[:VERSION]...", help="Packages (newest version else).")],
    to: Annotated[list[str], typer.Option("--to", metavar="CODE", help="Destination; again for several.")],
    media: MEDIA = None,
    capacity: CAPACITY = None,
    compress: Annotated[str, typer.Option("--compress", help="auto, none, fast or best.")] = "auto",
    encrypt: Annotated[
        bool | None, typer.Option("--encrypt/--no-encrypt", help="Default: encrypted where all cards allow it.")
    ] = None,
    priority: Annotated[str, typer.Option("--priority", help="high, medium or low.")] = "medium",
    spare_volumes: Annotated[
        int, typer.Option("--spare-volumes", metavar="M", min=0, max=9999, help="Further volumes: any M may be lost.")
    ] = 0,
    redundancy: Annotated[
        str, typer.Option("--redundancy", help="Parity on each medium: fill (what it has left), none, or 5%.")
    ] = "fill",
    anyway: Annotated[
        str, typer.Option("--anyway", metavar="REASON", help="Create it against the checks: no address, no room, ...")
    ] = "",
    key_by_network: Annotated[
        bool, typer.Option("--key-by-network", help="The key is not on the media: it travels in the ship notice.")
    ] = False,
    release: Annotated[
        str, typer.Option("--release", metavar="WHEN", help="on-arrival: the key goes when all seals are reported.")
    ] = "",
    supersedes: Annotated[
        str, typer.Option("--supersedes", metavar="PARCEL", help="It replaces this one, once it is shipped.")
    ] = "",
    dry_run: DRY_RUN = False,
) -> None:
    """Plan, build and sign a parcel."""
    from courier.errors import Usage
    from courier.fate import check_supersedes
    from courier.plan import medium_capacity
    from courier.prepare import COMPRESS, plan_parcel
    from courier.protection import Redundancy
    from courier.retention import keep_quota
    from courier.send import build_parcel
    from formats.documents.packing import PRIORITIES

    if compress not in COMPRESS:
        raise Usage(f"--compress {compress}: no such way", hint=f"one of {', '.join(COMPRESS)}")
    if priority not in PRIORITIES:
        raise Usage(f"--priority {priority}: no such priority", hint=f"one of {', '.join(PRIORITIES)}")
    kind, room = medium_capacity(media, capacity)
    with console.site() as site:
        plan = plan_parcel(
            site,
            packages,
            to,
            media=kind,
            capacity=room,
            compress=compress,
            encrypt=encrypt,
            priority=priority,
            spares=spare_volumes,
            redundancy=Redundancy.parse(redundancy),
            anyway=anyway,
            key=_key_way(key_by_network=key_by_network, release=release, encrypt=encrypt),
            supersedes=supersedes,
        )
        if supersedes:
            check_supersedes(site, supersedes, to)
        for note in (*plan.notes, *(f"anyway: {one}" for one in plan.overridden)):
            console.warn(note)
        if dry_run:
            _say_plan(console, plan)
            return
        for name, freed in keep_quota(site, coming=sum(plan.sizes)).discarded:
            console.say(f"{name}, confirmed, discarded for the quota: {size_text(freed)} freed")
        with console.progress("Building", plan.content_bytes) as progress:
            parcel = build_parcel(site, plan, progress)
        packing = parcel.packing
        sealed = f"encrypted for {', '.join(packing.destinations)}" if packing.sealed else "not encrypted"
        console.say(
            f"{packing.parcel}: {plural(len(packing.archives), 'archive')}, {_load(packing)}, {sealed}, "
            f"on {plural(packing.volumes, 'volume')} of {size_text(packing.capacity)}"
        )
        console.say(f"Next: courier parcel write {packing.parcel} --layout iso --out DIR")
        notes = {"notes": list(plan.notes), "overridden": list(plan.overridden)}
        console.result({"state": parcel.sent.state, **notes, **_packing(packing)})


def _key_way(*, key_by_network: bool, release: str, encrypt: bool | None) -> KeyWay:
    from courier.errors import Usage

    if release not in ("", "on-arrival"):
        raise Usage(f"--release {release}: no such moment", hint="--release on-arrival")
    if release and not key_by_network:
        raise Usage("--release is for keys that go by network", hint="give --key-by-network with it")
    if key_by_network and encrypt is False:
        raise Usage("--key-by-network with --no-encrypt: there is no key", hint="leave one of the two out")
    if not key_by_network:
        return "media"
    return "on-arrival" if release else "network"


def _packing(packing: Any) -> dict[str, Any]:
    return {
        "parcel_id": packing.parcel,
        "sealed": packing.sealed,
        "key": packing.key,
        "media": packing.media,
        "capacity": packing.capacity,
        "bytes": sum(file.size for file in packing.files()),
        "archives": [{"number": file.number, "bytes": file.size, "volume": file.volume} for file in packing.archives],
        "volumes": [
            {"number": n, "of": packing.volumes, "bytes": packing.volume_bytes(n), "path": "", "state": "Planned"}
            for n in range(1, packing.volumes + 1)
        ],
    }


def _load(packing: PackingList) -> str:
    """What the volumes carry: bytes of archives, and of parity with its share of them."""
    archives = sum(file.size for file in packing.archives)
    parity = sum(file.size for file in packing.parity)
    share = f" and {size_text(parity)} of parity ({parity * 100 / archives:.0f}%)" if parity else ""
    return f"{size_text(archives)}{share}"


def _say_plan(console: Console, plan: ParcelPlan) -> None:
    packing = plan.preview
    about = "" if plan.exact else "at most "
    console.say(
        f"Would build {packing.parcel} for {', '.join(packing.destinations)}: "
        f"{size_text(plan.content_bytes)} of content in "
        f"{plural(len(packing.archives), 'archive')} ({about}{_load(packing)}), "
        f"{about}{plural(packing.volumes, 'volume')} of {size_text(packing.capacity)}"
    )
    rows = [
        (
            n,
            len(packing.on_volume(n)),
            size_text(packing.volume_bytes(n)),
            f"{packing.volume_bytes(n) * 100 // packing.capacity}%",
        )
        for n in range(1, packing.volumes + 1)
    ]
    console.table(("VOLUME", "FILES", "PAYLOAD", "OF CAPACITY"), rows)
    console.result({"dry_run": True, "exact": plan.exact, "content_bytes": plan.content_bytes, **_packing(packing)})


def write(
    console: Console,
    *,
    parcel: PARCEL,
    layout: Annotated[str, typer.Option("--layout", help="iso, tape or folder.")],
    out: Annotated[
        list[Path], typer.Option("--out", metavar="DIR", help="Where volumes go; again for several drives, in turn.")
    ],
    volume: Annotated[
        list[int] | None, typer.Option("--volume", metavar="N", min=1, max=9999, help="Only this one; again for more.")
    ] = None,
    media: MEDIA = None,
    capacity: CAPACITY = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Write volumes and read each back. Another --media lays the parcel out anew, without building it again."""
    from courier.errors import Usage
    from courier.media import LAYOUTS
    from courier.outgoing import open_outgoing
    from courier.plan import medium_capacity
    from courier.remake import ensure_files
    from courier.send import relay_out
    from courier.volume_source import medium_bytes
    from courier.write import WrittenVolume, check_numbers, check_wanted, require_room, write_volumes

    if layout not in LAYOUTS:
        raise Usage(f"--layout {layout}: no such layout", hint=f"one of {', '.join(LAYOUTS)}")

    def written(one: WrittenVolume) -> None:
        reels = f" on {one.reels} reels" if one.reels > 1 else ""
        what = "stood there, read back" if one.kept else f"written{reels} and read back"
        if one.away:
            what = f"written before, on a medium that is not there now; to write it again: --volume {one.number}"
        console.say(f"Volume {one.number} of {one.of}: {one.path}, {size_text(one.bytes)}, {what}")
        console.event({"volume": _written(one)})

    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        check_wanted(outgoing)
        if outgoing.sent.state == "Confirmed":
            console.warn(f"Note: {parcel} is confirmed: every destination has it. It stays so, whatever is written.")
        if media is not None or capacity is not None:
            kind, room = medium_capacity(media, capacity)
            anew = (kind, room) != (outgoing.packing.media, outgoing.packing.capacity)
        else:
            kind, room, anew = outgoing.packing.media, outgoing.packing.capacity, False
        # Nothing is changed before the preview has been seen.
        laid_out = relay_out(site, outgoing, media=kind, capacity=room, dry_run=True) if anew else outgoing
        packing = laid_out.packing
        numbers = sorted(set(volume or range(1, packing.volumes + 1)))
        check_numbers(packing, numbers)
        total = _preview(console, packing, medium_bytes(site, laid_out, numbers), out)
        if dry_run:
            console.result({"dry_run": True, **_packing(packing)})
            return
        console.ask_if_present("Write them?")
        if anew:
            require_room(site, laid_out, layout=layout, outs=out, numbers=numbers, changed=console.change_media)
            ensure_files(site, outgoing, range(len(outgoing.packing.archives)))
            outgoing = relay_out(site, outgoing, media=kind, capacity=room)
        with console.progress("Writing", 2 * total) as progress:
            done = write_volumes(
                site,
                outgoing,
                layout=layout,
                outs=out,
                numbers=volume or (),
                progress=progress,
                written=written,
                changed=console.change_media,
            )
        state = open_outgoing(site, parcel).sent.state
        if state == "Written":
            console.say(f"All volumes are written. Next: courier parcel ship {parcel}")
        console.result({"parcel_id": parcel, "state": state, "volumes": [_written(one) for one in done]})


def _preview(console: Console, packing: PackingList, needed: dict[int, int], outs: list[Path]) -> int:
    """Say what will be written, and return its bytes; ``needed``: by volume, what it takes of its medium at most."""
    from courier.plan import writing_seconds

    numbers = list(needed)
    total = sum(packing.volume_bytes(n) for n in numbers)
    seconds = writing_seconds(packing.media, total)
    places = ", ".join(map(str, outs))
    console.say(
        f"{packing.parcel}: {len(numbers)} of {plural(packing.volumes, 'volume')} ({packing.media}, "
        f"{size_text(packing.capacity)} each) to {places}: {size_text(total)}, "
        f"some {duration_text(seconds)} at a typical drive's speed, read back included"
    )
    rows = [
        (n, size_text(packing.volume_bytes(n)), size_text(most), f"{most * 100 // packing.capacity}%")
        for n, most in needed.items()
    ]
    console.table(
        ("VOLUME", "PAYLOAD", "ON THE MEDIUM", "FILL"),
        rows if len(rows) <= 20 else [*rows[:10], ("...", "", "", ""), *rows[-5:]],
    )
    return total


def _written(one: Any) -> dict[str, Any]:
    return {
        "number": one.number,
        "of": one.of,
        "path": str(one.path),
        "bytes": one.bytes,
        "layout": one.layout,
        "state": "Written",
        "kept": one.kept,
        "away": one.away,
        # Of one that is away nobody has counted them now; the parcel's log has it.
        **({} if one.away else {"reels": one.reels}),
    }


def ship(
    console: Console,
    *,
    parcel: PARCEL,
    carrier: Annotated[str, typer.Option("--carrier", help="Who carries it.")] = "",
    tracking: Annotated[str, typer.Option("--tracking", help="The carrier's tracking number.")] = "",
    seal: Annotated[
        list[str] | None, typer.Option("--seal", metavar="VOLUME=SERIAL", help="Seal on a volume; again for more.")
    ] = None,
    waybill: Annotated[
        list[str] | None,
        typer.Option("--waybill", metavar="1-5,9", help="Volumes that travel together; again for more."),
    ] = None,
    survive_waybill: Annotated[
        bool,
        typer.Option("--survive-waybill", help="Refuse if losing one waybill (else: all) is more than parity mends."),
    ] = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Mark a parcel Sent; queue its ship notice and package definitions."""
    from courier.outgoing import open_outgoing
    from courier.ship import ship_parcel
    from courier.waybills import check_waybills

    seals = read_seals(seal)
    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        if waybill or survive_waybill:
            check_waybills(outgoing, waybill or [], survive=survive_waybill)
        shipment = ship_parcel(site, outgoing, carrier=carrier, tracking=tracking, seals=seals, dry_run=dry_run)
        warnings = [*_unsealed(shipment.unsealed), *map(_shared, shipment.shared_seals)]
        for text in warnings:
            console.warn(text)
        _say_shipment(console, shipment, dry_run=dry_run)
        console.result(
            {
                "parcel_id": parcel,
                "state": outgoing.sent.state if dry_run else shipment.state,
                "queued": shipment.queued,
                "dry_run": dry_run,
                "carrier": shipment.notice.carrier,
                "tracking": shipment.notice.tracking,
                "seals": [{"volume": n, "serial": serial} for n, serial in sorted(shipment.notice.seals.items())],
                "changes": list(shipment.changes or ()),
                "superseded": shipment.superseded,
                "warnings": warnings,
            }
        )


def _unsealed(numbers: Sequence[int]) -> list[str]:
    if not numbers:
        return []
    return [
        f"no seal is named for volume {listed(numbers)}: the arrival report can only say that it is there, and the key "
        "is released for that; --seal VOLUME=SERIAL has the seal reported as well"
    ]


def _shared(seal: tuple[str, tuple[int, ...]]) -> str:
    serial, numbers = seal
    return f"seal {serial} is on volumes {listed(numbers)}: right if it is on a box that holds them; else ship again"


def _say_shipment(console: Console, shipment: Shipment, *, dry_run: bool) -> None:
    notice, queued = shipment.notice, plural(shipment.queued, "message")
    again = ""
    if shipment.changes is not None:
        again = f" again, {'changed: ' + ', '.join(shipment.changes) if shipment.changes else 'as it was'}"
    if dry_run:
        seals = ", ".join(f"{number}={serial}" for number, serial in sorted(notice.seals.items())) or "none"
        console.say(
            f"Would ship {notice.parcel}{again}: state {shipment.state}, carrier {notice.carrier or '-'}, "
            f"tracking {notice.tracking or '-'}, seals: {seals}; {queued} queued."
        )
    else:
        again = f" and was shipped{again}" if again and shipment.state != "Sent" else again
        console.say(f"{notice.parcel} is {shipment.state}{again}; {queued} queued. Next: courier channel sync")
    if shipment.superseded:
        console.say(f"{shipment.superseded} {'would be' if dry_run else 'is'} Superseded by it.")


def read_seals(texts: Sequence[str] | None) -> dict[int, str]:
    """Serial numbers by volume, each given like ``3=A0012345``; raises `Usage`, also for two on one volume."""
    from courier.errors import Usage

    seals: dict[int, str] = {}
    for text in texts or ():
        number, serial = read_seal(text)
        if seals.setdefault(number, serial) != serial:
            raise Usage(
                f"--seal: volume {number} has {seals[number]} and {serial}", hint="give one serial number a volume"
            )
    return seals


def read_seal(text: str) -> tuple[int, str]:
    """(volume, serial number) of ``3=A0012345``; raises `Usage`."""
    from courier.errors import Usage

    number, equals, serial = text.partition("=")
    if not equals or not re.fullmatch("[0-9]{1,4}", number) or not int(number) or not serial.strip():
        raise Usage(f"--seal {text[:60]!r}: no volume and serial number", hint="write it like --seal 3=A0012345")
    if len(serial) > MAX_SERIAL:
        hint = f"a serial number has {MAX_SERIAL} characters at most"
        raise Usage(f"--seal {number}={serial[:30]}...: {len(serial)} characters", hint=hint)
    return int(number), serial.strip()


def recall(
    console: Console,
    *,
    parcel: PARCEL,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the other sites.")] = "",
) -> None:
    """Take a parcel back for good: it is not imported any more, and its key is never released."""
    from courier.outgoing import open_outgoing
    from courier.recall import check_recall, recall_parcel

    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        check_recall(outgoing)
        console.confirm(f"Recall {parcel} for good?")
        told = recall_parcel(site, outgoing, reason)
        console.say(f"{parcel} is recalled; {', '.join(told)} will know with the next: courier channel sync")
        console.result({"parcel_id": parcel, "state": "Recalled", "queued_to": list(told)})
