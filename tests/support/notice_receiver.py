"""A receiver of notices: an HTTP server on loopback that keeps what services post to it, and may be slow or broken."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    """Keeps what was posted in ``posted``. ``delay``: seconds before it answers; ``status``: what it answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[dict[str, Any]] = []
        self.delay = threading.Event()
        self.seconds = 0.0
        self.status = 200

    @property
    def address(self) -> str:
        """The address of it as apprise takes it, with a password."""
        return f"json://desk:hunter22@127.0.0.1:{self.server_address[1]}/notices"

    @property
    def titles(self) -> list[str]:
        """The titles of what was posted."""
        return [one["title"] for one in self.posted]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append(json.loads(body))
        self.server.delay.wait(self.server.seconds)
        with contextlib.suppress(OSError):
            self.send_response(self.server.status)
            self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that runs while the block does."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.delay.set()
            server.shutdown()
            thread.join()
