"""``courier parcel custody``: who had a parcel, when, and what they found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import PARCEL, command, console_of, group
from courier.cli.console import Console, time_text
from courier.cli.seals import read_seals
from courier.error_codes import Code
from courier.text import plural, volumes

if TYPE_CHECKING:
    from courier.parcel.custody import LedgerView
    from courier.parcel.seals import Seals
    from courier.site.home import Site
    from formats.documents.custody import CustodyEntry

app = group("The custody ledger: who had a parcel, and when.")

_Numbers = list[int] | None
MAX_SEALS = 20
"""Seals of one entry or parcel that are named; a longer list is cut."""


@command(
    app,
    "add",
    examples=[
        'courier parcel custody add HQ1-000042 --event handed-over --to "Speedy Vans" --tracking SV-0042',
        "courier parcel custody add HQ1-000042 --event received --seal 1=A0012345 --seal-intact 1",
        'courier parcel custody add HQ1-000042 --event note --note "box wet" --ledger /mnt/usb/ledger.jsonl',
    ],
)
def add(
    context: typer.Context,
    *,
    parcel: PARCEL,
    event: Annotated[
        str,
        typer.Option(
            "--event",
            metavar="EVENT",
            help="What happened: packed, sealed, handed-over, received, seal-checked, verified, lost, note.",
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Who took the parcel over.")] = "",
    tracking: Annotated[str, typer.Option("--tracking", metavar="NUMBER", help="Their tracking number.")] = "",
    volume: Annotated[
        _Numbers,
        typer.Option("--volume", metavar="N", min=1, max=9999, help="Volume that it is about; repeat for more."),
    ] = None,
    seal: Annotated[
        list[str] | None,
        typer.Option(
            "--seal", metavar="VOLUME=SERIAL", help="Serial number of a seal that was put on or read; repeat for more."
        ),
    ] = None,
    copy: Annotated[
        int | None,
        typer.Option(
            "--copy", metavar="N", min=1, max=9999, help="Number of the set of media, where several are under way."
        ),
    ] = None,
    seal_intact: Annotated[
        _Numbers, typer.Option("--seal-intact", metavar="N", min=1, max=9999, help="The seal of volume N is intact.")
    ] = None,
    seal_broken: Annotated[
        _Numbers, typer.Option("--seal-broken", metavar="N", min=1, max=9999, help="The seal of volume N is broken.")
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="NOTE", help="Anything else.")] = "",
    operator: Annotated[
        str,
        typer.Option("--operator", metavar="NAME", help="Who writes the entry. Without it: the user of this computer."),
    ] = "",
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", metavar="FILE", help="Write into this ledger file instead of the catalogue."),
    ] = None,
) -> None:
    """Write a custody entry by hand, signed by this site.

    With --ledger it goes into a file that travels with the media, and is merged at a site later.
    """
    from courier.parcel.custody_by_hand import HandEntry, add_by_hand, look_ahead

    console = console_of(context)
    wanted = HandEntry(
        event=event,
        copy=copy,
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
            console.confirm("Write the entry all the same?")
        done = add_by_hand(site, parcel, wanted, ledger)
        for warning in done.warnings:
            console.warn(warning)
        console.say(f"{parcel}: {entry_text(done.entry, done.seals)}")
        if ledger is not None:
            console.say(f"Next, at a site of the parcel: courier parcel custody merge {ledger}")
        warnings = [*([odd] if odd else []), *done.warnings]
        console.result({"parcel_id": parcel, "entry": _entry(done.entry), "warnings": warnings})


@command(app, "merge", examples=["courier parcel custody merge /mnt/usb/ledger.jsonl"])
def merge(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ledger file that travelled with the media.")],
) -> None:
    """Add the entries of a ledger file to the catalogue.

    Entries that the catalogue has already stay as they are.
    """
    from courier.errors import RefusedError
    from courier.parcel.custody_file import merge_file

    console = console_of(context)
    with console.site() as site:
        done = merge_file(site, file)
        console.say(f"{file}: {plural(done.added, 'entry is', 'entries are')} new, {done.known} known before")
        for parcel in done.parcels:
            console.say(f"Next: courier parcel log {parcel}")
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
                hint="the other lines were merged; keep the file, and ask who carried it",
                code=Code.LEDGER_ALTERED,
            )
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        console.result(document)


@command(app, "export", examples=["courier parcel custody export HQ1-000042 --out /mnt/usb/ledger.jsonl"])
def export(
    context: typer.Context,
    *,
    parcel: PARCEL,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write; it must not exist yet.")],
) -> None:
    """Write the custody ledger into a file that travels with the media.

    Whoever takes the parcel over on the way can add entries to it.
    """
    from courier.parcel.custody_by_hand import export_ledger

    console = console_of(context)
    with console.site() as site:
        count = export_ledger(site, parcel, out)
        entries = plural(count, "entry", "entries")
        console.say(f"{parcel}: {entries} in {out}. On the way: courier parcel custody add ... --ledger {out}")
        console.result({"parcel_id": parcel, "entries": count, "path": str(out)})


@command(app, "verify", examples=["courier parcel custody verify HQ1-000042"])
def verify(context: typer.Context, *, parcel: PARCEL) -> None:
    """Check every signature and link of the custody ledger.

    Exit code 3: it was altered; 4: entries are missing or cannot be proved. Seals that were found broken and volumes
    that were sealed again are named, but do not make the ledger wrong (exit code 0).
    """
    from courier.errors import NotFoundError
    from courier.parcel.custody_ledger import broken_ledger, view_ledger
    from courier.parcel.seals import judge_seals

    console = console_of(context)
    with console.site() as site:
        view = view_ledger(site, parcel)
        if not view.lines and not view.breaks:
            raise NotFoundError(f"there is no custody ledger of {parcel}", hint="courier parcel list shows the parcels")
        seals = judge_seals(view.lines)
        document = {"parcel_id": parcel, **ledger_document(view, seals)}
        say_ledger(console, view, seals)
        if view.breaks:
            error = broken_ledger(parcel, view)
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        console.result(document)


def entry_text(entry: CustodyEntry, seals: Sequence[str]) -> str:
    """An entry in one line for people; ``seals``: the verdict on each of its seals (`courier.parcel.seals`)."""
    parts: list[str] = [entry.event + (f" (set {entry.copy})" if entry.copy > 1 else "")]
    if entry.volumes:
        parts.append(volumes(entry.volumes))
    if entry.to:
        parts.append(f"to {entry.to}")
    if entry.tracking:
        parts.append(f"tracking {entry.tracking}")
    parts += seals[:MAX_SEALS]
    if len(seals) > MAX_SEALS:
        parts.append(f"and {len(seals) - MAX_SEALS} more seals")
    if entry.note:
        parts.append(entry.note)
    return ", ".join(parts)


def say_ledger(console: Console, view: LedgerView, seals: Seals) -> None:
    """Say the ledger in order, then its breaks, then what is wrong with ``seals`` (those of its lines, judged)."""
    for line in view.lines:
        e = line.entry
        mark = "" if line.proved else "  (NOT PROVED)"
        console.say(f"{time_text(e.at_ns)}  {e.site}  {e.operator}  {entry_text(e, seals.texts[line.name])}{mark}")
    if view.lines and not view.breaks:
        console.say(f"Custody: {plural(len(view.lines), 'entry', 'entries')}, every signature and link is good.")
    for item in view.breaks:
        console.warn(f"Custody: {item.kind.upper()}: {item.text}")
    for text in seals.warnings:
        console.warn(f"Seals: {text}")


def warn_of_seals(console: Console, site: Site, parcel: str) -> list[str]:
    """Warn of seals that were found broken and of volumes that were sealed again; return the warnings."""
    from courier.parcel.custody_ledger import view_ledger
    from courier.parcel.seals import judge_seals

    texts = judge_seals(view_ledger(site, parcel).lines).warnings
    for text in texts[:MAX_SEALS]:
        console.warn(f"Seals: {parcel}, {text}")
    if len(texts) > MAX_SEALS:
        console.warn(f"Seals: {len(texts) - MAX_SEALS} more: courier parcel log {parcel}")
    return list(texts)


def ledger_document(view: LedgerView, seals: Seals) -> dict[str, Any]:
    """The ledger as JSON; ``seals``: those of its lines, judged."""
    return {
        "custody": [{"name": line.name, "proved": line.proved, **_entry(line.entry)} for line in view.lines],
        "custody_intact": not view.breaks,
        "seal_warnings": list(seals.warnings),
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
        "copy": entry.copy,
        "volumes": list(entry.volumes),
        "seals": [seal.record() for seal in entry.seals],
        "to": entry.to,
        "tracking": entry.tracking,
        "note": entry.note,
    }
