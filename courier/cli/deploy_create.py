"""``courier deploy create`` and ``check``: a deployment is judged, and made where nothing is amiss."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import DRY_RUN, command, console_of, group
from courier.cli.console import Console, time_text
from courier.cli.moment import parse_moment
from courier.text import plural

if TYPE_CHECKING:
    from courier.deployment.deployments import Judged
    from courier.deployment.facts import WantedDeployment
    from courier.deployment.findings import Finding
    from courier.site.home import Site

app = group("")
TO = Annotated[
    list[str] | None, typer.Option("--to", metavar="COMPUTER", help="Computer to deploy to; repeat for more, or A,B.")
]
TO_GROUP = Annotated[
    list[str] | None,
    typer.Option("--to-group", metavar="NAME", help="Every computer that is of this group now; repeat for more."),
]
SEQUENCE = Annotated[
    Path | None, typer.Option("--sequence", metavar="FILE", help="Task sequence in TOML: docs/deployment.md.")
]
DEFAULT_OPTION = "download-all"
OPTION_OF = typer.Option(
    "--option",
    metavar="OPTION",
    help="How content comes to a computer: download-all (into its cache, before the first step), as-needed (into its "
    "cache, at the step), or run-from-point (read from the point).",
)
OPTION = Annotated[str, OPTION_OF]
AVAILABLE = Annotated[
    str | None, typer.Option("--available", metavar="TIME", help="Nothing runs before it, in UTC: 2026-11-24T09:30.")
]
DEADLINE = Annotated[
    str | None, typer.Option("--deadline", metavar="TIME", help="It begins by itself then, without being asked for.")
]
EXPIRES = Annotated[str | None, typer.Option("--expires", metavar="TIME", help="Nothing begins then or later.")]


@command(
    app,
    "create",
    examples=[
        "courier deploy create HQ100001 --to PC-0042 --sequence new.toml --option run-from-point",
        "courier deploy create HQ100001:3 --to PC-1 --to PC-2 --sequence refresh.toml --option as-needed --count 2",
        "courier deploy create HQ100001 --to PC-1 --sequence office.toml --available 2026-12-01T18:00",
    ],
)
def create(
    context: typer.Context,
    *,
    package: Annotated[
        str, typer.Argument(metavar="ID[:VERSION]", help="The package that is deployed: an ID for its newest version.")
    ],
    to: TO = None,
    to_group: TO_GROUP = None,
    sequence: SEQUENCE = None,
    option: OPTION = DEFAULT_OPTION,
    available: AVAILABLE = None,
    deadline: DEADLINE = None,
    expires: EXPIRES = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count", metavar="N", min=1, help="How many disks it erases: in place of a yes, where it is several."
        ),
    ] = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Deploy a package to computers by a task sequence.

    All is judged first, and every fault is named with its step and what to do; then nothing is made, and the exit code
    is 3. The versions of all packages are chosen now: a computer gets what was judged, not what came later.
    """
    from courier.deployment.checks import wiped
    from courier.deployment.deployments import create_deployment, judge

    console = console_of(context)
    with console.site() as site:
        wanted = wanted_of(
            site,
            package,
            to,
            to_group,
            sequence,
            option=option,
            available=available,
            deadline=deadline,
            expires=expires,
        )
        judged = judge(site, wanted)
        document = describe_judged(site, judged)
        say_findings(console, judged.findings)
        end_if_refused(console, judged, document, "no deployment was made")
        erased = [one.name for one in wiped(judged.facts)]
        if dry_run:
            console.say(f"It would be made for {plural(len(judged.facts.computers), 'computer')}.")
            console.result(document)
            return
        _confirm(console, erased, count)
        new = create_deployment(site, wanted, judged)
        console.say(
            f"Deployment {new.deployment} of {new.package}:{new.version} to "
            f"{plural(len(judged.facts.computers), 'computer')}."
        )
        say_cache(console, document)
        first = judged.facts.computers[0].name
        console.say(f"Next: courier deploy policy {new.deployment} {first} --out {first}.policy")
        console.result({"deployment": new.deployment, **document})


def _confirm(console: Console, erased: list[str], count: int | None) -> None:
    """Ask before the disks of several computers are erased. Raises `UsageError` for a wrong number."""
    from courier.errors import UsageError

    if count is not None and count != len(erased):
        raise UsageError(
            f"--count {count}: it erases {plural(len(erased), 'disk')}"
            + (f" ({', '.join(erased[:5])}{' and more' if len(erased) > 5 else ''})" if erased else ""),
            hint="look at --to and at the conditions of the steps; then give the right number",
        )
    if len(erased) > 1 and count is None:
        named = f"{', '.join(erased[:5])}{' and more' if len(erased) > 5 else ''}"
        console.confirm(
            f"This erases the disks of {len(erased):,} computers ({named}). Make the deployment?",
            hint=f"give --count {len(erased)}, or --yes",
        )


