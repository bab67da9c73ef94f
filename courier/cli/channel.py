"""``courier channel``: the network channel between sites."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, group
from courier.console import Console
from courier.lifecycle import ReceivedEvent
from courier.wording import plural

if TYPE_CHECKING:
    from courier.catalog.sites import Address
    from courier.exchange import Exchange

app = group("The network channel: addresses of other sites, messages both ways.")
address = group("How other sites are reached.")
app.add_typer(address, name="address")

SHOWN = 20
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


REMIND_SECONDS = 24 * 3600
"""How often a server says that the site's key ends."""


@command(app, "sync")
def sync(
    console: Console,
    *,
    retry: Annotated[bool, typer.Option("--retry", help="Try failing addresses again, as their retries say.")] = False,
) -> None:
    """Deliver and fetch messages now, and import what they complete."""
    from courier.cli.report import parcel_status, say_imported
    from courier.errors import Unreachable
    from courier.exchange import synchronise
    from courier.serving import exchange_locked, synchronise_patiently

    def told(so_far: Exchange) -> None:
        for code, reason in so_far.unreachable:
            console.say(f"{code} is tried again: {reason}")

    with console.site() as site:
        if retry:
            done = synchronise_patiently(site, told=told, sleep=time.sleep)
        else:
            done = exchange_locked(site, lambda: synchronise(site))
        console.say(f"Delivered {plural(done.delivered, 'message')}, took in {plural(done.taken, 'message')}.")
        for line in _news(done):
            console.say(line)
        for line in _refused(done):
            console.warn(line)
        for code, reason in done.held:
            console.say(f"Waiting for {code}: {reason}")
        for status in done.parcels:
            say_imported(console, status)
        if ending := site.key_warning():
            console.warn(f"Note: {ending}")
        document = {
            "key_warning": ending,
            "delivered": done.delivered,
            "taken": done.taken,
            "news": [{"parcel_id": one.parcel, "event": one.event, "text": one.text} for one in done.news],
            "refused": [{"message": sha256, "reason": reason} for sha256, reason in done.refused],
            "unreachable": [{"site": code, "reason": reason} for code, reason in done.unreachable],
            "held": [{"site": code, "reason": reason} for code, reason in done.held],
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


@command(app, "serve")
def serve(
    console: Console,
    *,
    bind: Annotated[str, typer.Option("--bind", metavar="HOST:PORT", help="Where to listen.")] = "127.0.0.1:8423",
    cert: Annotated[Path | None, typer.Option("--cert", metavar="FILE", help="Certificate chain, PEM.")] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Its private key, PEM.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Plain HTTP, for a proxy before it that has the certificate.")
    ] = False,
    every: Annotated[
        int, typer.Option("--every", metavar="SECONDS", min=0, max=86_400, help="Between own rounds of sync; 0: none.")
    ] = 60,
    rate: Annotated[
        int, typer.Option("--rate", metavar="N", min=1, max=1_000_000, help="Requests a second that one site may make.")
    ] = 50,
) -> None:
    """Serve peers: they bring messages, and those with the address `poll` fetch theirs. Ends on Ctrl-C or SIGTERM."""
    from courier.channel.server import Listening, parse_bind
    from courier.serving import run_server

    host, port = parse_bind(bind)
    listening = Listening(host=host, port=port, cert=cert, key=key, behind_proxy=behind_proxy)
    with console.site() as site:

        def ready(url: str) -> None:
            console.say(f"{site.code} serves its peers at {url}; Ctrl-C ends it.")
            console.event({"event": "serving", "site": site.code, "url": url})

        def log(text: str) -> None:
            console.warn(text)
            console.event({"event": "log", "text": text})

        reminded = float("-inf")

        def done(exchange: Exchange) -> None:
            nonlocal reminded
            if time.monotonic() - reminded > REMIND_SECONDS and (ending := site.key_warning()):
                log(f"Note: {ending}")
                reminded = time.monotonic()
            if exchange.taken or exchange.delivered:
                taken, delivered = plural(exchange.taken, "message"), plural(exchange.delivered, "message")
                console.say(f"Took in {taken}, delivered {delivered}.")
                console.event({"event": "exchange", "taken": exchange.taken, "delivered": exchange.delivered})
            for line in _news(exchange):
                console.say(line)
            for line in _refused(exchange):
                log(line)
            for failure in exchange.failures:
                log(f"{failure.message} ({failure.hint})")

        run_server(site, listening, rate=rate, every=every, log=log, ready=ready, done=done)
        console.say("The server has ended; nothing was lost.")
        console.result({"site": site.code, "ended": True})


