"""``courier computer associate``: for which computer the state of another is captured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import time_text

if TYPE_CHECKING:
    from courier.site.catalog.computers import Association

app = group("")


@command(
    app,
    "associate",
    examples=[
        "courier computer associate OLD-0042 PC-0042",
        "courier computer associate PC-0042 PC-0042",
        "courier computer associate --list",
    ],
)
def associate(
    context: typer.Context,
    *,
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="The computer whose state is captured.")
    ] = None,
    destination: Annotated[
        str | None, typer.Argument(metavar="[DESTINATION]", help="The computer that gets it; it may be the same.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List all associations, and change nothing.")] = False,
) -> None:
    """Say, before a capture, which computer gets the state.

    The state is encrypted for that computer, so that no other one can open it.
    """
    from courier.deployment.computers import all_associations
    from courier.deployment.computers import associate as act
    from courier.errors import UsageError

    console = console_of(context)
    if listed == (source is not None) or (not listed and destination is None):
        raise UsageError("two computers are wanted, or --list", hint="courier computer associate SOURCE DESTINATION")
    with console.site() as site:
        if source is not None and destination is not None:
            new = act(site, source, destination)
            console.say(f"The state of {new.source} goes to {new.destination}.")
            console.result(describe(new))
            return
        found = all_associations(site)
        console.table(
            ("SOURCE", "DESTINATION", "SINCE"), [(one.source, one.destination, time_text(one.made_ns)) for one in found]
        )
        if not found:
            console.say("There is none yet: courier computer associate SOURCE DESTINATION")
        console.result({"associations": [describe(one) for one in found]})


@command(app, "dissociate", examples=["courier computer dissociate OLD-0042"])
def dissociate(
    context: typer.Context,
    *,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The computer whose state was to be captured.")],
) -> None:
    """Forget which computer gets the state of another. Refused while its state is kept."""
    from courier.deployment.computers import dissociate as act

    console = console_of(context)
    with console.site() as site:
        name = act(site, source)
        console.say(f"The state of {name} goes nowhere any more.")
        console.result({"source": name})


def describe(one: Association) -> dict[str, Any]:
    """An association as JSON."""
    return {"source": one.source, "destination": one.destination, "since": time_text(one.made_ns)}
