"""``courier package offer``: which sites are told that packages are held here."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.cli.config import expand_groups

app = group("")


@command(
    app,
    "offer",
    examples=["courier package offer HQ100001 --to BR1", "courier package offer --to BR1"],
)
def offer(
    context: typer.Context,
    *,
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID[:VERSION]]...", help="Packages or versions. Without any: the offers are listed."),
    ] = None,
    to: Annotated[
        list[str], typer.Option("--to", metavar="CODE", help="Site that is told, or @NAME of a group; repeat for more.")
    ],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the offer back.")] = False,
) -> None:
    """Let other sites know that this one holds packages.

    A site is told by itself of its own packages and of those that came from it. What is offered beside these, a sender
    may build on: it need not send again what this site has.
    """
    from courier.packages.offer import offer_packages, take_back
    from courier.site.catalog import offers

    console = console_of(context)
    with console.site() as site:
        to = expand_groups(console, to)
        if references:
            (take_back if withdraw else offer_packages)(site, references, to)
        with site.catalogue.reading() as connection:
            known = {code: sorted(offers.offered_to(connection, code)) for code in to}
        for code, found in known.items():
            named = ", ".join(f"{package}:{version}" if version else package for package, version in found)
            console.say(f"Offered to {code}: {named or 'nothing'}")
        if references:
            console.say("Next: courier channel sync")
        offered = [
            {"site": code, "package_id": package, "version": version or None}
            for code, found in known.items()
            for package, version in found
        ]
        console.result({"offered": offered})
