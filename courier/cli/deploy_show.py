"""``courier deploy show``, ``list`` and ``remove``: the deployments of a site, and what a client will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console, time_text
from courier.cli.deploy_create import describe_judged, say_cache
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.deployment.deployment_facts import ComputerFacts
    from courier.deployment.deployments import Judged
    from courier.deployment.timeline import Entry
    from courier.site.catalog.deployments import Deployment

app = group("")
DEPLOYMENT = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="ID of a deployment, such as HQ1-D00001.")]


@command(app, "show", examples=["courier deploy show HQ1-D00001", "courier deploy show HQ1-D00001 --computer PC-0042"])
def show(
    context: typer.Context,
    *,
    name: DEPLOYMENT,
    computer: Annotated[
        list[str] | None,
        typer.Option("--computer", metavar="COMPUTER", help="Only what this one does; repeat for more."),
    ] = None,
) -> None:
    """Show what a client will do: a timeline.

    Each step, with what it uses, from which point, by way of the cache or not, and when it may run. Computers that do
    the same are shown together.
    """
    from courier.deployment.deployments import find_deployment, judge_again
    from courier.deployment.timeline import timeline
    from courier.errors import NotFoundError

    console = console_of(context)
    with console.site() as site:
        found = find_deployment(site, name.upper())
        judged = judge_again(site, found.deployment)
        chosen = [
            one for one in judged.facts.computers if not computer or one.name.casefold() in map(str.casefold, computer)
        ]
        if computer and len(chosen) != len({one.casefold() for one in computer}):
            missing = next(one for one in computer if one.casefold() not in {each.name.casefold() for each in chosen})
            raise NotFoundError(
                f"deployment {found.deployment} does not go to {missing}",
                hint="courier deploy list shows all",
            )
        alike: dict[tuple[Entry, ...], list[ComputerFacts]] = {}
        for one in chosen:
            alike.setdefault(tuple(timeline(judged.facts, one)), []).append(one)
        document = describe_judged(site, judged)
        _say(console, found, judged)
        for entries, ones in alike.items():
            _say_timeline(console, entries, ones, found.option)
        say_cache(console, document)
        if judged.refused:
            console.note(f"{plural(len(judged.refused), 'fault')} by now: courier deploy check {found.deployment}")
        timelines = [
            {"computers": [one.name for one in ones], "steps": [_entry(entry) for entry in entries]}
            for entries, ones in alike.items()
        ]
        console.result({**describe(found, len(judged.facts.computers)), **document, "timelines": timelines})


def _say(console: Console, found: Deployment, judged: Judged) -> None:
    sequence = judged.facts.sequence.name if judged.facts.sequence else "a sequence that cannot be read"
    console.say(f"{found.deployment}: {found.package}:{found.version} by {sequence}, {found.option}")
    begin = f"Available from {time_text(found.available_ns)}" if found.available_ns else "Available at once"
    by_itself = f", begins by itself at {time_text(found.deadline_ns)}" if found.deadline_ns else ""
    end = f", not from {time_text(found.expires_ns)} on" if found.expires_ns else ""
    console.say(f"{begin}{by_itself}{end}")


def _say_timeline(console: Console, entries: tuple[Entry, ...], ones: list[ComputerFacts], option: str) -> None:
    names = ", ".join(one.name for one in ones[:5]) + (f" and {len(ones) - 5:,} more" if len(ones) > 5 else "")
    console.say(f"{names}:")
    rows = [
        (
            entry.step or "",
            entry.name,
            entry.what if entry.runs else f"{entry.what}: {entry.why}",
            f"{entry.package} ({size_text(entry.bytes)})" if entry.package else "",
            _source(entry, option),
        )
        for entry in entries
    ]
    console.table(("STEP", "NAME", "WHAT IT DOES", "PACKAGE", "FROM"), rows)


def _source(entry: Entry, option: str) -> str:
    if not entry.package:
        return ""
    points = f"point {entry.point}" if entry.point else "no point has it"
    if entry.others:
        points += f", else {', '.join(entry.others)}"
    if not entry.cached:
        return points
    return f"its cache, from {points}" if option == "as-needed" or not entry.step else "its cache"


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "step": entry.step,
        "name": entry.name,
        "what": entry.what,
        "runs": entry.runs,
        "why": entry.why or None,
        "package": entry.package or None,
        "bytes": entry.bytes,
        "point": entry.point or None,
        "other_points": list(entry.others),
        "cached": entry.cached,
    }


def describe(found: Deployment, computers: int) -> dict[str, Any]:
    """A deployment as JSON, as it was made."""
    return {
        "deployment": found.deployment,
        "package_id": found.package,
        "version": found.version,
        "option": found.option,
        "count": computers,
        "created": time_text(found.created_ns),
        "removed": time_text(found.removed_ns) if found.removed_ns else None,
        "available": time_text(found.available_ns) if found.available_ns else None,
        "deadline": time_text(found.deadline_ns) if found.deadline_ns else None,
        "expires": time_text(found.expires_ns) if found.expires_ns else None,
    }


@command(app, "list", examples=["courier deploy list", "courier deploy list --all"])
def list_(
    context: typer.Context,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were removed.")] = False,
) -> None:
    """List the deployments."""
    from courier.deployment.deployments import all_deployments

    console = console_of(context)
    with console.site() as site:
        found = all_deployments(site, removed=everything)
        console.table(
            ("DEPLOYMENT", "PACKAGE", "OPTION", "COMPUTERS", "AVAILABLE", "DEADLINE", "EXPIRES", ""),
            [
                (
                    one.deployment,
                    f"{one.package}:{one.version}",
                    one.option,
                    count,
                    time_text(one.available_ns),
                    time_text(one.deadline_ns),
                    time_text(one.expires_ns),
                    "removed" if one.removed_ns else "",
                )
                for one, count in found
            ],
        )
        if not found:
            console.say("There is none yet: courier deploy create ID --to COMPUTER --sequence FILE")
        console.result({"deployments": [describe(one, count) for one, count in found]})


@command(app, "remove", examples=["courier deploy remove HQ1-D00001"])
def remove(context: typer.Context, *, name: DEPLOYMENT) -> None:
    """Remove a deployment: no more policies are made.

    A computer that has its policy already is not reached by this; what computers reported stays.
    """
    from courier.deployment.deployments import find_deployment, remove_deployment

    console = console_of(context)
    with console.site() as site:
        found = find_deployment(site, name.upper())
        console.confirm(f"Remove deployment {found.deployment} of {found.package}:{found.version}?")
        remove_deployment(site, found.deployment)
        console.say(f"Deployment {found.deployment} removed.")
        console.result({"deployment": found.deployment})
