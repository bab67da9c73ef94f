"""The receiver's commands of ``courier parcel``: receive, verify, import, arrived."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command
from courier.cli.console import Console, size_text
from courier.error_codes import Code
from courier.text import plural

if TYPE_CHECKING:
    from courier.parcel.verdict import Verdict
    from courier.site.home import Site

PARCEL = Annotated[str, typer.Argument(metavar="PARCEL", help="Parcel ID, such as HQ1-000042.")]


def add_to(app: typer.Typer) -> None:
    """Add the receiver's commands to ``courier parcel``."""
    for name, function in (("receive", receive), ("verify", verify), ("import", import_), ("arrived", arrived)):
        command(app, name)(function)


def receive(
    console: Console,
    *,
    media: Annotated[
        list[Path], typer.Argument(readable=False, metavar="MEDIUM...", help="ISO file, mounted disc, folder, tape.")
    ],
    hold: Annotated[bool, typer.Option("--hold", help="Do not import before: courier parcel import PARCEL.")] = False,
) -> None:
    """Take volumes in, in any order, any number of times; import when all is here and agreed."""
    from courier.cli.report import parcel_status, say_status, say_volume, volume_result
    from courier.errors import DamagedError
    from courier.media.reading import Medium, TapeMedium
    from courier.parcel.volume_documents import VolumeDocuments
    from courier.receiving.receive import receive_media
    from courier.receiving.volume_result import VolumeResult

    def looking(medium: Medium, documents: VolumeDocuments) -> None:
        first = medium.first if isinstance(medium, TapeMedium) else None
        reel = f", reel {first.reel}" if first is not None and first.reel > 1 else ""
        console.say(f"{medium.name}: {documents.packing.parcel} from {documents.packing.source}, volume "
                    f"{documents.label.number} of {documents.label.of} ({medium.layout}{reel})")  # fmt: skip

    def received(volume: VolumeResult) -> None:
        say_volume(console, volume)
        console.event({"volume": volume_result(volume)})

    with console.site() as site:
        with console.progress("Receiving", None) as progress:
            done = receive_media(
                site, media, hold=hold, progress=progress, looking=looking, received=received, ask=console.change_media
            )
        parcels = [parcel_status(status) for status in done.parcels]
        volumes = [volume_result(volume) for volume in done.volumes]
        document: dict[str, Any] = {"volumes": volumes, "parcels": parcels}
        if len(parcels) == 1:
            document |= parcels[0]
        for status in done.parcels:
            say_status(console, status)
        if done.failures:
            document["failures"] = [{"path": n, "code": f.code, "message": f.message} for n, f in done.failures]
            raise typer.Exit(console.errors(done.failures, document))
        # What parity has mended is no matter of the medium any more. Volumes of another edition are numbered otherwise
        # than what is missing; archives are not.
        missing = {(s.parcel, s.build): s for s in done.parcels}
        bad = [v for v in done.volumes if any(p in missing[v.parcel, v.build].incomplete for p, _ in v.bad)]
        if bad:
            first = missing[bad[0].parcel, bad[0].build]
            reels = next((v for v in bad if v.lacking), None)
            error = DamagedError(
                f"{first.parcel}: {plural(first.missing_blocks, 'block')} missing or damaged so far",
                hint="what is good was kept; read the medium again, in another drive; what stays bad is mended when "
                f"more has come, or by the sender: courier parcel repair {first.parcel} --from-network",
            )
            if reels is not None:
                error = DamagedError(
                    f"{first.parcel}: {plural(first.missing_blocks, 'block')} missing so far; of the tape of volume "
                    f"{reels.number}, {reels.lacking} not given",
                    hint=f"what was read is kept: give the same command with {reels.lacking} in the drive, or the "
                    "folder of it",
                    code=Code.REEL_MISSING,
                )
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        console.result(document)


