"""Plain requests for small files are answered at once, and with the same bytes as by the long way; all others go it."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from journey import Home, add, make_home, noise, write_files
from point_client import served

from courier.channel import http_connections
from courier.channel.http_files import plain_authorization, plain_request
from courier.distribution.application import SENT_FROM_HERE, PointService
from courier.distribution.slots import Slots
from formats.documents.point import content_path

LARGEST = noise(SENT_FROM_HERE)
LARGER = noise(SENT_FROM_HERE + 1, 2)


def path_of(data: bytes) -> str:
    return content_path(hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="module")
def hq(quick: Path) -> Home:
    home = make_home(quick, "HQ1")
    add(home, write_files(quick / "files", a=b"small", b=LARGEST, c=LARGER))
    home("point", "add", "P1", quick / "p1", "--reserve", "1MB", "--max-connections", "2")
    home("point", "distribute", "HQ100001", "--point", "P1")
    return home


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The paths that were answered quickly."""
    paths: list[bytes] = []
    real = PointService.quick

    def told(self: PointService, path: bytes, authorization: str, group: str) -> object:
        found = real(self, path, authorization, group)
        if found is not None:
            paths.append(path)
        return found

    monkeypatch.setattr(PointService, "quick", told)
    return paths


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as stream:
        yield stream


def head(data: bytes, *more: str, version: str = "1.1", host: str = "Host: x\r\n", method: str = "GET") -> bytes:
    lines = "".join(f"{line}\r\n" for line in more)
    return f"{method} /{path_of(data)} HTTP/{version}\r\n{host}{lines}\r\n".encode()


def answer(stream: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one answer, of the length that it says."""
    gathered = b""
    while b"\r\n\r\n" not in gathered:
        more = stream.recv(1 << 16)
        assert more, gathered
        gathered += more
    top, _, body = gathered.partition(b"\r\n\r\n")
    length = int(re.findall(rb"(?i)content-length: (\d+)", top)[0])
    while len(body) < length:
        body += stream.recv(1 << 20)
    assert len(body) == length
    return top, body


def without_date(top: bytes) -> list[bytes]:
    return sorted(line for line in top.lower().split(b"\r\n") if not line.startswith(b"date:"))


def test_both_ways_give_the_same_answer(hq: Home, quickly: list[bytes]) -> None:
    with served(hq.path, "P1") as url, connected(url) as stream:
        for data in (b"small", LARGEST, LARGER):
            stream.sendall(head(data))
            fast, body = answer(stream)
            stream.sendall(head(data, "X-Other: 1"))
            slow, same = answer(stream)
            assert body == same == data
            assert without_date(fast) == without_date(slow)
            assert b"\r\ndate: " in fast.lower()
    assert quickly == [f"/{path_of(data)}".encode() for data in (b"small", LARGEST)]


@pytest.mark.parametrize(
    "asked",
    [
        head(b"small", "Content-Length: 5") + b"hello",
        head(b"small", "Content-Length: 0"),
        head(b"small", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head(b"small", "Host: y"),
        head(b"small", host=""),
        head(b"small", version="1.0"),
        head(b"small", "Connection: close"),
        head(b"small", "Connection: upgrade", "Upgrade: h2c"),
        head(b"small", "Expect: 100-continue"),
        head(b"small", "Range: bytes=0-1"),
        head(b"small", "If-None-Match: *"),
        head(b"small", "Accept: a", " folded: b"),
        head(b"small", "Accept : a"),
        head(b"small", "Accept: \x01"),
        head(b"small", method="HEAD"),
        head(b"small", method="get"),
        head(b"small").replace(b" HTTP", b"?x HTTP"),
        head(b"small").replace(b"\r\n", b"\n"),
        head(b"small") + head(b"small"),
        head(b"small")[:20],
        b"GET /point.json HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x/point.json HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_request_with_anything_about_it_goes_the_long_way(hq: Home, quickly: list[bytes], asked: bytes) -> None:
    with served(hq.path, "P1") as url, connected(url) as stream:
        stream.sendall(asked)
        if asked.endswith(b"\r\n\r\n"):
            assert stream.recv(12).startswith(b"HTTP/1.1 ")
        else:
            stream.settimeout(0.3)
            with pytest.raises(TimeoutError):
                while stream.recv(1 << 16):
                    pass
                raise TimeoutError
    assert quickly == []


def test_the_second_half_of_a_head_is_no_request_of_its_own(hq: Home, quickly: list[bytes]) -> None:
    """What ends a head, and looks like a whole one, belongs to the head that began before it."""
    with served(hq.path, "P1") as url, connected(url) as stream:
        stream.sendall(b"POST /point.json HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        time.sleep(0.2)
        stream.sendall(head(b"small"))
        assert stream.recv(12) == b"HTTP/1.1 405"
    with served(hq.path, "P1") as url, connected(url) as stream:
        stream.sendall(b"GET /point.json HTTP/1.1\r\nHost: x\r\nX-Begun: ")
        time.sleep(0.2)
        stream.sendall(head(b"small"))
        assert stream.recv(12) in (b"HTTP/1.1 400", b"HTTP/1.1 200")
    assert quickly == []


def test_a_quick_answer_takes_a_turn_like_any_other(
    hq: Home, quickly: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slots, "is_free_for", lambda _self, _client: False)
    with served(hq.path, "P1") as url, connected(url) as stream:
        stream.sendall(head(b"small"))
        assert answer(stream)[1] == b"small"  # it waited for its turn, which came
    assert quickly == []


def test_a_connection_that_is_silent_after_a_quick_answer_is_closed(hq: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 1.0)
    with served(hq.path, "P1") as url, connected(url) as stream:
        for _ in range(4):  # longer in all than a silence may last
            stream.sendall(head(b"small"))
            assert answer(stream)[1] == b"small"
            time.sleep(0.4)
        assert stream.recv(1) == b""


def test_what_counts_as_plain() -> None:
    assert plain_request(head(b"small")) == (f"/{path_of(b'small')}".encode(), b"Host: x\r\n")
    assert plain_authorization(b"Host: x\r\nUser-Agent: curl\r\nConnection: Keep-Alive\r\n") == ""
    assert plain_authorization(b"Host: x\r\nAuthorization:  Bearer abc \r\n") == "Bearer abc"
    assert plain_authorization(b"Host: x\r\nAuthorization: a\r\nauthorization: b\r\n") is None
    assert plain_authorization(b"Host:  \r\n") is None
