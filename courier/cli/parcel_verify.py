"""``courier parcel verify``: check media, or what is here of a parcel, without importing anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console
from courier.text import size_text

if TYPE_CHECKING:
    from courier.errors import CourierError
    from courier.parcel.verdict import Verdict
    from courier.site.home import Site

app = group("")


@command(
    app,
    "verify",
    examples=[
        "courier parcel verify /media/cdrom",
        "courier parcel verify HQ1-000042",
        "courier parcel verify /media/cdrom --card HQ1.card",
    ],
)
def verify(
    context: typer.Context,
    *,
    what: Annotated[
        list[Path],
        typer.Argument(readable=False, metavar="PARCEL|MEDIUM...", help="ID of a parcel that is here, or media."),
    ],
    card: Annotated[
        list[Path] | None,
        typer.Option("--card", metavar="FILE", help="Trust this site card; no site home is needed then."),
    ] = None,
) -> None:
    """Check signatures and content without importing anything.

    It needs no network.
    """
    from courier.errors import DamagedError

    console = console_of(context)
    verdicts, failures = _verdicts(console, what, card or [])
    for verdict in verdicts:
        _say_verdict(console, verdict)
    document = {"volumes": [_document(verdict) for verdict in verdicts]}
    failures += [(verdict.what, error) for verdict in verdicts for error in verdict.errors]
    if failures:
        raise typer.Exit(console.errors(failures, document))
    if bad := sum(bool(verdict.problems) for verdict in verdicts):
        error = DamagedError(
            f"{bad} {'medium is' if bad == 1 else 'media are'} not good",
            hint="courier parcel receive takes what is good and repairs what parity covers; else try another drive, or "
            "ask the sender for the volume again",
        )
        console.error(error, document)
        raise typer.Exit(error.exit_code)
    console.result(document)


def _verdicts(
    console: Console, what: list[Path], cards: list[Path]
) -> tuple[list[Verdict], list[tuple[str, CourierError]]]:
    """The verdict on each parcel and medium, and an error for each medium that has none."""
    from courier.errors import NotFoundError
    from courier.parcel.notices import compare_with_notices
    from courier.receiving.verify import trust_of_cards, verify_media, verify_received
    from courier.sending.verify_sent import verify_sent

    verdicts: list[Verdict] = []
    failures: list[tuple[str, CourierError]] = []
    parcels: list[str] = []
    media: list[Path] = []
    for path in what:
        if _is_parcel(path):
            parcels.append(str(path))
        else:
            media.append(path)
    with console.phases() as progress:
        for parcel in parcels:
            with console.site() as site:
                verdict = verify_sent(site, parcel, progress) or verify_received(site, parcel, progress)
                if verdict is None:
                    raise NotFoundError(f"nothing of {parcel} is here", hint="courier parcel list shows the parcels")
                verdicts.append(verdict)
        if media and cards:
            found, failures = verify_media(
                trust_of_cards(cards), media, progress=progress, ask=console.change_media, note=console.note
            )
            verdicts += found
        elif media:
            with _site_or_card(console) as site:
                trust = site.trust()
                found, failures = verify_media(
                    trust,
                    media,
                    progress=progress,
                    admit=lambda documents: compare_with_notices(site, trust, documents.packing),
                    ask=console.change_media,
                    note=console.note,
                )
            verdicts += found
    return verdicts, failures


def _say_verdict(console: Console, verdict: Verdict) -> None:
    where = f"volume {verdict.number} of {verdict.of}" if verdict.number else "on this computer's disk"
    good = "NOT good" if verdict.problems else "good, as far as it is here" if verdict.incomplete else "good"
    console.say(f"{verdict.what}: {verdict.parcel}, {where}, {size_text(verdict.bytes)}: {good}")
    for line in (*verdict.problems, *(f"note: {note}" for note in verdict.notes), *verdict.reasons):
        console.say(f"  {line}")


def _document(verdict: Verdict) -> dict[str, Any]:
    return {
        "parcel_id": verdict.parcel,
        "number": verdict.number,
        "of": verdict.of,
        "path": verdict.what,
        "bytes": verdict.bytes,
        "state": _state(verdict),
        "damaged_blocks": verdict.damaged_blocks,
        "problems": list(verdict.problems),
        "notes": list(verdict.notes),
        "reasons": list(verdict.reasons),
    }


def _state(verdict: Verdict) -> str:
    """``good``, ``damaged``, or ``refused`` where the content may be whole but must not be used."""
    from courier.errors import RefusedError

    if any(isinstance(error, RefusedError) for error in verdict.errors):
        return "refused"
    return "damaged" if verdict.problems else "good"


@contextmanager
def _site_or_card(console: Console) -> Iterator[Site]:
    """The site that checks the media; where there is none, the hint names ``--card``, which needs no site."""
    from courier.errors import NotFoundError
    from courier.site.settings import Settings, find_home

    try:
        Settings.load(find_home(console.home))
    except NotFoundError as error:
        hint = "to check media without a site, give the sender's card: --card FILE"
        raise NotFoundError(error.message, hint=hint) from None
    with console.site() as site:
        yield site


def _is_parcel(path: Path) -> bool:
    from formats.errors import FormatError
    from formats.names import check_parcel

    try:
        check_parcel(str(path))
    except FormatError:
        return False
    return True
