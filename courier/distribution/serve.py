"""Serving a point over HTTP or HTTPS: ``courier point serve``."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from courier.channel.http_server import Listening, check_listening, require_server, serve_application
from courier.distribution.mirror_wishes import Network, Wishes
from courier.distribution.open_point import opened_point
from courier.errors import RefusedError
from courier.site.home import Site

MORE_CONNECTIONS = 200
"""Connections beyond the transfers of a point: those that wait, ask for heads, or are between two requests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What is served, and to whom. ``name``: what the log calls it. ``limit``: transfers at one time.

    ``token_file``: only clients with a token of it are served. ``wishing``: networks whose clients' requests for what
    is not there are noted, so that ``courier point mirror`` fetches it; None: nothing is noted.
    """

    name: str
    folders: Sequence[Path]
    limit: int
    token_file: Path | None = None
    wishing: Sequence[Network] | None = None


def serve_point(
    site: Site,
    name: str,
    listening: Listening,
    *,
    token_file: Path | None = None,
    log: Callable[[str], None],
    ready: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve a point of a site until told to stop. Only its folders are read; nothing is written there.

    Raises as `serve_folders` does, and `NotFoundError` for a point or folder that is not there.
    """
    with opened_point(site, name, writing=False) as point:
        served = Served(
            name=f"point {name}",
            folders=[folder.folder for folder in point.folders],
            limit=point.row.max_connections,
            token_file=token_file,
        )
    serve_folders(served, listening, log=log, ready=ready, stop=stop)


def serve_folders(
    served: Served,
    listening: Listening,
    *,
    log: Callable[[str], None],
    ready: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve folders of a point until told to stop; no site is needed. Nothing is written there but wishes.

    Without certificate or proxy it is plain HTTP: what is served proves itself, but can be read on the way, so tokens
    are not taken that way but on this computer. Raises `UsageError`, `NotFoundError`, `RefusedError`, `BusyError`.
    """
    if listening.cert is not None or listening.key is not None or listening.behind_proxy:
        check_listening(listening)
    elif served.token_file is not None and not _is_loopback(listening.host):
        raise RefusedError(
            "client tokens would travel unencrypted",
            hint="--cert FILE --key FILE, or --behind-proxy, with --token-file",
        )
    require_server()
    from courier.channel.http_connections import Doors
    from courier.channel.http_files import FileProtocol
    from courier.channel.refusal_log import RefusalLog
    from courier.distribution.application import PointService
    from courier.distribution.slots import Slots
    from courier.distribution.tokens import Tokens

    service = PointService(
        site=served.name,
        folders=served.folders,
        slots=Slots(limit=served.limit),
        refusals=RefusalLog(log, now=time.time_ns),
        tokens=None if served.token_file is None else Tokens(served.token_file),
        wishes=None if served.wishing is None else Wishes(served.folders[0], served.wishing),
    )
    connections = served.limit + MORE_CONNECTIONS
    # As with the transfers, one address has at most half of them; behind a proxy all come from one.
    doors = Doors(service, per_address=None if listening.behind_proxy else connections // 2)
    serve_application(
        service,
        service,
        listening,
        protocol=partial(FileProtocol, doors, quick=None if listening.behind_proxy else service.quick),
        connections=connections,
        dated=True,
        ready=ready,
        stop=stop,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
