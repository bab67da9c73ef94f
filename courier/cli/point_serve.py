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
        "courier point serve --folder /srv/branch --bind 0.0.0.0:8080 --on-demand",
    ],
)
def serve(
    context: typer.Context,
    *,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the point; none with --folder.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Serve this folder of a branch point; no site is needed."),
    ] = None,
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
    max_connections: Annotated[
        int | None,
        typer.Option(
            "--max-connections",
            metavar="N",
            min=1,
            max=100_000,
            help="Transfers at one time, with --folder: 10 if nothing is said.",
        ),
    ] = None,
    on_demand: Annotated[
        bool,
        typer.Option(
            "--on-demand", help="Note what clients of the branch ask for in vain: point mirror --on-demand fetches it."
        ),
    ] = False,
    branch_network: Annotated[
        list[str] | None,
        typer.Option(
            "--branch-network",
            metavar="NETWORK",
            help="Whose clients may wish, such as 10.0.0.0/8; repeat for more. Else this computer and private ones.",
        ),
    ] = None,
) -> None:
    """Serve a point to clients over HTTP or HTTPS. It ends on Ctrl-C or SIGTERM.

    What it serves proves itself by signatures and digests; a certificate keeps others from reading along.
    """
    from courier.channel.http_server import Listening, parse_bind
    from courier.distribution.mirror_folder import check_served
    from courier.distribution.mirror_wishes import PRIVATE, parse_networks
    from courier.distribution.serve import Served, serve_folders, serve_point
    from courier.errors import UsageError

    console = console_of(context)
    host, port = parse_bind(bind)
    listening = Listening(host=host, port=port, cert=cert, key=key, behind_proxy=behind_proxy)
    if (name is None) == (folder is None):
        raise UsageError("which point?", hint="give its name, or --folder DIR for a branch point")
    what = f"Point {name}" if folder is None else f"The point in {folder}"

    def ready(url: str) -> None:
        console.say(f"{what} is served at {url}; Ctrl-C ends it.")
        console.event({"event": "serving", "point": name, "url": url})

    def log(text: str) -> None:
        console.warn(text)
        console.event({"event": "log", "text": text})

    if folder is not None:
        if branch_network and not on_demand:
            raise UsageError("--branch-network says whose wishes are noted", hint="give --on-demand too")
        check_served(folder)
        served = Served(
            name=f"the point in {folder}",
            folders=[folder.absolute()],
            limit=max_connections or 10,
            token_file=token_file,
            wishing=parse_networks(branch_network or PRIVATE) if on_demand else None,
        )
        serve_folders(served, listening, log=log, ready=ready)
    elif name is not None:
        if max_connections is not None or on_demand or branch_network:
            raise UsageError(
                "--max-connections, --on-demand and --branch-network go with --folder",
                hint=f"courier point set {name} --max-connections N",
            )
        with console.site() as site:
            serve_point(site, name, listening, token_file=token_file, log=log, ready=ready)
    console.say("The server has ended.")
    console.result({"point": name, "folder": None if folder is None else str(folder), "ended": True})


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
