"""``courier dashboard``: what the site knows, as pages in a browser."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from courier.cli.command import command, console_of, group

app = group("")


@command(app, "dashboard", examples=["courier dashboard", "courier dashboard --bind 127.0.0.1:0"])
def dashboard(
    context: typer.Context,
    *,
    bind: Annotated[
        str, typer.Option("--bind", metavar="HOST:PORT", help="Address and port to listen on; port 0: any free one.")
    ] = "127.0.0.1:8440",
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", metavar="NAME", help="Another name by which browsers may ask, such as a proxy's; repeat for more."
        ),
    ] = None,
) -> None:
    """Show the site in a browser, for reading only.

    Parcels on a time line, what waits and the next command, sites, packages, messages. The address that is printed lets
    one browser in, once. It ends on Ctrl-C or SIGTERM. Needs the extra dashboard.
    """
    from courier.channel.http_server import Listening, parse_bind
    from courier.errors import UsageError
    from courier.web.dashboard import is_loopback, require_dashboard, run_dashboard

    console = console_of(context)
    name, port = parse_bind(bind)
    for one in host or ():
        if not re.fullmatch("[A-Za-z0-9._-]+", one):
            raise UsageError(f"--host {one}: not the name of a computer", hint="without port and path: --host dash.lan")
    require_dashboard()

    def ready(url: str) -> None:
        console.say("Open this address; it lets one browser in, once (Ctrl-C ends the dashboard):")
        console.say(url)
        console.event({"event": "serving", "url": url})

    def log(text: str) -> None:
        console.warn(text)
        console.event({"event": "log", "text": text})

    with console.site(read_only=True) as site:
        if not is_loopback(name):
            console.warn(
                f"{bind} can be reached from other computers, over plain HTTP: whoever is on the way reads along, and "
                "can take the session over",
                hint="better: courier dashboard without --bind, and from the other computer: "
                "ssh -L 8440:127.0.0.1:8440 THIS-COMPUTER; or a proxy with a certificate before it",
            )
        run_dashboard(site, Listening(host=name, port=port), names=host or (), log=log, ready=ready)
        console.say("The dashboard has ended.")
        console.result({"site": site.code, "ended": True})
