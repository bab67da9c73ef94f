"""``courier plan send``: network, courier or both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.bars import say_bars
from courier.cli.command import command, console_of, group
from courier.cli.config import config_of
from courier.cli.console import Console
from courier.media.kinds import kinds_text
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.planning.media_choices import MediaChoice
    from courier.planning.prices import Prices
    from courier.planning.send import DestinationPlan, SendPlan

app = group("")

MOST_TOML = 1 << 20
"""Bytes of the largest file in TOML that is read."""

PACKAGES = Annotated[
    list[str],
    typer.Argument(metavar="ID[:VERSION]...", help="Packages to plan for; without a version, the newest one."),
]


@command(
    app,
    "send",
    examples=[
        "courier plan send HQ100001 --to BR1",
        "courier plan send HQ100001 HQ100004 --to BR1 --to BR2 --media bd25 --transit 3d",
        "courier plan send HQ100001 --to BR1 --network-rate 16Mbit/s --prices prices.toml --html plan.html",
    ],
)
def send(
    context: typer.Context,
    *,
    packages: PACKAGES,
    to: Annotated[
        list[str],
        typer.Option("--to", metavar="CODE", help="Site to plan for, or @NAME of a group; repeat for several."),
    ],
    media: Annotated[
        str | None,
        typer.Option(
            "--media",
            metavar="KIND",
            help=f"Kind of medium to plan for: {kinds_text()}. Without it: one that the site says it reads.",
        ),
    ] = None,
    capacity: Annotated[
        str | None, typer.Option("--capacity", metavar="SIZE", help="Usable size of a drive to plan for, such as 64GB.")
    ] = None,
    compress: Annotated[
        str | None,
        typer.Option(
            "--compress",
            metavar="METHOD",
            help="Compression: auto, none, fast or best. Without it: as config show says, else auto.",
        ),
    ] = None,
    spare_volumes: Annotated[
        int, typer.Option("--spare-volumes", metavar="N", min=0, max=9999, help="Spare volumes to plan with.")
    ] = 0,
    redundancy: Annotated[
        str | None,
        typer.Option(
            "--redundancy",
            metavar="SHARE",
            help="Parity on each volume: fill, none, or a share such as 5%; else as config show says, or fill.",
        ),
    ] = None,
    priority: Annotated[
        str,
        typer.Option("--priority", metavar="PRIORITY", help="Priority on the network: high, medium or low."),
    ] = "medium",
    transit: Annotated[
        str | None,
        typer.Option(
            "--transit",
            metavar="SPAN",
            help="Time on the road, such as 2d. Without it: as config show says, else as past parcels took.",
        ),
    ] = None,
    hand_over: Annotated[
        str | None,
        typer.Option("--hand-over", metavar="SPAN", help="Time until the carrier has the media. Without it: 4h."),
    ] = None,
    drive_rate: Annotated[
        str | None,
        typer.Option(
            "--drive-rate", metavar="RATE", help="Speed of the drives, such as 20MB/s, in place of usual ones."
        ),
    ] = None,
    computer_rate: Annotated[
        str | None,
        typer.Option(
            "--computer-rate", metavar="RATE", help="Speed at which computers build and import, such as 90MB/s."
        ),
    ] = None,
    network_rate: Annotated[
        str | None,
        typer.Option("--network-rate", metavar="RATE", help="Speed of the line, such as 16Mbit/s, where not measured."),
    ] = None,
    loss: Annotated[
        str, typer.Option("--loss", metavar="SHARE", help="Probability that a medium is lost on the way.")
    ] = "1%",
    damage: Annotated[
        str, typer.Option("--damage", metavar="SHARE", help="Probability that a medium arrives damaged in part.")
    ] = "2%",
    prices: Annotated[
        Path | None,
        typer.Option(
            "--prices", metavar="FILE", help="Prices in TOML. Without it: prices.toml in the home, if it is there."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write the plan as a page with its charts.")
    ] = None,
) -> None:
    """Compare network and courier for each site, and recommend one.

    It sums every leg of a shipment, and reckons the network by the measured line within its schedule and caps. Nothing
    is built. Each figure comes with what it rests on.
    """
    from courier.errors import UsageError
    from courier.files import write_atomic
    from courier.media.kinds import medium_capacity
    from courier.parcel.parity_plan import Redundancy
    from courier.planning.loss import Odds
    from courier.planning.page import send_page
    from courier.planning.quantities import parse_rate, parse_share, parse_span
    from courier.planning.send import SendQuestion, plan_send
    from courier.planning.send_document import send_document
    from courier.planning.send_rates import Given
    from formats.codecs import COMPRESSIONS
    from formats.documents.packing import PRIORITIES

    console = console_of(context)
    config = config_of(console)
    to = config.expand(to)
    compress = config.compress or "auto" if compress is None else compress
    redundancy = config.redundancy or "fill" if redundancy is None else redundancy
    if compress not in COMPRESSIONS:
        raise UsageError(
            f"--compress {compress}: there is no such method", hint=f"give one of {', '.join(COMPRESSIONS)}"
        )
    if priority not in PRIORITIES:
        raise UsageError(
            f"--priority {priority}: there is no such priority", hint=f"give one of {', '.join(PRIORITIES)}"
        )
    kind, room = "", None
    if media is not None or capacity is not None:
        kind, size = medium_capacity(media, capacity)
        kind, room = (kind, None) if capacity is None else ("", size)
    with console.site() as site:
        plan = plan_send(
            site,
            SendQuestion(
                packages=tuple(packages),
                destinations=tuple(to),
                media=kind,
                capacity=room,
                compress=compress,
                spares=spare_volumes,
                redundancy=Redundancy.parse(redundancy),
                priority=priority,
                network_rate=None if network_rate is None else parse_rate(network_rate),
                given=Given(
                    transit=parse_span(transit) if transit is not None else config.transit_days * 86_400 or None,
                    hand_over=None if hand_over is None else parse_span(hand_over),
                    drive=None if drive_rate is None else parse_rate(drive_rate),
                    computer=None if computer_rate is None else parse_rate(computer_rate),
                ),
                odds=Odds(lost=parse_share(loss), damaged=parse_share(damage)),
                prices=_prices(prices, site.home),
            ),
        )
    _say(console, plan)
    if html is not None:
        write_atomic(html.absolute(), send_page(plan).encode())
        console.say(f"The plan as a page: {html}")
    console.result(send_document(plan))


def _prices(given: Path | None, home: Path) -> Prices | None:
    """The prices in the file that was given, or in that of the home, if there is one."""
    from courier.planning.prices import parse_prices

    path = given or home / "prices.toml"
    if given is None and not path.exists():
        return None
    return parse_prices(read_toml(path, "--prices"), name=str(path))


def read_toml(path: Path, option: str) -> str:
    """The text of a file in TOML that an option of a plan names. Raises `NotFoundError` or `UsageError`."""
    from courier.errors import NotFoundError, UsageError

    hint = f"{option} takes a file in TOML: docs/planning.md"
    if not path.is_file():
        raise NotFoundError(f"{path} is not there, or is no file", hint=hint)
    if path.stat().st_size > MOST_TOML:
        raise UsageError(f"{path} is larger than such a file ever is", hint=hint)
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8", hint=hint) from None


def _say(console: Console, plan: SendPlan) -> None:
    what = ", ".join(f"{package}:{version}" for package, version, _ in plan.packages)
    console.say(f"{what}: {size_text(plan.content.bytes)} in {plural(plan.content.files, 'file')}")
    for one in plan.destinations:
        console.say()
        _say_destination(console, plan, one)
    console.say()
    console.say("All of this rests on:")
    for assumption in plan.assumptions:
        console.say(f"  - {assumption}")


def _say_destination(console: Console, plan: SendPlan, one: DestinationPlan) -> None:
    from courier.planning.quantities import span_text

    console.say(f"{one.code}: {one.recommendation.way}. {one.recommendation.why}")
    for note in one.notes:
        console.say(f"  Note: {note}")
    known = "not known" if one.network is None else span_text(one.network.seconds)
    rows: list[tuple[str, int | None, str]] = [("network", one.network_seconds, known)]
    rows.append(("courier", one.legs.total, span_text(one.legs.total)))
    rows += [(f"  {name}", seconds, span_text(seconds)) for name, seconds in one.legs.named()]
    say_bars(console, rows)
    _say_network(console, one)
    if plan.currency:
        network = "not known" if one.network_cost is None else f"{plan.currency} {one.network_cost}"
        courier = "not known" if one.courier_cost is None else f"{plan.currency} {one.courier_cost}"
        console.say(f"  Cost: {network} over the network, {courier} by courier")
    even = one.break_even.text if one.break_even else "not known, because the line is not"
    console.say(f"  Break-even on {one.chosen.kind}: {even}")
    risk = one.risk
    console.say(
        f"  Risk that a shipment is incomplete: {risk.planned:.2%} as planned; {risk.bare:.2%} without spares and "
        f"parity, {risk.parity_only:.2%} with parity, {risk.one_spare:.2%} with parity and one spare volume"
    )
    counts = ", ".join(_media_text(medium) for medium in one.media)
    console.say(f"  Media: {_media_text(one.chosen)}; of each kind it would be {counts}")
    console.say("  To do it:")
    for number, text in enumerate(one.commands):
        console.say(f"    {text}" + ("     (it prints the ID of the PARCEL)" if not number else ""))
    console.say("  It rests on:")
    for assumption in one.assumptions:
        console.say(f"  - {assumption}")


def _media_text(medium: MediaChoice) -> str:
    spare = f" ({medium.spares} spare)" if medium.spares else ""
    return f"{medium.count} {medium.kind}{spare}"


def _say_network(console: Console, one: DestinationPlan) -> None:
    from courier.cli.console import time_text
    from courier.planning.quantities import rate_text, share_text, span_text

    if one.network is None or one.line.line is None:
        console.say(f"  Network: {one.line.unknown}")
    elif one.network.seconds is None:
        console.say(f"  Network: the schedule of {one.line.address} lets it never end")
    else:
        share = share_text(one.network.share)
        console.say(
            f"  Network: {rate_text(one.line.line.rate)}, of which it takes {share} while it moves "
            f"({span_text(one.network.open_seconds)}, {span_text(one.network.overhead_seconds)} of that for "
            f"{plural(one.over_network.files, 'file')}); begun now it ends at {time_text(one.network.ends_ns)}"
        )
