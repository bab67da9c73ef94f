"""The server on real sockets: slow and broken requests, TLS, faults of our own, and the command that serves."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.error_codes import Code

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from channel_network import Clock, Pair, came, definition, put
from http_requests import Forge, Running, certificate, client, raw, running, talk, tampered
from journey import run, started_with

from courier.channel import http_application, http_connections
from courier.channel.addresses import Wishes, add_address
from courier.channel.fetch import open_inbox
from courier.channel.http_api import OPERATIONS
from courier.channel.http_application import Service, make_service
from courier.channel.http_server import Listening, check_listening, parse_bind, serve
from courier.channel.inbox import Inbox
from courier.channel.openapi import description
from courier.channel.serve import Reports, run_server
from courier.channel.server_desk import ServerDesk
from courier.channel.sync import synchronise
from courier.channel.transport import Outgoing
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import BusyError, CourierError, NotFoundError, UnreachableError, UsageError
from courier.site.catalog import messages
from courier.site.home import Site
from courier.site.outbox import PART, enqueue

ROOT = Path(__file__).resolve().parents[2]
NAME = hashlib.sha256(b"message").hexdigest()

pytestmark = pytest.mark.usefixtures("no_reports")


@pytest.fixture
def up(http: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(http_application, "BODY_SECONDS", 1.0)
    with running(http.br) as found:
        yield found


def test_messages_of_all_sizes_through_a_real_socket(http: Pair, up: Running) -> None:
    transport = client(http, up.url)
    bodies = [b"x", b"y" * 100_000, bytes(2 * PART + 5)]
    for body in bodies:
        transport.deliver("BR1", Outgoing.of(body))
    transport.close()
    assert sorted(body for _, body in came(http.br)) == sorted(bodies)


def test_garbage_slow_half_sent_and_oversized_requests(http: Pair, up: Running) -> None:
    forge = Forge(pair=http)
    http.clock.ns = Clock().ns
    assert b"400" in talk(up.port, b"\x16\x03\x01\x02\x00garbage\r\n\r\n")
    assert talk(up.port, b"GET /v1/health HTTP/1.1\r\nhost:") == b""  # a head that never ends
    assert talk(up.port) == b""  # nothing at all
    assert b"HTTP/1.1 4" in talk(up.port, b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000)
    half = forge.put(b"m" * 1000)
    assert b"408" in talk(up.port, raw(half, b"m" * 500))  # and then silence
    gone = forge.put(b"n" * 1000)
    with socket.create_connection(("127.0.0.1", up.port)) as wire:
        wire.sendall(raw(gone, b"n" * 500))
    long = forge.put(b"p" * 10)
    longer = talk(up.port, raw(tampered(long, "content-length", "20"), b"p" * 20))
    assert b"wrong-digest" in longer
    assert b"too-large" in talk(up.port, raw(tampered(forge.put(), "content-length", str(PART + 1)), b""))
    assert came(http.br) == []
    transport = client(http, up.url)  # and it serves on
    transport.deliver("BR1", Outgoing.of(b"good"))
    assert [body for _, body in came(http.br)] == [b"good"]
    assert up.log.count("refused a request of HQ1: its body did not come") == 1
    assert up.log.count("127.0.0.1: what came is no HTTP request") == 1


def test_a_fault_of_our_own_is_told_as_one_and_logged_with_its_reason(
    http: Pair, up: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "store", full)
        with pytest.raises(UnreachableError, match="503"):
            client(http, up.url).deliver("BR1", Outgoing.of(b"good"))
    assert any("No space left on device" in line for line in up.log)
    client(http, up.url).deliver("BR1", Outgoing.of(b"good"))
    assert len(came(http.br)) == 1


def test_a_catalogue_that_fails_before_a_site_is_known_is_told_and_logged_too(
    http: Pair, up: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise CourierError("catalogue: the server closed the connection", hint="check it", code=Code.CATALOGUE)

    with monkeypatch.context() as patch:
        patch.setattr(ServerDesk, "key", gone)
        with pytest.raises(UnreachableError, match="503"):
            client(http, up.url).deliver("BR1", Outgoing.of(b"good"))
    assert any("the server closed the connection" in line for line in up.log)
    client(http, up.url).deliver("BR1", Outgoing.of(b"good"))
    assert len(came(http.br)) == 1


def test_many_idle_connections_do_not_keep_others_out(http: Pair, up: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", up.port)))
        client(http, up.url).deliver("BR1", Outgoing.of(b"good"))
    assert len(came(http.br)) == 1


def test_health_and_description_are_for_everyone_and_say_nothing_of_the_site(http: Pair, up: Running) -> None:
    health = talk(up.port, b"GET /v1/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert health.endswith(b'{"status":"ok"}')
    text = talk(up.port, b"GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert json.loads(text.partition(b"\r\n\r\n")[2]) == json.loads(json.dumps(description(OPERATIONS)))
    assert b"BR1" not in health + text
    assert not re.search(rb"(?i)\r\nserver:", health)
    answers = {
        talk(up.port, f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        for method in ("GET", "PUT", "DELETE", "POST", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get")
        for path in ("/", "/v1/messages", f"/v1/messages/{NAME}", "/v1/health/", "/v1/%68ealth", "/admin", "*")
    }
    answers |= {
        talk(up.port, f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        for method in ("PUT", "POST", "HEAD", "OPTIONS")
        for path in ("/v1/health", "/v1/openapi.json", "/v1/health?x=y")
    }
    assert len(answers) == 1
    assert answers.pop().startswith(b"HTTP/1.1 401 ")


def test_own_certificate_and_a_client_that_trusts_it(http: Pair, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with running(http.br, Listening(host="127.0.0.1", port=0, cert=cert, key=key)) as found:
        assert found.url.startswith("https://")
        trusting = client(http, found.url, ca=str(cert))
        trusting.deliver("BR1", Outgoing.of(b"sealed on the way"))
        trusting.close()
        with pytest.raises(UnreachableError, match=r"certificate is not accepted: self-signed .* --ca FILE"):
            client(http, found.url).deliver("BR1", Outgoing.of(b"x"))
        with pytest.raises(UsageError, match="no certificates"):
            add_address(http.hq, "BR1", found.url, Wishes(ca=key))
        with pytest.raises(UnreachableError):
            client(http, found.url.replace("https", "http")).deliver("BR1", Outgoing.of(b"x"))
    with running(http.br) as plain, pytest.raises(UnreachableError, match="does not speak TLS"):
        client(http, plain.url.replace("http", "https")).deliver("BR1", Outgoing.of(b"x"))
    assert len(came(http.br)) == 1
    swapped = Listening(host="127.0.0.1", port=0, cert=key, key=cert)
    with pytest.raises(UsageError):
        serve(_service(http.br), swapped)


def _service(site: Site) -> Service:
    return make_service(ServerDesk(site, arrived=lambda: None), open_inbox(site), log=lambda _: None)


def test_where_to_listen_is_checked(http: Pair, tmp_path: Path) -> None:
    assert parse_bind("[::1]:8423") == ("::1", 8423)
    for bad in ("8423", ":1", "host:", "host:65536", "host:x"):
        with pytest.raises(UsageError):
            parse_bind(bad)
    for listening in (Listening(host="x", port=1), Listening(host="x", port=1, cert=tmp_path, behind_proxy=True)):
        with pytest.raises(UsageError):
            check_listening(listening)
    with pytest.raises(NotFoundError):
        check_listening(Listening(host="x", port=1, cert=tmp_path / "no", key=tmp_path / "no"))
    with running(http.br) as found, pytest.raises(BusyError, match="in use"):
        serve(_service(http.br), Listening(host="127.0.0.1", port=found.port, behind_proxy=True))


def test_the_server_takes_in_what_comes_and_makes_its_rounds(http: Pair) -> None:
    up, stop = threading.Event(), threading.Event()
    urls: list[str] = []
    taken = threading.Event()

    def ready(url: str) -> None:
        urls.append(url)
        up.set()

    add_address(http.br, "HQ1", "poll")
    thread = threading.Thread(
        target=run_server,
        args=(http.br, Listening(host="127.0.0.1", port=0, behind_proxy=True)),
        kwargs={
            "handlers": MESSAGE_HANDLERS,
            "rate": 100,
            "every": 1,
            "reports": Reports(
                log=lambda _: None, ready=ready, done=lambda exchange: taken.set() if exchange.taken else None
            ),
            "stop": stop,
        },
    )
    thread.start()
    try:
        assert up.wait(20)
        add_address(http.hq, "BR1", urls[0], Wishes())
        envelope = definition(http.hq)
        with http.hq.catalogue.writing() as connection:
            enqueue(connection, envelope, "BR1")
        assert synchronise(http.hq, handlers=MESSAGE_HANDLERS).delivered == 1
        assert taken.wait(20)
        for _ in range(50):
            synchronise(http.hq, handlers=MESSAGE_HANDLERS)
            with http.hq.catalogue.reading() as connection:
                if not messages.due(connection, 1 << 62):
                    break
        else:
            pytest.fail("not acknowledged")
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="elsewhere: Windows has no SIGTERM to send")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_cleanly_when_it_is_told_to(http: Pair, number: signal.Signals) -> None:
    command = [*started_with(number), "channel", "serve", "--bind", "127.0.0.1:0", "--behind-proxy"]
    with subprocess.Popen(
        [*command, "--json-lines", "--home", str(http.br.home)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        client(http, line["url"]).deliver("BR1", Outgoing.of(b"x"))
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(30) == 0
    assert '"ended": true' in rest
    log = (http.br.home / "log/courier.log").read_text()
    assert " channel serve: begun\n" in log
    assert " channel serve: done in " in log


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="elsewhere: Linux has a disk that is always full")
def test_a_server_whose_output_cannot_be_written_takes_in_what_comes_and_can_be_stopped(http: Pair) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    add_address(http.br, "HQ1", "poll")
    add_address(http.hq, "BR1", f"http://127.0.0.1:{port}")
    command = [sys.executable, "-m", "courier", "channel", "serve", "--bind", f"127.0.0.1:{port}", "--behind-proxy"]
    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen([*command, "--home", str(http.br.home)], stdout=full, stderr=full, cwd=ROOT) as process,
    ):
        try:
            for number in range(2):  # what is said of the first ended the taking in of the second
                put(http.hq, http.br, definition(http.hq, number + 1))
                for _ in range(100):
                    synchronise(http.hq, handlers=MESSAGE_HANDLERS)
                    with http.hq.catalogue.reading() as connection:
                        if not messages.live(connection, "BR1"):
                            break
                    time.sleep(0.1)
                else:
                    pytest.fail("not acknowledged")
            process.terminate()
            process.wait(20)
        finally:
            process.kill()
    lines = (http.br.home / "log/courier.log").read_text().splitlines()
    assert sum(" channel serve: message " in line and "(package) from HQ1 taken in" in line for line in lines) == 2


def test_without_the_extra_the_folder_works_and_https_says_what_is_missing(tmp_path: Path) -> None:
    script = f"""
