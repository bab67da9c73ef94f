"""The sender's commands of ``courier parcel`` for parcels that leave: ship, recall and fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import DRY_RUN, PARCEL, command, console_of, group
from courier.cli.config import config_of, expand_groups
from courier.cli.console import Console
from courier.cli.seals import SEALS_FILE, read_seals
from courier.text import plural, volumes

if TYPE_CHECKING:
    from courier.sending.ship import Shipment, Shipping

app = group("")


@command(
    app,
    "ship",
    examples=[
        'courier parcel ship HQ1-000042 --carrier "Speedy Vans" --tracking SV-0042',
        "courier parcel ship HQ1-000042 --seal 1=A0012345 --seal 2=A0012346",
        'courier parcel ship HQ1-000042 --to BR1 --carrier "Speedy Vans" --seal 1=A0012345',
        "courier parcel ship HQ1-000042 --waybill 1-5 --waybill 6-9 --survive-waybill",
    ],
)
def ship(
    context: typer.Context,
    *,
    parcel: PARCEL,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="CODE",
            help="Destination that this set of media goes to, or @NAME of a group; repeat where one set goes from site "
            "to site. "
            "Without it: a set to each.",
        ),
    ] = None,
    carrier: Annotated[
        str, typer.Option("--carrier", metavar="NAME", help="Who carries it, if not as config show says.")
    ] = "",
    tracking: Annotated[str, typer.Option("--tracking", metavar="NUMBER", help="The carrier's tracking number.")] = "",
    seal: Annotated[
        list[str] | None,
        typer.Option("--seal", metavar="VOLUME=SERIAL", help="Serial number of the seal on a volume; repeat for more."),
    ] = None,
    seals_file: SEALS_FILE = None,
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

    Its ship notice and package definitions are queued; they leave with the next courier channel sync. Each destination
    has a set of the media of its own, with its own carrier, tracking number and seals.
    """
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.ship import ship_parcel
    from courier.sending.waybills import check_waybills

    console = console_of(context)
    seals = read_seals(seal, seals_file)
    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        if waybill or survive_waybill:
            check_waybills(outgoing, waybill or [], survive=survive_waybill)
        shipment = ship_parcel(
            site,
            outgoing,
            to=expand_groups(console, to),
            carrier=carrier,
            usual_carrier=config_of(console).carrier,
            tracking=tracking,
            seals=seals,
            dry_run=dry_run,
        )
        several = len(outgoing.packing.destinations) > 1
        warnings = [text for one in shipment.shippings for text in _warnings(one, several=several)]
        for text in warnings:
            console.warn(text)
        _say_shipment(console, parcel, shipment, several=several, dry_run=dry_run)
        described = [_described(one) for one in shipment.shippings]
        console.result(
            {
                "parcel_id": parcel,
                "state": outgoing.sent.state if dry_run else shipment.state,
                "queued": shipment.queued,
                "dry_run": dry_run,
                **(described[0] if len(described) == 1 else _COMMON),
                "to": described,
                "waiting": list(shipment.waiting),
                "superseded": shipment.superseded,
                "warnings": warnings,
            }
        )


_COMMON: dict[str, Any] = {"site": "", "copy": 0, "carrier": "", "tracking": "", "seals": [], "changes": []}
"""What stands beside ``to`` in JSON where several sets of media were shipped, and these differ."""


def _described(one: Shipping) -> dict[str, Any]:
    return {
        "site": one.site,
        "copy": one.notice.copy,
        "carrier": one.notice.carrier,
        "tracking": one.notice.tracking,
        "seals": [{"volume": n, "serial": serial} for n, serial in sorted(one.notice.seals.items())],
        "changes": list(one.changes or ()),
    }


