"""``courier point serve`` and ``courier point config``: clients reach a point over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.cli.point_document import POINT

app = group("")
BIND = Annotated[str, typer.Option("--bind", metavar="HOST:PORT", help="Address and port to listen on.")]


@command(
    app,
    "serve",
    examples=[
        "courier point serve P1 --bind 0.0.0.0:8080",
        "courier point serve P1 --bind 0.0.0.0:8443 --cert server.pem --key server.key --token-file tokens",
    ],
)
def serve(
    context: typer.Context,
    *,
    name: POINT,
    bind: BIND = "127.0.0.1:8080",
    cert: Annotated[
        Path | None, typer.Option("--cert", metavar="FILE", help="Certificate chain for https, in PEM.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Private key of the certificate, in PEM.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front of it has the certificate, and names the clients.")
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="Serve only clients with a token of this file: NAME TOKEN."),
    ] = None,
) -> None:
    """Serve a point to clients over HTTP or HTTPS. It ends on Ctrl-C or SIGTERM.

    What it serves proves itself by signatures and digests; a certificate keeps others from reading along.
    """
    from courier.channel.http_server import Listening, parse_bind
    from courier.distribution.serve import serve_point

    console = console_of(context)
    host, port = parse_bind(bind)
    listening = Listening(host=host, port=port, cert=cert, key=key, behind_proxy=behind_proxy)
    with console.site() as site:

        def ready(url: str) -> None:
            console.say(f"Point {name} is served at {url}; Ctrl-C ends it.")
            console.event({"event": "serving", "point": name, "url": url})

        def log(text: str) -> None:
            console.warn(text)
            console.event({"event": "log", "text": text})

        serve_point(site, name, listening, token_file=token_file, log=log, ready=ready)
        console.say("The server has ended.")
        console.result({"point": name, "ended": True})


@command(app, "config", examples=["courier point config P1 --nginx --bind 0.0.0.0:8080"])
def config(
    context: typer.Context,
    *,
    name: POINT,
    nginx: Annotated[bool, typer.Option("--nginx", help="For nginx.")] = False,
    bind: BIND = "0.0.0.0:8080",
) -> None:
    """Print the configuration of a web server for a point.

    It serves the point's folder, and nothing else.
    """
    from courier.channel.http_server import parse_bind
    from courier.distribution.nginx import nginx_configuration
    from courier.distribution.registry import find_point, folders_of
    from courier.errors import UsageError

    console = console_of(context)
    if not nginx:
        raise UsageError("for which web server?", hint="--nginx")
    parse_bind(bind)
    with console.site() as site:
        row = find_point(site, name)
        text = nginx_configuration(name, folders_of(site, name), listen=bind, limit=row.max_connections)
        for line in text.splitlines():
            console.say(line)
        console.result({"point": name, "nginx": text})