def verify(
    console: Console,
    *,
    what: Annotated[list[str], typer.Argument(metavar="PARCEL|MEDIUM...", help="A parcel ID, or media.")],
    card: Annotated[
        list[Path] | None, typer.Option("--card", metavar="FILE", help="Trust this card (needs no site home).")
    ] = None,
) -> None:
    """Check everything, without taking anything in; works offline."""
    from courier.errors import CourierError, DamagedError, NotFoundError
    from courier.parcel.notices import compare_with_notices
    from courier.receiving.verify import trust_of_cards, verify_media, verify_received
    from courier.sending.verify_sent import verify_sent

    verdicts: list[Verdict] = []
    failures: list[tuple[str, CourierError]] = []
    media = [Path(text) for text in what if not _is_parcel(text)]
    with console.progress("Verifying", None) as progress:
        for text in (text for text in what if _is_parcel(text)):
            with console.site() as site:
                verdict = verify_sent(site, text, progress) or verify_received(site, text, progress)
                if verdict is None:
                    raise NotFoundError(f"nothing of {text} is here", hint="courier parcel list shows the parcels")
                verdicts.append(verdict)
        if media and card:
            found, failures = verify_media(trust_of_cards(card), media, progress=progress, ask=console.change_media)
            verdicts += found
        elif media:
            with _site_or_card(console) as site:
                trust = site.trust()
                found, failures = verify_media(
                    trust,
                    media,
                    progress=progress,
                    admit=lambda documents: compare_with_notices(site, trust, documents.packing, documents.envelope),
                    ask=console.change_media,
                )
            verdicts += found
    for verdict in verdicts:
        where = f"volume {verdict.number} of {verdict.of}" if verdict.number else "on this computer's disk"
        good = "NOT good" if verdict.problems else "good, as far as it is here" if verdict.incomplete else "good"
        console.say(f"{verdict.what}: {verdict.parcel}, {where}, {size_text(verdict.bytes)}: {good}")
        for line in (*verdict.problems, *(f"note: {note}" for note in verdict.notes), *verdict.reasons):
            console.say(f"  {line}")
    document = {
        "volumes": [
            {
                "parcel_id": v.parcel,
                "number": v.number,
                "of": v.of,
                "path": v.what,
                "bytes": v.bytes,
                "state": _state(v),
                "damaged_blocks": v.damaged_blocks,
                "problems": list(v.problems),
                "notes": list(v.notes),
                "reasons": list(v.reasons),
            }
            for v in verdicts
        ]
    }
    failures += [(v.what, error) for v in verdicts for error in v.errors]
    if failures:
        raise typer.Exit(console.errors(failures, document))
    if any(v.problems for v in verdicts):
        hint = (
            "receive takes what is good and mends what its parity covers; else another drive, or the volume sent again"
        )
        error = DamagedError(
            f"{plural(sum(bool(v.problems) for v in verdicts), 'medium')} not good".replace("mediums", "media"),
            hint=hint,
        )
        console.error(error, document)
        raise typer.Exit(error.exit_code)
    console.result(document)


def _state(verdict: Verdict) -> str:
    """``good``, ``damaged``, or what is no damage of content: ``refused``."""
    from courier.errors import RefusedError

    if any(isinstance(error, RefusedError) for error in verdict.errors):
        return "refused"
    return "damaged" if verdict.problems else "good"


@contextmanager
def _site_or_card(console: Console) -> Iterator[Site]:
    """The site to check media at; where there is none, the hint names the way that needs none."""
    from courier.errors import NotFoundError
    from courier.site.settings import Settings, find_home

    try:
        Settings.load(find_home(console.home))
    except NotFoundError as error:
        raise NotFoundError(
            error.message, hint="to check media without a site: --card FILE, the sender's card"
        ) from None
    with console.site() as site:
        yield site


def _is_parcel(text: str) -> bool:
    from formats.errors import FormatError
    from formats.names import check_parcel

    try:
        check_parcel(text)
    except FormatError:
        return False
    return True


def import_(console: Console, *, parcel: PARCEL) -> None:
    """Import a complete parcel that was held, all or nothing."""
    from courier.cli.report import parcel_status, say_status
    from courier.errors import DamagedError, RefusedError
    from courier.parcel.states import ReceivedState
    from courier.receiving.complete import complete_parcel
    from courier.receiving.parcel_status import find_build

    with console.site() as site:
        build = find_build(site, parcel)
        status = complete_parcel(site, parcel, build, release=True)
        document = parcel_status(status)
        say_status(console, status)
        if status.missing_blocks or status.missing_volumes:
            error = DamagedError(
                f"{parcel} is not complete: {plural(status.missing_blocks, 'block')} missing",
                hint="courier parcel receive MEDIUM, with volume " + ", ".join(map(str, status.missing_volumes[:20])),
                code=Code.INCOMPLETE,
            )
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        if status.state != ReceivedState.IMPORTED:
            waits = RefusedError(
                f"{parcel} is held, awaiting {'; '.join(status.awaiting) or 'media'}",
                hint=f"report the arrival: {status.report}, then courier channel sync; the import follows the key"
                if status.report
                else "courier channel sync fetches what comes by network; the import follows by itself",
                code=Code.HELD,
            )
            console.error(waits, document)
            raise typer.Exit(waits.exit_code)
        console.result(document)


def arrived(
    console: Console,
    *,
    parcel: PARCEL,
    seal: Annotated[
        list[str] | None, typer.Option("--seal", metavar="VOLUME=SERIAL", help="Seal read on a volume; again for more.")
    ] = None,
) -> None:
    """Report to the sender that all volumes are here, with the seals read on them, so that it releases the key."""
    from courier.cli.parcel_ship import read_seals
    from courier.receiving.arrival import report_arrival
    from courier.receiving.parcel_status import find_build

    seals = read_seals(seal)
    odd: list[str] = []

    def differing(texts: Sequence[str]) -> None:
        odd.extend(texts)
        for text in texts:
            console.warn(text)
        shown = "; ".join(texts[:3]) + (" ..." if len(texts) > 3 else "")
        console.confirm(
            f"{parcel}: report seals that are not those of the ship notice? No key is released for them.",
            hint=f"read them again; give --yes if they are so: {shown}",
        )

    with console.site() as site:
        report = report_arrival(site, parcel, find_build(site, parcel), seals, differing=differing)
        console.say(
            f"{parcel}: {plural(len(report.volumes), 'volume')} reported to {report.source}. Next: courier channel sync"
        )
        volumes = [{"number": number, "seal": text} for number, text in report.volumes.items()]
        console.result({"parcel_id": parcel, "to": report.source, "volumes": volumes, "warnings": odd})