import sys
for name in ("httpx", "starlette", "uvicorn"):
    sys.modules[name] = None
from pathlib import Path
from courier.site.home import create_site
from courier.site.peers import pin_card
from courier.channel.addresses import Wishes, add_address
from courier.channel.sync import synchronise
from courier.channel.http_server import Listening
from courier.channel.serve import Reports, run_server
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import NotFoundError
root = Path({str(tmp_path)!r})
a, b = (create_site(root / code, code=code, name=code) for code in ("AA1", "BB1"))
pin_card(a, b.card_envelope, fingerprint=b.card.fingerprint)
add_address(a, "BB1", str(root))
synchronise(a, handlers=MESSAGE_HANDLERS)
for act in (
    lambda: add_address(a, "BB1", "https://x"),
    lambda: run_server(a, Listening(host="127.0.0.1", port=0, behind_proxy=True), handlers=MESSAGE_HANDLERS,
                       rate=1, every=0, reports=Reports(log=print, ready=print, done=print)),
):
    try:
        act()
    except NotFoundError as error:
        print(error.code, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.splitlines() == ["extra-missing pip install 'courier-parcels[channel]'"] * 2, done.stderr


def test_the_log_of_the_server_has_time_site_and_kind_of_each_message(http: Pair) -> None:
    command = [*started_with(signal.SIGTERM), "channel", "serve", "--bind", "127.0.0.1:0", "--behind-proxy"]
    add_address(http.br, "HQ1", "poll")
    put(http.br, http.hq, definition(http.br))
    with subprocess.Popen(
        [*command, "--json-lines", "--home", str(http.br.home)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        assert process.stdout is not None
        add_address(http.hq, "BR1", json.loads(process.stdout.readline())["url"], Wishes())
        put(http.hq, http.br, definition(http.hq))
        seen: dict[tuple[str, str], dict[str, str]] = {}
        synchronise(http.hq, handlers=MESSAGE_HANDLERS)
        while {("in", "package"), ("out", "package")} - set(seen):
            line = json.loads(process.stdout.readline())
            if line["event"] == "message":
                seen[line["way"], line["kind"]] = line
        process.terminate()
        process.stdout.read()
        assert process.wait(30) == 0
    came, fetched = seen["in", "package"], seen["out", "package"]
    assert (came["site"], came["what"]) == ("HQ1", "taken in")
    assert (fetched["site"], fetched["what"]) == ("HQ1", "fetched")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", came["at"])


def test_a_taken_port_is_busy_and_the_command_works_later(http: Pair) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        error = run(
            "channel", "serve", "--bind", bind, "--behind-proxy", "--json", "--home", http.br.home, code=9
        ).error
    assert error["code"] == "bind"
    assert "--bind" in error["hint"]
