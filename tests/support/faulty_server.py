"""A web server for a folder that does what broken, slow and hostile servers and proxies do, when it is told to."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FAULTS = ("cut", "wrong bytes", "wrong length", "wrong offset", "whole", "500", "429", "redirect", "slow")

Choice = Callable[[str], str]
"""Which fault a request for a path gets; empty: none."""


class Faulty(ThreadingHTTPServer):
    """``choose`` says what goes wrong. ``done``: how often each fault came; ``asked``: paths and ranges."""

    daemon_threads = True

    def __init__(self, folder: Path, choose: Choice) -> None:
        self.folder, self.choose = folder, choose
        self.done: Counter[str] = Counter()
        self.asked: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hung up


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Faulty

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        """Answer a request, with the fault that was chosen for it."""
        server, path = self.server, self.path.lstrip("/")
        asked = self.headers.get("Range", "")
        server.asked.append((path, asked))
        fault = server.choose(path)
        server.done[fault] += 1
        file = server.folder / path
        if not file.is_file():
            self._answer(404, b"no")
        elif fault in ("500", "403"):
            self._answer(int(fault), b"fault")
        elif fault == "429":
            self._answer(429, b"busy", {"Retry-After": "0"})
        elif fault == "redirect":
            self._answer(302, b"", {"Location": "http://192.0.2.1/elsewhere"})
        else:
            self._send_file(file.read_bytes(), asked, fault)

    def _send_file(self, data: bytes, asked: str, fault: str) -> None:
        size = len(data)
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked) if fault not in ("whole", "no parts") else None
        begin, end = (int(match[1]), int(match[2]) + 1) if match else (0, size)
        body = bytearray(data[begin:end])
        if fault == "wrong bytes" and body:
            body[len(body) // 2] ^= 0x55
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(len(body) + 100 * (fault == "wrong length")))
        if fault == "no parts":
            self.send_header("Accept-Ranges", "none")
        else:
            self.send_header("ETag", '"one"')
        if match:
            first = begin + 7 * (fault == "wrong offset")
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{size}")
        self.end_headers()
        self._send_body(bytes(body), fault)

    def _send_body(self, body: bytes, fault: str) -> None:
        self.close_connection = self.close_connection or fault in ("cut", "slow", "wrong length", "endless")
        if fault == "slow":
            self.wfile.write(body[:10])
            time.sleep(0.6)
        elif fault == "endless":
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 16))
        else:
            self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def faulty(folder: Path, choose: Choice = lambda _: "") -> Iterator[Faulty]:
    """The server, while the block runs."""
    server = Faulty(folder, choose)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def often(part: float, *, seed: int = 1) -> Choice:
    """Any of `FAULTS` for this part of the requests."""
    dice, lock = random.Random(seed), threading.Lock()

    def choose(_: str) -> str:
        with lock:
            return dice.choice(FAULTS) if dice.random() < part else ""

    return choose
