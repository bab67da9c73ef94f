"""The sender's commands of ``courier parcel`` that send it on its way, or call it back: ship and recall."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.command import command
from courier.cli.console import Console
from courier.cli.parcel_send import DRY_RUN, PARCEL
from courier.text import listed, plural

if TYPE_CHECKING:
    from courier.sending.ship import Shipment

MAX_SERIAL = 200
"""Characters of a seal's serial number."""


def add_to(app: typer.Typer) -> None:
    """Add these commands to ``courier parcel``."""
    for name, function in (("ship", ship), ("recall", recall)):
        command(app, name)(function)


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
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.ship import ship_parcel
    from courier.sending.waybills import check_waybills

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
    """Serial numbers by volume, each given like ``3=A0012345``; raises `UsageError`, also for two on one volume."""
    from courier.errors import UsageError

    seals: dict[int, str] = {}
    for text in texts or ():
        number, serial = read_seal(text)
        if seals.setdefault(number, serial) != serial:
            raise UsageError(
                f"--seal: volume {number} has {seals[number]} and {serial}", hint="give one serial number a volume"
            )
    return seals


def read_seal(text: str) -> tuple[int, str]:
    """(volume, serial number) of ``3=A0012345``; raises `UsageError`."""
    from courier.errors import UsageError

    number, equals, serial = text.partition("=")
    if not equals or not re.fullmatch("[0-9]{1,4}", number) or not int(number) or not serial.strip():
        raise UsageError(f"--seal {text[:60]!r}: no volume and serial number", hint="write it like --seal 3=A0012345")
    if len(serial) > MAX_SERIAL:
        hint = f"a serial number has {MAX_SERIAL} characters at most"
        raise UsageError(f"--seal {number}={serial[:30]}...: {len(serial)} characters", hint=hint)
    return int(number), serial.strip()


def recall(
    console: Console,
    *,
    parcel: PARCEL,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the other sites.")] = "",
) -> None:
    """Take a parcel back for good: it is not imported any more, and its key is never released."""
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.recall import check_recall, recall_parcel

    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        check_recall(outgoing)
        console.confirm(f"Recall {parcel} for good?")
        told = recall_parcel(site, outgoing, reason)
        console.say(f"{parcel} is recalled; {', '.join(told)} will know with the next: courier channel sync")
        console.result({"parcel_id": parcel, "state": "Recalled", "queued_to": list(told)})
