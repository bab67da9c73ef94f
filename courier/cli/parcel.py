"""``courier parcel``: parcels, at both ends. The commands of the sender are in ``parcel_send``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from courier.cli.command import command, group
from courier.console import Console, plural, size_text, time_text

app = group("Parcels: create, write, ship; receive, verify, import.")

from courier.cli import custody, parcel_repair, parcel_send  # noqa: E402 (its commands come first in the help)

parcel_send.add_to(app)
parcel_repair.add_to(app)
app.add_typer(custody.app, name="custody")

PARCEL = Annotated[str, typer.Argument(metavar="PARCEL", help="Parcel ID, such as HQ1-000042.")]


@command(app, "receive")
def receive(
    console: Console,
    *,
    media: Annotated[list[Path], typer.Argument(metavar="MEDIUM...", help="ISO file, mounted disc, folder, tape.")],
    hold: Annotated[bool, typer.Option("--hold", help="Do not import before: courier parcel import PARCEL.")] = False,
) -> None:
    """Take volumes in, in any order, any number of times; import when all is here and agreed."""
    from courier.cli.report import parcel_status, say_status, say_taken, taken_volume
    from courier.errors import Damaged
    from courier.intake import Head
    from courier.media import Medium
    from courier.receive import TakenVolume, receive_media

    def looking(medium: Medium, head: Head) -> None:
        console.say(f"{medium.name}: {head.packing.parcel} from {head.packing.source}, volume "
                    f"{head.label.number} of {head.label.of} ({medium.layout})")  # fmt: skip

    def taken(volume: TakenVolume) -> None:
        say_taken(console, volume)
        console.event({"volume": taken_volume(volume)})

    with console.site() as site:
        with console.progress("Receiving", None) as progress:
            done = receive_media(site, media, hold=hold, progress=progress, looking=looking, taken=taken)
        parcels = [parcel_status(status) for status in done.parcels]
        volumes = [taken_volume(volume) for volume in done.volumes]
        document: dict[str, Any] = {"volumes": volumes, "parcels": parcels}
        if len(parcels) == 1:
            document |= parcels[0]
        for status in done.parcels:
            say_status(console, status)
        if done.failures:
            for name, failure in done.failures[:-1]:
                console.error_about(name, failure)
            document["failures"] = [{"path": n, "code": f.code, "message": f.message} for n, f in done.failures]
            last = done.failures[-1][1]
            console.error(last, document)
            raise typer.Exit(last.exit_code)
        if any(volume.damaged_blocks for volume in done.volumes) and any(s.missing_volumes for s in done.parcels):
            first = next(s for s in done.parcels if s.missing_volumes)
            error = Damaged(
                f"{first.parcel}: {plural(first.missing_blocks, 'block')} missing or damaged so far",
                hint="what is good was kept; read the medium again, in another drive, or get it sent again",
            )
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        console.result(document)


@command(app, "verify")
def verify(
    console: Console,
    *,
    what: Annotated[list[str], typer.Argument(metavar="PARCEL|MEDIUM...", help="A parcel ID, or media.")],
    card: Annotated[
        list[Path] | None, typer.Option("--card", metavar="FILE", help="Trust this card (needs no site home).")
    ] = None,
) -> None:
    """Check everything, without taking anything in; works offline."""
    from courier.admit import check_not_recalled
    from courier.errors import CourierError, Damaged
    from courier.verify import Verdict, trust_of_cards, verify_media, verify_parcel

    verdicts: list[Verdict] = []
    failures: list[tuple[str, CourierError]] = []
    media = [Path(text) for text in what if not _is_parcel(text)]
    with console.progress("Verifying", None) as progress:
        for text in (text for text in what if _is_parcel(text)):
            with console.site() as site:
                verdicts.append(verify_parcel(site, text, progress))
        if media and card:
            found, failures = verify_media(trust_of_cards(card), media, progress=progress)
            verdicts += found
        elif media:
            with console.site() as site:
                trust = site.trust()
                found, failures = verify_media(
                    trust,
                    media,
                    progress=progress,
                    admit=lambda packing: check_not_recalled(site, trust, packing.parcel, packing.source),
                )
            verdicts += found
    for verdict in verdicts:
        where = f"volume {verdict.number} of {verdict.of}" if verdict.number else "on this computer's disk"
        good = "good" if not verdict.problems else "NOT good"
        console.say(f"{verdict.what}: {verdict.parcel}, {where}, {size_text(verdict.bytes)}: {good}")
        for line in (*verdict.problems, *verdict.reasons):
            console.say(f"  {line}")
    document = {
        "volumes": [
            {
                "parcel_id": v.parcel,
                "number": v.number,
                "of": v.of,
                "path": v.what,
                "bytes": v.bytes,
                "state": "good" if not v.problems else "damaged",
                "damaged_blocks": v.damaged_blocks,
                "problems": list(v.problems),
                "reasons": list(v.reasons),
            }
            for v in verdicts
        ]
    }
    for name, failure in failures[:-1]:
        console.error_about(name, failure)
    if failures:
        console.error(failures[-1][1], document)
        raise typer.Exit(failures[-1][1].exit_code)
    if any(v.problems for v in verdicts):
        hint = (
            "receive takes what is good and mends what its parity covers; else another drive, or the volume sent again"
        )
        error = Damaged(
            f"{plural(sum(bool(v.problems) for v in verdicts), 'medium')} not good".replace("mediums", "media"),
            hint=hint,
        )
        console.error(error, document)
        raise typer.Exit(error.exit_code)
    console.result(document)


def _is_parcel(text: str) -> bool:
    from formats.errors import FormatError
    from formats.names import check_parcel

    try:
        check_parcel(text)
    except FormatError:
        return False
    return True


@command(app, "import")
def import_(console: Console, *, parcel: PARCEL) -> None:
    """Import a complete parcel that was held, all or nothing."""
    from courier.cli.report import parcel_status, say_status
    from courier.errors import Damaged, Refused
    from courier.lifecycle import ReceivedState
    from courier.settle import find_build, settle_parcel

    with console.site() as site:
        build = find_build(site, parcel)
        status = settle_parcel(site, parcel, build, release=True)
        document = parcel_status(status)
        say_status(console, status)
        if status.missing_blocks or status.missing_volumes:
            error = Damaged(
                f"{parcel} is not complete: {plural(status.missing_blocks, 'block')} missing",
                hint=f"courier parcel receive the volumes {', '.join(map(str, status.missing_volumes[:20]))}",
                code="incomplete",
            )
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        if status.state != ReceivedState.IMPORTED:
            waits = Refused(
                f"{parcel} is held, awaiting {'; '.join(status.awaiting) or 'media'}",
                hint="courier channel sync fetches what comes by network; the import follows by itself",
                code="held",
            )
            console.error(waits, document)
            raise typer.Exit(waits.exit_code)
        console.result(document)


@command(app, "arrived")
def arrived(
    console: Console,
    *,
    parcel: PARCEL,
    seal: Annotated[
        list[str] | None, typer.Option("--seal", metavar="VOLUME=SERIAL", help="Seal read on a volume; again for more.")
    ] = None,
) -> None:
    """Report to the sender that all volumes are here, with the seals read on them, so that it releases the key."""
    from courier.arrival import report_arrival
    from courier.cli.parcel_send import read_seal
    from courier.settle import find_build

    seals = dict(read_seal(text) for text in seal or [])
    with console.site() as site:
        report = report_arrival(site, parcel, find_build(site, parcel), seals)
        console.say(
            f"{parcel}: {plural(len(report.volumes), 'volume')} reported to {report.source}. Next: courier channel sync"
        )
        volumes = [{"number": number, "seal": text} for number, text in report.volumes.items()]
        console.result({"parcel_id": parcel, "to": report.source, "volumes": volumes})


@command(app, "list")
def list_(console: Console) -> None:
    """List the parcels sent and received."""
    from courier.catalog import parcels

    with console.site() as site:
        with site.catalogue.reading() as connection:
            sent, received = parcels.all_sent(connection), parcels.all_received(connection)
            goes_to = {s.parcel: parcels.destinations(connection, s.parcel) for s in sent}
        rows = [
            (
                s.parcel,
                "to " + ", ".join(d.site for d in goes_to[s.parcel]),
                s.state,
                s.priority,
                time_text(s.created_ns),
            )
            for s in sent
        ]
        rows += [(r.parcel, f"from {r.source}", r.state, "", time_text(r.first_ns)) for r in received]
        console.table(("PARCEL", "WAY", "STATE", "PRIORITY", "SINCE"), rows)
        if not rows:
            console.say("No parcel yet: courier parcel create ID --to CODE --media dvd5")
        console.result(
            {
                "sent": [
                    {"parcel_id": s.parcel, "state": s.state, "to": [d.site for d in goes_to[s.parcel]]} for s in sent
                ],
                "received": [{"parcel_id": r.parcel, "state": r.state, "from": r.source} for r in received],
            }
        )


@command(app, "show")
def show(console: Console, *, parcel: PARCEL) -> None:
    """Show a parcel: its state, and a table of its volumes, with a map of the blocks that are here."""
    from courier.answer import waiting_requests
    from courier.errors import NotFound
    from courier.outgoing import open_outgoing
    from courier.settle import find_build, status_of

    with console.site() as site:
        try:
            outgoing = open_outgoing(site, parcel)
        except NotFound:
            _show_received(console, site, status_of(site, parcel, find_build(site, parcel)))
            return
        from courier.catalog import parcels

        with site.catalogue.reading() as connection:
            destinations = parcels.destinations(connection, parcel)
            carried = parcels.sent_packages(connection, parcel)
        sent, packing = outgoing.sent, outgoing.packing
        console.say(f"{parcel}: {sent.state}, priority {sent.priority}, made {time_text(sent.created_ns)}")
        console.say(f"Packages: {', '.join(f'{p}:{v}' for p, v, _, _ in carried)}")
        for item in destinations:
            confirmed = f"confirmed {time_text(item.confirmed_ns)}" if item.receipt else "no receipt yet"
            console.say(f"To {item.site}: {confirmed}")
        if sent.carrier or sent.tracking:
            console.say(f"Carrier {sent.carrier or '-'}, tracking {sent.tracking or '-'}")
        rows = [
            (
                v.number,
                v.state,
                size_text(v.bytes),
                v.layout or "-",
                time_text(v.written_ns),
                v.seal or "-",
                v.path or "-",
            )
            for v in outgoing.volumes
        ]
        console.table(("VOLUME", "STATE", "SIZE", "LAYOUT", "WRITTEN", "SEAL", "AT"), rows)
        asked = waiting_requests(site, outgoing)
        for path, request in asked:
            console.say(f"{request.site} asks for {plural(request.count, 'block')}: courier parcel answer {path}")
        console.result(
            {
                "parcel_id": parcel,
                "state": sent.state,
                "priority": sent.priority,
                "build": sent.build,
                "media": packing.media,
                "to": [{"site": d.site, "confirmed": d.receipt is not None} for d in destinations],
                "packages": [{"package_id": p, "version": v} for p, v, _, _ in carried],
                "volumes": [
                    {
                        "number": v.number,
                        "of": packing.volumes,
                        "path": v.path,
                        "bytes": v.bytes,
                        "state": v.state,
                        "seal": v.seal,
                    }
                    for v in outgoing.volumes
                ],
                "requests": [{"path": str(p), "site": r.site, "blocks": r.count} for p, r in asked],
            }
        )


def _show_received(console: Console, site: Any, status: Any) -> None:
    from courier.blockmap import LEGEND, volume_blocks
    from courier.cli.report import parcel_status, say_status

    say_status(console, status)
    blocks = {v.number: v for v in volume_blocks(site, status.parcel, status.build)}
    seen = {v.number: v for v in status.volumes}
    rows, volumes = [], []
    for number in sorted({*blocks, *seen}):
        read, now = seen.get(number), blocks.get(number)
        state = read.state if read else "Missing"
        damaged = read.damaged_blocks if read else 0
        here = f"{now.good:,} of {now.total:,}" if now else "-"
        rows.append((number, state, damaged, time_text(read.seen_ns if read else None), here, now.map if now else "-"))
        one = {"number": number, "of": status.of, "path": "", "state": state, "damaged_blocks": damaged}
        if now:
            missing = [{"file": path, "missing": [list(span) for span in spans]} for path, spans in now.missing]
            one["blocks"] = {"total": now.total, "good": now.good, "files": missing}
        volumes.append(one)
    console.table(("VOLUME", "AS READ LAST", "BAD BLOCKS", "READ", "BLOCKS HERE", "MAP"), rows)
    if any(v.good < v.total for v in blocks.values()):
        console.say(f"Map: {LEGEND}")
    console.result({**parcel_status(status), "volumes": volumes})


@command(app, "log")
def log(console: Console, *, parcel: PARCEL) -> None:
    """Show what happened to a parcel here, and its custody ledger: the whole chain, and any break in it."""
    from courier.catalog import parcels
    from courier.cli.custody import ledger_document, say_ledger
    from courier.errors import NotFound
    from courier.ledger import view_ledger

    with console.site() as site:
        with site.catalogue.reading() as connection:
            entries = parcels.read_log(connection, parcel)
        view = view_ledger(site, parcel)
        if not entries and not view.lines and not view.breaks:
            raise NotFound(f"nothing is recorded of {parcel}", hint="courier parcel list shows the parcels")
        for e in entries:
            console.say(f"{time_text(e.at_ns)}  {e.operator}  {e.event}: {e.text}")
        record = [{"at": time_text(e.at_ns), "operator": e.operator, "event": e.event, "text": e.text} for e in entries]
        if view.lines or view.breaks:
            console.say()
            console.say("Custody:")
            say_ledger(console, view)
        console.result({"parcel_id": parcel, "log": record, **ledger_document(view)})


REASON = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the log.")]


@command(app, "fail")
def fail(console: Console, *, parcel: PARCEL, reason: REASON) -> None:
    """Mark a parcel of ours Failed: lost on the road, or given up. It can be shipped again."""
    from courier.fate import fail_parcel

    with console.site() as site:
        state = fail_parcel(site, parcel, reason)
        console.say(f"{parcel} is {state}.")
        console.result({"parcel_id": parcel, "state": state})


@command(app, "refuse")
def refuse(console: Console, *, parcel: PARCEL, reason: REASON) -> None:
    """Refuse a parcel that was announced or arrives: nothing more of it is taken, and it is not imported."""
    from courier.fate import refuse_parcel

    with console.site() as site:
        state = refuse_parcel(site, parcel, reason)
        console.say(f"{parcel} is {state}. Its files: courier parcel discard {parcel}")
        console.result({"parcel_id": parcel, "state": state})


@command(app, "accept")
def accept(console: Console, *, parcel: PARCEL) -> None:
    """Take a parcel after all that was refused."""
    from courier.fate import accept_parcel

    with console.site() as site:
        state = accept_parcel(site, parcel)
        console.say(f"{parcel} is {state}. Next: courier parcel receive MEDIUM, or courier parcel import {parcel}")
        console.result({"parcel_id": parcel, "state": state})


@command(app, "discard")
def discard(console: Console, *, parcel: PARCEL) -> None:
    """Delete a parcel's files from this computer's disk; its record and the packages in the store stay."""
    from courier.discard import discard_parcel

    with console.site() as site:
        console.confirm(f"Delete the files of {parcel} from {site.home}?")
        freed = discard_parcel(site, parcel)
        console.say(f"{parcel}: {size_text(freed)} freed.")
        console.result({"parcel_id": parcel, "freed": freed})
