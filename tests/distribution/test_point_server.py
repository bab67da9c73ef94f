"""A point over HTTP: ours and a real nginx serve the same bytes, parts of them, and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pytest
from http_requests import certificate
from journey import Home, add, environment, make_home, noise, run, write_files
from point_client import served, take_all
from stock import stock_tool

from courier.channel import http_connections, http_files
from courier.channel.http_server import Listening
from courier.distribution import serve
from courier.errors import NotFoundError, RefusedError, UsageError
from formats.blocks import BLOCK
from formats.documents.point import blocks_path, content_path

BIG = noise(24 * BLOCK + 77)
BIG_SHA = hashlib.sha256(BIG).hexdigest()
BIG_PATH = "/" + content_path(BIG_SHA)
SMALL_PATH = "/" + content_path(hashlib.sha256(b"small").hexdigest())


@pytest.fixture(scope="module")
def hq(quick: Path) -> Home:
    """A site whose point P1 holds a package; its folder has a planted link and a stray file."""
    home = make_home(quick, "HQ1")
    add(home, write_files(quick / "files", image_wim=BIG, small=b"small", empty=b""))
    home("point", "add", "P1", quick / "p1", "--reserve", "1MB", "--max-connections", "200")
    home("point", "distribute", "HQ100001", "--point", "P1")
    (quick / "p1" / "README").write_text("stray")
    (quick / "p1" / "content" / "aa").mkdir(exist_ok=True)
    (quick / "p1" / "content" / "aa" / ("a" * 64)).symlink_to(quick / "HQ1" / "card.json")
    (quick / "p1" / "listings" / ("b" * 64)).symlink_to(quick / "HQ1" / "card.json")
    return home


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(url: str, path: str, method: str = "GET", **headers: str) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        named = {name.lower(): text for name, text in answer.getheaders()}
        return Answer(status=answer.status, headers=named, body=answer.read())
    finally:
        connection.close()


@contextlib.contextmanager
def by_nginx(home: Home, name: str) -> Iterator[str]:
    """The point, served by nginx with the configuration that courier prints."""
    program = stock_tool("nginx")
    folder = home.path.parent / f"nginx-{name}"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    printed = run("point", "config", name, "--nginx", "--bind", f"127.0.0.1:{port}", "--home", home.path).out
    # Its own folders for what it spools, so that no installed nginx is needed, nor touched.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    spools = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    conf = folder / "point.conf"
    conf.write_text(printed.replace("http {", f"http {{ {spools}", 1))
    user = "user root; " if os.geteuid() == 0 else ""
    more = f"{user}daemon off; pid {folder}/pid; error_log {folder}/log;"
    process = subprocess.Popen([program, "-p", folder, "-e", folder / "log", "-c", conf, "-g", more])
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["courier", "nginx"])
def url(hq: Home, request: pytest.FixtureRequest) -> Iterator[str]:
    with served(hq.path, "P1") if request.param == "courier" else by_nginx(hq, "P1") as found:
        yield found


@pytest.fixture(scope="module")
def ours(hq: Home) -> Iterator[str]:
    with served(hq.path, "P1") as found:
        yield found


# --- both -----------------------------------------------------------------------------------------------------------


def test_a_client_gets_every_file_of_the_point_verified(hq: Home, url: str) -> None:
    def fetch(path: str, _most: int, /) -> BinaryIO:
        answer = ask(url, f"/{path}")
        if answer.status == 404:
            raise NotFoundError(path, hint="")
        assert answer.status == 200
        return io.BytesIO(answer.body)

    _, held = take_all(fetch, hq.path.parent / "HQ1.card")
    assert held == {"HQ100001:1": {"image.wim": BIG, "small": b"small", "empty": b""}}
    seen = hq("point", "show", "P1")
    assert seen["served"] is None


def test_head_tells_what_get_would(url: str) -> None:
    for path in ("/point.json", BIG_PATH, f"/{blocks_path(BIG_SHA)}", "/definitions/HQ100001-1.json"):
        head, whole = ask(url, path, "HEAD"), ask(url, path)
        assert (head.status, head.body, whole.status) == (200, b"", 200)
        for name in ("content-length", "etag", "cache-control", "accept-ranges", "content-type"):
            assert head.headers[name] == whole.headers[name]
        assert int(head.headers["content-length"]) == len(whole.body)
        assert "date" in whole.headers
        never_changes = not path.endswith(".json")
        assert ("immutable" in whole.headers["cache-control"]) == never_changes
        assert never_changes or whole.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        (f"bytes={BLOCK}-", BLOCK, len(BIG)),
        ("bytes=-7", len(BIG) - 7, len(BIG)),
        ("bytes=0-999999999999", 0, len(BIG)),
        ("bytes=-999999999999", 0, len(BIG)),
    ],
)
def test_a_part_of_a_file(url: str, asked: str, begin: int, end: int) -> None:
    answer = ask(url, BIG_PATH, Range=asked)
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(BIG)}"
    assert answer.headers["content-length"] == str(end - begin)
    assert answer.body == BIG[begin:end]


def test_several_parts_of_a_file(url: str) -> None:
    answer = ask(url, BIG_PATH, Range="bytes=0-9,100-299, -5")
    assert answer.status == 206
    assert int(answer.headers["content-length"]) == len(answer.body)
    kind = answer.headers["content-type"]
    message = BytesParser().parsebytes(b"Content-Type: %b\r\n\r\n%b" % (kind.encode(), answer.body))
    boundary = re.findall(r"boundary=(\S+)", kind)[0].encode()
    parts = answer.body.split(b"\r\n--" + boundary)[1:-1]
    found = [(re.findall(rb"Content-Range: (.*?)\r\n", part)[0], part.partition(b"\r\n\r\n")[2]) for part in parts]
    size = len(BIG)
    assert message.is_multipart()
    assert found == [
        (f"bytes 0-9/{size}".encode(), BIG[:10]),
        (f"bytes 100-299/{size}".encode(), BIG[100:300]),
        (f"bytes {size - 5}-{size - 1}/{size}".encode(), BIG[-5:]),
    ]


def test_what_is_not_there_of_a_file_is_said(url: str) -> None:
    answer = ask(url, BIG_PATH, Range=f"bytes={len(BIG)}-")
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(BIG)}")


def test_a_part_counts_only_of_the_file_the_client_has_begun(url: str) -> None:
    tag = ask(url, BIG_PATH, "HEAD").headers["etag"]
    assert not tag.startswith("W/")
    assert ask(url, BIG_PATH, Range="bytes=5-9", If_Range=tag).status == 206
    changed = ask(url, BIG_PATH, Range="bytes=5-9", If_Range='"another"')
    assert (changed.status, len(changed.body)) == (200, len(BIG))
    assert ask(url, BIG_PATH, If_None_Match=tag).status == 304
    assert ask(url, BIG_PATH, If_None_Match='"another"').status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/README",
        "/.courier/point",
        "/.courier/new/",
        "/content/",
        "/content/aa/",
        "/listings/",
        "/point.json/",
        "//point.json",
        "/./point.json",
        "/Point.json",
        "/point%2ejson",
        f"/content/aa/{'a' * 64}",  # a planted link
        f"/listings/{'b' * 64}",
        f"/content/ab/{'c' * 64}",  # no folder for it
        BIG_PATH.upper().replace("/CONTENT", "/content"),
        BIG_PATH + "x",
        BIG_PATH.replace("/content/", "/content//"),
        "/../HQ1/card.json",
        "/content/../../HQ1/card.json",
        "/content/..%2f..%2fHQ1%2fcard.json",
        "/content/%2e%2e/%2e%2e/HQ1/card.json",
        "/definitions/../point.json%00",
        "/definitions/HQ100001-9.json",
        "/" + "a" * 5000,
    ],
)
def test_nothing_else_is_served(url: str, path: str) -> None:
    answer = ask(url, path)
    harmless = path in ("//point.json", "/./point.json", "/point%2ejson", BIG_PATH.replace("/content/", "/content//"))
    if "server" in answer.headers and harmless:
        return  # nginx puts such paths right before it compares them; it is the same file
    assert answer.status in (400, 403, 404)
    assert b"HQ1" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_is_taken(hq: Home, url: str, method: str) -> None:
    for path in ("/point.json", BIG_PATH):
        assert ask(url, path, method).status in (403, 405)
    assert (hq.path.parent / "p1" / "point.json").exists()


def test_fifty_clients_at_once_get_the_right_bytes(url: str) -> None:
    def client(number: int) -> bool:
        begin = number * 1000
        whole = ask(url, BIG_PATH).body == BIG if number % 5 == 0 else True
        part = ask(url, BIG_PATH, Range=f"bytes={begin}-{begin + 4 * BLOCK - 1}")
        return whole and part.status == 206 and part.body == BIG[begin : begin + 4 * BLOCK]

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(client, range(50)))


# --- ours -----------------------------------------------------------------------------------------------------------


def test_entity_tags_are_digests_and_so_the_same_at_every_point(hq: Home, ours: str) -> None:
    assert ask(ours, BIG_PATH, "HEAD").headers["etag"] == f'"{BIG_SHA}"'
    statement = (hq.path.parent / "p1" / "point.json").read_bytes()
    answer = ask(ours, "/point.json")
    assert (answer.body, answer.headers["etag"]) == (statement, f'"{hashlib.sha256(statement).hexdigest()}"')


@pytest.mark.parametrize("asked", ["bytes=a-b", "bytes=9-5", "lines=1-2", "bytes", "bytes=1-2;3-4"])
def test_a_range_that_is_none_is_passed_over(ours: str, asked: str) -> None:
    answer = ask(ours, SMALL_PATH, Range=asked)
    assert (answer.status, answer.body) == (200, b"small")


def test_many_or_overlapping_ranges_are_refused_and_cost_nothing(ours: str) -> None:
    assert ask(ours, BIG_PATH, Range="bytes=" + ",".join(["0-"] * 30)).status == 416
    assert ask(ours, BIG_PATH, Range="bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2))).status == 416


def test_several_requests_go_over_one_connection(ours: str) -> None:
    parts = urlsplit(ours)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    for _ in range(3):
        for path, data in ((BIG_PATH, BIG), (SMALL_PATH, b"small")):
            connection.request("GET", path)
            assert connection.getresponse().read() == data
    connection.close()


def test_a_file_that_gets_shorter_while_it_is_sent_ends_the_connection(hq: Home, quick: Path) -> None:
    copy = quick / "short"
    shutil.copytree(quick / "p1", copy, symlinks=True)
    (copy / ".courier" / "point").unlink()
    (copy / "README").unlink()
    hq("point", "add", "SHORT", copy, "--reserve", "1MB")
    with served(hq.path, "SHORT") as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as stream:
            stream.sendall(f"GET {BIG_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = len(stream.recv(1000))
            os.truncate(copy / BIG_PATH[1:], 1000)
            while data := stream.recv(1 << 20):
                received += len(data)
        assert received < len(BIG)
        assert ask(url, SMALL_PATH).body == b"small"


@contextlib.contextmanager
def held_open(url: str, *, token: str = "") -> Iterator[None]:
    """A transfer that has begun and goes on no further."""
    parts = urlsplit(url)
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.settimeout(10)
        stream.connect((parts.hostname or "", parts.port or 0))
        shown = f"Authorization: Bearer {token}\r\n" if token else ""
        stream.sendall(f"GET {BIG_PATH} HTTP/1.1\r\nHost: x\r\n{shown}\r\n".encode())
        assert stream.recv(12) == b"HTTP/1.1 200"
        yield


def test_transfers_are_limited_and_no_client_takes_them_all(hq: Home, quick: Path) -> None:
    tokens = quick / "tokens"
    names = {name: f"{name}-token-0123456789" for name in ("a", "b", "c")}
    tokens.write_text("# clients\n" + "\n".join(f"{name} {token}" for name, token in names.items()))
    tokens.chmod(0o600)
    hq("point", "add", "FEW", quick / "few", "--reserve", "1MB", "--max-connections", "2")
    hq("point", "distribute", "HQ100001", "--point", "FEW")

    with served(hq.path, "FEW", token_file=tokens) as url:

        def get(client: str, method: str = "GET") -> Answer:
            return ask(url, SMALL_PATH, method, Authorization=f"Bearer {names[client]}")

        with held_open(url, token=names["a"]):
            greedy = get("a")
            assert (greedy.status, greedy.headers["retry-after"]) == (429, "5")
            assert get("b").body == b"small"
            with held_open(url, token=names["b"]):
                full = get("c")
                assert (full.status, full.headers["retry-after"]) == (503, "5")
                assert get("c", "HEAD").status == 200
        assert get("c").body == b"small"
        # Tokens.
        assert ask(url, SMALL_PATH).status == 401
        assert ask(url, SMALL_PATH, Authorization="Bearer nobody-0123456789").status == 401
        assert ask(url, SMALL_PATH, Authorization=f"Basic {names['a']}").status == 401
        assert ask(url, SMALL_PATH).headers["www-authenticate"].startswith("Bearer")
        tokens.write_text(f"b {names['b']}\n")
        assert (get("a").status, get("b").status) == (401, 200)


def test_a_client_that_takes_nothing_is_cut_off(hq: Home, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_files, "ANSWER_SECONDS", 0.5)
    hq("point", "add", "ONE", quick / "one", "--reserve", "1MB", "--max-connections", "1")
    hq("point", "distribute", "HQ100001", "--point", "ONE")
    with served(hq.path, "ONE") as url, held_open(url):
        assert ask(url, SMALL_PATH).body == b"small"  # it waits for its turn, which comes


def test_one_address_does_not_take_all_connections(hq: Home, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "MORE_CONNECTIONS", 5)
    hq("point", "add", "NARROW", quick / "narrow", "--reserve", "1MB", "--max-connections", "1")
    hq("point", "distribute", "HQ100001", "--point", "NARROW")
    with served(hq.path, "NARROW") as url, contextlib.ExitStack() as stack:
        parts = urlsplit(url)
        idle = [
            stack.enter_context(socket.create_connection((parts.hostname or "", parts.port or 0), 10)) for _ in range(3)
        ]
        assert ask(url, SMALL_PATH).body == b"small"
        assert idle[0].recv(1) == b""  # the oldest of four gave way


def test_tokens_do_not_travel_in_clear_and_are_kept_from_others(hq: Home, quick: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a token-of-sixteen-characters\n")
    tokens.chmod(0o644)
    with pytest.raises(RefusedError, match="read by others"), served(hq.path, "P1", token_file=tokens):
        pass
    tokens.chmod(0o600)
    everywhere = Listening(host="0.0.0.0", port=0)
    with (
        pytest.raises(RefusedError, match="unencrypted"),
        served(hq.path, "P1", token_file=tokens, listening=everywhere),
    ):
        pass
    for text in ("", "# none\n", "short\n", "a b token-of-sixteen-characters\n"):
        tokens.write_text(text)
        with pytest.raises(UsageError), served(hq.path, "P1", token_file=tokens):
            pass


def test_small_answers_are_not_held_back_by_the_network_stack(hq: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that waits for more to send delays each small answer by 40 ms."""
    no_delay: list[int] = []
    made = http_files.FileProtocol.connection_made

    def connection_made(self: http_files.FileProtocol, transport: Any) -> None:
        stream = transport.get_extra_info("socket")
        no_delay.append(stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(self, transport)

    monkeypatch.setattr(http_files.FileProtocol, "connection_made", connection_made)
    with served(hq.path, "P1") as url:
        assert ask(url, SMALL_PATH).body == b"small"
    assert all(no_delay)
    assert no_delay


def test_it_is_served_over_tls_as_well(hq: Home, quick: Path) -> None:
    folder = quick / "tls"
    folder.mkdir()
    cert, key = certificate(folder)
    with served(hq.path, "P1", listening=Listening(host="127.0.0.1", port=0, cert=cert, key=key)) as url:
        parts = urlsplit(url)
        trust = ssl.create_default_context(cafile=str(cert))
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=30, context=trust)
        for asked, data in (({}, BIG), ({"Range": "bytes=5-9"}, BIG[5:10])):
            connection.request("GET", BIG_PATH, headers=asked)
            assert connection.getresponse().read() == data
        connection.close()
    with pytest.raises(UsageError), served(hq.path, "P1", listening=Listening(host="127.0.0.1", port=0, cert=cert)):
        pass


