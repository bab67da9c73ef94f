"""``courier computer shared-mac``: MAC addresses of docks and dongles, which identify no computer."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.command import command, console_of, group

app = group("MAC addresses of docks and dongles, which go from one computer to another.")
MAC = Annotated[str, typer.Argument(metavar="MAC", help="MAC address in any usual form.")]


@command(app, "add", examples=['courier computer shared-mac add 00:50:B6:12:34:56 --note "dock of room 12"'])
def add(
    context: typer.Context,
    *,
    mac: MAC,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What it is of.")] = "dock or dongle",
) -> None:
    """Say that several computers may have a MAC address. It identifies none of them."""
    from courier.deployment.computers import share_mac

    console = console_of(context)
    with console.site() as site:
        parsed = share_mac(site, mac, note)
        console.say(f"{parsed} identifies no computer: {note}.")
        console.result({"mac": parsed, "note": note})


@command(app, "list", examples=["courier computer shared-mac list"])
def list_(context: typer.Context) -> None:
    """List the MAC addresses that identify no computer."""
    from courier.deployment.computers import shared_macs

    console = console_of(context)
    with console.site() as site:
        found = shared_macs(site)
        console.table(("MAC", "WHAT IT IS OF"), list(found.items()))
        if not found:
            console.say("There is none.")
        console.result({"shared_macs": [{"mac": mac, "note": note} for mac, note in found.items()]})


@command(app, "remove", examples=["courier computer shared-mac remove 00:50:B6:12:34:56"])
def remove(context: typer.Context, *, mac: MAC) -> None:
    """Let a MAC address identify a computer again. Refused while several have it."""
    from courier.deployment.computers import unshare_mac

    console = console_of(context)
    with console.site() as site:
        parsed = unshare_mac(site, mac)
        console.say(f"{parsed} is not shared any more.")
        console.result({"mac": parsed})
