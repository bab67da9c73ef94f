"""``courier deploy policy`` and ``status``: what a computer is given, and what it reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console, time_text
from courier.cli.deploy_show import DEPLOYMENT
from courier.text import plural

if TYPE_CHECKING:
    from courier.deployment.reports import Taken
    from courier.site.catalog.deployments import Status

app = group("")


@command(app, "policy", examples=["courier deploy policy HQ1-D00001 PC-0042 --out PC-0042.policy"])
def policy(
    context: typer.Context,
    *,
    name: DEPLOYMENT,
    computer: Annotated[str, typer.Argument(metavar="COMPUTER", help="Name of a computer of the deployment.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write; an earlier one is replaced.")
    ] = None,
) -> None:
    """Write what a computer is to do, signed.

    Hand it to that computer only, with this site's card: it holds the keys by which the computer reports and opens its
    user's state. The file can be read by its owner alone.
    """
    from courier.deployment.deployments import policy_for, write_policy
    from courier.errors import UsageError

    console = console_of(context)
    if out is None:
        raise UsageError("no file is named", hint=f"--out {computer}.policy")
    if out.is_dir():
        raise UsageError(f"{out} is a folder", hint=f"--out {out / f'{computer}.policy'}")
    with console.site() as site:
        made = policy_for(site, name.upper(), computer)
        write_policy(site, made, out)
        known = made.computer.name if made.computer else computer
        console.say(f"{out}: deployment {made.deployment} for {known}; for that computer only, it holds its keys.")
        if not made.points and made.packages:
            console.warn(f"No point has the packages: courier deploy check {made.deployment}")
        console.say(
            f"Next, on {known}: courier deploy run --computer {known} --policy {out.name} --card {site.code}.card "
            "--into DIR_OR_DISK_IMAGE"
        )
        console.result(
            {
                "deployment": made.deployment,
                "computer": known,
                "path": str(out),
                "points": [one.point for one in made.points],
                "packages": [{"package_id": one.package, "version": one.version} for one in made.packages],
                "state": made.state.migration if made.state else None,
            }
        )


@command(
    app,
    "status",
    examples=["courier deploy status HQ1-D00001", "courier deploy status HQ1-D00001 --take /mnt/share/status"],
)
def status(
    context: typer.Context,
    *,
    name: DEPLOYMENT,
    take: Annotated[
        Path | None,
        typer.Option("--take", metavar="DIR", help="First take the status files that computers wrote there."),
    ] = None,
) -> None:
    """Show how far each computer is.

    Files that are no messages, or are not authenticated by the key of their computer, are named and not taken. Taking
    the same folder again changes nothing.
    """
    from courier.deployment.reports import statuses, take_statuses

    console = console_of(context)
    with console.site() as site:
        found = statuses(site, name.upper())
        taken = None
        if take is not None:
            taken = take_statuses(site, take)
            _say_taken(console, taken)
            found = statuses(site, name.upper())
        rows = [(computer, *_last(messages)) for computer, messages in found.items()]
        console.table(("COMPUTER", "STATE", "STEP", "MESSAGE", "AT"), rows)
        console.result(
            {
                "deployment": name.upper(),
                "computers": [
                    {"computer": computer, "state": _state(messages), "messages": [_message(one) for one in messages]}
                    for computer, messages in found.items()
                ],
                "taken": None
                if taken is None
                else {
                    "new": taken.new,
                    "known": taken.known,
                    "refused": [{"file": file, "reason": reason} for file, reason in taken.refused],
                },
            }
        )


def _say_taken(console: Console, taken: Taken) -> None:
    for file, reason in taken.refused:
        console.warn(f"{file}: not taken: {reason}")
    console.say(f"{plural(taken.new, 'new message')}, {taken.known:,} taken before, {len(taken.refused):,} refused")


def _state(messages: list[Status]) -> str:
    """How far a computer is: ``waiting``, ``running``, ``done`` or ``failed``."""
    if not messages:
        return "waiting"
    last = messages[-1]
    return last.outcome if last.step == 0 and last.outcome in ("done", "failed") else "running"


def _last(messages: list[Status]) -> tuple[str, str, str, str]:
    if not messages:
        return "waiting", "-", "nothing was reported", "-"
    last = messages[-1]
    step = f"{last.step} {last.outcome}" if last.step else last.outcome
    return _state(messages), step, last.message or "-", time_text(last.at_ns)


def _message(one: Status) -> dict[str, Any]:
    return {
        "run": one.run,
        "number": one.number,
        "step": one.step,
        "outcome": one.outcome,
        "message": one.message,
        "at": time_text(one.at_ns),
    }
