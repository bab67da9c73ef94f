"""The commands of ``courier parcel`` for repair: repair at the receiver, answer and drill at the sender."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import PARCEL, command, console_of, group
from courier.cli.console import Console
from courier.cli.received_parcel import parcel_status, say_status
from courier.error_codes import Code
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.sending.drill import Drill, Trial
    from courier.site.home import Site
    from formats.documents.repair import FileBlocks

app = group("")

SHOWN = 12
"""Groups of a trial that are shown."""


@command(
    app,
    "repair",
    examples=[
        "courier parcel repair HQ1-000042 --from-network",
        "courier parcel repair HQ1-000042 --request-out request.json",
        "courier parcel repair HQ1-000042 --reply answer/",
    ],
)
def repair(
    context: typer.Context,
    *,
    parcel: PARCEL,
    from_network: Annotated[
        bool, typer.Option("--from-network", help="Ask the sender by network for what parity cannot repair.")
    ] = False,
    request_out: Annotated[
        Path | None,
        typer.Option("--request-out", metavar="FILE", help="Write the request to this file instead of sending it."),
    ] = None,
    reply: Annotated[
        list[Path] | None,
        typer.Option("--reply", metavar="FILE", help="Use this answer of the sender: its files, or their folder."),
    ] = None,
) -> None:
    """Repair an arriving parcel, and import it once complete.

    Parity repairs what it can; the sender can be asked for the blocks that are still missing then.
    """
    from courier.errors import DamagedError, UsageError
    from courier.receiving.repair import apply_replies, queue_request, repair_parcel, request_blocks, write_request

    console = console_of(context)
    if from_network and request_out is not None:
        raise UsageError("--from-network and --request-out cannot be given together", hint="give one of them")
    with console.site() as site:
        taken = apply_replies(site, parcel, reply or [])
        if reply:
            console.say(f"{parcel}: {plural(taken, 'block')} taken from the answer")
        done = repair_parcel(site, parcel)
        if done.mended:
            console.say(f"{parcel}: {plural(done.mended, 'block')} repaired from parity")
        say_status(console, done.status)
        document: dict[str, Any] = {**parcel_status(done.status), "taken": taken, "mended": done.mended}
        document["blocks"] = _missing(site, done.status.parcel, done.status.build)
        if (done.left or done.base_blocks) and (from_network or request_out is not None):
            request, envelope, size = request_blocks(site, parcel)
            where = str(request_out) if request_out is not None else f"the outbox for {request.source}"
            if request_out is not None:
                if write_request(site, envelope, request, request_out):
                    console.say(f"{where}: the request for {parcel} that was there is replaced")
                follow = f"at {request.source}: courier parcel answer FILE --out DIR"
            else:
                queue_request(site, envelope, request)
                follow = "courier channel sync"
            more = len(done.left) + done.base_blocks - request.count
            rest = plural(more, "further block")
            console.say(
                f"A request for {plural(request.count, 'block')} ({size_text(size)}) is in {where}"
                + (f"; with them parity repairs {rest}" if more > 0 else "")
                + f". Next: {follow}"
            )
            document["request"] = {
                "blocks": request.count,
                "bytes": size,
                "files": _spans(request.files),
                "path": str(request_out) if request_out is not None else "",
                "queued": request_out is None,
            }
        elif done.left:
            error = DamagedError(
                f"{parcel}: {plural(len(done.left), 'block')} missing that parity cannot repair",
                hint="read the media again in another drive, or ask the sender: "
                f"courier parcel repair {parcel} --from-network",
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


def _spans(files: tuple[FileBlocks, ...]) -> list[dict[str, Any]]:
    return [{"archive": file.archive, "blocks": [list(span) for span in file.spans]} for file in files]


@command(
    app, "answer", examples=["courier parcel answer request.json --out answer/", "courier parcel answer request.json"]
)
def answer(
    context: typer.Context,
    *,
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="Repair request, as a file.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write the answer into this folder instead of sending it."),
    ] = None,
) -> None:
    """Answer a repair request with the blocks that it asks for.

    An answer above the limit of this site (courier parcel limits) is sent only with --yes.
    """
    from courier.sending.repair_answer import check_limit, queue_answer, write_answer
    from courier.sending.repair_request import describe_blocks, read_request_file

    console = console_of(context)
    with console.site() as site:
        asked = read_request_file(site, request)
        wanted = asked.request
        console.say(
            f"{wanted.site} asks for {plural(wanted.count, 'block')} of {wanted.parcel}, "
            f"{size_text(asked.bytes)} ({describe_blocks(asked)})"
        )
        check_limit(site, asked, yes=console.yes)
        with console.phases() as progress:
            paths = write_answer(site, asked, out, progress) if out is not None else []
            count = len(paths) if out is not None else queue_answer(site, asked, progress)
        if out is not None:
            console.say(
                f"{plural(count, 'part')} in {out}. Next, at {wanted.site}: courier parcel repair {wanted.parcel} "
                f"--reply {out}"
            )
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


@command(app, "drill", examples=["courier parcel drill HQ1-000042 --lose 1 --damage 1% --trials 20"])
def drill(
    context: typer.Context,
    *,
    parcel: PARCEL,
    lose: Annotated[
        int, typer.Option("--lose", metavar="N", min=0, max=9999, help="Number of volumes that are lost.")
    ] = 0,
    damage: Annotated[
        str, typer.Option("--damage", metavar="SHARE", help="Share of each other volume that is damaged, such as 1%.")
    ] = "0%",
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=1, max=1000, help="Number of trials, each with other damage.")
    ] = 10,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", min=0, max=10**18, help="The same number makes the same damage again."),
    ] = 0,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also print what every trial lost, and how it was repaired.")
    ] = False,
) -> None:
    """Simulate loss and damage of a parcel made here.

    It says what would be repaired by parity and what would have to come by network. Nothing is changed.
    """
    from courier.errors import DamagedError
    from courier.sending.drill import DrillRequest, parse_share, run_drill
    from courier.sending.outgoing_parcel import open_outgoing

    console = console_of(context)
    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        request = DrillRequest(lose=lose, damage=parse_share(damage), trials=trials, seed=seed)
        done = run_drill(outgoing, request)
    good = sum(not trial.left for trial in done.trials)
    verdict = "repaired by parity" if done.all_repaired else "NOT always repaired by parity"
    console.say(
        f"{parcel}: {verdict}: everything in {good} of {plural(len(done.trials), 'trial')}, with {lose} of "
        f"{plural(done.volumes, 'volume')} lost and {damage} of each other volume damaged"
    )
    promises = done.promises or ("no parity: every lost block has to be sent again",)
    for text in promises if verbose else promises[:SHOWN]:
        console.say(f"  Parity: {text}")
    if len(promises) > SHOWN and not verbose:
        console.say(f"  and {plural(len(promises) - SHOWN, 'further group')}: --verbose")
    for number, trial in enumerate(done.trials, 1):
        if verbose:
            _say_trial(console, number, trial)
    document = _drill(done)
    if not done.all_repaired:
        worst = max(done.trials, key=lambda trial: (trial.asked_bytes, trial.asked))
        error = DamagedError(
            f"{parcel}: in {len(done.trials) - good} of {len(done.trials)} trials parity could not repair everything",
            hint=f"at worst {plural(worst.asked, 'block')} ({size_text(worst.asked_bytes)}) must be fetched by "
            "network; to avoid that, create it with more --spare-volumes or --redundancy",
            code=Code.NOT_COVERED,
        )
        console.error(error, document)
        raise typer.Exit(error.exit_code)
    console.result(document)


def _say_trial(console: Console, number: int, trial: Trial) -> None:
    lost = ", ".join(map(str, trial.lost)) or "none"
    console.say(
        f"Trial {number}: volumes lost: {lost}; {plural(trial.bad, 'block')} damaged or lost, {trial.bad_content:,} of "
        f"them content ({'damage in one run on each volume' if trial.scratch else 'scattered damage'})"
    )
    for repair in trial.repairs[:SHOWN]:
        console.say(
            f"  {plural(repair.blocks, 'block')} repaired by {repair.by}: {plural(repair.stripes, 'stripe')}, "
            f"at most {repair.worst} lost in one stripe, {repair.parity} can be repaired"
        )
    if len(trial.repairs) > SHOWN:
        rest = sum(repair.blocks for repair in trial.repairs[SHOWN:])
        console.say(f"  {plural(rest, 'block')} repaired by {plural(len(trial.repairs) - SHOWN, 'further group')}")
    if trial.left:
        console.say(
            f"  NOT repaired: {plural(len(trial.left), 'block')}; {trial.asked:,} of them "
            f"({size_text(trial.asked_bytes)}) must be fetched by network, then parity repairs the rest"
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
