"""``courier parcel custody``: who had a parcel, when, and what he found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, group
from courier.cli.console import Console, time_text
from courier.error_codes import Code
from courier.text import plural

if TYPE_CHECKING:
    from courier.parcel.custody import LedgerView
    from courier.site.home import Site
    from formats.documents.custody import CustodyEntry

app = group("The custody ledger: who had a parcel, when, and what he found.")

PARCEL = Annotated[str, typer.Argument(metavar="PARCEL", help="Parcel ID, such as HQ1-000042.")]
NUMBERS = list[int] | None
MOST_SEALS = 20
"""Seals that are named in one line, or in as many."""


@command(app, "add")
def add(
    console: Console,
    *,
    parcel: PARCEL,
    event: Annotated[
        str, typer.Option("--event", help="packed, sealed, handed-over, received, seal-checked, verified, lost, note.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="WHO", help="Who took over.")] = "",
    tracking: Annotated[str, typer.Option("--tracking", help="His number for it.")] = "",
    volume: Annotated[
        NUMBERS, typer.Option("--volume", metavar="N", min=1, max=9999, help="Only this one; again for more.")
    ] = None,
    seal: Annotated[
        list[str] | None, typer.Option("--seal", metavar="VOLUME=SERIAL", help="Seal put on, or read; again for more.")
    ] = None,
    seal_intact: Annotated[
        NUMBERS, typer.Option("--seal-intact", metavar="N", min=1, max=9999, help="The seal of volume N is intact.")
    ] = None,
    seal_broken: Annotated[
        NUMBERS, typer.Option("--seal-broken", metavar="N", min=1, max=9999, help="The seal of volume N is broken.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Anything else.")] = "",
    operator: Annotated[str, typer.Option("--operator", metavar="NAME", help="Who writes this (else: you).")] = "",
    ledger: Annotated[
        Path | None, typer.Option("--ledger", metavar="FILE", help="Write into this file, at a hand-over on the road.")
    ] = None,
) -> None:
    """Write an entry by hand, signed with this site's key; with --ledger offline, to be merged later."""
    from courier.cli.parcel_ship import read_seals
    from courier.parcel.custody_by_hand import HandEntry, add_by_hand, look_ahead

    wanted = HandEntry(
        event=event,
        to=to,
        tracking=tracking,
        volumes=tuple(sorted(set(volume or ()))),
        seals=tuple(read_seals(seal).items()),
        intact=tuple(seal_intact or ()),
        broken=tuple(seal_broken or ()),
        note=note,
        operator=operator,
    )
    with console.site() as site:
        odd = look_ahead(parcel, wanted, ledger)
        if odd:
            console.warn(odd)
            console.ask_if_present("Write the entry all the same?")
        done = add_by_hand(site, parcel, wanted, ledger)
        for warning in done.warnings:
            console.warn(warning)
        console.say(f"{parcel}: {entry_text(done.entry, done.seals)}")
        if ledger is not None:
            console.say(f"Next, at a site of the parcel: courier parcel custody merge {ledger}")
        warnings = [*([odd] if odd else []), *done.warnings]
        console.result({"parcel_id": parcel, "entry": _entry(done.entry), "warnings": warnings})


@command(app, "merge")
def merge(
    console: Console,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A ledger file.")],
) -> None:
    """Take in the entries of a ledger file; what is there already stays as it is."""
    from courier.errors import RefusedError
    from courier.parcel.custody_ledger import merge_file

    with console.site() as site:
        done = merge_file(site, file)
        console.say(
            f"{file}: {plural(done.added, 'entry').replace('entrys', 'entries')} new, {done.known} known before"
        )
        for parcel in done.parcels:
            console.say(f"Now: courier parcel log {parcel}")
        seals = [text for parcel in done.parcels for text in warn_of_seals(console, site, parcel)]
        document = {
            "parcels": list(done.parcels),
            "added": done.added,
            "known": done.known,
            "refused": [{"line": number, "message": why} for number, why in done.refused],
            "seal_warnings": seals,
        }
        if done.refused:
            for number, why in done.refused:
                console.warn(f"line {number}: {why}")
            error = RefusedError(
                f"{file}: {plural(len(done.refused), 'line')} altered or not an entry",
                hint="the other lines were taken in; keep the file, and ask who carried it",
                code=Code.LEDGER_ALTERED,
            )
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        console.result(document)


@command(app, "export")
def export(
    console: Console,
    *,
    parcel: PARCEL,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A file that does not exist yet.")],
) -> None:
    """Write the ledger into a file that goes along with the media, for entries on the road."""
    from courier.parcel.custody_by_hand import export_ledger

    with console.site() as site:
        count = export_ledger(site, parcel, out)
        console.say(f"{parcel}: {count} entries in {out}. On the road: courier parcel custody add ... --ledger {out}")
        console.result({"parcel_id": parcel, "entries": count, "path": str(out)})


