"""``courier plan network``: what a test run does to a line, and what distributing over it would take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console, time_text
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.planning.activities import Activity
    from courier.planning.line_test import LineTest, UnderLoad

app = group("")


@command(
    app,
    "network",
    examples=[
        "courier plan network --to BR1",
        "courier plan network --to BR1 --size 50MB --content 4GB",
        "courier plan network --to BR1 --package HQ100001",
    ],
)
def network(
    context: typer.Context,
    *,
    to: Annotated[str, typer.Option("--to", metavar="CODE", help="Site to test the line to.")],
    size: Annotated[
        str, typer.Option("--size", metavar="SIZE", help="Most bytes that the test transfers, both ways together.")
    ] = "10MB",
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="ADDRESS", help="Address to test. Without it: the first of the site."),
    ] = None,
    content: Annotated[
        str, typer.Option("--content", metavar="SIZE", help="Content to reckon with, as one file.")
    ] = "2GB",
    package: Annotated[
        list[str] | None,
        typer.Option("--package", metavar="ID[:VERSION]", help="Package to reckon with instead; repeat for more."),
    ] = None,
) -> None:
    """Test what a transfer does to the line to a site.

    It measures both directions, and the round trip idle and under load, and keeps the result for planning. Then it
    says how long filling a distribution point, sending to the site and a client's download would take.
    """
    from courier.errors import UsageError
    from courier.media.kinds import parse_size
    from courier.planning.activities import activities
    from courier.planning.address_line import address_line
    from courier.planning.line_test import run_line_test
    from courier.planning.package_load import load_of_packages
    from courier.site.clock import now

    console = console_of(context)
    budget, amount, files = parse_size(size), parse_size(content), 1
    if not amount:
        raise UsageError("--content 0: there is nothing to reckon with", hint="give a size such as 2GB")
    with console.site() as site:
        if package:
            load = load_of_packages(site, package)
            amount, files = load.bytes, load.files
        tested = run_line_test(site, to, address, budget=budget)
        at_ns = now()
        known = address_line(site, to, priority="medium", now_ns=at_ns, rate=tested.up.rate, text=tested.address)
    assert known.line is not None
    found = activities(to, known.line, amount, files, at_ns)
    _say(console, to, tested, amount, files, found)
    console.result(_document(to, tested, budget, amount, files, found))


def _say(console: Console, code: str, tested: LineTest, amount: int, files: int, found: tuple[Activity, ...]) -> None:
    from courier.planning.quantities import rate_text, share_text, span_text

    console.say(f"{code} at {tested.address}: {size_text(tested.moved)} were transferred")
    console.say(f"  round trip without load: {tested.idle_ms:.1f} ms")
    for name, load in (("up", tested.up), ("down", tested.down)):
        trip = "it was over before a round trip could be taken; give a larger --size"
        if load.trip_ms is not None:
            trip = f"round trip under load {load.trip_ms:.1f} ms, {load.worst_ms:.1f} ms at worst"
        console.say(f"  {name}: {rate_text(load.rate)}; {trip}")
    console.say(f"{size_text(amount)} in {plural(files, 'file')} would take:")
    for one in found:
        took = span_text(one.transfer.seconds)
        ends = f", until {time_text(one.transfer.ends_ns)}" if one.transfer.ends_ns is not None else ""
        console.say(f"  {one.what}: {took}{ends}, taking {share_text(one.transfer.share)} of the line")
        console.say(f"    - {one.rests_on}")
    console.say(f"It rests on this one test at {time_text(tested.at_ns)}, with whatever else used the line then.")


def _document(
    code: str, tested: LineTest, budget: int, amount: int, files: int, found: tuple[Activity, ...]
) -> dict[str, Any]:
    return {
        "code": code,
        "address": tested.address,
        "budget_bytes": budget,
        "bytes_moved": tested.moved,
        "round_trip_ms": tested.idle_ms,
        "up": _load(tested.up),
        "down": _load(tested.down),
        "content": {"bytes": amount, "files": files},
        "activities": [
            {
                "name": one.name,
                "what": one.what,
                "seconds": one.transfer.seconds,
                "share_of_link": round(one.transfer.share, 4),
                "assumption": one.rests_on,
            }
            for one in found
        ],
    }


def _load(load: UnderLoad) -> dict[str, Any]:
    return {
        "bytes_per_second": load.rate,
        "bits_per_second": 8 * load.rate,
        "bytes": load.moved,
        "round_trip_ms": load.trip_ms,
        "worst_round_trip_ms": load.worst_ms,
    }
