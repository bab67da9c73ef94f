"""The commands of ``courier parcel`` that mend: repair at the receiver; answer, drill and limits at the sender."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command
from courier.cli.console import Console, size_text
from courier.error_codes import Code
from courier.text import plural

if TYPE_CHECKING:
    from courier.sending.drill import Drill, Trial
    from courier.site.home import Site
    from formats.documents.repair import FileBlocks

PARCEL = Annotated[str, typer.Argument(metavar="PARCEL", help="Parcel ID, such as HQ1-000042.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to ``courier parcel``."""
    for name, function in (("repair", repair), ("answer", answer), ("drill", drill), ("limits", limits)):
        command(app, name)(function)


def repair(
    console: Console,
    *,
    parcel: PARCEL,
    from_network: Annotated[
        bool, typer.Option("--from-network", help="Ask the sender for what parity cannot mend.")
    ] = False,
    request_out: Annotated[
        Path | None, typer.Option("--request-out", metavar="F", help="Write that request to a file instead.")
    ] = None,
    reply: Annotated[
        list[Path] | None, typer.Option("--reply", metavar="F", help="Take in an answer: its files, or their folder.")
    ] = None,
) -> None:
    """Mend an arriving parcel: from parity, then with blocks from its sender; import it once complete."""
    from courier.cli.report import parcel_status, say_status
    from courier.errors import DamagedError, UsageError
    from courier.receiving.repair import apply_replies, queue_request, repair_parcel, request_blocks, write_request

    if from_network and request_out is not None:
        raise UsageError("--from-network and --request-out exclude each other", hint="give one of them")
    with console.site() as site:
        taken = apply_replies(site, parcel, reply or [])
        if reply:
            console.say(f"{parcel}: {plural(taken, 'block')} taken from the answer")
        done = repair_parcel(site, parcel)
        if done.mended:
            console.say(f"{parcel}: {plural(done.mended, 'block')} mended from parity")
        say_status(console, done.status)
        document: dict[str, Any] = {**parcel_status(done.status), "taken": taken, "mended": done.mended}
        document["blocks"] = _missing(site, done.status.parcel, done.status.build)
        if done.left and (from_network or request_out is not None):
            request, envelope, size = request_blocks(site, parcel)
            where = str(request_out) if request_out is not None else f"the outbox for {request.source}"
            if request_out is not None:
                write_request(site, envelope, request, request_out)
                follow = f"at {request.source}: courier parcel answer FILE --out FOLDER"
            else:
                queue_request(site, envelope, request)
                follow = "courier channel sync"
            rest = plural(len(done.left) - request.count, "further block")
            console.say(
                f"A request for {plural(request.count, 'block')} ({size_text(size)}) is in {where}"
                + (f"; with them parity mends {rest}" if len(done.left) > request.count else "")
                + f". Next: {follow}"
            )
            document["request"] = {
                "blocks": request.count,
                "bytes": size,
                "files": _files(request.files),
                "path": str(request_out) if request_out is not None else "",
                "queued": request_out is None,
            }
        elif done.left:
            error = DamagedError(
                f"{parcel}: {plural(len(done.left), 'block')} missing that parity cannot give back",
                hint=f"read the media again, in another drive; or courier parcel repair {parcel} --from-network",
                code=Code.INCOMPLETE,
            )
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        console.result(document)


def _missing(site: Site, parcel: str, build: str) -> list[dict[str, Any]]:
    from courier.receiving.block_map import volume_blocks

    return [
        {"volume": v.number, "file": path, "blocks": [list(span) for span in spans]}
        for v in volume_blocks(site, parcel, build)
        for path, spans in v.missing
    ]


def _files(files: tuple[FileBlocks, ...]) -> list[dict[str, Any]]:
    return [{"archive": file.archive, "blocks": [list(span) for span in file.spans]} for file in files]


def answer(
    console: Console,
    *,
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="A repair request, as a file.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write the answer there (else: by the channel).")
    ] = None,
) -> None:
    """Answer a repair request with just the blocks it asks for; above the site's limit only with --yes."""
    from courier.sending.repair_answer import check_limit, queue_answer, write_answer
    from courier.sending.repair_request import describe_blocks, read_request_file

    with console.site() as site:
        asked = read_request_file(site, request)
        wanted = asked.request
        console.say(
            f"{wanted.site} asks for {plural(wanted.count, 'block')} of {wanted.parcel}, "
            f"{size_text(asked.bytes)} ({describe_blocks(wanted)})"
        )
        check_limit(site, asked, yes=console.yes)
        paths = write_answer(site, asked, out) if out is not None else []
        count = len(paths) if out is not None else queue_answer(site, asked)
        if out is not None:
            console.say(f"{plural(count, 'part')} in {out}. At {wanted.site}: courier parcel repair {wanted.parcel} "
                        f"--reply {out}")  # fmt: skip
        else:
            console.say(f"{plural(count, 'part')} queued for {wanted.site}. Next: courier channel sync")
        console.result(
            {
                "parcel_id": wanted.parcel,
                "site": wanted.site,
                "blocks": wanted.count,
                "bytes": asked.bytes,
                "parts": count,
                "paths": [str(path) for path in paths],
                "queued": out is None,
                "volumes": [{"number": n, "blocks": blocks} for n, blocks in asked.volumes],
                "instead": asked.instead,
            }
        )


