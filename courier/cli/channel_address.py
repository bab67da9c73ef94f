"""``courier channel address``: how other sites are reached, at what times and how fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import SITE_CODE, command, console_of, group
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.site.catalog.sites import Address

app = group("Addresses: how other sites are reached.")

ADDRESS = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS",
        help="A folder that both sites reach, https://HOST:PORT, or poll (that site fetches from our server).",
    ),
]
PRIORITY = Annotated[
    int | None,
    typer.Option(
        "--priority", metavar="N", min=1, max=1000, help="Order of the addresses of a site: 1 is tried first."
    ),
]
SCHEDULE = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        metavar="RULES",
        help="What may go when, such as 'mon-fri 8-18 high; sat,sun closed'. Levels: all, medium, high, closed.",
    ),
]
ZONE = Annotated[
    str | None,
    typer.Option(
        "--zone", metavar="ZONE", help="Time zone of the schedule and caps. A new address has that of this computer."
    ),
]
CAP = Annotated[
    str | None,
    typer.Option(
        "--cap",
        metavar="RATE",
        help="Highest speed, such as 200KB/s, or by hour: '8-18 200KB/s; 18-8 5MB/s'; none: no limit.",
    ),
]
PULSE = Annotated[
    str | None,
    typer.Option("--pulse", metavar="BLOCK/DELAY", help="Send a block, then pause, such as 64KB/5s; none: no pauses."),
]
RETRIES = Annotated[
    int | None, typer.Option("--retries", metavar="N", help="Number of tries after a failure. A new address has 2.")
]
RETRY_WAIT = Annotated[
    int | None, typer.Option("--retry-wait", metavar="SECONDS", help="Seconds between tries. A new address has 60.")
]
CA = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", help="Certificate, or authority, to trust for https, in PEM.")
]


def _address_record(found: Address) -> dict[str, Any]:
    from courier.channel.measurement import Measured
    from courier.channel.schedule import Limits, rate_text, week_text

    limits, measured = Limits.parse(found.limits), Measured.parse(found.measured)
    return {
        "site": found.site,
        "address": found.address,
        "priority": found.priority,
        "schedule": week_text(limits.week),
        "zone": limits.zone,
        "rate": rate_text(limits),
        "retries": limits.retries,
        "retry_seconds": limits.retry_seconds,
        "ca": found.ca or None,
        "failures": found.failures,
        "measured": None if measured is None else {name: getattr(measured, name) for name in measured.__slots__},
    }


@command(
    app,
    "add",
    examples=[
        "courier channel address add BR1 /mnt/share",
        "courier channel address add BR1 https://br1.example.org:8423 --cap 200KB/s",
        "courier channel address add BR1 poll",
    ],
)
def address_add(
    context: typer.Context,
    *,
    code: SITE_CODE,
    where: ADDRESS,
    priority: PRIORITY = None,
    schedule: SCHEDULE = None,
    zone: ZONE = None,
    cap: CAP = None,
    pulse: PULSE = None,
    retries: RETRIES = None,
    retry_wait: RETRY_WAIT = None,
    ca: CA = None,
) -> None:
    """Add an address of a trusted site, with its limits."""
    from courier.channel.addresses import Wishes, add_address, poll_before

    console = console_of(context)
    wishes = Wishes(
        priority=priority,
        schedule=schedule,
        zone=zone,
        cap=cap,
        pulse=pulse,
        retries=retries,
        retry_wait=retry_wait,
        ca=ca,
    )
    with console.site() as site:
        added = add_address(site, code, where, wishes)
        if added.address == "poll":
            console.say(f"{added.site} fetches from our server (courier channel serve), priority {added.priority}.")
        else:
            console.say(f"{added.site} is reached at {added.address}, priority {added.priority}.")
        if not (added.address == "poll" or "://" in added.address or Path(added.address).is_dir()):
            console.note("that folder is not there now; nothing goes or comes by it until it is.")
        if (before := poll_before(site, added)) is not None:
            console.note(
                f"{added.site} fetches from our server first (poll, priority {before}): nothing goes to it by "
                f"this address while poll is first: courier channel address set {added.site} poll --priority N"
            )
        if added.address.startswith("http://"):
            console.note(
                "without https anyone on the way sees how many messages go, and how large (not what they say)."
            )
        console.result(_address_record(added))


@command(app, "set", examples=["courier channel address set BR1 /mnt/share --priority 2 --cap none"])
def address_set(
    context: typer.Context,
    *,
    code: SITE_CODE,
    where: ADDRESS,
    priority: PRIORITY = None,
    schedule: SCHEDULE = None,
    zone: ZONE = None,
    cap: CAP = None,
    pulse: PULSE = None,
    retries: RETRIES = None,
    retry_wait: RETRY_WAIT = None,
    ca: CA = None,
) -> None:
    """Change the priority or limits of an address.

    Transfers that are running follow them at once.
    """
    from courier.channel.addresses import Wishes, set_address
    from courier.errors import UsageError

    console = console_of(context)
    wishes = Wishes(
        priority=priority,
        schedule=schedule,
        zone=zone,
        cap=cap,
        pulse=pulse,
        retries=retries,
        retry_wait=retry_wait,
        ca=ca,
    )
    if wishes == Wishes():
        raise UsageError("no option says what to change", hint="courier channel address set --help")
    with console.site() as site:
        record = _address_record(set_address(site, code, where, wishes))
        console.say(
            f"{record['site']} at {record['address']}: priority {record['priority']}, schedule {record['schedule']} "
            f"({record['zone']}), rate {record['rate']}."
        )
        console.result(record)


@command(app, "list", examples=["courier channel address list"])
def address_list(context: typer.Context) -> None:
    """List the addresses of all sites."""
    from courier.channel.addresses import list_addresses

    console = console_of(context)
    with console.site() as site:
        records = [_address_record(found) for found in list_addresses(site)]
        for record in records:
            console.say(f"{record['site']}  priority {record['priority']}: {record['address']}")
            console.say(f"     schedule {record['schedule']} ({record['zone']}), rate {record['rate']}")
            if record["measured"]:
                console.say(f"     measured: {_measured(record['measured'])}")
            if record["failures"]:
                console.say(f"     failed {plural(record['failures'], 'time')} in a row")
        if not records:
            console.say("No address yet: courier channel address add CODE ADDRESS")
        console.result({"addresses": records})


def _measured(found: dict[str, Any]) -> str:
    up, down = size_text(found["up_bytes_per_second"]), size_text(found["down_bytes_per_second"])
    return f"{found['round_trip_ms']:.1f} ms, {up}/s up, {down}/s down"


@command(app, "remove", examples=["courier channel address remove BR1 /mnt/share"])
def address_remove(context: typer.Context, *, code: SITE_CODE, where: ADDRESS) -> None:
    """Remove an address of a site."""
    from courier.channel.addresses import remove_address

    console = console_of(context)
    with console.site() as site:
        removed = remove_address(site, code, where)
        console.say(f"{removed.address} is not an address of {code} any more.")
        console.result({"site": code, "address": removed.address})


@command(
    app,
    "test",
    examples=["courier channel address test BR1", "courier channel address test BR1 /mnt/share --budget 20MB"],
)
def address_test(
    context: typer.Context,
    *,
    code: SITE_CODE,
    where: Annotated[
        str | None, typer.Argument(metavar="[ADDRESS]", help="Address to test. Without it: the first of the site.")
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", metavar="SIZE", help="Most bytes to transfer, such as 4MB.")
    ] = "4MB",
) -> None:
    """Measure the round trip and the speed of an address.

    The result is kept for planning.
    """
    from courier.channel.measurement import measure_address
    from courier.media.kinds import parse_size

    console = console_of(context)
    with console.site() as site:
        found = measure_address(site, code, where, budget=parse_size(budget))
        document = {name: getattr(found, name) for name in found.__slots__}
        console.say(f"{code}: {_measured(document)} ({found.bytes_moved:,} bytes transferred)")
        console.result({"site": code, **document})