def test_a_slow_client_over_tls_gets_the_whole_file(hq: Home, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is never read to the end for as long as it lasts, and that is no reason to cut it."""
    monkeypatch.setattr(http_connections, "ANSWER_SECONDS", 0.4)
    folder = quick / "slow-tls"
    folder.mkdir()
    cert, key = certificate(folder)
    with served(hq.path, "P1", listening=Listening(host="127.0.0.1", port=0, cert=cert, key=key)) as url:
        parts = urlsplit(url)
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(10)
        plain.connect((parts.hostname or "", parts.port or 0))
        trust = ssl.create_default_context(cafile=str(cert))
        with trust.wrap_socket(plain, server_hostname=parts.hostname) as stream:
            stream.sendall(f"GET {BIG_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            received, until = bytearray(), time.monotonic() + 1.5
            while data := stream.recv(1 << 16):
                received += data
                if time.monotonic() < until:
                    time.sleep(0.02)
    assert bytes(received).endswith(BIG)


@pytest.mark.parametrize(
    ("length", "seconds", "following"),
    [
        (http_files.FIRST_SLICE, 0.1, 2 * http_files.FIRST_SLICE),
        (http_files.SLICE, 0.1, http_files.SLICE),
        (http_files.SLICE, 5.0, http_files.SLICE),
        (http_files.SLICE, 60.0, http_files.SLICE // 2),
        (http_files.FIRST_SLICE, 60.0, http_files.FIRST_SLICE),
    ],
)
def test_a_slow_client_has_as_long_for_fewer_bytes(length: int, seconds: float, following: int) -> None:
    assert http_files._next_slice(length, seconds) == following


def test_show_says_what_the_url_serves(hq: Home, quick: Path, ours: str) -> None:
    hq("point", "add", "SEEN", quick / "seen", "--reserve", "1MB", "--url", ours)
    assert hq("point", "show", "SEEN")["served"] == {
        "reached": True,
        "newest": False,
        "ranges": True,
        "problem": "",
    }
    assert "older or another" in hq.says("point", "show", "SEEN")
    hq("point", "remove", "SEEN")
    (quick / "seen").rename(quick / "gone")
    hq("point", "add", "SEEN", quick / "seen", "--reserve", "1MB", "--url", "http://127.0.0.1:1/")
    assert hq("point", "show", "SEEN")["served"]["reached"] is False
    assert hq("point", "show", "SEEN", "--no-ask")["served"] is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="elsewhere: memory is read from /proc")
def test_the_command_serves_fifty_clients_in_little_memory_and_ends_when_told(hq: Home) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "courier", "point", "serve", "P1", "--bind", "127.0.0.1:0", "--home", hq.path],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert process.stdout is not None
        url = re.findall(r"http://\S+:\d+", process.stdout.readline())[0]
        ask(url, BIG_PATH)
        before = _most_memory(process.pid)

        def client(_number: int) -> bool:
            return ask(url, BIG_PATH).body == BIG

        with ThreadPoolExecutor(50) as pool:
            assert all(pool.map(client, range(50)))
        assert _most_memory(process.pid) - before < 16 << 20
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "ended" in process.stdout.read()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _most_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) << 10


def test_nginx_looks_for_content_in_every_folder_of_a_point(
    hq: Home, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from courier.distribution import fill

    hq("point", "add", "TWO", quick / "two 1", "--folder", quick / "two 2", "--reserve", "0%")
    monkeypatch.setattr(fill, "disk_of", lambda path: int(path.name[-1]))
    monkeypatch.setattr(fill, "free_space", lambda path: (2 << 20) if path.name[-1] == "1" else 1 << 40)
    hq("point", "distribute", "HQ100001", "--point", "TWO")
    assert (quick / "two 2" / BIG_PATH[1:]).exists()
    with served(hq.path, "TWO") as ours, by_nginx(hq, "TWO") as nginx:
        for url in (ours, nginx):
            assert ask(url, BIG_PATH).body == BIG
            assert ask(url, SMALL_PATH).body == b"small"
            assert ask(url, BIG_PATH, Range="bytes=5-9").body == BIG[5:10]
            assert ask(url, "/" + content_path("d" * 64)).status == 404


def test_a_path_that_nginx_cannot_be_told_is_refused(hq: Home, quick: Path) -> None:
    hq("point", "add", "ODD", quick / 'a"b$c', "--reserve", "1MB")
    assert hq.fails("point", "config", "ODD", "--nginx", code=2)
    assert hq.fails("point", "config", "P1", code=2)