@command(
    app,
    "check",
    examples=[
        "courier deploy check HQ1-D00001",
        "courier deploy check HQ100001 --to PC-0042 --sequence new.toml --option run-from-point",
    ],
)
def check(
    context: typer.Context,
    *,
    what: Annotated[
        str,
        typer.Argument(
            metavar="DEPLOYMENT|ID[:VERSION]", help="A deployment, or a package that is to be deployed as create does."
        ),
    ],
    to: TO = None,
    to_group: TO_GROUP = None,
    sequence: SEQUENCE = None,
    option: Annotated[str | None, OPTION_OF] = None,
    available: AVAILABLE = None,
    deadline: DEADLINE = None,
    expires: EXPIRES = None,
) -> None:
    """Judge a deployment again, or one that is not made yet.

    The same is judged as by create, as things are now; exit code 3 where a fault is found. For each class of clients it
    prints the command by which they set their caches.
    """
    from courier.deployment.deployments import judge, judge_again
    from courier.errors import UsageError

    console = console_of(context)
    is_made = re.fullmatch("[A-Za-z0-9]{3}-[Dd][0-9]{5,7}", what) is not None
    if is_made and (to or to_group or sequence or option or available or deadline or expires):
        raise UsageError(
            f"{what} has its computers, its sequence, its option and its times", hint=f"courier deploy check {what}"
        )
    with console.site() as site:
        if is_made:
            judged = judge_again(site, what.upper())
        else:
            what = what.upper()
            wanted = wanted_of(
                site,
                what,
                to,
                to_group,
                sequence,
                option=option or DEFAULT_OPTION,
                available=available,
                deadline=deadline,
                expires=expires,
            )
            judged = judge(site, wanted)
        document = describe_judged(site, judged)
        if is_made:
            document = {"deployment": what.upper(), **document}
        say_findings(console, judged.findings)
        end_if_refused(console, judged, document, "nothing was changed")
        console.say(f"Nothing is amiss with {what.upper()} for {plural(len(judged.facts.computers), 'computer')}.")
        say_cache(console, document)
        console.result(document)


def wanted_of(
    site: Site,
    package: str,
    to: list[str] | None,
    to_group: list[str] | None,
    sequence: Path | None,
    *,
    option: str,
    available: str | None,
    deadline: str | None,
    expires: str | None,
) -> WantedDeployment:
    """A deployment as the options say. Raises `UsageError` and `NotFoundError`."""
    from courier.cli.given_file import read_given_text
    from courier.deployment.computers import computers_of_group
    from courier.deployment.facts import WantedDeployment
    from courier.deployment.identifiers import parse_name
    from courier.deployment.sequence_file import MAX_CHARACTERS
    from courier.errors import UsageError

    names = [parse_name(name) for several in to or () for name in several.split(",") if name.strip()]
    for group_name in to_group or ():
        names += computers_of_group(site, group_name)
    if not names:
        raise UsageError("no computer is named", hint="--to COMPUTER; courier computer list shows all")
    if sequence is None:
        raise UsageError("no task sequence is given", hint="--sequence FILE; docs/deployment.md has an example")
    if option not in ("download-all", "as-needed", "run-from-point"):
        raise UsageError(f"there is no option {option!r}", hint="it is download-all, as-needed or run-from-point")
    return WantedDeployment(
        package=package,
        computers=names,
        sequence=read_given_text(sequence, 4 * MAX_CHARACTERS, hint="give a task sequence: docs/deployment.md"),
        option=option,  # type: ignore[arg-type]  # it is one of the three
        available_ns=parse_moment(available, "--available"),
        deadline_ns=parse_moment(deadline, "--deadline"),
        expires_ns=parse_moment(expires, "--expires"),
    )


def describe_finding(one: Finding) -> dict[str, Any]:
    """A finding as JSON; ``step`` is null where it concerns the whole."""
    return {"code": one.code, "step": one.step, "message": one.message, "remedy": one.remedy, "refuses": one.refuses}


def describe_judged(site: Site, judged: Judged) -> dict[str, Any]:
    """A deployment that was judged as JSON."""
    from courier.deployment.checks import wiped
    from courier.deployment.deployments import cache_commands

    facts = judged.facts
    return {
        "package_id": facts.wanted.partition(":")[0],
        "version": facts.package.ref.version if facts.package else None,
        "option": facts.option,
        "computers": [one.name for one in facts.computers],
        "erased": [one.name for one in wiped(facts)],
        "available": time_text(facts.available_ns) if facts.available_ns else None,
        "deadline": time_text(facts.deadline_ns) if facts.deadline_ns else None,
        "expires": time_text(facts.expires_ns) if facts.expires_ns else None,
        "packages": [
            {"package_id": one.ref.package, "version": one.ref.version, "listing": one.ref.listing, "bytes": one.bytes}
            for one in sorted({one.name: one for one in facts.versions.values()}.values(), key=lambda one: one.name)
        ],
        "findings": [describe_finding(one) for one in judged.findings],
        "cache_commands": cache_commands(site, facts),
    }


def say_findings(console: Console, findings: tuple[Finding, ...]) -> None:
    """Tell people of all findings, each with its remedy."""
    for one in findings:
        if one.refuses:
            console.warn(f"{one.code}: {one.message}", hint=one.remedy)
        else:
            console.warn(f"Note: {one.message}", hint=one.remedy)


def end_if_refused(console: Console, judged: Judged, document: dict[str, Any], then: str) -> None:
    """End the command with exit code 3 where a finding refuses; ``then`` says what was not done."""
    from courier.deployment.deployments import refusal
    from courier.errors import RefusedError

    if not judged.refused:
        return
    error = refusal(judged)
    if console.for_people:
        what = f"{plural(len(judged.refused), 'fault')}; {then}"
        error = RefusedError(what, hint="mend what is named above, then give the same command again", code=error.code)
    console.error(error, document)
    raise typer.Exit(error.exit_code)


def say_cache(console: Console, document: dict[str, Any]) -> None:
    """Tell people how clients set their caches."""
    for name, text in document["cache_commands"].items():
        console.say(f"Computers of class {name} set their caches by: {text}")
