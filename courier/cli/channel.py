"""``courier channel``: the network channel between sites."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.command import command, group
from courier.console import Console, plural

app = group("The network channel: addresses of other sites, messages both ways.")
address = group("How other sites are reached.")
app.add_typer(address, name="address")

CODE = Annotated[str, typer.Argument(metavar="CODE", help="Site code.")]
ADDRESS = Annotated[str, typer.Argument(metavar="ADDRESS", help="A folder that both sites reach.")]


@command(app, "sync")
def sync(console: Console) -> None:
    """Deliver and fetch messages now, and import what they complete."""
    from courier.cli.report import parcel_status, say_imported
    from courier.errors import Unreachable
    from courier.exchange import synchronise

    with console.site() as site:
        done = synchronise(site)
        console.say(f"Delivered {plural(done.delivered, 'message')}, took in {plural(done.taken, 'message')}.")
        for sha256, reason in done.refused:
            console.warn(f"Refused {sha256[:12]}: {reason}")
        for status in done.parcels:
            say_imported(console, status)
        document = {
            "delivered": done.delivered,
            "taken": done.taken,
            "refused": [{"message": sha256, "reason": reason} for sha256, reason in done.refused],
            "unreachable": [{"site": code, "reason": reason} for code, reason in done.unreachable],
            "parcels": [parcel_status(status) for status in done.parcels],
            "imported": [p for status in done.parcels for p in parcel_status(status)["imported"]],
        }
        if done.failures:
            for failure in done.failures[1:]:
                console.warn(f"{failure.message}\n  -> {failure.hint}")
            console.error(done.failures[0], document)
            raise typer.Exit(done.failures[0].exit_code)
        if done.unreachable:
            code, reason = done.unreachable[0]
            error = Unreachable(
                f"{code}: {reason}", hint="the messages are kept; mount or mend it, then: courier channel sync"
            )
            console.error(error, document)
            raise typer.Exit(error.exit_code)
        console.result(document)


@command(app, "status")
def status(console: Console) -> None:
    """Show outbox, inbox and dead letters."""
    from courier.catalog import messages
    from courier.console import time_text

    with console.site() as site:
        with site.catalogue.reading() as connection:
            counts = messages.counts(connection)
            queued = messages.queued(connection)
            dead = messages.in_state(connection, "in", "refused")
        console.table(("WAY", "SITE", "STATE", "MESSAGES"), counts)
        if not counts:
            console.say("No message has been sent or received yet.")
        for message in queued:
            why = f": {message.reason}" if message.reason else ""
            console.say(f"Waiting for {message.site} since {time_text(message.created_ns)}: {_kind(message.type)}{why}")
        for message in dead:
            console.say(f"Dead letter {message.sha256[:12]}, {time_text(message.created_ns)}: {message.reason}")
        console.result(
            {
                "messages": [{"way": d, "site": s, "state": t, "count": n} for d, s, t, n in counts],
                "outbox": [
                    {"site": m.site, "type": _kind(m.type), "attempts": m.attempts, "reason": m.reason} for m in queued
                ],
                "dead_letters": [{"message": m.sha256, "site": m.site, "reason": m.reason} for m in dead],
            }
        )


def _kind(payload_type: str) -> str:
    return payload_type.removeprefix("application/vnd.courier.").removesuffix("+json")


@command(address, "add")
def address_add(
    console: Console,
    *,
    code: CODE,
    where: ADDRESS,
    priority: Annotated[int | None, typer.Option("--priority", metavar="N", help="1 is tried first.")] = None,
) -> None:
    """Say how a trusted site is reached."""
    from courier.peers import add_address

    with console.site() as site:
        added = add_address(site, code, where, priority)
        console.say(f"{added.site} is reached at {added.address}, priority {added.priority}.")
        console.result({"site": added.site, "address": added.address, "priority": added.priority})


@command(address, "list")
def address_list(console: Console) -> None:
    """List the addresses of all sites."""
    from courier.peers import list_addresses

    with console.site() as site:
        found = list_addresses(site)
        console.table(("SITE", "PRIORITY", "ADDRESS"), [(a.site, a.priority, a.address) for a in found])
        if not found:
            console.say("No address yet: courier channel address add CODE ADDRESS")
        addresses = [{"site": a.site, "priority": a.priority, "address": a.address} for a in found]
        console.result({"addresses": addresses})


@command(address, "remove")
def address_remove(console: Console, *, code: CODE, where: ADDRESS) -> None:
    """Remove an address of a site."""
    from courier.peers import remove_address

    with console.site() as site:
        remove_address(site, code, where)
        console.say(f"{where} is no address of {code} any more.")
        console.result({"site": code, "address": where})
