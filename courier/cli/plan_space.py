"""``courier plan space``: whether packages have room wherever they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.config import expand_groups
from courier.cli.console import Console
from courier.cli.plan_send import PACKAGES
from courier.text import size_text

if TYPE_CHECKING:
    from courier.planning.space import PlaceSpace
    from courier.planning.space_places import SpacePlan

app = group("")


@command(
    app,
    "space",
    examples=["courier plan space HQ100001", "courier plan space HQ100001 HQ100004 --to BR1 --to BR2 --check"],
)
def space(
    context: typer.Context,
    *,
    packages: PACKAGES,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="CODE",
            help="Site to look at, or @NAME of a group; repeat for more. Without it: every trusted site.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="End with exit code 5 unless everything is known to fit.")
    ] = False,
) -> None:
    """Say whether packages have room at every place they go to.

    It counts archives, content, reserve and what is there already, by what each site last reported of its store and
    points, and sums them for each file system.
    """
    from courier.error_codes import Code
    from courier.errors import NoSpaceError
    from courier.planning.space_places import plan_space

    console = console_of(context)
    with console.site() as site:
        plan = plan_space(site, packages, expand_groups(console, to))
    _say(console, plan)
    document = _document(plan)
    if check and plan.problems:
        where, what_to_do = plan.problems[0]
        message = f"{where}: it is not known that the packages have room"
        error = NoSpaceError(message, hint=what_to_do, code=Code.NO_SPACE_THERE)
        console.error(error, document)
        raise typer.Exit(error.exit_code)
    console.result(document)


def _say(console: Console, plan: SpacePlan) -> None:
    rows = [
        (
            f"{one.site} {one.name}",
            one.kind,
            size_text(one.compressed),
            size_text(one.expanded),
            size_text(one.saved),
            size_text(one.reserve),
            size_text(one.needed),
            "not known" if one.free is None else size_text(one.free),
            _verdict(one),
        )
        for one in plan.places
    ]
    console.say(f"{size_text(plan.content)} of content, {size_text(plan.archives)} as archives with parity")
    console.table(
        ("PLACE", "KIND", "ARCHIVES", "CONTENT", "SAVED", "RESERVE", "NEEDED", "FREE", "VERDICT"),
        rows,
    )
    for one in plan.places:
        if one.do:
            console.say(f"{one.site} {one.name}: {one.do}")
    for system in plan.file_systems:
        if len(system.places) > 1:
            free = "not known" if system.free is None else size_text(system.free)
            verdict = "fits" if system.ok else "does not fit"
            places = ", ".join(system.places)
            console.say(f"{system.name} ({places}): {size_text(system.needed)} together, {free} free: {verdict}")
    console.say("It rests on:")
    for assumption in plan.assumptions:
        console.say(f"  - {assumption}")


def _verdict(one: PlaceSpace) -> str:
    return f"{one.verdict} (old figure)" if one.is_old else str(one.verdict)


def _document(plan: SpacePlan) -> dict[str, Any]:
    from courier.planning.quantities import span_text

    return {
        "ok": plan.ok,
        "content_bytes": plan.content,
        "archive_bytes": plan.archives,
        "places": [
            {
                "name": one.name,
                "kind": str(one.kind),
                "site": one.site,
                "needed_bytes": one.needed,
                "free_bytes": one.free,
                "ok": one.ok,
                "verdict": str(one.verdict),
                "compressed_bytes": one.compressed,
                "expanded_bytes": one.expanded,
                "saved_bytes": one.saved,
                "reserve_bytes": one.reserve,
                "age_seconds": one.age_seconds,
                "age": None if one.age_seconds is None else span_text(one.age_seconds),
                "old": one.is_old,
                "do": one.do or None,
            }
            for one in plan.places
        ],
        "file_systems": [
            {
                "name": one.name,
                "places": list(one.places),
                "needed_bytes": one.needed,
                "free_bytes": one.free,
                "ok": one.ok,
            }
            for one in plan.file_systems
        ],
        "assumptions": list(plan.assumptions),
    }
