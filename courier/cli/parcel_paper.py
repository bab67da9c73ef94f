"""What is printed for a parcel: labels for its volumes, the waybill, and the packing note."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from courier.cli.command import PARCEL, command, console_of, group
from courier.cli.config import expand_groups
from courier.text import plural

app = group("")

OUT = Annotated[Path, typer.Option("--out", metavar="FILE", help="The PDF to write; one that is there is replaced.")]
TO = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        metavar="CODE",
        help="Only for the set of media that goes to this destination, or to those of group @NAME; repeat.",
    ),
]
FONT = Annotated[
    Path | None,
    typer.Option("--font", metavar="FILE", help="TrueType font for scripts other than Latin, Greek and Cyrillic."),
]
CODES_ONLY = Annotated[
    bool, typer.Option("--codes-only", help="Print no names beside the codes of sites and the IDs of packages.")
]
PAGE = Annotated[str, typer.Option("--page", metavar="SIZE", help="Size of the page: a4 or letter.")]


@command(
    app,
    "labels",
    examples=[
        "courier parcel labels HQ1-000042 --out labels.pdf",
        "courier parcel labels HQ1-000042 --out discs.pdf --sheet disc-118mm --volume 3",
        "courier parcel labels HQ1-000042 --out labels.pdf --to BR1 --calibration --offset 0.8,-0.5",
    ],
)
def labels(
    context: typer.Context,
    *,
    parcel: PARCEL,
    out: OUT,
    sheet: Annotated[
        str,
        typer.Option(
            "--sheet", metavar="SHEET", help="What is printed on: a4-2x7, letter-5163, roll-62mm, disc-118mm."
        ),
    ] = "a4-2x7",
    copy: Annotated[
        int | None,
        typer.Option(
            "--set", metavar="N", min=1, max=9999, help="Only for this set of media; sets are numbered as shipped."
        ),
    ] = None,
    to: TO = None,
    volume: Annotated[
        list[int] | None,
        typer.Option("--volume", metavar="N", min=1, max=9999, help="Only for this volume; repeat for more."),
    ] = None,
    offset: Annotated[
        str, typer.Option("--offset", metavar="X,Y", help="Move all by X mm to the right and Y mm down.")
    ] = "0,0",
    scale: Annotated[
        float,
        typer.Option("--scale", metavar="S", help="Enlarge all, where a printer makes pages smaller: 0.9 to 1.1."),
    ] = 1.0,
    calibration: Annotated[
        bool,
        typer.Option("--calibration", help="Begin with a page of borders and a ruler, to find --offset and --scale."),
    ] = False,
    font: FONT = None,
    codes_only: CODES_ONLY = False,
) -> None:
    """Print labels for the volumes, with signed codes.

    The codes are for courier parcel intake. Without --to and --set there are labels for every set of media. A medium
    that is written again needs a new label.
    """
    from courier.errors import UsageError
    from courier.parcel.label_page import Placing
    from courier.parcel.sheets import SHEETS
    from courier.sending.labels import LabelWish, write_labels
    from courier.sending.outgoing_parcel import open_outgoing

    console = console_of(context)
    if sheet not in SHEETS:
        raise UsageError(f"--sheet {sheet}: there is no such sheet", hint=f"give one of {', '.join(SHEETS)}")
    if not 0.9 <= scale <= 1.1:
        raise UsageError(f"--scale {scale}: a printer that is so far off cannot be used", hint="give 0.9 to 1.1")
    placing = Placing(offset=_offset(offset), scale=scale, calibration=calibration)
    wish = LabelWish(volumes=tuple(volume or ()), copy=copy, to=tuple(expand_groups(console, to)), names=not codes_only)
    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        count = write_labels(site, outgoing, wish, out, sheet=SHEETS[sheet], placing=placing, font=font)
        console.say(f"{parcel}: {plural(count, 'label')} in {out}, for {SHEETS[sheet].what}")
        console.say("Print it at its own size (100%, not fitted to the page).")
        console.result({"parcel_id": parcel, "path": str(out), "labels": count, "sheet": sheet})


@command(app, "waybill", examples=["courier parcel waybill HQ1-000042 --out waybill.pdf --to BR1"])
def waybill(
    context: typer.Context,
    *,
    parcel: PARCEL,
    out: OUT,
    to: TO = None,
    page: PAGE = "a4",
    font: FONT = None,
    codes_only: CODES_ONLY = False,
) -> None:
    """Print the waybill that the courier signs.

    It has a page for each shipment. The fields to sign are the events of the custody ledger; what is signed is entered
    with courier parcel custody add.
    """
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.papers import write_waybill

    console = console_of(context)
    size = _page(page)
    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        count = write_waybill(
            site, outgoing, out, page=size, to=expand_groups(console, to), names=not codes_only, font=font
        )
        console.say(f"{parcel}: {plural(count, 'waybill')} in {out}")
        console.result({"parcel_id": parcel, "path": str(out), "pages": count})


@command(app, "packing-note", examples=["courier parcel packing-note HQ1-000042 --out note.pdf --to BR1"])
def packing_note(
    context: typer.Context,
    *,
    parcel: PARCEL,
    out: OUT,
    to: TO = None,
    page: PAGE = "a4",
    font: FONT = None,
    codes_only: CODES_ONLY = False,
) -> None:
    """Print the packing note for the destination.

    It has a line for each volume, with its seal. It can be printed by the sender, and at the destination once the ship
    notice has come.
    """
    from courier.parcel.custody_ledger import known_here
    from courier.receiving.announced_note import write_announced_note
    from courier.sending.outgoing_parcel import open_outgoing
    from courier.sending.papers import write_packing_note

    console = console_of(context)
    size = _page(page)
    with console.site() as site:
        known_here(site, parcel)  # raises for what is no parcel ID
        if parcel.startswith(site.code):
            outgoing = open_outgoing(site, parcel)
            count = write_packing_note(
                site, outgoing, out, page=size, to=expand_groups(console, to), names=not codes_only, font=font
            )
        else:
            write_announced_note(site, parcel, out, page=size, names=not codes_only, font=font)
            count = 1
        console.say(f"{parcel}: {plural(count, 'packing note')} in {out}")
        console.result({"parcel_id": parcel, "path": str(out), "notes": count})


def _offset(text: str) -> tuple[float, float]:
    from courier.errors import UsageError

    match = re.fullmatch(r"\s*(-?[0-9]{1,2}(?:\.[0-9]{1,3})?)\s*,\s*(-?[0-9]{1,2}(?:\.[0-9]{1,3})?)\s*", text)
    if match is None:
        raise UsageError(f"--offset {text[:40]!r} is not X,Y in millimetres", hint="write it like --offset 0.8,-0.5")
    return float(match[1]), float(match[2])


def _page(name: str) -> tuple[float, float]:
    from courier.errors import UsageError
    from courier.parcel.sheets import A4, LETTER

    sizes = {"a4": A4, "letter": LETTER}
    if name.lower() not in sizes:
        raise UsageError(f"--page {name}: there is no such size", hint="give a4 or letter")
    return sizes[name.lower()]
