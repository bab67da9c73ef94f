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
        self.sent = 0
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
        server, path = self.server, self.path.lstrip("/")
        asked = self.headers.get("Range", "")
        server.asked.append((path, asked))
        file = server.folder / path
        fault = server.choose(path)
        server.done[fault] += 1
        if not file.is_file():
            self._answer(404, b"no")
            return
        data = file.read_bytes()
        size = len(data)
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        begin, end = (int(match[1]), int(match[2]) + 1) if match else (0, size)
        status = 206 if match else 200
        match fault:
            case "500" | "404" | "403":
                self._answer(int(fault), b"fault")
                return
            case "429":
                self._answer(429, b"busy", {"Retry-After": "0"})
                return
            case "redirect":
                self._answer(302, b"", {"Location": "http://192.0.2.1/elsewhere"})
                return
            case "whole":
                status, begin, end = 200, 0, size
            case "no parts":
                status, begin, end = 200, 0, size
        body = bytearray(data[begin:end])
        first, length = begin, len(body)
        if fault == "wrong bytes" and body:
            body[len(body) // 2] ^= 0x55
        if fault == "wrong offset" and status == 206:
            first += 7
        if fault == "wrong length":
            length += 100
        headers = {"ETag": '"one"'} if fault != "no parts" else {"Accept-Ranges": "none"}
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{size}"
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        if fault == "cut":
            body = body[: len(body) // 2]
        if fault == "slow":
            self.wfile.write(bytes(body[:10]))
            self.wfile.flush()
            time.sleep(0.6)
            self.close_connection = True
            return
        if fault == "endless":
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 16))
        self.wfile.write(bytes(body))
        server.sent += len(body)
        if fault in ("cut", "wrong length"):
            self.close_connection = True

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
