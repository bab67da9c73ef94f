"""Servers on loopback that mean harm, or are none of ours: an exchange is bounded, and ends when it is told to."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from channel_network import Pair, definition, put, state

from courier.channel.addresses import Wishes, add_address
from courier.channel.connections import Network, Run
from courier.channel.delivery import deliver
from courier.channel.http_server import Listening
from courier.channel.serve import Reports, run_server
from courier.channel.sync import Exchange, synchronise
from courier.channel.transport import Outgoing
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import BusyError, StoppedError
from courier.site.catalog import messages

pytestmark = pytest.mark.usefixtures("no_reports")

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def hostile(answer: Answer) -> Iterator[str]:
    """The URL of a server on loopback that gives ``answer`` to everything."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            answer(self)

        do_GET = do_PUT = do_DELETE = do_POST = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(asked: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    asked.send_response(status)
    for name, value in {"content-length": str(len(body)), **headers}.items():
        asked.send_header(name.replace("_", "-"), value)
    asked.end_headers()
    asked.wfile.write(body)


class Endless:
    """Lists ever new messages and gives each of them; ``listed`` counts them, ``pause`` is asked before each answer."""

    def __init__(self, pause: Callable[[], object] = lambda: None) -> None:
        self.listed, self.pause = 0, pause
        self.bodies: dict[str, bytes] = {}

    def __call__(self, asked: BaseHTTPRequestHandler) -> None:
        self.pause()
        name = asked.path.rpartition("/")[2]
        if asked.command == "GET" and name in self.bodies:
            body = self.bodies[name]
            reply(asked, 206, body, content_range=f"bytes 0-{len(body) - 1}/{len(body)}")
        elif asked.command == "GET":
            fresh = [f"message {self.listed + number}".encode() for number in range(4)]
            self.listed += 4
            named = {hashlib.sha256(body).hexdigest(): body for body in fresh}
            self.bodies |= named
            found = [{"message": name, "size": len(body)} for name, body in named.items()]
            reply(asked, 200, json.dumps({"messages": found, "more": True}).encode())
        else:
            reply(asked, 422, b'{"error":{"code":"never","message":"nothing is taken here"}}')


def sync(pair: Pair) -> Exchange:
    """One exchange of HQ1 over the real network."""
    return synchronise(pair.hq, handlers=MESSAGE_HANDLERS, network=Network())


def test_a_server_that_lists_new_messages_for_ever_gets_its_share_and_the_next_address_follows(
    http: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("courier.channel.http_transport.MAX_FETCHED", 10)
    (name,) = put(http.hq, http.br, definition(http.hq))
    server = Endless()
    with hostile(server) as url:
        add_address(http.hq, "BR1", url, Wishes(priority=1))
        add_address(http.hq, "BR1", str(tmp_path), Wishes(priority=2))
        done = sync(http)
    assert server.listed == 12
    assert len(done.refused) == 10
    assert "it has more than the 10 messages of this exchange" in dict(done.held)["BR1"]
    assert done.unreachable == ()
    assert state(http.hq, name) == "delivered"
    assert len(list((tmp_path / "BR1").iterdir())) == 1


def test_bytes_and_time_of_one_exchange_are_bounded(http: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Endless()
    with hostile(server) as url:
        add_address(http.hq, "BR1", url)
        with monkeypatch.context() as patch:
            patch.setattr("courier.channel.http_transport.MAX_FETCHED_BYTES", 100)
            assert "of this exchange" in dict(sync(http).held)["BR1"]
        assert server.listed <= 16
        server.listed = 0
        monkeypatch.setattr("courier.channel.http_client.EXCHANGE_SECONDS", 0)
        assert "0 seconds of this exchange" in dict(sync(http).held)["BR1"]
        assert server.listed <= 4


def test_dead_letters_of_a_server_without_end_are_bounded(http: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courier.channel.http_transport.MAX_FETCHED", 12)
    monkeypatch.setattr("courier.channel.incoming.MAX_REFUSED", 5)
    with hostile(Endless()) as url:
        add_address(http.hq, "BR1", url)
        for _ in range(2):
            sync(http)
    with http.hq.catalogue.reading() as connection:
        assert len(messages.in_state(connection, "in", "refused")) == 5


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>Please log in</html>", {"content_type": "text/html"}),
        (gzip.compress(b'{"messages":[],"more":false}', mtime=0), {"content_encoding": "gzip"}),
        (b'{"messages":NaN,"more":false}', {}),
        (b'{"messages":[{"message":"%s","size":NaN}],"more":false}' % (b"1" * 64), {}),
        (b'{"messages":[3],"more":false}', {}),
        (b'{"messages":[],"more":"no"}', {}),
        (b'{"messages":[]}', {}),
        (b"[]", {}),
        (b"", {}),
    ],
)
def test_a_good_status_with_what_no_server_of_ours_says_is_a_failure(
    http: Pair, body: bytes, headers: dict[str, str]
) -> None:
    with hostile(lambda asked: reply(asked, 200, body, **headers)) as url:
        add_address(http.hq, "BR1", url)
        done = sync(http)
    assert "it answered 200 with what no courier server says" in dict(done.unreachable)["BR1"]


@pytest.mark.parametrize("way", ["silent", "endless", "busy"])
def test_a_server_of_ours_ends_when_it_is_told_to_whatever_another_does(http: Pair, way: str) -> None:
    asked_once, release = threading.Event(), threading.Event()

    def answer(asked: BaseHTTPRequestHandler) -> None:
        asked_once.set()
        if way == "silent":
            release.wait(60)
        else:
            reply(asked, 429, b"", retry_after="30")

    def on_list() -> None:
        asked_once.set()
        release.wait(0.05)

    stop = threading.Event()
    add_address(http.br, "HQ1", "poll")
    with hostile(Endless(on_list) if way == "endless" else answer) as url:
        add_address(http.hq, "BR1", url)
        reports = Reports(log=lambda _: None, ready=lambda _: None, done=lambda _: None)
        thread = threading.Thread(
            target=run_server,
            args=(http.hq, Listening(host="127.0.0.1", port=0, behind_proxy=True)),
            kwargs={"handlers": MESSAGE_HANDLERS, "rate": 100, "every": 1, "reports": reports, "stop": stop},
        )
        thread.start()
        try:
            assert asked_once.wait(30)
        finally:
            stop.set()
            thread.join(20)
        ended = not thread.is_alive()
        release.set()
        thread.join()
    assert ended


def test_when_one_thread_of_a_delivery_is_stopped_the_others_end_too(
    http: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.link()
    put(http.hq, http.br, *(definition(http.hq, n) for n in range(2)))
    begun = threading.Barrier(2)

    def carry(_self: object, _to: str, _message: Outgoing) -> None:
        if begun.wait(20) == 0:
            raise KeyboardInterrupt
        if http.network.stop.wait(20):
            raise StoppedError("stopped", hint="again")

    monkeypatch.setattr("courier.channel.http_transport.HttpTransport.deliver", carry)
    with pytest.raises((KeyboardInterrupt, StoppedError)):
        deliver(http.hq, Run(network=http.network))
    assert http.network.stop.is_set()


def test_what_breaks_one_delivery_stops_no_round_of_a_server(http: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    http.link()
    put(http.hq, http.br, *(definition(http.hq, n) for n in range(2)))

    def carry(*_: object) -> None:
        raise BusyError("catalogue: database is locked", hint="wait")

    monkeypatch.setattr("courier.channel.delivery._note_waiting", carry)
    monkeypatch.setattr("courier.channel.http_transport.HttpTransport.deliver", carry)
    with pytest.raises(BusyError):
        deliver(http.hq, Run(network=http.network))
    assert not http.network.stop.is_set()
