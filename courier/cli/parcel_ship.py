"""The sender's commands of ``courier parcel`` for parcels that leave: ship, recall and fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.command import DRY_RUN, PARCEL, command, console_of, group
from courier.cli.console import Console
from courier.cli.seals import read_seals
from courier.text import listed, plural

if TYPE_CHECKING:
    from courier.sending.ship import Shipment

app = group("")


@command(
    app,
    "ship",
    examples=[
        'courier parcel ship HQ1-000042 --carrier "Speedy Vans" --tracking SV-0042',
        "courier parcel ship HQ1-000042 --seal 1=A0012345 --seal 2=A0012346",
        "courier parcel ship HQ1-000042 --waybill 1-5 --waybill 6-9 --survive-waybill",
    ],
)
def ship(
    context: typer.Context,
    *,
    parcel: PARCEL,
    carrier: Annotated[str, typer.Option("--carrier", metavar="NAME", help="Who carries it.")] = "",
    tracking: Annotated[str, typer.Option("--tracking", metavar="NUMBER", help="The carrier's tracking number.")] = "",
    seal: Annotated[
        list[str] | None,
        typer.Option("--seal", metavar="VOLUME=SERIAL", help="Serial number of the seal on a volume; repeat for more."),
    ] = None,
    waybill: Annotated[
        list[str] | None,
        typer.Option(
            "--waybill", metavar="VOLUMES", help="Volumes that travel together, such as 1-5,9; repeat for more."
        ),
    ] = None,
    survive_waybill: Annotated[
        bool,
        typer.Option(
            "--survive-waybill",
            help="Refuse if parity could not replace the volumes of any one waybill (without --waybill: of all).",
        ),
    ] = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Mark a parcel as sent, and tell its destinations.

    Its ship notice and package definitions are queued; they leave with the next courier channel sync.
    """
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.ship import ship_parcel
    from courier.sending.waybills import check_waybills

    console = console_of(context)
    seals = read_seals(seal)
    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        if waybill or survive_waybill:
            check_waybills(outgoing, waybill or [], survive=survive_waybill)
        shipment = ship_parcel(site, outgoing, carrier=carrier, tracking=tracking, seals=seals, dry_run=dry_run)
        warnings = [*_without_seal(shipment.unsealed), *map(_shared_seal, shipment.shared_seals)]
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


def _without_seal(numbers: Sequence[int]) -> list[str]:
    if not numbers:
        return []
    return [
        f"no seal is named for volume {listed(numbers)}: the key is released once the arrival report says that it is "
        "there; with --seal VOLUME=SERIAL the seal has to be reported too"
    ]


def _shared_seal(seal: tuple[str, tuple[int, ...]]) -> str:
    serial, numbers = seal
    return (
        f"seal {serial} is on volumes {listed(numbers)}: right if it is on a box that holds them; if not, ship again "
        "with the right seals"
    )


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


@command(app, "recall", examples=['courier parcel recall HQ1-000042 --reason "wrong image"'])
def recall(
    context: typer.Context,
    *,
    parcel: PARCEL,
    reason: Annotated[str, typer.Option("--reason", metavar="REASON", help="Why, for the other sites.")] = "",
) -> None:
    """Take a parcel back for good.

    Its destinations do not import it any more, and its key is never released.
    """
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.recall import check_recall, recall_parcel

    console = console_of(context)
    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        check_recall(outgoing)
        console.confirm(f"Recall {parcel} for good?")
        told = recall_parcel(site, outgoing, reason)
        console.say(f"{parcel} is recalled; {', '.join(told)} will be told with the next: courier channel sync")
        console.result({"parcel_id": parcel, "state": "Recalled", "queued_to": list(told)})


@command(app, "fail", examples=['courier parcel fail HQ1-000042 --reason "lost by the carrier"'])
def fail(
    context: typer.Context,
    *,
    parcel: PARCEL,
    reason: Annotated[str, typer.Option("--reason", metavar="REASON", help="Why; it is written into the log.")],
) -> None:
    """Mark a parcel of this site as failed.

    It was lost on the way or given up. It can be shipped again should it turn up.
    """
    from courier.sending.fail import fail_parcel
    from courier.site.catalog import parcels

    console = console_of(context)
    with console.site() as site:
        state = fail_parcel(site, parcel, reason)
        console.say(f"{parcel} is {state}. To send its content again: courier parcel create ... --supersedes {parcel}")
        with site.catalogue.reading() as connection:
            has = [to.site for to in parcels.destinations(connection, parcel) if to.receipt is not None]
        if has:
            console.say(f"  note: {', '.join(has)} imported it and sent the receipt")
        console.result({"parcel_id": parcel, "state": state})
