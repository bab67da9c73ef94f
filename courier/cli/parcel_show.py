"""The commands of ``courier parcel`` that only show something, at either end: list, show and log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from courier.cli.command import PARCEL, command, console_of, group
from courier.cli.console import Console, time_text
from courier.cli.planned_parcel import volume_cell
from courier.parcel.states import ReceivedState
from courier.text import plural
from formats.records import format_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from courier.receiving.parcel_status import ParcelStatus
    from courier.site.home import Site

app = group("")


@command(app, "list", examples=["courier parcel list", "courier parcel list --json"])
def list_(context: typer.Context) -> None:
    """List the parcels sent and received."""
    from courier.site.catalog import parcels

    console = console_of(context)
    with console.site() as site:
        with site.catalogue.reading() as connection:
            sent, received = parcels.all_sent(connection), parcels.all_received(connection)
            urgency = _announced_priorities(connection)
            goes_to = parcels.all_destinations(connection)
        rows = [
            (
                s.parcel,
                "to " + ", ".join(d.site for d in goes_to.get(s.parcel, ())),
                s.state,
                s.priority,
                time_text(s.created_ns),
            )
            for s in sent
        ]
        rows += [
            (r.parcel, f"from {r.source}", r.state, urgency.get(r.parcel, "-"), time_text(r.first_ns)) for r in received
        ]
        console.table(("PARCEL", "FROM OR TO", "STATE", "PRIORITY", "SINCE"), rows)
        if not rows:
            console.say("No parcel yet: courier parcel create ID --to CODE --media dvd5")
        console.result(
            {
                "sent": [
                    {
                        "parcel_id": s.parcel,
                        "state": s.state,
                        "to": [d.site for d in goes_to.get(s.parcel, ())],
                        "priority": s.priority,
                        "since": format_time(s.created_ns),
                    }
                    for s in sent
                ],
                "received": [
                    {
                        "parcel_id": r.parcel,
                        "state": r.state,
                        "from": r.source,
                        "priority": urgency.get(r.parcel, ""),
                        "since": format_time(r.first_ns),
                    }
                    for r in received
                ],
            }
        )


def _announced_priorities(connection: Connection) -> dict[str, str]:
    """The priority that each announced parcel has by its newest ship notice."""
    from courier.site.catalog import parcels
    from formats.documents.notice import ShipNotice
    from formats.envelope import parse_envelope

    notices = (ShipNotice.parse(parse_envelope(data).payload) for data, _ in parcels.notices(connection))
    return {notice.parcel: notice.priority for notice in notices}


@command(app, "show", examples=["courier parcel show HQ1-000042"])
def show(context: typer.Context, *, parcel: PARCEL) -> None:
    """Show the state of a parcel and of its volumes.

    For an arriving parcel a map shows which blocks are here.
    """
    from courier.cli.sent_parcel import show_sent
    from courier.errors import NotFoundError
    from courier.receiving.parcel_status import find_build, status_of
    from courier.sending.outgoing_parcel import open_outgoing

    console = console_of(context)
    with console.site() as site:
        try:
            outgoing = open_outgoing(site, parcel)
        except NotFoundError:
            _show_received(console, site, status_of(site, parcel, find_build(site, parcel)))
        else:
            show_sent(console, site, outgoing)


def _say_notice(console: Console, site: Site, parcel: str) -> None:
    """Say what the ship notice tells of a parcel of which no volume came yet."""
    from courier.site.catalog import parcels
    from formats.documents.notice import ShipNotice
    from formats.envelope import parse_envelope

    with site.catalogue.reading() as connection:
        envelope, came_ns = parcels.notices(connection, parcel)[-1]
    notice = ShipNotice.parse(parse_envelope(envelope).payload)
    seals = ", ".join(f"{number}={seal}" for number, seal in sorted(notice.seals.items())) or "none"
    console.say(f"Packages: {', '.join(f'{one.package}:{one.version}' for one in notice.packages)}")
    console.say(
        f"{plural(notice.volumes, 'volume')}, carrier {notice.carrier or '-'}, tracking {notice.tracking or '-'}, "
        f"seals: {seals}; announced {time_text(came_ns)}"
    )
    console.say("Next, when media arrive: courier parcel receive MEDIUM")


def _show_received(console: Console, site: Site, status: ParcelStatus) -> None:
    from courier.cli.custody import warn_of_seals
    from courier.cli.received_parcel import parcel_status, say_status
    from courier.receiving.block_map import LEGEND, volume_blocks

    console.say(f"{status.parcel} from {status.source}: {status.state}")
    if status.state == ReceivedState.ANNOUNCED:
        _say_notice(console, site, status.parcel)
    if status.state == ReceivedState.DISCARDED:
        console.say("What had arrived was deleted here. To have it after all: courier parcel receive MEDIUM")
    if status.bases:
        console.say(f"Delta on {', '.join(f'{base.package}:{base.version}' for base in status.bases)}")
    if status.missing_volumes or status.awaiting or status.packages:
        say_status(console, status)
    elif status.state == ReceivedState.COMPLETE:
        console.say(
            f"Media and network agree; it is not imported yet. This does it, or says why not: courier parcel "
            f"import {status.parcel}"
        )
    blocks = {v.number: v for v in volume_blocks(site, status.parcel, status.build)}
    seen = {v.number: v for v in status.volumes}
    rows, volumes = [], []
    spares = [v.number for v in blocks.values() if v.spare]
    for number in sorted({*blocks, *seen}):
        read, now = seen.get(number), blocks.get(number)
        state = read.state if read else "Missing"
        damaged = read.damaged_blocks if read else 0
        here = f"{now.good:,} of {now.total:,}" if now else "-"
        rows.append((volume_cell(spares, number), state, damaged, time_text(read.seen_ns if read else None), here))
        one = {"number": number, "of": status.of, "path": "", "state": state, "damaged_blocks": damaged}
        if now:
            missing = [{"file": path, "missing": [list(span) for span in spans]} for path, spans in now.missing]
            one["spare"] = now.spare
            one["blocks"] = {"total": now.total, "good": now.good, "files": missing}
        volumes.append(one)
    console.table(("VOLUME", "WHEN LAST READ", "DAMAGED BLOCKS", "READ", "BLOCKS HERE"), rows)
    if any(v.good < v.total for v in blocks.values()):
        console.say(f"Map of the blocks: {LEGEND}")
        for v in blocks.values():
            console.say(f"{v.number:>6}  {v.map}")
    seal_warnings = warn_of_seals(console, site, status.parcel)
    console.result({**parcel_status(status), "volumes": volumes, "seal_warnings": seal_warnings})


@command(app, "log", examples=["courier parcel log HQ1-000042"])
def log(context: typer.Context, *, parcel: PARCEL) -> None:
    """Show what happened to a parcel, and who had it.

    The second part is its custody ledger, which every site signs: the whole chain, and any break in it.
    """
    from courier.cli.custody import ledger_document, say_ledger
    from courier.errors import NotFoundError
    from courier.parcel.custody_ledger import view_ledger
    from courier.parcel.seals import judge_seals
    from courier.site.catalog import parcels

    console = console_of(context)
    with console.site() as site:
        with site.catalogue.reading() as connection:
            entries = parcels.read_log(connection, parcel)
        view = view_ledger(site, parcel)
        if not entries and not view.lines and not view.breaks:
            raise NotFoundError(f"nothing is recorded of {parcel}", hint="courier parcel list shows the parcels")
        for e in entries:
            console.say(f"{time_text(e.at_ns)}  {e.operator}  {e.event}: {e.text}")
        record = [{"at": time_text(e.at_ns), "operator": e.operator, "event": e.event, "text": e.text} for e in entries]
        seals = judge_seals(view.lines)
        if view.lines or view.breaks:
            console.say()
            console.say("Custody:")
            say_ledger(console, view, seals)
        console.result({"parcel_id": parcel, "log": record, **ledger_document(view, seals)})
