"""``courier deploy run``: the reference client, on the computer that is deployed, with or without a site's home."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.cache_place import CACHE
from courier.cli.command import command, console_of, group
from courier.cli.console import Console
from courier.cli.download_options import CA_FILE, RETRY_FOR, TOKEN_FILE, seconds_of, sources_of, stopping
from courier.error_codes import RESTART
from courier.text import listed

if TYPE_CHECKING:
    from courier.deployment.run.engine import RunResult

app = group("")


@command(
    app,
    "run",
    examples=[
        "courier deploy run --computer PC-17 --policy PC-17.policy --card HQ1.card --into disk.img",
        "courier deploy run --computer PC-17 --policy PC-17.policy --card HQ1.card --into new --report /mnt/status",
    ],
)
def run(
    context: typer.Context,
    *,
    computer: Annotated[str, typer.Option("--computer", metavar="NAME", help="Name of this computer.")],
    into: Annotated[
        Path,
        typer.Option("--into", metavar="PATH", help="A folder, or the file of a raw disk image: what is deployed to."),
    ],
    policy: Annotated[
        Path, typer.Option("--policy", metavar="FILE", help="The policy that the site made for this computer.")
    ],
    cards: Annotated[
        list[Path],
        typer.Option(
            "--card",
            metavar="FILE",
            help="Card of the site that made the policy; further ones: of sites whose packages it uses.",
        ),
    ],
    work: Annotated[
        Path | None,
        typer.Option(
            "--work", metavar="DIR", help="Folder for the journal and what is built; else a hidden one beside --into."
        ),
    ] = None,
    cache: CACHE = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Folder for status messages, which the site collects."),
    ] = None,
    erase: Annotated[
        bool, typer.Option("--erase", help="Allow a task sequence to erase what --into holds already.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin from the first step, and give up a run that is not over.")
    ] = False,
    restart_is_end: Annotated[
        bool,
        typer.Option(
            "--restart-is-end",
            help=f"At a restart step end with exit code {RESTART}; the same command goes on after the restart.",
        ),
    ] = False,
    force_download: Annotated[
        bool,
        typer.Option(
            "--force-download", help="Show how a sequence fails that erases the disk after downloading all onto it."
        ),
    ] = False,
    token_file: TOKEN_FILE = None,
    ca_file: CA_FILE = None,
    retry_for: RETRY_FOR = "10m",
) -> None:
    """Run the task sequence of a deployment on this computer.

    It needs no site, only the policy and the card. After an interruption the same command goes on at its step. All
    content is verified as it is read. Nothing is mounted, and no device is written.
    """
    from courier.deployment.run.client import Wanted, run_deployment
    from courier.deployment.run.content import Supply
    from courier.deployment.run.policy import read_policy
    from courier.deployment.run.reporting import to_folder
    from courier.deployment.run.work import work_folder
    from courier.distribution.cache_folder import find_cache
    from courier.distribution.download_plan import read_cards
    from courier.site.clock import now

    console, stop = console_of(context), threading.Event()
    known = read_cards(cards)
    read = read_policy(policy, next(iter(known.values())), now_ns=now())
    place = (work or into.absolute().with_name(f".{into.absolute().name}.courier-deploy")).absolute()
    supply = Supply(
        points=sources_of([point.address for point in read.policy.points], token_file, ca_file),
        cards=known,
        stop=stop,
        progress=console.progress,
        retry_for=seconds_of(retry_for),
    )
    key = read.policy.status_key
    wanted = Wanted(
        read=read,
        computer=computer,
        into=into,
        cache=find_cache(cache),
        supply=supply,
        recorders=[to_folder(report, key)] if report is not None and key else [],
        anew=anew,
        erase=erase,
        force_download=force_download,
        restart_is_end=restart_is_end,
    )
    with work_folder(place) as folder, stopping(stop):
        result = run_deployment(
            wanted, folder, now_ns=now(), stop=stop, progress=console.progress, say=console.say, warn=console.warn
        )
    _say(console, result, into)
    console.result(_document(result, computer, into, place))
    if result.restart:
        raise typer.Exit(RESTART)


def _say(console: Console, result: RunResult, into: Path) -> None:
    if result.restart:
        console.say("Restart this computer; the same command goes on with the next step")
    elif result.already:
        console.say(f"The sequence was run before: {into} is complete (--anew begins again)")
    else:
        console.say(f"{into} is complete")
    if result.failed:
        console.warn(f"steps that failed on the way: {listed(result.failed)}")


def _document(result: RunResult, computer: str, into: Path, work: Path) -> dict[str, Any]:
    return {
        "computer": computer,
        "into": str(into.absolute()),
        "work": str(work),
        "state": "restart" if result.restart else "complete",
        "already": result.already,
        "steps": {"done": list(result.done), "skipped": list(result.skipped), "failed": list(result.failed)},
    }
