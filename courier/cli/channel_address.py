"""``courier channel address``: how other sites are reached, and within which limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, group
from courier.cli.console import Console, size_text
from courier.text import plural

if TYPE_CHECKING:
    from courier.channel.addresses import Wishes
    from courier.site.catalog.sites import Address

address = group("How other sites are reached.")

CODE = Annotated[str, typer.Argument(metavar="CODE", help="Site code.")]
ADDRESS = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS", help="A folder that both reach, https://HOST:PORT, or poll (it fetches from us)."
    ),
]
PRIORITY = Annotated[
    int | None, typer.Option("--priority", metavar="N", min=1, max=1000, help="1 is tried first; unique.")
]
SCHEDULE = Annotated[
    str | None,
    typer.Option(
        "--schedule", metavar="RULES", help="Such as 'mon-fri 8-18 high; sat,sun closed' (all, medium, high, closed)."
    ),
]
ZONE = Annotated[str | None, typer.Option("--zone", help="Time zone of schedule and caps (else this computer's).")]
CAP = Annotated[
    str | None, typer.Option("--cap", metavar="RATE", help="200KB/s, or by hour '8-18 200KB/s; 18-8 5MB/s'; none.")
]
PULSE = Annotated[
    str | None, typer.Option("--pulse", metavar="BLOCK/DELAY", help="A block, then a delay: 64KB/5s; none.")
]
RETRIES = Annotated[int | None, typer.Option("--retries", metavar="N", help="Tries after a failure (2).")]
RETRY_WAIT = Annotated[int | None, typer.Option("--retry-wait", metavar="SECONDS", help="Between tries (60).")]
CA = Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="PEM of the authority or certificate to trust.")]


def _wishes(**given: Any) -> Wishes:
    from courier.channel.addresses import Wishes

    return Wishes(**given)


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


@command(address, "add")
def address_add(
    console: Console,
    *,
    code: CODE,
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
    """Say how a trusted site is reached, and within which limits."""
    from courier.channel.addresses import add_address, poll_before

    wishes = _wishes(schedule=schedule, zone=zone, cap=cap, pulse=pulse, retries=retries, retry_wait=retry_wait, ca=ca)
    with console.site() as site:
        added = add_address(site, code, where, priority, wishes)
        if added.address == "poll":
            console.say(f"{added.site} fetches from our server (courier channel serve), priority {added.priority}.")
        else:
            console.say(f"{added.site} is reached at {added.address}, priority {added.priority}.")
        if not (added.address == "poll" or "://" in added.address or Path(added.address).is_dir()):
            console.warn("Note: that folder is not there now; nothing goes or comes by it until it is.")
        if (before := poll_before(site, added)) is not None:
            console.warn(
                f"Note: {added.site} fetches from our server first (poll, priority {before}): nothing goes to it by "
                f"this address until poll comes after it: courier channel address set {added.site} poll --priority N"
            )
        if added.address.startswith("http://"):
            console.warn(
                "Note: without https anyone on the way sees how many messages go, and how large (not what they say)."
            )
        console.result(_address_record(added))


@command(address, "set")
def address_set(
    console: Console,
    *,
    code: CODE,
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
    """Change priority or limits of an address; transfers that run mind it at once."""
    from courier.channel.addresses import set_address
    from courier.errors import UsageError

    given = {
        "priority": priority,
        "schedule": schedule,
        "zone": zone,
        "cap": cap,
        "pulse": pulse,
        "retries": retries,
        "retry_wait": retry_wait,
        "ca": ca,
    }
    if all(value is None for value in given.values()):
        raise UsageError("nothing to change was named", hint="courier channel address set --help")
    with console.site() as site:
        record = _address_record(set_address(site, code, where, _wishes(**given)))
        console.say(
            f"{record['site']} at {record['address']}: priority {record['priority']}, schedule {record['schedule']} "
            f"({record['zone']}), rate {record['rate']}."
        )
        console.result(record)


@command(address, "list")
def address_list(console: Console) -> None:
    """List the addresses of all sites."""
    from courier.channel.addresses import list_addresses

    with console.site() as site:
        records = [_address_record(found) for found in list_addresses(site)]
        names = ("site", "priority", "address", "schedule", "zone", "rate")
        rows = [(*(r[name] for name in names), _measured(r["measured"])) for r in records]
        console.table((*(name.upper() for name in names), "MEASURED"), rows)
        for record in records:
            if record["failures"]:
                often = plural(record["failures"], "time")
                console.say(f"{record['site']} at {record['address']} failed {often} in a row.")
        if not records:
            console.say("No address yet: courier channel address add CODE ADDRESS")
        console.result({"addresses": records})


def _measured(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    up, down = size_text(found["up_bytes_per_second"]), size_text(found["down_bytes_per_second"])
    return f"{found['round_trip_ms']:.1f} ms, {up}/s up, {down}/s down"


@command(address, "remove")
def address_remove(console: Console, *, code: CODE, where: ADDRESS) -> None:
    """Remove an address of a site."""
    from courier.channel.addresses import remove_address

    with console.site() as site:
        remove_address(site, code, where)
        console.say(f"{where} is no address of {code} any more.")
        console.result({"site": code, "address": where})


@command(address, "test")
def address_test(
    console: Console,
    *,
    code: CODE,
    where: Annotated[str | None, typer.Argument(metavar="[ADDRESS]", help="Else the first of the site.")] = None,
    budget: Annotated[str, typer.Option("--budget", metavar="SIZE", help="Bytes to move at most.")] = "4MB",
) -> None:
    """Measure round trip and throughput of an address; the result is kept for planning."""
    from courier.channel.measurement import measure_address
    from courier.media.kinds import parse_size

    with console.site() as site:
        found = measure_address(site, code, where, budget=parse_size(budget))
        document = {name: getattr(found, name) for name in found.__slots__}
        console.say(f"{code}: {_measured(document)} ({found.bytes_moved:,} bytes moved)")
        console.result({"site": code, **document})
