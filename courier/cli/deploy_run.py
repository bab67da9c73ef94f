"""``courier deploy run``: the reference client, on the computer that is deployed, with or without a site's home."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    from courier.deployment.run.policy import ReadPolicy
    from courier.deployment.run.reporting import Recorder
    from courier.deployment.run.work import Work
    from courier.deployment.status import StatusMessage
    from courier.distribution.source import Source
    from formats.documents.card import SiteCard

app = group("")


@command(
    app,
    "run",
    examples=[
        "courier deploy run --computer PC-17 --policy PC-17.policy --card HQ1.card --into disk.img",
        "courier deploy run --computer PC-17 --policy PC-17.policy --card HQ1.card --into new --report /mnt/status",
        "courier deploy run --computer PC-17 --into disk.img",
    ],
)
def run(
    context: typer.Context,
    *,
    computer: Annotated[str, typer.Option("--computer", metavar="NAME", help="Name of this computer.")],
    into: Annotated[
        Path,
        typer.Option(
            "--into",
            metavar="DIR_OR_DISK_IMAGE",
            help="A folder, or the file of a raw disk image: what is deployed to.",
        ),
    ],
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            metavar="FILE",
            help="The policy that the site made for this computer; without it, the site's home makes one.",
        ),
    ] = None,
    cards: Annotated[
        list[Path] | None,
        typer.Option(
            "--card",
            metavar="FILE",
            help="With --policy: card of the site that made it; further ones: of sites whose packages it uses.",
        ),
    ] = None,
    deployment: Annotated[
        str,
        typer.Option(
            "--deployment",
            metavar="DEPLOYMENT",
            help="Without --policy: which deployment; else the newest that goes to the computer.",
        ),
    ] = "",
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

    It needs no site, only a policy and the card; at the site itself not even these. After an interruption the same
    command goes on at its step. All content is verified as it is read. Nothing is mounted, and no device is written.
    """
    from courier.deployment.run.policy import vouchers
    from courier.deployment.run.work import work_folder
    from courier.errors import UsageError

    console, stop = console_of(context), threading.Event()
    if (policy is None) != (not cards) or (policy is not None and deployment):
        raise UsageError(
            "--policy and --card belong together, and --deployment is for the site's home",
            hint="give --policy FILE --card FILE, or none of them where the site's home is",
        )
    place = (work or into.absolute().with_name(f".{into.absolute().name}.courier-deploy")).absolute()
    with work_folder(place) as folder, stopping(stop), contextlib.ExitStack() as stack:
        given = _given(console, stack, folder, computer, policy, cards or [], deployment, anew=anew)
        if report is not None and (key := given.read.policy.status_key):
            from courier.deployment.run.reporting import to_folder

            given.recorders.append(to_folder(report, key))
        vouched = vouchers(given.read.policy, given.cards)
        for version, site in vouched.items():
            if site != (source := version[:3]):
                hint = "" if policy is None else f", as the card of {source} was not given (--card)"
                console.say(f"{version}: {site} alone vouches for it{hint}")
        result = _carry_out(
            console,
            folder,
            given,
            stop,
            computer=computer,
            into=into,
            cache=cache,
            points=lambda addresses: sources_of(addresses, token_file, ca_file),
            ca_file=ca_file,
            retry_for=seconds_of(retry_for),
            anew=anew,
            erase=erase,
            force_download=force_download,
            restart_is_end=restart_is_end,
        )
    _say(console, result, into)
    console.result({**_document(result, computer, into, place), "vouched_by": vouched})
    if result.restart:
        raise typer.Exit(RESTART)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Given:
    """The policy of a run, what proves it and its packages, and where status goes."""

    read: ReadPolicy
    cards: Mapping[str, SiteCard]
    recorders: list[Recorder]


def _given(
    console: Console,
    stack: contextlib.ExitStack,
    work: Work,
    computer: str,
    policy: Path | None,
    cards: list[Path],
    deployment: str,
    *,
    anew: bool,
) -> _Given:
    """The policy in a file, or of the site's home, which then stays open as long as ``stack``."""
    from courier.site.clock import now

    if policy is not None:
        from courier.deployment.run.policy import read_policy
        from courier.distribution.download_plan import read_cards

        known = read_cards(cards)
        return _Given(read=read_policy(policy, next(iter(known.values())), now_ns=now()), cards=known, recorders=[])
    from courier.deployment.reports import record_status
    from courier.deployment.run.at_home import policy_at_home

    site = stack.enter_context(console.site())
    read = policy_at_home(site, work, computer, name=deployment, anew=anew)

    def record(message: StatusMessage, /) -> None:
        record_status(site, message)

    return _Given(read=read, cards={site.code: site.card}, recorders=[record])


def _carry_out(
    console: Console,
    work: Work,
    given: _Given,
    stop: threading.Event,
    *,
    computer: str,
    into: Path,
    cache: Path | None,
    points: Callable[[list[str]], tuple[Source, ...]],
    ca_file: Path | None,
    retry_for: float,
    **how: bool,
) -> RunResult:
    from courier.deployment.run.client import Wanted, run_deployment
    from courier.deployment.run.content import Supply
    from courier.distribution.cache_folder import find_cache
    from courier.site.clock import now

    supply = Supply(
        points=points([point.address for point in given.read.policy.points]),
        cards=given.cards,
        stop=stop,
        progress=console.progress,
        retry_for=retry_for,
        warn=console.warn,
        ca_file=ca_file,
    )
    wanted = Wanted(
        read=given.read,
        computer=computer,
        into=into,
        cache=find_cache(cache),
        supply=supply,
        recorders=given.recorders,
        **how,
    )
    return run_deployment(
        wanted, work, now_ns=now(), stop=stop, progress=console.progress, say=console.say, warn=console.warn
    )


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
