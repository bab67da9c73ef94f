"""``courier parcel send``: a parcel goes to its destinations by network, with its media or in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import PARCEL, command, console_of, group
from courier.cli.console import Console
from courier.text import size_text, volumes
from formats.records import format_time

if TYPE_CHECKING:
    from courier.sending.network_record import NetworkSend

app = group("")


@command(
    app,
    "send",
    examples=[
        "courier parcel send HQ1-000042 --by-network",
        "courier parcel send HQ1-000042 --by-network --to BR1 --volume 3",
        "courier parcel send HQ1-000042 --by-network --stop",
    ],
)
def send(
    context: typer.Context,
    *,
    parcel: PARCEL,
    by_network: Annotated[
        bool, typer.Option("--by-network", help="Send its blocks over the channel, as every sync lets them go.")
    ] = False,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", metavar="CODE", help="Destination; repeat for more. Without it: all that have not confirmed it."
        ),
    ] = None,
    volume: Annotated[
        list[int] | None,
        typer.Option(
            "--volume", metavar="N", min=1, max=9999, help="Send only what this volume carries; repeat for more."
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window", metavar="SIZE", help="Most bytes that are on their way at one time. Without it: 128MB."
        ),
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Send no more of it; what has arrived there stays.")] = False,
) -> None:
    """Send a parcel by network, with its media or in their place.

    The very archives of its media go over the channel, within the schedule and the caps of the address, and go on
    wherever they were stopped. Whatever comes first counts, by network or by courier. Ship notice and definitions are
    queued too.
    """
    from courier.errors import UsageError
    from courier.media.kinds import parse_size
    from courier.sending.network_send import WINDOW, NetworkRequest, send_by_network, stop_sending
    from courier.sending.outgoing_parcel import open_outgoing

    console = console_of(context)
    if not by_network:
        raise UsageError(
            "how is it to go?",
            hint=f"courier parcel send {parcel} --by-network; by courier: courier parcel ship {parcel}",
        )
    if stop and (volume or window is not None):
        raise UsageError("--stop stops all of it", hint="leave out --volume and --window")
    with console.site() as site:
        outgoing = open_outgoing(site, parcel)
        if stop:
            found = stop_sending(site, outgoing, to or ())
        else:
            size = WINDOW if window is None else parse_size(window)
            found = send_by_network(site, outgoing, NetworkRequest(to=to or (), volumes=volume or (), window=size))
        for one in found:
            console.say(f"{parcel}: {send_text(one)}" + ("; stopped" if stop else ""))
        if not stop:
            console.say(
                "Next: courier channel sync, again and again, or courier channel serve: each queues what is next"
            )
            if outgoing.packing.key == "on-arrival":
                console.note(
                    "its key is released when the arrival of its volumes and seals is reported.",
                    hint=f"what comes by network has no seal; there: courier parcel arrived {parcel} --lost N",
                )
        console.result({"parcel_id": parcel, "stopped": stop, "to": [send_document(one) for one in found]})


def send_text(one: NetworkSend) -> str:
    """How far a parcel that goes by network is, for people."""
    which = f"{volumes(one.volumes)} of it, " if one.volumes else ""
    if one.is_done:
        return f"by network to {one.site}: {which}all {size_text(one.bytes)} have arrived"
    rest = f", {size_text(one.on_its_way)} on their way" if one.waiting else ""
    text = f"by network to {one.site}: {which}{size_text(one.arrived)} of {size_text(one.bytes)} have arrived{rest}"
    return text + (f"; stopped: {one.problem}" if one.problem else "")


def send_document(one: NetworkSend) -> dict[str, Any]:
    """How far a parcel that goes by network is, as JSON."""
    return {
        "site": one.site,
        "since": format_time(one.begun_ns),
        "volumes": list(one.volumes),
        "bytes": one.bytes,
        "arrived_bytes": one.arrived,
        "on_the_way_bytes": one.on_its_way,
        "messages": one.pieces,
        "queued_messages": one.queued,
        "done": one.is_done,
        "problem": one.problem,
    }


def say_sends(console: Console, one: NetworkSend) -> None:
    """Say how far a parcel that goes by network is, below its destination."""
    console.say(f"  {send_text(one)}")
    if one.problem:
        console.say(f"  to go on: courier parcel send {one.parcel} --by-network --to {one.site}")
