"""The receiver's commands of ``courier parcel``: receive, import, arrived, refuse and accept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.by_rule import distribute_by_rule
from courier.cli.cluster import CLUSTER, workers_of
from courier.cli.command import PARCEL, command, console_of, group
from courier.cli.received_parcel import medium_text, parcel_status, say_status, say_volume, volume_result
from courier.cli.seals import SEALS_FILE, read_seals
from courier.cli.written_bytes import say_written
from courier.text import plural

if TYPE_CHECKING:
    from courier.media.reading import Medium
    from courier.parcel.volume_documents import VolumeDocuments
    from courier.receiving.volume_result import VolumeResult

app = group("")

PROGRESSIVE = Annotated[
    bool | None,
    typer.Option(
        "--progressive/--no-progressive",
        help="Import each package as soon as it is here, or the parcel whole. Without either: as site policy says.",
    ),
]


@command(
    app,
    "receive",
    examples=[
        "courier parcel receive /media/cdrom",
        "courier parcel receive disc1.iso disc2.iso /mnt/usb/volumes",
        "courier parcel receive /dev/nst0 --hold",
        "courier parcel receive /media/cdrom --progressive",
    ],
)
def receive(
    context: typer.Context,
    *,
    media: Annotated[
        list[Path],
        typer.Argument(readable=False, metavar="MEDIUM...", help="ISO image, mounted disc, folder or tape drive."),
    ],
    hold: Annotated[
        bool, typer.Option("--hold", help="Do not import before the operator gives: courier parcel import PARCEL.")
    ] = False,
    progressive: PROGRESSIVE = None,
    cluster: CLUSTER = None,
) -> None:
    """Receive volumes, and import the parcel once it is complete.

    Volumes may come in any order and any number of times. The import also waits until the network has said the same as
    the media. With --progressive each package is imported as soon as all of it is here, before the rest comes. Several
    of these commands may read different volumes of one parcel at once; the last one imports it. With --cluster workers
    unpack what was gathered; what is imported straight from its media needs none.
    """
    from courier.receiving.incomplete import damage_left
    from courier.receiving.receive import receive_media

    console = console_of(context)

    def looking(medium: Medium, documents: VolumeDocuments) -> None:
        console.say(medium_text(medium, documents))

    def received(volume: VolumeResult) -> None:
        say_volume(console, volume)
        console.event({"volume": volume_result(volume)})

    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        console.note(text)

    with console.site() as site:
        with workers_of(cluster) as executor, console.phases() as progress:
            done = receive_media(
                site,
                media,
                hold=hold,
                progressive=progressive,
                progress=progress,
                looking=looking,
                received=received,
                ask=console.change_media,
                note=note,
                executor=executor,
            )
        parcels = [parcel_status(status) for status in done.parcels]
        volumes = [volume_result(volume) for volume in done.volumes]
        document: dict[str, Any] = {"volumes": volumes, "parcels": parcels, "notes": notes}
        if len(parcels) == 1:
            document |= parcels[0]
        for status in done.parcels:
            say_status(console, status)
        document |= say_written(console, sum(volume.bytes for volume in done.volumes if volume.read))
        document["distributed"] = distribute_by_rule(console, site)
        if done.failures:
            document["failures"] = [{"path": n, "code": f.code, "message": f.message} for n, f in done.failures]
            raise typer.Exit(console.errors(done.failures, document))
        if error := damage_left(done):
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        console.result(document)


@command(
    app,
    "import",
    examples=[
        "courier parcel import HQ1-000042",
        "courier parcel import HQ1-000042 --progressive",
        "courier parcel import HQ1-000042 --cluster processes:4",
    ],
)
def import_(
    context: typer.Context, *, parcel: PARCEL, progressive: PROGRESSIVE = None, cluster: CLUSTER = None
) -> None:
    """Import a complete parcel that was held, all or nothing.

    With --progressive: each package that is all here, before the rest of the parcel comes; the rest follows by itself.
    """
    from courier.errors import NotFoundError
    from courier.receiving.complete import complete_parcel
    from courier.receiving.incomplete import not_imported
    from courier.receiving.parcel_status import find_build
    from courier.receiving.progressive import choose_progressive
    from courier.receiving.spool import Spool

    console = console_of(context)
    with console.site() as site:
        build = find_build(site, parcel)
        if progressive is not None:
            folder = site.incoming(parcel, build)
            if not Spool.exists(folder):
                raise NotFoundError(f"nothing of {parcel} is waiting here", hint="courier parcel receive MEDIUM")
            choose_progressive(folder, progressive=progressive)
        with workers_of(cluster) as executor, console.phases() as progress:
            status = complete_parcel(site, parcel, build, release=True, progress=progress, executor=executor)
        say_status(console, status)
        if error := not_imported(status):
            console.error(error, parcel_status(status))
            raise typer.Exit(error.exit_code)
        console.result({**parcel_status(status), "distributed": distribute_by_rule(console, site)})


@command(
    app,
    "arrived",
    examples=[
        "courier parcel arrived HQ1-000042 --seal 1=A0012345 --seal 2=A0012346",
        "courier parcel arrived HQ1-000042 --seals-file seals.txt --lost 3",
    ],
)
def arrived(
    context: typer.Context,
    *,
    parcel: PARCEL,
    seal: Annotated[
        list[str] | None,
        typer.Option(
            "--seal", metavar="VOLUME=SERIAL", help="Serial number read on the seal of a volume; repeat for more."
        ),
    ] = None,
    seals_file: SEALS_FILE = None,
    lost: Annotated[
        list[int] | None,
        typer.Option(
            "--lost", metavar="N", min=1, max=9999, help="Volume that did not arrive and is given up; repeat for more."
        ),
    ] = None,
) -> None:
    """Report that the volumes are here, or which were lost.

    For a parcel whose key is released on arrival: the report names the seals read on the volumes, and the key comes
    back by network. Volumes may be lost where parity made up for them; the sender then decides.
    """
    from courier.receiving.arrival import report_arrival
    from courier.receiving.parcel_status import find_build

    console = console_of(context)
    seals = read_seals(seal, seals_file)
    odd: list[str] = []

    def differing(texts: Sequence[str]) -> None:
        odd.extend(texts)
        for text in texts:
            console.warn(text)
        shown = "; ".join(texts[:3]) + (" ..." if len(texts) > 3 else "")
        console.confirm(
            f"{parcel}: report seals that are not those of the ship notice? No key is released for them.",
            hint=f"read them again; give --yes if they are really so: {shown}",
        )

    with console.site() as site:
        build = find_build(site, parcel)
        report = report_arrival(site, parcel, build, seals, lost=set(lost or ()), differing=differing)
        gone = f", and {plural(len(report.lost), 'volume')} as lost," if report.lost else ""
        console.say(
            f"{parcel}: {plural(len(report.volumes), 'volume')}{gone} reported to {report.source}. "
            "Next: courier channel sync"
        )
        if report.lost:
            console.say(f"Volumes were lost, so {report.source} decides whether it releases the key.")
        volumes = [{"number": number, "seal": text} for number, text in report.volumes.items()]
        console.result(
            {
                "parcel_id": parcel,
                "to": report.source,
                "volumes": volumes,
                "lost": list(report.lost),
                "warnings": odd,
            }
        )


@command(app, "refuse", examples=['courier parcel refuse HQ1-000042 --reason "not ordered"'])
def refuse(
    context: typer.Context,
    *,
    parcel: PARCEL,
    reason: Annotated[str, typer.Option("--reason", metavar="REASON", help="Why; it is written into the log.")],
) -> None:
    """Refuse a parcel that was announced or is arriving.

    Nothing more of it is received, and it is not imported.
    """
    from courier.receiving.refuse import refuse_parcel

    console = console_of(context)
    with console.site() as site:
        state = refuse_parcel(site, parcel, reason)
        console.say(f"{parcel} is {state}. To delete its files: courier parcel discard {parcel}")
        console.result({"parcel_id": parcel, "state": state})


@command(app, "accept", examples=["courier parcel accept HQ1-000042"])
def accept(context: typer.Context, *, parcel: PARCEL) -> None:
    """Accept a parcel after all that was refused here."""
    from courier.receiving.refuse import accept_parcel

    console = console_of(context)
    with console.site() as site:
        state = accept_parcel(site, parcel)
        console.say(f"{parcel} is {state}. Next: courier parcel receive MEDIUM, or courier parcel import {parcel}")
        console.result({"parcel_id": parcel, "state": state})
