"""Serving the dashboard of a site (``courier dashboard``) until it is stopped."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from courier.channel.http_server import Listening, serve_application
from courier.channel.refusal_log import RefusalLog
from courier.error_codes import Code
from courier.errors import NotFoundError
from courier.site.home import Site

if TYPE_CHECKING:
    from courier.web.watch import Watch

CONNECTIONS = 200
"""Connections at one time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hosted:
    """What connections need to know of the dashboard (`courier.channel.http_connections.Hosted`)."""

    site: str
    refusals: RefusalLog


def require_dashboard() -> None:
    """Raise `NotFoundError` unless the extra that the dashboard needs is installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise NotFoundError(
            "the dashboard needs the extra 'dashboard', which is not installed",
            hint="pip install 'courier-parcels[dashboard]'",
            code=Code.EXTRA_MISSING,
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches what listens at ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _end_with(stop: threading.Event, watch: Watch) -> None:
    """End the streams of events as soon as the server is told to stop: it waits for all that it answers."""
    stop.wait()
    watch.end()


def run_dashboard(
    site: Site,
    listening: Listening,
    *,
    names: Collection[str] = (),
    log: Callable[[str], None],
    ready: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM comes or ``stop`` is set. ``site``: opened for reading only.

    ``names``: further names by which browsers may ask. ``ready`` is called with the address that lets one browser in.
    Raises `NotFoundError` without the extra, `BusyError` or `RefusedError` when it cannot listen there.
    """
    require_dashboard()
    from courier.channel.http_connections import Doors, LimitedProtocol
    from courier.web.application import Dashboard
    from courier.web.entry import Entry
    from courier.web.guard import ENTER
    from courier.web.watch import Watch

    entry, watch = Entry(), Watch(site)
    hosted = _Hosted(site=site.code, refusals=RefusalLog(log, now=time.time_ns))
    dashboard = Dashboard(site, watch, entry, log=log)
    stop = stop or threading.Event()

    def announce(url: str) -> None:
        # Now the port is known: each dashboard of a computer has a name of its own for its session.
        entry.cookie = f"courier-{site.code}-{urlsplit(url).port}"
        ready(f"{url}{ENTER}?token={entry.token}")

    watch.start()
    ender = threading.Thread(target=_end_with, args=(stop, watch), name="ender", daemon=True)
    ender.start()
    try:
        serve_application(
            dashboard.application(names),
            hosted,
            listening,
            protocol=partial(LimitedProtocol, Doors(hosted, per_address=None)),
            connections=CONNECTIONS,
            ready=announce,
            stop=stop,
        )
    finally:
        stop.set()
        ender.join()
