"""``courier parcel create``: planning, building and signing a parcel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.cluster import CLUSTER, workers_of
from courier.cli.command import DRY_RUN, command, console_of, group
from courier.cli.config import config_of
from courier.cli.console import Console
from courier.cli.one_pass import OnePass, one_pass_of, written_document
from courier.cli.planned_parcel import delta_document, delta_text, load_text, packing_document, say_plan, volumes_text
from courier.cli.sent_parcel import say_usable
from courier.cli.written_bytes import say_written
from courier.media.kinds import kinds_text
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.sending.plan import ParcelPlan
    from courier.sending.retention import Retained
    from courier.site.home import Site
    from formats.documents.packing import KeyWay, PackingList

app = group("")

MEDIA = Annotated[
    str | None, typer.Option("--media", metavar="KIND", help=f"Kind of medium to write to: {kinds_text()}.")
]
CAPACITY = Annotated[
    str | None,
    typer.Option("--capacity", metavar="SIZE", help="Usable size of a medium of any other kind, such as 64GB."),
]


@command(
    app,
    "create",
    examples=[
        "courier parcel create HQ100001 --to BR1 --media bd25",
        "courier parcel create HQ100001:2 HQ100004 --to BR1 --to BR2 --capacity 64GB --spare-volumes 1",
        "courier parcel create HQ100001 --to BR1 --media lto8 --dry-run",
        "courier parcel create HQ100001 HQ100002 --to BR1 --media bd25 --first HQ100002",
        "courier parcel create HQ100001 --to BR1 --media bd25 --redundancy none --write iso --out DISCS",
    ],
)
def create(
    context: typer.Context,
    *,
    packages: Annotated[
        list[str],
        typer.Argument(metavar="ID[:VERSION]...", help="Packages to send; without a version, the newest one."),
    ],
    to: Annotated[
        list[str],
        typer.Option("--to", metavar="CODE", help="Site that it goes to, or @NAME of a group; repeat for several."),
    ],
    media: MEDIA = None,
    capacity: CAPACITY = None,
    compress: Annotated[
        str | None,
        typer.Option(
            "--compress",
            metavar="METHOD",
            help="Compression: auto, none, fast, or best (slow). Without it: as config show says, else auto.",
        ),
    ] = None,
    encrypt: Annotated[
        bool | None,
        typer.Option(
            "--encrypt/--no-encrypt", help="Encrypt the content. Without either: if the cards of all sites allow it."
        ),
    ] = None,
    priority: Annotated[
        str, typer.Option("--priority", metavar="PRIORITY", help="How urgent it is: high, medium or low.")
    ] = "medium",
    spare_volumes: Annotated[
        int,
        typer.Option(
            "--spare-volumes",
            metavar="N",
            min=0,
            max=9999,
            help="Write N more volumes of parity, so that any N volumes may be lost.",
        ),
    ] = 0,
    redundancy: Annotated[
        str | None,
        typer.Option(
            "--redundancy",
            metavar="SHARE",
            help="Parity on each volume: fill (what space is left there, up to a tenth of the content), "
            "none, or a share of the medium such as 5%. Without it: as config show says, else fill.",
        ),
    ] = None,
    anyway: Annotated[
        str,
        typer.Option(
            "--anyway",
            metavar="REASON",
            help="Create it although a check objects (no address, no space at a site, and so on), for this reason.",
        ),
    ] = "",
    key_by_network: Annotated[
        bool,
        typer.Option("--key-by-network", help="Send the key in the ship notice instead of on the media."),
    ] = False,
    release: Annotated[
        str,
        typer.Option(
            "--release",
            metavar="WHEN",
            help="on-arrival: send the key only after the destination has reported all seals.",
        ),
    ] = "",
    supersedes: Annotated[
        str,
        typer.Option("--supersedes", metavar="PARCEL", help="Parcel that this one replaces as soon as it is shipped."),
    ] = "",
    cluster: CLUSTER = None,
    first: Annotated[
        list[str] | None,
        typer.Option(
            "--first",
            metavar="ID",
            help="Package that lies on the first volumes, so that it is usable before the others; repeat for more.",
        ),
    ] = None,
    delta: Annotated[
        bool | None,
        typer.Option(
            "--delta/--full",
            help="Carry only what the destinations do not hold, or everything. Without either: only that, if it saves.",
        ),
    ] = None,
    write: Annotated[
        str | None,
        typer.Option(
            "--write",
            metavar="LAYOUT",
            help="Write the volumes in the same pass, as iso or folder: the content is read once. Needs --out.",
        ),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out", metavar="DIR", help="With --write: folder for the volumes; give several for several drives."
        ),
    ] = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Plan, build and sign a parcel.

    Give --media or --capacity, or set one by courier config. Without --write nothing is written to media yet: that is
    courier parcel write.
    """
    from courier.errors import UsageError
    from courier.media.kinds import medium_capacity
    from courier.parcel.parity_plan import Redundancy
    from courier.sending.build import building_bytes
    from courier.sending.estimate import estimate_parcel
    from courier.sending.plan import ParcelRequest, draft_parcel
    from formats.codecs import COMPRESSIONS
    from formats.documents.packing import PRIORITIES

    console = console_of(context)
    config = config_of(console)
    to = config.expand(to)
    compress = config.compress or "auto" if compress is None else compress
    redundancy = config.redundancy or "fill" if redundancy is None else redundancy
    if compress not in COMPRESSIONS:
        raise UsageError(
            f"--compress {compress}: there is no such method", hint=f"give one of {', '.join(COMPRESSIONS)}"
        )
    if priority not in PRIORITIES:
        raise UsageError(
            f"--priority {priority}: there is no such priority", hint=f"give one of {', '.join(PRIORITIES)}"
        )
    one_pass = one_pass_of(write, out or (), cluster=cluster)
    if media is None and capacity is None:
        media, capacity = config.media or None, config.capacity or None
    kind, room = medium_capacity(media, capacity)
    request = ParcelRequest(
        packages=tuple(packages),
        destinations=tuple(to),
        media=kind,
        capacity=room,
        compress=compress,
        encrypt=encrypt,
        priority=priority,
        spares=spare_volumes,
        redundancy=Redundancy.parse(redundancy),
        key=_key_way(key_by_network=key_by_network, release=release, encrypt=encrypt),
        anyway=anyway,
        supersedes=supersedes,
        first=tuple(first or ()),
        delta="auto" if delta is None else "delta" if delta else "full",
    )
    with console.site() as site:
        with console.phases() as progress:
            draft = draft_parcel(site, request, progress)
        plan = draft.plan(kind, room)
        if supersedes:
            from courier.sending.supersede import check_supersedes

            check_supersedes(site, supersedes, to)
        for note in (*plan.notes, *(f"anyway: {one}" for one in plan.overridden)):
            console.warn(note)
        if plan.delta is not None:
            console.say(delta_text(plan.delta))
        if one_pass is not None:
            one_pass.check(plan)
        if dry_run:
            say_plan(console, plan, estimate_parcel(draft, plan), kept=building_bytes(plan))
            return
        del draft  # of very many files it is large, and what is of use is in the plan
        _create(console, site, plan, one_pass, cluster)