@command(app, "status")
def status(console: Console) -> None:
    """Show outbox, inbox and dead letters, and which sites get their messages bare, not sealed."""
    from courier.catalog import messages
    from courier.console import time_text
    from courier.outbox import bare_sites

    with console.site() as site:
        with site.catalogue.reading() as connection:
            bare = bare_sites(connection)
            counts = messages.counts(connection)
            queued = messages.queued(connection)
            unanswered = messages.in_state(connection, "out", "delivered")
            dead = [*messages.in_state(connection, "out", "dead"), *messages.in_state(connection, "in", "refused")]
        console.table(("WAY", "SITE", "STATE", "MESSAGES"), counts)
        if not counts:
            console.say("No message has been sent or received yet.")
        for message in queued[:SHOWN]:
            why = f": {message.reason}" if message.reason else ""
            console.say(f"Waiting for {message.site} since {time_text(message.created_ns)}: {_kind(message.type)}{why}")
        for message in unanswered[:SHOWN]:
            when = f"handed over {time_text(message.settled_ns)}, again after {time_text(message.due_ns)}"
            console.say(f"Not acknowledged by {message.site}: {_kind(message.type)}, {when}")
        for message in dead[-SHOWN:]:
            where = f" for {message.site}" if message.direction == "out" else ""
            console.say(f"Dead letter{where} {message.sha256[:12]}, {time_text(message.created_ns)}: {message.reason}")
        for one in bare:
            console.say(f"Not sealed to {one.site}, {plural(one.waiting, 'message')} waiting: {one.reason}; {one.hint}")
        if ending := site.key_warning():
            console.say(f"Note: {ending}")
        if max(len(queued), len(unanswered), len(dead)) > SHOWN:
            console.say(f"Not more than {SHOWN} of a kind are shown; --json has them all.")
        console.result(
            {
                "key_warning": ending,
                "messages": [{"way": d, "site": s, "state": t, "count": n} for d, s, t, n in counts],
                "outbox": [
                    {"site": m.site, "type": _kind(m.type), "attempts": m.attempts, "reason": m.reason} for m in queued
                ],
                "unacknowledged": [
                    {"site": m.site, "type": _kind(m.type), "message": m.sha256, "handed_over": m.attempts}
                    for m in unanswered
                ],
                "dead_letters": [
                    {"way": m.direction, "message": m.sha256, "site": m.site, "reason": m.reason} for m in dead
                ],
                "not_sealed": [
                    {"site": one.site, "reason": one.reason, "waiting": one.waiting, "hint": one.hint} for one in bare
                ],
            }
        )


def _news(done: Exchange) -> list[str]:
    """What the log says of an exchange, as many lines as a person reads; an import is told by itself."""
    lines = [
        f"{one.parcel + ': ' if one.parcel else ''}{one.event}: {one.text}"
        for one in done.news
        if one.event != ReceivedEvent.IMPORTED
    ]
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"{plural(more, 'more line')}: courier parcel log PARCEL"] if more > 0 else lines


def _refused(done: Exchange) -> list[str]:
    """A line for each refused message, as many as a person reads."""
    lines = [f"Refused {sha256[:12]}: {reason}" for sha256, reason in done.refused[:SHOWN]]
    more = len(done.refused) - SHOWN
    return [*lines, f"Refused {plural(more, 'more message')}: courier channel status --json"] if more > 0 else lines


def _kind(payload_type: str) -> str:
    return payload_type.removeprefix("application/vnd.courier.").removesuffix("+json")


def _wishes(**given: Any) -> Any:
    from courier.addresses import Wishes

    return Wishes(**given)


def _address_record(found: Address) -> dict[str, Any]:
    from courier.addresses import Measured
    from courier.schedule import Limits, rate_text, week_text

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
    from courier.addresses import add_address, poll_before

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
    from courier.addresses import set_address
    from courier.errors import Usage

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
        raise Usage("nothing to change was named", hint="courier channel address set --help")
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
    from courier.addresses import list_addresses

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
    from courier.console import size_text

    if found is None:
        return "-"
    up, down = size_text(found["up_bytes_per_second"]), size_text(found["down_bytes_per_second"])
    return f"{found['round_trip_ms']:.1f} ms, {up}/s up, {down}/s down"


@command(address, "remove")
def address_remove(console: Console, *, code: CODE, where: ADDRESS) -> None:
    """Remove an address of a site."""
    from courier.addresses import remove_address

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
    from courier.addresses import measure_address
    from courier.plan import parse_size

    with console.site() as site:
        found = measure_address(site, code, where, budget=parse_size(budget))
        document = {name: getattr(found, name) for name in found.__slots__}
        console.say(f"{code}: {_measured(document)} ({found.bytes_moved:,} bytes moved)")
        console.result({"site": code, **document})
