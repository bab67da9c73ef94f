"""``courier point rule``: which points imported packages go to."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.by_rule import distribute_by_rule
from courier.cli.command import command, console_of, group

app = group("Rules: to which points imported packages go by themselves.")
PREFIX = Annotated[
    str,
    typer.Option(
        "--package", metavar="PREFIX", help="Beginning of package IDs: HQ1 for all of that site, HQ100001 for one."
    ),
]
POINT = Annotated[str, typer.Option("--point", metavar="NAME", help="Name of a point.")]


@command(app, "add", examples=["courier point rule add --package HQ1 --point P1"])
def add(context: typer.Context, *, prefix: PREFIX, point: POINT) -> None:
    """Send packages to a point once a parcel brought them.

    What was imported before the rule is not sent: courier point distribute.
    """
    from courier.distribution.by_rule import add_rule

    console = console_of(context)
    with console.site() as site:
        new = add_rule(site, prefix, point)
        console.say(f"Imported packages {prefix}... go to point {point}" + ("." if new else ", as they did before."))
        console.result({"prefix": prefix, "point": point, "new": new})


@command(app, "list", examples=["courier point rule list"])
def list_(context: typer.Context) -> None:
    """List the rules, and what still waits to go to a point."""
    from courier.distribution.by_rule import waiting
    from courier.site.catalog import points

    console = console_of(context)
    with console.site() as site:
        with site.catalogue.reading() as connection:
            rules = points.rules(connection)
        due = waiting(site)
        console.table(("PACKAGES", "POINT"), rules)
        if not rules:
            console.say("There is no rule: imported packages go to no point by themselves.")
        for one in due:
            console.say(f"Waiting for point {one.point}: {one.package}:{one.version}")
        console.result(
            {
                "rules": [{"prefix": prefix, "point": point} for prefix, point in rules],
                "waiting": [{"point": one.point, "package_id": one.package, "version": one.version} for one in due],
            }
        )


@command(app, "remove", examples=["courier point rule remove --package HQ1 --point P1"])
def remove(context: typer.Context, *, prefix: PREFIX, point: POINT) -> None:
    """Remove a rule. What is on the point stays there."""
    from courier.distribution.by_rule import remove_rule

    console = console_of(context)
    with console.site() as site:
        remove_rule(site, prefix, point)
        console.say(f"Imported packages {prefix}... no longer go to point {point} by this rule.")
        console.result({"prefix": prefix, "point": point})


@command(app, "apply", examples=["courier point rule apply"])
def apply(context: typer.Context) -> None:
    """Send what still waits to go to points by rule.

    It waits where a point could not be reached, or was full.
    """
    console = console_of(context)
    with console.site() as site:
        done = distribute_by_rule(console, site)
        if not done:
            console.say("Nothing waits.")
        console.result({"distributed": done})