def _create(console: Console, site: Site, plan: ParcelPlan, one_pass: OnePass | None, cluster: str | None) -> None:
    """Build a planned parcel, write it too if that is asked for, and say what was made."""
    from courier.sending.build import build_parcel, building_bytes
    from courier.sending.retention import disk_bytes, keep_quota
    from courier.sending.usable import usable_packages

    _say_discarded(console, keep_quota(site, coming=building_bytes(plan)))
    done = None
    if one_pass is not None:
        parcel, done = one_pass.run(console, site, plan)
    else:
        with workers_of(cluster) as executor, console.phases() as progress:
            parcel = build_parcel(site, plan, progress, executor=executor)
    packing = parcel.packing
    _say_built(console, packing)
    say_usable(console, usable_packages(site, parcel), packing)
    kept, all_kept = disk_bytes(site, packing.parcel), keep_quota(site)
    _say_kept(console, site, kept, all_kept)
    disk = say_written(console, plan.content_bytes)
    space = {"kept_bytes": kept, "built_bytes": all_kept.bytes, "parcel_quota": all_kept.quota}
    found = {"notes": list(plan.notes), "overridden": list(plan.overridden), "delta": delta_document(plan.delta)}
    document = {"state": parcel.sent.state, **found, **space, **disk, **packing_document(packing)}
    if one_pass is None or done is None:
        _say_next(console, packing)
    else:
        one_pass.say_next(console, packing.parcel, done)
        document = written_document(document, done)
    console.result(document)


def _say_built(console: Console, packing: PackingList) -> None:
    encrypted = f"encrypted for {', '.join(packing.destinations)}" if packing.encrypted else "not encrypted"
    console.say(
        f"{packing.parcel}: {plural(len(packing.archives), 'archive')}, {encrypted}; {load_text(packing)}; "
        f"on {volumes_text(packing)}"
    )


def _say_next(console: Console, packing: PackingList) -> None:
    from courier.media.kinds import usual_layout

    parcel = packing.parcel
    console.say(f"Next: courier parcel write {parcel} --layout {usual_layout(packing.media)} --out DIR")
    console.say(f"Over the network, beside the media or in their place: courier parcel send {parcel} --by-network")


def _say_discarded(console: Console, kept: Retained) -> None:
    for name, freed in kept.discarded:
        console.say(f"{name} is confirmed; its files were deleted to keep the quota: {size_text(freed)} freed")


def _say_kept(console: Console, site: Site, kept: int, all_kept: Retained) -> None:
    """Say what the files of a parcel take in the sender's home, those of all, and what the quota does about it."""
    _say_discarded(console, all_kept)
    quota = f"of a quota of {size_text(all_kept.quota)}" if all_kept.quota else "without a quota"
    console.say(
        f"Kept in {site.home} until it is confirmed: {size_text(kept)}; by all built parcels: "
        f"{size_text(all_kept.bytes)} {quota}"
    )
    if all_kept.over:
        console.note(
            f"built parcels take {size_text(all_kept.over)} above the quota; none goes until it is confirmed.",
            hint="courier parcel list shows them; courier parcel discard PARCEL deletes the files of one, "
            "courier parcel limits --quota SIZE sets the quota",
        )


def _key_way(*, key_by_network: bool, release: str, encrypt: bool | None) -> KeyWay:
    from courier.errors import UsageError

    if release not in ("", "on-arrival"):
        raise UsageError(f"--release {release}: there is no such choice", hint="give --release on-arrival")
    if release and not key_by_network:
        raise UsageError("--release needs --key-by-network", hint="give both, or neither")
    if key_by_network and encrypt is False:
        raise UsageError("with --no-encrypt there is no key to send by network", hint="leave out one of the two")
    if not key_by_network:
        return "media"
    return "on-arrival" if release else "network"