def drill(
    console: Console,
    *,
    parcel: PARCEL,
    lose: Annotated[int, typer.Option("--lose", metavar="N", min=0, max=9999, help="Volumes lost.")] = 0,
    damage: Annotated[str, typer.Option("--damage", help="Share of every other volume that is bad: 1%.")] = "0%",
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=1, max=1000, help="How often, each with other damage.")
    ] = 10,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=10**18, help="The same seed makes the same damage.")
    ] = 0,
) -> None:
    """Simulate loss and damage of a parcel made here, and say what would mend what; touches nothing."""
    from courier.errors import DamagedError
    from courier.sending.drill import DrillRequest, parse_share, run_drill
    from courier.sending.outgoing_parcel import open_outgoing

    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        request = DrillRequest(lose=lose, damage=parse_share(damage), trials=trials, seed=seed)
        done = run_drill(outgoing, request)
    console.say(f"{parcel}: {plural(done.volumes, 'volume')}, {lose} lost, {damage} of each other one bad")
    for text in done.promises or ("no parity: every block that is lost has to come again",):
        console.say(f"  Promise: {text}")
    for number, trial in enumerate(done.trials, 1):
        _say_trial(console, number, trial)
    good = sum(not trial.left for trial in done.trials)
    console.say(f"{good} of {plural(len(done.trials), 'trial')}: everything mended by parity")
    document = _drill(done)
    if not done.all_repaired:
        worst = max(done.trials, key=lambda trial: (trial.asked_bytes, trial.asked))
        error = DamagedError(
            f"{parcel}: in {len(done.trials) - good} of {len(done.trials)} trials parity does not mend all",
            hint=f"at worst {plural(worst.asked, 'block')} ({size_text(worst.asked_bytes)}) would have to come by "
            "network; or create it with more --spare-volumes or --redundancy",
            code=Code.NOT_COVERED,
        )
        console.error(error, document)
        raise typer.Exit(error.exit_code)
    console.result(document)


def _say_trial(console: Console, number: int, trial: Trial) -> None:
    lost = ", ".join(map(str, trial.lost)) or "none"
    console.say(
        f"Trial {number}: volumes lost: {lost}; {plural(trial.bad, 'block')} bad, {trial.bad_content:,} of content"
        f" ({'a run on each volume' if trial.scratch else 'scattered'})"
    )
    for repair in trial.repairs[:12]:
        console.say(
            f"  {plural(repair.blocks, 'block')} by {repair.by}: {plural(repair.stripes, 'stripe')}, "
            f"at most {repair.worst} bad in one, {repair.parity} may be"
        )
    if len(trial.repairs) > 12:
        rest = sum(repair.blocks for repair in trial.repairs[12:])
        console.say(f"  {plural(rest, 'block')} by {plural(len(trial.repairs) - 12, 'further group')}")
    if trial.left:
        console.say(
            f"  LEFT: {plural(len(trial.left), 'block')}; {trial.asked:,} of them ({size_text(trial.asked_bytes)}) "
            "by network would do"
        )


def _drill(done: Drill) -> dict[str, Any]:
    return {
        "parcel_id": done.parcel,
        "mended": done.all_repaired,
        "promises": list(done.promises),
        "trials": [
            {
                "seed": trial.seed,
                "lost_volumes": list(trial.lost),
                "damage": "run" if trial.scratch else "scattered",
                "bad_blocks": trial.bad,
                "bad_content_blocks": trial.bad_content,
                "mended_by": [
                    {"by": m.by, "blocks": m.blocks, "stripes": m.stripes, "worst": m.worst, "survives": m.parity}
                    for m in trial.repairs
                ],
                "left_blocks": len(trial.left),
                "network_blocks": trial.asked,
                "network_bytes": trial.asked_bytes,
            }
            for trial in done.trials
        ],
    }


def limits(
    console: Console,
    *,
    quota: Annotated[
        str | None, typer.Option("--quota", metavar="SIZE", help="Built parcels kept at most, such as 500GB; 0: all.")
    ] = None,
    repair: Annotated[
        str | None, typer.Option("--repair", metavar="SIZE", help="Answers sent without asking, at most.")
    ] = None,
) -> None:
    """Show or set how much is kept of built parcels, and how much is sent for repair without asking."""
    from dataclasses import replace

    from courier.media.kinds import parse_size
    from courier.sending.retention import keep_quota

    with console.site() as site:
        settings = replace(
            site.settings,
            parcel_quota=site.settings.parcel_quota if quota is None else parse_size(quota),
            repair_limit=site.settings.repair_limit if repair is None else parse_size(repair),
        )
        if settings != site.settings:
            settings.save(site.home)
    with console.site() as site:
        kept = keep_quota(site)
    shown = size_text(settings.parcel_quota) if settings.parcel_quota else "none"
    console.say(f"Built parcels: {size_text(kept.bytes)} on this disk, quota {shown}")
    for name, freed in kept.discarded:
        console.say(f"  {name} discarded: {size_text(freed)} freed")
    if kept.over:
        console.say(f"  {size_text(kept.over)} over the quota: parcels without all their receipts stay")
    console.say(f"Answers to repair requests: up to {size_text(settings.repair_limit)} are sent without asking")
    console.result(
        {
            "parcel_quota": settings.parcel_quota,
            "repair_limit": settings.repair_limit,
            "built_bytes": kept.bytes,
            "discarded": [{"parcel_id": name, "freed": freed} for name, freed in kept.discarded],
            "over": kept.over,
        }
    )