def _warnings(one: Shipping, *, several: bool) -> list[str]:
    to = f"to {one.site}: " if several else ""
    found = []
    if one.unsealed:
        found.append(
            f"{to}no seal is named for {volumes(one.unsealed)}: the key is released once the "
            "arrival report says that it is there; with --seal VOLUME=SERIAL the seal has to be reported too"
        )
    found += [
        f"{to}seal {serial} is on {volumes(numbers)}: right if it is on a box that holds them; if not, ship "
        "again with the right seals"
        for serial, numbers in one.shared_seals
    ]
    return found


def _say_shipment(console: Console, parcel: str, shipment: Shipment, *, several: bool, dry_run: bool) -> None:
    queued = plural(shipment.queued, "message")
    if several:
        for one in shipment.shippings:
            notice, again = one.notice, _again(one)
            console.say(
                f"{parcel}, set {notice.copy} of its media, {'would go' if dry_run else 'goes'} to {one.site}{again}: "
                f"carrier {notice.carrier or '-'}, tracking {notice.tracking or '-'}, seals: {_seals(notice.seals)}"
            )
        console.say(
            f"{parcel} {'would be' if dry_run else 'is'} {shipment.state}; {queued} queued."
            + ("" if dry_run else " Next: courier channel sync")
        )
    else:
        (one,) = shipment.shippings
        notice, again = one.notice, _again(one)
        if dry_run:
            console.say(
                f"Would ship {parcel}{again}: state {shipment.state}, carrier {notice.carrier or '-'}, "
                f"tracking {notice.tracking or '-'}, seals: {_seals(notice.seals)}; {queued} queued."
            )
        else:
            again = f" and was shipped{again}" if again and shipment.state != "Sent" else again
            console.say(f"{parcel} is {shipment.state}{again}; {queued} queued. Next: courier channel sync")
    if shipment.waiting and not dry_run:
        console.say(f"Not shipped yet: {', '.join(f'courier parcel ship {parcel} --to {c}' for c in shipment.waiting)}")
    if shipment.superseded:
        console.say(f"{shipment.superseded} {'would be' if dry_run else 'is'} Superseded by it.")


def _again(one: Shipping) -> str:
    if one.changes is None:
        return ""
    return f" again, {'changed: ' + ', '.join(one.changes) if one.changes else 'as it was'}"


def _seals(seals: Mapping[int, str]) -> str:
    return ", ".join(f"{number}={serial}" for number, serial in sorted(seals.items())) or "none"


@command(app, "unship", examples=["courier parcel unship HQ1-000042", "courier parcel unship HQ1-000042 --to BR1"])
def unship(
    context: typer.Context,
    *,
    parcel: PARCEL,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", metavar="CODE", help="Destination, or @NAME of a group; without it: all. Repeat for more."
        ),
    ] = None,
) -> None:
    """Take a mistaken shipment back.

    That is possible until the ship notice has left with courier channel sync. The media stay as they are.
    """
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.unship import unship as take_back

    console = console_of(context)
    with console.site() as site:
        state, sites = take_back(site, open_outgoing(site, parcel), expand_groups(console, to))
        console.say(f"{parcel}: the shipment to {', '.join(sites)} is taken back; it is {state} now.")
        console.result({"parcel_id": parcel, "state": state, "to": list(sites)})


@command(app, "release", examples=["courier parcel release HQ1-000042 --to BR1"])
def release(
    context: typer.Context,
    *,
    parcel: PARCEL,
    to: Annotated[str, typer.Option("--to", metavar="CODE", help="Destination that has reported the arrival.")],
) -> None:
    """Release the key though volumes were lost.

    For a destination that has reported the arrival of the others, with their seals. Whoever has a lost volume could
    read it, should he get hold of the key.
    """
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.release import release_key, waiting_reports

    console = console_of(context)
    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        lost = waiting_reports(site, outgoing).get(to, ())
        if lost:
            console.confirm(f"Release the key of {parcel} to {to}, which lacks {volumes(lost)}?")
        report = release_key(site, outgoing, to)
        console.say(f"{parcel}: its key is queued for {to}. Next: courier channel sync")
        console.result({"parcel_id": parcel, "to": to, "lost": list(report.lost)})


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
