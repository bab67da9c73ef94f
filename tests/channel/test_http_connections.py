"""The limits of a connection to the server: answers nobody reads, requests sent at once, many from one address."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from channel_network import Clock, Pair, came
from http_requests import Forge, Running, certificate, client, raw, running, talk

from courier.channel import http_connections, http_server
from courier.channel.http_connections import Doors, LimitedProtocol, address_group
from courier.channel.http_server import Listening
from courier.channel.transport import Outgoing
from courier.site.outbox import PART

pytestmark = pytest.mark.usefixtures("no_reports")
HEALTH = b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(params=["http", "https"])
def up(
    request: pytest.FixtureRequest, http: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Running]:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(http_connections, "ANSWER_SECONDS", 1.0)
    listening = None
    if request.param == "https":
        cert, key = certificate(tmp_path)
        listening = Listening(host="127.0.0.1", port=0, cert=cert, key=key)
    http.clock.ns = Clock().ns
    with running(http.br, listening) as found:
        yield found


def lazy_socket(up: Running) -> socket.socket:
    """A connection whose system takes only a few kilobytes before somebody reads them."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(10)
    plain.connect(("127.0.0.1", up.port))
    if not up.url.startswith("https"):
        return plain
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain)


def answer_of(wire: socket.socket) -> bytes:
    """The answer to `HEALTH`, however many pieces it comes in."""
    gathered = b""
    while not gathered.endswith(b"}"):
        gathered += wire.recv(1000)
    return gathered


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system take a few kilobytes of an answer only, as over a slow network; here it would take a megabyte."""
    plain = LimitedProtocol.connection_made

    def connection_made(self: LimitedProtocol, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        plain(self, transport)

    monkeypatch.setattr(LimitedProtocol, "connection_made", connection_made)


def read_to_the_end(wire: socket.socket) -> bytes:
    gathered = b""
    with contextlib.suppress(OSError):
        while data := wire.recv(1 << 16):
            gathered += data
    return gathered


@pytest.mark.usefixtures("small_buffers")
def test_an_answer_that_nobody_reads_does_not_hold_its_connection(http: Pair, up: Running) -> None:
    asked = Forge(pair=http).request("GET", "/v1/probe", query=f"bytes={PART}")
    head = raw(asked, b"").replace(b"/v1/probe", f"/v1/probe?bytes={PART}".encode(), 1)
    with lazy_socket(up) as wire:
        wire.sendall(head)
        time.sleep(3)
        assert len(read_to_the_end(wire)) < PART
    with lazy_socket(up) as wire:
        again = Forge(pair=http, count=10).request("GET", "/v1/probe", query=f"bytes={PART}")
        wire.sendall(raw(again, b"").replace(b"/v1/probe", f"/v1/probe?bytes={PART}".encode(), 1))
        assert len(read_to_the_end(wire)) > PART


@pytest.mark.usefixtures("small_buffers")
def test_who_asks_on_without_reading_is_cut_off_at_once(up: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 60.0)
    monkeypatch.setattr(http_connections, "ANSWER_SECONDS", 60.0)
    with lazy_socket(up) as wire, pytest.raises(OSError):
        for _ in range(300):
            wire.sendall(HEALTH.replace(b"health", b"openapi.json"))
            time.sleep(0.01)


def test_requests_that_are_sent_at_once_get_one_answer(up: Running) -> None:
    for sent in (HEALTH * 50, HEALTH + HEALTH[:10]):
        with lazy_socket(up) as wire:
            wire.sendall(sent)
            assert read_to_the_end(wire).count(b"HTTP/1.1") == 1
    with lazy_socket(up) as wire:
        for _ in range(3):  # one after another they are answered as ever
            wire.sendall(HEALTH)
            assert b"200 OK" in answer_of(wire)


class Held:
    """A connection that is counted, and that may be closed."""

    def __init__(self, *, is_busy: bool = False) -> None:
        self.is_busy, self.aborted = is_busy, False
        self.transport = self

    def abort(self) -> None:
        self.aborted = True


def test_who_holds_many_connections_loses_the_oldest_idle_ones_and_others_none() -> None:
    said: list[str] = []
    service: Any = SimpleNamespace(
        refusals=SimpleNamespace(of_stranger=lambda who, text: said.append(f"{who}: {text}"))
    )
    doors = Doors(service, per_address=3)
    held = [Held(is_busy=number == 0) for number in range(5)]
    other = Held()
    for connection in held:
        doors.enter(cast(LimitedProtocol, connection), "192.0.2.1")
    doors.enter(cast(LimitedProtocol, other), "192.0.2.2")
    assert [one.aborted for one in held] == [False, True, False, False, False]
    assert not other.aborted
    assert said == ["192.0.2.1: more than 3 connections; the oldest idle one was closed"] * 2
    for connection in held:
        doors.leave(cast(LimitedProtocol, connection), "192.0.2.1")
    unlimited = Doors(service, per_address=None)
    for connection in (many := [Held() for _ in range(100)]):
        unlimited.enter(cast(LimitedProtocol, connection), "192.0.2.1")
    assert not any(one.aborted for one in many)


def test_a_whole_network_of_one_customer_counts_as_one_address() -> None:
    assert address_group("2001:db8:1:2::3") == address_group("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert address_group("192.0.2.1") != address_group("192.0.2.2")
    assert address_group("fe80::1%eth0") == "fe80::/64"
    assert address_group("") == ""


def test_many_connections_from_one_address_are_bounded_and_let_others_in(
    http: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(http_connections, "PER_ADDRESS", 5)
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(cert))
    http.clock.ns = Clock().ns
    with (
        running(http.br, Listening(host="127.0.0.1", port=0, cert=cert, key=key)) as up,
        contextlib.ExitStack() as stack,
    ):
        held = []
        for _ in range(20):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", up.port), timeout=10))
            held.append(stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1")))
        transport = client(http, up.url, ca=str(cert))
        transport.deliver("BR1", Outgoing.of(b"good"))
        transport.close()
        assert [read_to_the_end(wire) for wire in held[:15]] == [b""] * 15
        held[-1].sendall(HEALTH)
        assert b"200 OK" in answer_of(held[-1])
    assert len(came(http.br)) == 1


@pytest.mark.usefixtures("small_buffers")
def test_a_server_that_is_stopped_with_connections_held_says_nothing(
    http: Pair, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_server, "CLOSE_SECONDS", 1)
    http.clock.ns = Clock().ns
    forge = Forge(pair=http)
    with contextlib.ExitStack() as stack:
        with running(http.br) as up:
            for number in range(20):
                wire = stack.enter_context(lazy_socket(up))
                if number % 4 == 1:
                    wire.sendall(HEALTH[:20])
                elif number % 4 == 2:
                    wire.sendall(raw(forge.put(b"m" * 1000), b"m" * 500))
                elif number % 4 == 3:
                    asked = forge.request("GET", "/v1/probe", query=f"bytes={PART}")
                    wire.sendall(raw(asked, b"").replace(b"/v1/probe", f"/v1/probe?bytes={PART}".encode(), 1))
            assert b"ok" in talk(up.port, HEALTH, patience=1)
        assert up.log == []
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert [record for record in caplog.records if not record.name.startswith("courier")] == []
