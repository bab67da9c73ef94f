"""``courier doctor``: what is wrong with the home of a site, what it means, and mending what can safely be mended."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.text import plural

app = group("")


@command(app, "doctor", examples=["courier doctor", "courier doctor --mend"])
def doctor(
    context: typer.Context,
    *,
    mend: Annotated[
        bool, typer.Option("--mend", help="Put right what can be put right without any loss; else nothing is changed.")
    ] = False,
) -> None:
    """Look for what is wrong with the home of this site.

    It says what that means, and what helps. Looked at are rights of files, keys, locks, space, clock, catalogue,
    leftovers, store and channel. All packs of the store are read for it; larger contents are read by courier package
    verify. Where several computers work on the home, it says which of them hold what. Exit code 10 when something is
    left that a person has to see to.
    """
    from courier.care.doctor import examine
    from courier.errors import WaitingError
    from courier.site.catalog.held_things import held_thing

    console = console_of(context)
    with console.site() as site:
        found = list(examine(site, mend=mend))
        held = sorted((held_thing(name), who) for name, who in site.catalogue.held_by_others().items())
    for one in found:
        console.say(f"{one.area}: {one.what}")
        console.say(f"  It means: {one.means}")
        if one.mended:
            console.say("  Mended." + (f" But {one.afterwards}" if one.afterwards else ""))
        else:
            console.say(f"  -> {one.remedy}")
    for thing, who in held:
        console.say(f"At work: {who} holds {thing}.")
    left = [one for one in found if not one.mended]
    if not found:
        console.say("Nothing is wrong.")
    document = {
        "findings": [
            {
                "area": one.area,
                "what": one.what,
                "means": one.means,
                "remedy": one.remedy,
                "mendable": one.mendable,
                "mended": one.mended,
            }
            for one in found
        ],
        "held": [{"what": thing, "by": who} for thing, who in held],
    }
    if left:
        mendable = any(one.mendable for one in left)
        error = WaitingError(
            f"{plural(len(left), 'thing')} to be seen to; first: {left[0].what}",
            hint="courier doctor --mend" if mendable else left[0].remedy,
        )
        raise typer.Exit(console.errors([("", error)], document))
    console.result(document)
