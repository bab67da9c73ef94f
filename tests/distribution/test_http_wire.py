"""Answers that never end: whatever form a body has, it goes on, or the source is left."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from courier.distribution.http_source import http_source
from courier.distribution.http_wire import Address, Wire
from courier.distribution.source import Patience, SourceFaultError
from courier.distribution.web_address import WebAddress, parse_web_address
from courier.errors import UsageError

PATIENCE = Patience(connect=2, answer=2, stall=2, span=0.3, least=1000)


@contextlib.contextmanager
def trickling(head: bytes, *pieces: bytes) -> Iterator[Address]:
    """A server that answers with a head at once, and then with one piece after the other, the last again and again."""
    stop = threading.Event()

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            stream, _ = listener.accept()
            with stream:
                stream.recv(1000)
                stream.sendall(head)
                for piece in pieces:
                    stream.sendall(piece)
                while not stop.wait(0.02):
                    stream.sendall(pieces[-1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield Address(host="127.0.0.1", port=listener.getsockname()[1], context=None)
        finally:
            stop.set()
            thread.join()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", (b"x",)),
        (b"HTTP/1.1 200 OK\r\n\r\n", (b"x",)),
        (CHUNKED, (b"1\r\nx\r\n",)),
        (CHUNKED, (b"1;", b"x")),
        (CHUNKED, (b"0\r\n", b"X: y\r\n")),
    ],
    ids=["of a length", "of no length", "chunked", "an endless line of a chunk", "endless trailers"],
)
def test_a_body_that_trickles_is_given_up(head: bytes, pieces: tuple[bytes, ...]) -> None:
    with trickling(head, *pieces) as address:
        wire = Wire(address, PATIENCE)
        begun = time.monotonic()
        try:
            wire.send(b"GET / HTTP/1.1\r\n\r\n")
            wire.head()
            with pytest.raises(SourceFaultError, match="it sent only"):
                while wire.read_some(memoryview(bytearray(100))):
                    pass
        finally:
            wire.close()
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://a..b/",
        f"http://{'a' * 64}.example/",
        "http://x:99999/",
        "http://x:0/",
        "http://./",
        "x://y",
    ],
)
def test_an_address_that_is_none_is_refused_and_never_a_failure_of_ours(url: str) -> None:
    with pytest.raises(UsageError):
        http_source(url, patience=PATIENCE)


@pytest.mark.parametrize("host", ["a..b", ".x", "a" * 70])
def test_a_host_that_cannot_be_looked_up_is_a_fault_of_the_source(host: str) -> None:
    with pytest.raises(SourceFaultError):
        Wire(Address(host=host, port=9, context=None), PATIENCE)


def test_what_an_address_says() -> None:
    assert parse_web_address("https://[::1]:8443/a/b/") == WebAddress(
        scheme="https", host="::1", port=8443, path="/a/b"
    )
    assert parse_web_address("http://p1.example") == WebAddress(scheme="http", host="p1.example", port=80, path="")
