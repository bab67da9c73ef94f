"""The sockets of the channel's server: uvicorn, which serves the application until it is told to stop.

`courier.channel.http_connections` has the limits of a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from courier.error_codes import Code
from courier.errors import BusyError, NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from courier.channel.http_application import Service
    from courier.channel.http_connections import Hosted

IDLE_SECONDS = 30
CLOSE_SECONDS = 10
"""How long requests under way are waited for when the server is stopped."""
CONNECTIONS = 1000
"""Connections at one time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listening:
    """Where to listen: ``port`` 0 for any. ``cert`` and ``key``: our own certificate and its private key, PEM files.

    ``behind_proxy``: plain HTTP, for a proxy before it that has the certificate.
    """

    host: str
    port: int
    cert: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False


def parse_bind(text: str) -> tuple[str, int]:
    """(host, port) of ``HOST:PORT`` or ``[IPv6]:PORT``; raises `UsageError`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise UsageError(f"{text[:60]!r} is not HOST:PORT", hint="write it like 0.0.0.0:8423 or 127.0.0.1:8423")
    return host, int(port)


def check_listening(listening: Listening) -> None:
    """Refuse to serve without TLS by oversight, and files that are missing; raises `UsageError` or `NotFoundError`."""
    if listening.behind_proxy == (listening.cert is not None):
        raise UsageError(
            "a server needs either its own certificate or a proxy in front of it that has one",
            hint="--cert FILE --key FILE, or --behind-proxy",
        )
    if (listening.cert is None) != (listening.key is None):
        raise UsageError("a certificate and its private key are given together", hint="--cert FILE --key FILE")
    for path in (listening.cert, listening.key):
        if path is not None and not path.is_file():
            raise NotFoundError(f"{path} does not exist", hint="--cert FILE --key FILE, both PEM")


def require_server() -> None:
    """Raise `NotFoundError` unless the extra that a server needs is installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise NotFoundError(
            "a server needs the extra 'channel', which is not installed",
            hint="pip install 'courier-parcels[channel]'",
            code=Code.EXTRA_MISSING,
        ) from None


def serve(
    service: Service,
    listening: Listening,
    *,
    ready: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM comes or ``stop`` is set; requests under way are finished.

    `check_listening` and `require_server` come before it. ``ready`` is called with the URL. Raises `UsageError` where
    certificate or key are not right, `BusyError` when the port is taken.
    """
    from courier.channel.http_application import make_app
    from courier.channel.http_connections import PER_ADDRESS, Doors, LimitedProtocol

    doors = Doors(service, per_address=None if listening.behind_proxy else PER_ADDRESS)
    serve_application(
        make_app(service),
        service,
        listening,
        protocol=partial(LimitedProtocol, doors),
        connections=CONNECTIONS,
        ready=ready,
        stop=stop,
    )


def serve_application(
    application: Any,
    service: Hosted,
    listening: Listening,
    *,
    protocol: Callable[..., Any],
    connections: int,
    dated: bool = False,
    ready: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> None:
    """Serve any ASGI application as `serve` does. ``protocol`` makes a connection.

    ``connections``: at one time. ``dated``: answers say when they were made.
    """
    import uvicorn

    from courier.channel.http_connections import errors_in_log

    config = uvicorn.Config(
        application,
        host=listening.host,
        port=listening.port,
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        loop="asyncio",
        lifespan="auto",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=dated,
        proxy_headers=listening.behind_proxy,
        limit_concurrency=connections,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=CLOSE_SECONDS,
        h11_max_incomplete_event_size=16 << 10,
        ssl_certfile=listening.cert,
        ssl_keyfile=listening.key,
    )
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        hint = "--cert takes the certificate chain, --key its private key, both PEM"
        raise UsageError(f"{listening.cert}: {error.strerror or error}", hint=hint) from None
    server = _Server(config, ready, stop or threading.Event())
    with _signals(server), errors_in_log(service):
        try:
            asyncio.run(server.run_on(listening))
        except OSError as error:
            message = f"{listening.host}:{listening.port}: {error.strerror or error}"
            kind = BusyError if error.errno == errno.EADDRINUSE else RefusedError
            raise kind(message, hint="choose another with --bind HOST:PORT", code=Code.BIND) from None


class _Server:
    """uvicorn's server, stopped by an event and not by signal handlers of its own."""

    def __init__(self, config: Any, ready: Callable[[str], None], stop: threading.Event) -> None:
        import uvicorn

        self._server = uvicorn.Server(config)
        self._ready, self.stop = ready, stop

    async def run_on(self, listening: Listening) -> None:
        import socket

        family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
        # Only of a socket that says it is TCP does asyncio turn off Nagle's delay: 40 ms for each small answer.
        with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((listening.host, listening.port))
            listener.listen(512)
            port = listener.getsockname()[1]
            watcher = asyncio.create_task(self._watch(port, listening))
            try:
                # Not `serve`, which would put its own signal handlers in and raise the signal again at the end.
                await self._server._serve(sockets=[listener])
            finally:
                watcher.cancel()

    async def _watch(self, port: int, listening: Listening) -> None:
        while not self._server.started:
            await asyncio.sleep(0.02)
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        self._ready(f"{'https' if listening.cert else 'http'}://{host}:{port}")
        while not self.stop.is_set():
            await asyncio.sleep(0.1)
        self._server.should_exit = True


@contextlib.contextmanager
def _signals(server: _Server) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop the server meanwhile; only the main thread can set signal handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # What the parent chose to ignore (nohup, a shell's background) stays ignored, as for every command.
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda *_: server.stop.set())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
