"""A proxy before the server for S3 that answers some requests wrongly: as an object store on a bad day does."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from s3_server import s3_endpoint

Fault = Callable[[str, str], "Answer | None"]
"""Given method and path of a request, the answer in place of the server's; None: ask the server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer of our own. ``cut``: give the server's answer, and end the connection after so many bytes of it."""

    status: int = 500
    code: str = "InternalError"
    cut: int | None = None

    def body(self) -> bytes:
        """The answer as S3 words it."""
        return f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>a fault</Message></Error>".encode()


@dataclass
class FaultyServer:
    """A running proxy; ``fault`` may be changed at any time. ``asked``: method and path of each request."""

    endpoint: str
    fault: Fault = lambda _method, _path: None
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def faulty_s3() -> Iterator[FaultyServer]:
    """Run the proxy for the block."""
    behind = urlsplit(s3_endpoint())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            data = self.rfile.read(length)
            server.asked.append((self.command, self.path))
            answer = server.fault(self.command, self.path)
            if answer is not None and answer.cut is None:
                self._answer(answer.status, answer.body(), [("Content-Type", "application/xml")])
                return
            connection = http.client.HTTPConnection(str(behind.hostname), behind.port)
            connection.request(self.command, self.path, data or None, dict(self.headers))
            response = connection.getresponse()
            body = response.read()
            headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _OURS]
            if self.command == "HEAD":
                headers.append(("Content-Length", response.getheader("Content-Length", "0")))
            if answer is not None:
                self._answer(response.status, body, headers, cut=answer.cut)
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._answer(response.status, body, headers)

        def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]], *, cut: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body if cut is None else body[:cut])
            self.wfile.flush()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

        def log_message(self, format: str, *_: object) -> None:
            """Nothing is printed."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = True
    server = FaultyServer(endpoint=f"http://127.0.0.1:{proxy.server_port}")
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        proxy.shutdown()
        proxy.server_close()


_OURS = {"content-length", "transfer-encoding", "connection", "server", "date"}
