"""The HTTPS transport against servers that are broken or mean harm: nothing is taken, and it always ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx
from channel_network import Pair, definition, put, state

from courier.channel.addresses import Wishes, add_address
from courier.channel.http_transport import HttpTransport
from courier.channel.transport import Outgoing
from courier.errors import CourierError, UnreachableError
from courier.site.outbox import PART

ROOT = Path(__file__).resolve().parents[2]
NAME = hashlib.sha256(b"message").hexdigest()


def test_a_client_is_not_led_astray_by_a_bad_server(http: Pair) -> None:
    class Bad(httpx.BaseTransport):
        def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.reply = status, body, headers

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            status, body, headers = self.reply
            return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body), request=request)

    bad = [
        (200, b"\x00" * (3 * PART), {}),
        (200, b"[" * 100_000, {}),
        (200, b'{"messages":[{"message":"../../x","size":1},{"message":7},3],"more":true}', {}),
        (200, b'{"messages":[{"message":"%s","size":5}],"more":true}' % NAME.encode(), {}),
        (206, b"xxxxx", {"content-range": "bytes 0-4/5"}),
        (302, b"", {"location": "http://elsewhere/"}),
        (500, b"\xff", {}),
        (429, b"", {"retry-after": "1e9"}),
        (202, b'{"offset":0}', {}),
        (202, b'{"offset":-5}', {}),
        (409, b'{"offset":99999999}', {}),
    ]
    for status, body, headers in bad:
        transport = http.transport(http.hq, http.br)
        transport._client._http._transport = Bad(status, body, headers)  # type: ignore[attr-defined]
        fetched: list[Any] = []
        with contextlib.suppress(CourierError):
            fetched = list(transport.fetch("HQ1"))
        assert fetched == []
        with pytest.raises(CourierError):
            transport.deliver("BR1", Outgoing.of(bytes(PART + 1)))
        transport.done("HQ1", NAME)


class Strange(httpx.BaseTransport):
    """A server that answers with what it is given; ``asked`` counts requests, ``sent`` bytes of bodies."""

    def __init__(self, status: int, body: Callable[[], Iterator[bytes]]) -> None:
        self.status, self.body, self.asked, self.sent = status, body, 0, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(self.status, stream=Trickle(self), request=request)


class Trickle(httpx.SyncByteStream):
    def __init__(self, server: Strange) -> None:
        self.server = server

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.server.body():
            self.server.sent += len(piece)
            yield piece


def asking(pair: Pair, server: Strange) -> HttpTransport:
    transport = pair.transport(pair.hq, pair.br)
    assert isinstance(transport, HttpTransport)
    transport._client._http._transport = server
    return transport


def test_an_answer_that_trickles_is_given_up(http: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courier.channel.http_client.REQUEST_SECONDS", 0)
    server = Strange(200, lambda: (b" " for _ in range(60_000)))
    with pytest.raises(UnreachableError, match=r"too slow; .* --cap"):
        list(asking(http, server).fetch("HQ1"))
    assert server.sent < 10


def test_a_server_that_lists_without_end_what_it_does_not_give_is_left(http: Pair) -> None:
    server = Strange(200, lambda: iter([]))

    def listing() -> Iterator[bytes]:
        if server.asked > 50:
            raise httpx.ReadError("the client asks without end")
        yield json.dumps({"messages": [{"message": f"{server.asked:064x}", "size": 5}], "more": True}).encode()

    server.body = listing
    transport = asking(http, server)
    transport._download = lambda *_: None  # type: ignore[method-assign]
    assert list(transport.fetch("HQ1")) == []


def test_what_does_not_come_there_in_time_is_told_with_its_remedy(http: Pair) -> None:
    with pytest.raises(UnreachableError, match=r"in time; .* --cap"):
        asking(http, Strange(408, lambda: iter([]))).deliver("BR1", Outgoing.of(b"x"))


def test_a_small_message_comes_in_parts_where_the_server_keeps_to_a_slow_pulse(http: Pair) -> None:
    add_address(http.hq, "BR1", "poll", Wishes(pulse="1KB/60s"))
    add_address(http.br, "HQ1", http.way(http.br, http.hq))
    (name,) = put(http.hq, http.br, definition(http.hq, filler="x" * 900))
    told: list[tuple[str, str]] = []
    for _ in range(20):
        (done,) = http.sync(http.br)
        assert done.unreachable == ()
        if done.taken:
            break
        told += done.held
        http.clock.sleep(61)
    assert len(told) > 1
    assert {code for code, _ in told} == {"HQ1"}
    assert "the next piece may go in 60 s, by the limits of this address" in told[0][1]
    assert state(http.br, name, "in") == "taken"


def test_an_upload_is_not_begun_at_what_is_no_server_of_ours(http: Pair) -> None:
    server = Strange(200, lambda: iter([b"<html>Please log in</html>"]))
    with pytest.raises(UnreachableError, match="what no courier server says"):
        asking(http, server).deliver("BR1", Outgoing.of(bytes(PART + 1)))
    assert server.asked == 1
