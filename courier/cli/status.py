"""``courier status``: what is where, what waits, on whom, and the next command of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import SHOWN, Console, time_text
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.care.facts import DestinationFacts, SiteFacts
    from courier.care.waiting import Waiting

app = group("")


@command(app, "status", examples=["courier status", "courier status --check", "courier status --prometheus"])
def status(
    context: typer.Context,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with code 10 when something waits for a person at this site.")
    ] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print metrics in the text format of Prometheus instead.")
    ] = False,
) -> None:
    """Show what is where, what waits, and the next command.

    It says on whom each thing waits. Nothing is changed, and no other site is asked: courier channel sync brings their
    news. A parcel is overdue when it takes longer than transit_days (courier config show), else twice as long as past
    ones to or from that site took, at least a day, or 14 days.
    """
    from courier.care.gather import gather
    from courier.care.metrics import metrics
    from courier.care.status import status_document, waiting
    from courier.errors import UsageError, WaitingError

    console = console_of(context)
    if prometheus and (check or not console.for_people):
        raise UsageError("--prometheus prints metrics and nothing else", hint="give it alone")
    with console.site() as site:
        facts = gather(site)
        found = waiting(facts)
        if prometheus:
            print(metrics(facts, found), end="", flush=True)
            return
        document = status_document(facts, found)
        _say(console, facts, found)
        waits = [one for one in found if one.for_person]
        if check and waits:
            error = WaitingError(
                f"{plural(len(waits), 'thing')} for a person to see to; first: {waits[0].what}", hint=waits[0].next
            )
            raise typer.Exit(console.errors([("", error)], document))
        console.result(document)


def _say(console: Console, facts: SiteFacts, found: list[Waiting]) -> None:
    from courier.care.status import watch_text

    console.say(
        f"{facts.site}: {plural(facts.packages, 'package version')}, {size_text(facts.package_bytes)}"
        f"{f' ({facts.lost:,} without content)' if facts.lost else ''}; "
        f"{size_text(facts.free)} free for more"
    )
    for side in ("sent", "received"):
        states = [f"{n:,} {state}" for (way, state), n in sorted(facts.counts.items()) if way == side]
        if states:
            console.say(f"Parcels {side}: {', '.join(states)}")
    if facts.watch is not None:
        console.say(watch_text(facts.watch))
    rows = [
        (one.parcel, to.site, to.copy or "-", to.carrier or "-", f"{to.arrived:,} of {one.volumes:,}", _when(to))
        for one in facts.sent
        for to in one.destinations
    ]
    if rows:
        console.table(("PARCEL", "TO", "SET", "CARRIER", "ARRIVED", "SINCE"), rows[:SHOWN])
    for title, chosen in (
        ("Waits for you", [one for one in found if one.for_person]),
        ("Waits for others", [one for one in found if not one.for_person]),
    ):
        if chosen:
            console.say(f"{title}:")
        for one in chosen[:SHOWN]:
            console.say(f"  {one.what}" + ("" if one.for_person else f" (waits for {one.on})"))
            console.say(f"    -> {one.next}")
    if max(len(rows), len(found)) > SHOWN:
        console.say(f"Only {SHOWN} of each kind are shown; --json prints all of them.")
    if not found:
        console.say("Nothing waits.")


def _when(to: DestinationFacts) -> str:
    if to.confirmed_ns is not None:
        return f"confirmed {time_text(to.confirmed_ns)}"
    return "not shipped" if to.shipped_ns is None else f"shipped {time_text(to.shipped_ns)}"