@command(app, "verify")
def verify(console: Console, *, parcel: PARCEL) -> None:
    """Check the ledger: every signature, every link. Exit code 3 when it was altered, 4 when entries are missing, or
    cannot be proved.

    Seals that were found broken, and re-seals, are named; the ledger is right all the same (exit code 0).
    """
    from courier.errors import CourierError, DamagedError, NotFoundError, RefusedError
    from courier.parcel.custody_ledger import view_ledger

    with console.site() as site:
        view = view_ledger(site, parcel)
        if not view.lines and not view.breaks:
            raise NotFoundError(f"there is no custody ledger of {parcel}", hint="courier parcel list shows the parcels")
        document = {"parcel_id": parcel, **ledger_document(view)}
        say_ledger(console, view)
        if view.breaks:
            worst = view.worst
            hints = "; and: ".join(dict.fromkeys(item.hint for item in worst))
            error: CourierError
            if view.altered:
                message = f"{parcel}: the custody ledger does not hold: {worst[0].text}"
                error = RefusedError(message, hint=hints, code=Code.LEDGER_ALTERED)
            else:
                what = "proved" if all(item.kind == "unproved" for item in worst) else "whole"
                message = f"{parcel}: the custody ledger is not {what}: {worst[0].text}"
                error = DamagedError(message, hint=hints, code=Code.LEDGER_INCOMPLETE)
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        console.result(document)


def entry_text(entry: CustodyEntry, seals: Sequence[str]) -> str:
    """What an entry says, in one line; ``seals``: what each of its seals amounts to (`courier.parcel.seals`)."""
    parts: list[str] = [entry.event]
    if entry.volumes:
        parts.append(f"volumes {_spans(entry.volumes)}" if len(entry.volumes) > 1 else f"volume {entry.volumes[0]}")
    if entry.to:
        parts.append(f"to {entry.to}")
    if entry.tracking:
        parts.append(f"tracking {entry.tracking}")
    parts += seals[:MOST_SEALS]
    if len(seals) > MOST_SEALS:
        parts.append(f"and {len(seals) - MOST_SEALS} seals more")
    if entry.note:
        parts.append(entry.note)
    return ", ".join(parts)


def _spans(numbers: tuple[int, ...]) -> str:
    from formats.blocks import ranges

    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges(numbers))


def say_ledger(console: Console, view: LedgerView) -> None:
    """The ledger for people: in order, then its breaks, and what is to be said of the seals."""
    from courier.parcel.seals import judge_seals

    seals = judge_seals(view.lines)
    for line in view.lines:
        e = line.entry
        mark = "" if line.proved else "  (NOT PROVED)"
        console.say(f"{time_text(e.at_ns)}  {e.site}  {e.operator}  {entry_text(e, seals.texts[line.name])}{mark}")
    if view.lines and not view.breaks:
        count = f"{len(view.lines)} {'entry' if len(view.lines) == 1 else 'entries'}"
        console.say(f"Custody: {count}, every signature and link is good.")
    for item in view.breaks:
        console.warn(f"Custody: {item.kind.upper()}: {item.text}")
    for text in seals.warnings:
        console.warn(f"Seals: {text}")


def warn_of_seals(console: Console, site: Site, parcel: str) -> list[str]:
    """Name the seals of a parcel that were found broken, and re-seals; return these texts."""
    from courier.parcel.custody_ledger import view_ledger
    from courier.parcel.seals import judge_seals

    texts = judge_seals(view_ledger(site, parcel).lines).warnings
    for text in texts[:MOST_SEALS]:
        console.warn(f"Seals: {parcel}, {text}")
    if len(texts) > MOST_SEALS:
        console.warn(f"Seals: {len(texts) - MOST_SEALS} more: courier parcel log {parcel}")
    return list(texts)


def ledger_document(view: LedgerView) -> dict[str, Any]:
    """The ledger as JSON."""
    from courier.parcel.seals import judge_seals

    return {
        "custody": [{"name": line.name, "proved": line.proved, **_entry(line.entry)} for line in view.lines],
        "custody_intact": not view.breaks,
        "seal_warnings": list(judge_seals(view.lines).warnings),
        "breaks": [
            {"kind": item.kind, "entry": item.entry, "text": item.text, "hint": item.hint} for item in view.breaks
        ],
    }


def _entry(entry: CustodyEntry) -> dict[str, Any]:
    return {
        "site": entry.site,
        "book": entry.book,
        "number": entry.number,
        "at": time_text(entry.at_ns),
        "operator": entry.operator,
        "event": entry.event,
        "volumes": list(entry.volumes),
        "seals": [seal.record() for seal in entry.seals],
        "to": entry.to,
        "tracking": entry.tracking,
        "note": entry.note,
    }
