"""``courier channel``: the network channel between sites."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli import channel_address as address
from courier.cli import channel_status, channel_watch
from courier.cli.by_rule import distribute_by_rule
from courier.cli.command import command, console_of, group
from courier.cli.exchanged import news_lines, refused_lines
from courier.cli.received_parcel import parcel_status, say_imported
from courier.text import plural

if TYPE_CHECKING:
    from courier.channel.metrics_page import MetricsPage
    from courier.channel.passed import Passed
    from courier.channel.sync import Exchange
    from courier.errors import CourierError
    from courier.site.home import Site

app = group("The network channel: addresses of other sites, and messages.")
app.add_typer(address.app, name="address")

REMIND_SECONDS = 24 * 3600
"""Seconds between two reminders of a server that the key of the site ends."""


@command(app, "sync", examples=["courier channel sync", "courier channel sync --retry", "courier channel sync --now"])
def sync(
    context: typer.Context,
    *,
    retry: Annotated[
        bool, typer.Option("--retry", help="Retry addresses that fail, as often as they are set to.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Send again at once what was handed over and is not acknowledged yet.")
    ] = False,
) -> None:
    """Deliver and fetch messages now.

    Parcels that become complete by them are imported.
    """
    from courier.channel.sync import exchange_locked, synchronise, synchronise_patiently
    from courier.cli.messages import MESSAGE_HANDLERS
    from courier.errors import UnreachableError
    from courier.site import clock
    from courier.site.catalog import messages

    console = console_of(context)

    def told(so_far: Exchange) -> None:
        for code, reason in so_far.unreachable:
            console.say(f"Trying {code} again: {reason}")

    with console.site() as site:
        if now:
            with site.catalogue.writing() as connection:
                messages.send_again(connection, clock.now())
        if retry:
            done = synchronise_patiently(site, handlers=MESSAGE_HANDLERS, told=told)
        else:
            done = exchange_locked(site, lambda: synchronise(site, handlers=MESSAGE_HANDLERS))
        console.say(f"Delivered {plural(done.delivered, 'message')}, received {plural(done.taken, 'message')}.")
        for line in news_lines(done):
            console.say(line)
        for line in refused_lines(done):
            console.warn(line)
        for code, reason in done.held:
            console.say(f"Waiting for {code}: {reason}")
        for code, where, reason in done.passed_over:
            why = reason if where in reason else f"{where}: {reason}"
            console.note(
                f"one address of {code} failed and another one worked: {why}; if it is wrong: courier channel "
                f"address remove {code} {where}"
            )
        for status in done.parcels:
            say_imported(console, status)
        for package, version in done.contradicted:
            console.warn(
                f"CONTRADICTED {package}:{version}: {package[:3]} signed other content for this version than the store "
                f"has; it is not used: courier package show {package}:{version}"
            )
        if ending := site.key_warning():
            console.note(ending)
        document = {
            "key_warning": ending,
            "delivered": done.delivered,
            "taken": done.taken,
            "news": [{"parcel_id": one.parcel, "event": one.event, "text": one.text} for one in done.news],
            "refused": [{"message": sha256, "reason": reason} for sha256, reason in done.refused],
            "unreachable": [{"site": code, "reason": reason} for code, reason in done.unreachable],
            "held": [{"site": code, "reason": reason} for code, reason in done.held],
            "passed_over": [
                {"site": code, "address": where, "reason": reason} for code, where, reason in done.passed_over
            ],
            "contradicted": [{"package_id": package, "version": version} for package, version in done.contradicted],
            "parcels": [parcel_status(status) for status in done.parcels],
            "imported": [p for status in done.parcels for p in parcel_status(status)["imported"]],
            "distributed": distribute_by_rule(console, site),
        }
        hint = "the messages are kept; mount or repair it, then: courier channel sync"
        failures: list[tuple[str, CourierError]] = [
            (code, UnreachableError(f"{code}: {reason}", hint=hint)) for code, reason in done.unreachable
        ]
        failures += [("", failure) for failure in done.failures]
        if failures:
            raise typer.Exit(console.errors(failures, document))
        console.result(document)


@command(
    app,
    "serve",
    examples=[
        "courier channel serve --bind 0.0.0.0:8423 --cert server.pem --key server.key",
        "courier channel serve --behind-proxy",
        "courier channel serve --bind 0.0.0.0:8423 --cert server.pem --key server.key --metrics-tokens readers",
    ],
)
def serve(
    context: typer.Context,
    *,
    bind: Annotated[
        str, typer.Option("--bind", metavar="HOST:PORT", help="Address and port to listen on.")
    ] = "127.0.0.1:8423",
    cert: Annotated[
        Path | None, typer.Option("--cert", metavar="FILE", help="Certificate chain for https, in PEM.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Private key of the certificate, in PEM.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Serve plain http, for a proxy in front that has the certificate.")
    ] = False,
    every: Annotated[
        int,
        typer.Option(
            "--every", metavar="SECONDS", min=0, max=86_400, help="Seconds between its own rounds of sync; 0: none."
        ),
    ] = 60,
    rate: Annotated[
        int,
        typer.Option("--rate", metavar="N", min=1, max=1_000_000, help="Requests a second that one site may make."),
    ] = 50,
    metrics_tokens: Annotated[
        Path | None,
        typer.Option(
            "--metrics-tokens",
            metavar="FILE",
            help="Serve /metrics to whoever shows a token of this file, as a bearer: NAME TOKEN. Without it: nobody.",
        ),
    ] = None,
) -> None:
    """Run the server that other sites send messages to.

    Sites with the address `poll` fetch their messages from it. It ends on Ctrl-C or SIGTERM.
    """
    from courier.channel.http_server import Listening, parse_bind
    from courier.channel.serve import Reports, run_server
    from courier.cli.console import time_text
    from courier.cli.messages import MESSAGE_HANDLERS
    from courier.site.clock import now

    console = console_of(context)
    host, port = parse_bind(bind)
    listening = Listening(host=host, port=port, cert=cert, key=key, behind_proxy=behind_proxy)
    with console.site() as site:

        def ready(url: str) -> None:
            console.say(f"{time_text(now())}  {site.code} serves other sites at {url}; Ctrl-C ends it.")
            console.event({"event": "serving", "site": site.code, "url": url})

        def log(text: str) -> None:
            console.warn(f"{time_text(now())}  {text}")
            console.event({"event": "log", "at": time_text(now()), "text": text})

        def moved(one: Passed) -> None:
            kind = one.kind or "unknown kind"
            console.say(f"{time_text(one.at_ns)}  {'to' if one.out else 'from'} {one.site or '?'}  {kind}: {one.what}")
            way = "out" if one.out else "in"
            at = {"event": "message", "at": time_text(one.at_ns), "way": way}
            console.event({**at, "site": one.site, "kind": one.kind, "what": one.what})

        reminded = float("-inf")

        def done(exchange: Exchange) -> None:
            nonlocal reminded
            if time.monotonic() - reminded > REMIND_SECONDS and (ending := site.key_warning()):
                log(f"Note: {ending}")
                reminded = time.monotonic()
            for passed in exchange.passed:
                moved(passed)
            if exchange.taken or exchange.delivered:
                console.event({"event": "exchange", "taken": exchange.taken, "delivered": exchange.delivered})
            for line in news_lines(exchange):
                console.say(f"{time_text(now())}  {line}")
            for line in refused_lines(exchange):
                log(line)
            for failure in exchange.failures:
                log(f"{failure.message} ({failure.hint})")
            for went in distribute_by_rule(console, site) if exchange.taken else ():
                console.event({"event": "distributed", **went})

        reports = Reports(log=log, ready=ready, done=done, passed=moved)
        run_server(
            site,
            listening,
            handlers=MESSAGE_HANDLERS,
            rate=rate,
            every=every,
            reports=reports,
            metrics=None if metrics_tokens is None else _metrics_page(site, metrics_tokens),
        )
        console.say("The server has ended; nothing was lost.")
        console.result({"site": site.code, "ended": True})


app.add_typer(channel_watch.app)
app.add_typer(channel_status.app)


def _metrics_page(site: Site, tokens: Path) -> MetricsPage:
    """The page of metrics, for readers with a token of a file. Raises `UsageError` or `RefusedError` for the file."""
    from courier.care.gather import gather
    from courier.care.metrics import CONTENT_TYPE, metrics
    from courier.care.status import waiting
    from courier.channel.metrics_page import MetricsPage
    from courier.distribution.tokens import Tokens

    known = Tokens(tokens)

    def page() -> str:
        facts = gather(site)
        return metrics(facts, waiting(facts))

    return MetricsPage(admits=lambda header: known.client(header) is not None, gather=page, content_type=CONTENT_TYPE)
