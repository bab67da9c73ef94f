"""The server on real sockets and against bad input: what is refused, what is logged, and that nothing else happens."""

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from courier.error_codes import Code

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx
from channel_network import Clock, Pair, Sent, came, definition, make_pair, put

from courier.channel import http_application, http_server
from courier.channel.addresses import Wishes, add_address
from courier.channel.connections import remote_server
from courier.channel.fetch import open_inbox
from courier.channel.http_api import OPERATIONS
from courier.channel.http_application import Service, make_service
from courier.channel.http_client import HttpClient
from courier.channel.http_server import Listening, check_listening, parse_bind, serve
from courier.channel.http_transport import HttpTransport
from courier.channel.inbox import MAX_WAITING, FullError, Inbox, OutOfStepError, WrongDigestError
from courier.channel.openapi import description
from courier.channel.refusal_log import STRANGER_LINES
from courier.channel.request_signatures import Head, read_claim, sign_head, verify_claim
from courier.channel.serve import Reports, run_server
from courier.channel.server_desk import ServerDesk
from courier.channel.sync import synchronise
from courier.channel.transport import MAX_MESSAGE, Outgoing
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import CourierError, NotFoundError, RefusedError, UnreachableError, UsageError
from courier.site.catalog import messages
from courier.site.catalog.sites import Address
from courier.site.home import Site
from courier.site.outbox import PART, enqueue
from formats.envelope import load_public_key
from formats.errors import BadSignatureError, MalformedError

ROOT = Path(__file__).resolve().parents[2]
NAME = hashlib.sha256(b"message").hexdigest()


@pytest.fixture(autouse=True)
def no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests count messages: what the sites report of themselves stays out of it (tests/test_reports.py)."""
    monkeypatch.setattr("courier.channel.sync.report_to_peers", lambda site: 0)


@pytest.fixture
def http(pair_homes: Path) -> Iterator[Pair]:
    yield from make_pair("http", pair_homes)


# The service, without sockets.


@dataclass(kw_only=True)
class Forge:
    """Makes requests of HQ1 to BR1, right or wrong."""

    pair: Pair
    count: int = 0

    def request(
        self,
        method: str = "PUT",
        path: str = f"/v1/messages/{NAME}",
        *,
        query: str = "",
        body: bytes = b"",
        extra: dict[str, str] | None = None,
        signer: Site | None = None,
        to: str = "BR1",
        skew: int = 0,
    ) -> Sent:
        self.count += 1
        site = signer or self.pair.hq
        key = site.card.keys[0].key
        head = Head(method=method, path=path, query=query, headers=extra or {})
        signed = sign_head(
            head,
            source="HQ1",
            to=to,
            body=body,
            key=key,
            signer=site.keyring.signer(key)[1],
            created=self.pair.clock() // 10**9 + skew,
            nonce=f"{self.count:032x}",
        )
        headers = {**head.headers, **signed, "content-length": str(len(body))}
        return Sent(head=replace(head, headers=headers), body=body)

    def put(self, body: bytes = b"message", **more: Any) -> Sent:
        extra = {"content-range": f"bytes 0-{len(body) - 1}/{len(body)}"}
        return self.request(body=body, extra=extra, **more)


@pytest.fixture
def forge(http: Pair) -> Forge:
    return Forge(pair=http)


def ask(pair: Pair, sent: Sent) -> tuple[int, str]:
    """(status, code) of BR1's answer."""
    server = pair.network.servers["BR1"]
    assert server is not None
    reply = server.ask(sent)
    return reply.status, json.loads(reply.body)["error"]["code"] if reply.body[:9] == b'{"error":' else ""


def tampered(sent: Sent, name: str, value: str) -> Sent:
    return replace(sent, head=replace(sent.head, headers={**sent.head.headers, name: value}))


def test_a_good_request_is_taken(forge: Forge) -> None:
    assert ask(forge.pair, forge.put()) == (201, "")
    assert came(forge.pair.br) == [(NAME, b"message")]


def strangers(forge: Forge) -> dict[str, Sent]:
    good = forge.put()
    unsigned = {name: text for name, text in good.head.headers.items() if not name.startswith("signature")}
    signature = good.head.headers["signature"]
    return {
        "unsigned": replace(good, head=replace(good.head, headers=unsigned)),
        "by another key": forge.put(signer=forge.pair.br),
        "for another site": forge.put(to="BR2"),
        "as another site": tampered(good, "courier-from", "BR1"),
        "another path": replace(good, head=replace(good.head, path="/v1/messages/" + "0" * 64)),
        "another query": replace(good, head=replace(good.head, query="x=1")),
        "another method": replace(good, head=replace(good.head, method="DELETE")),
        "another body": tampered(good, "content-digest", forge.put(b"other").head.headers["content-digest"]),
        "another range": tampered(good, "content-range", "bytes 0-6/8"),
        "a range not signed": tampered(good, "range", "bytes=0-1"),
        "a signature cut": tampered(good, "signature", signature[:-9] + ":"),
        "a signature changed": tampered(good, "signature", signature[:10] + "AAAA" + signature[14:]),
        "an algorithm changed": tampered(
            good, "signature-input", good.head.headers["signature-input"].replace("ed25519", "hmac-sha256")
        ),
        "no path of ours": replace(good, head=replace(good.head, path="/secret")),
        "text of every kind": tampered(good, "signature-input", "\x00\xff" * 50),
    }


def test_strangers_and_forgers_learn_nothing_whatever_they_ask(forge: Forge) -> None:
    server = forge.pair.network.servers["BR1"]
    assert server is not None
    replies = {name: server.ask(sent) for name, sent in strangers(forge).items()}
    assert {(r.status, r.body, r.headers) for r in replies.values()} == {(401, b"", ())}
    assert came(forge.pair.br) == []


def test_a_refusal_is_logged_once(forge: Forge) -> None:
    for _ in range(5):
        ask(forge.pair, forge.put(signer=forge.pair.br))
        ask(forge.pair, forge.request("GET", "/nothing"))
    assert forge.pair.network.log == [
        "wire: a request by HQ1, whose key is not trusted here",
        "refused a request of HQ1: not-found",
    ]


def test_strangers_who_make_up_names_do_not_fill_the_log(forge: Forge) -> None:
    log = forge.pair.network.log
    good = forge.put()
    for number in range(300):
        ask(forge.pair, tampered(good, "courier-from", f"{number:03}"))
    assert len(log) == STRANGER_LINES
    ask(forge.pair, forge.request("GET", "/nothing"))
    assert log[-1] == "refused a request of HQ1: not-found"  # what a known site does is told all the same
    forge.pair.clock.sleep(3601)
    ask(forge.pair, tampered(good, "courier-from", "ZZZ"))
    assert log[-1] == "wire: a request by ZZZ, whose key is not trusted here"


def test_a_replay_is_refused_and_so_is_one_from_before_a_restart(forge: Forge) -> None:
    sent = forge.put()
    assert ask(forge.pair, sent)[0] == 201
    assert ask(forge.pair, sent) == (401, "replayed")
    forge.pair.clock.sleep(5)
    forge.pair.network.serve(forge.pair.br)
    assert ask(forge.pair, sent) == (401, "clock")


def test_a_server_started_with_a_clock_ahead_serves_once_it_is_set_right_and_takes_no_replay(forge: Forge) -> None:
    pair = forge.pair
    before = forge.put()
    assert ask(pair, before)[0] == 201
    right = pair.clock.ns
    pair.clock.ns += 24 * 3600 * 10**9
    server = pair.network.serve(pair.br)
    ahead = [forge.put() for _ in range(20)]
    assert {ask(pair, sent)[0] for sent in ahead} == {201}
    pair.clock.ns = right + 5 * 10**9
    assert ask(pair, forge.put())[0] == 201
    assert ask(pair, before) == (401, "clock")
    assert {ask(pair, sent) for sent in ahead[-3:]} == {(401, "clock")}
    for _ in range(10):
        assert ask(pair, forge.put())[0] == 201
    # What is remembered of the wrong time goes, and keeps nothing else.
    (peer,) = server.service.admission._peers.values()
    assert max(peer.nonces.values()) * 10**9 <= pair.clock.ns
    assert len(peer.nonces) <= 12


@pytest.mark.parametrize("skew", [-301, 301])
def test_a_request_of_another_time_is_refused(forge: Forge, skew: int) -> None:
    forge.pair.clock.sleep(1000)
    assert ask(forge.pair, forge.put(skew=skew)) == (401, "clock")
    assert ask(forge.pair, forge.put(skew=skew - skew // abs(skew)))[0] == 201


def test_what_a_known_site_does_wrong_is_named(forge: Forge) -> None:
    pair = forge.pair
    body = b"message"
    cases = {
        (400, "wrong-digest"): replace(forge.put(), body=b"messagE"),
        (413, "too-large"): tampered(forge.put(), "content-length", str(PART + 1)),
        (411, "no-length"): tampered(forge.put(), "transfer-encoding", "chunked"),
        (400, "malformed"): forge.request(body=body, extra={"content-range": "bytes 0-7/8"}),
        (422, "wrong-digest"): forge.put(b"massage"),
        (409, "out-of-step"): forge.request(body=body, extra={"content-range": "bytes 3-9/20"}),
        (404, "not-found"): forge.request("GET", "/v1/nothing"),
        (416, "range"): forge.request("GET", f"/v1/messages/{NAME}", extra={"range": "bytes=5-2"}),
    }
    assert {wanted: ask(pair, sent) for wanted, sent in cases.items()} == {wanted: wanted for wanted in cases}
    huge = {"content-range": f"bytes 0-6/{MAX_MESSAGE + 1}"}
    assert ask(pair, forge.request(body=body, extra=huge)) == (413, "too-large")
    assert ask(pair, forge.request("GET", "/v1/probe", query=f"bytes={PART + 1}")) == (400, "malformed")
    assert ask(pair, forge.request("DELETE", f"/v1/messages/{NAME}", body=b"x")) == (413, "too-large")
    assert came(pair.br) == []


def test_a_site_that_asks_too_fast_is_slowed_and_others_are_not(forge: Forge) -> None:
    forge.pair.network.serve(forge.pair.br, rate=5)
    answers = [ask(forge.pair, forge.request("GET", "/v1/messages")) for _ in range(60)]
    assert answers[:50] == [(200, "")] * 50
    assert answers[50:] == [(429, "too-fast")] * 10
    forge.pair.clock.sleep(1)
    assert ask(forge.pair, forge.request("GET", "/v1/messages"))[0] == 200


def test_a_client_waits_when_it_is_told_that_it_asks_too_fast(http: Pair) -> None:
    http.network.serve(http.br, rate=1)
    transport = http.transport(http.hq, http.br)
    start = http.clock()
    for n in range(15):
        transport.deliver("BR1", Outgoing.of(b"%d" % n))
    assert len(came(http.br)) == 15
    assert http.clock() - start >= 4 * 10**9


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa"])
def test_signatures_of_both_kinds_of_key_hold_and_break(scheme: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from securesystemslib.signer import CryptoSigner, SSlibKey

    private: Any = (
        ed25519.Ed25519PrivateKey.generate() if scheme == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )
    public = private.public_key()
    key = load_public_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    signer = CryptoSigner(private, SSlibKey.from_crypto(public, keyid=key.keyid))
    head = Head(method="GET", path="/v1/messages", query="", headers={"range": "bytes=0-1"})
    extra = sign_head(
        head, source="HQ1", to="BR1", body=b"", key=key, signer=signer, created=1_795_000_000, nonce="0" * 32
    )
    whole = replace(head, headers={**head.headers, **extra})
    claim = read_claim(whole)
    verify_claim(claim, key)
    # The signature base, written out as RFC 9421 section 2.5 has it.
    alg = "ed25519" if scheme == "ed25519" else "ecdsa-p256-sha256"
    covered = '"@method" "@path" "@query" "courier-from" "courier-to" "content-digest" "range"'
    assert claim.base.decode() == (
        '"@method": GET\n"@path": /v1/messages\n"@query": ?\n"courier-from": HQ1\n"courier-to": BR1\n'
        '"content-digest": sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\n"range": bytes=0-1\n'
        f'"@signature-params": ({covered});created=1795000000;nonce="{"0" * 32}";keyid="{key.keyid}";'
        f'alg="{alg}";tag="courier-channel-1"'
    )
    for broken in (replace(claim, base=claim.base + b" "), replace(claim, signature=bytes(64))):
        with pytest.raises(BadSignatureError):
            verify_claim(broken, key)
    for name in ("signature", "signature-input", "content-digest", "courier-from"):
        with pytest.raises(MalformedError):
            read_claim(replace(whole, headers={**whole.headers, name: whole.headers[name] + "x"}))


def test_the_description_is_what_is_committed_and_what_is_served() -> None:
    committed = json.loads((ROOT / "docs" / "channel-openapi.json").read_text("utf-8"))
    assert committed == json.loads(json.dumps(description(OPERATIONS)))
    served = {(one.method.lower(), one.path) for one in OPERATIONS}
    assert served == {(method, path) for path, methods in committed["paths"].items() for method in methods}


# The inbox.


def test_uploads_that_are_not_whole_are_bounded_and_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(tmp_path)
    names = [hashlib.sha256(bytes([n])).hexdigest() for n in range(5)]
    for name in names[:4]:
        assert inbox.store("HQ1", name, start=0, total=MAX_MESSAGE, data=b"beginning") == 9
    with pytest.raises(FullError):
        inbox.store("HQ1", names[4], start=0, total=MAX_MESSAGE, data=b"beginning")
    assert inbox.store("BR2", names[4], start=0, total=MAX_MESSAGE, data=b"beginning") == 9
    with pytest.raises(OutOfStepError) as error:
        inbox.store("HQ1", names[0], start=5, total=MAX_MESSAGE, data=b"x")
    assert error.value.offset == inbox.offset("HQ1", names[0])[0] == 9
    monkeypatch.setattr("courier.channel.inbox.PART_LIFE_SECONDS", -10)
    inbox.sweep()
    assert not list(tmp_path.rglob("*.part"))


def test_an_upload_that_is_not_what_its_name_says_is_given_up(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    assert inbox.store("HQ1", NAME, start=0, total=7, data=b"mass") == 4
    with pytest.raises(WrongDigestError):
        inbox.store("HQ1", NAME, start=4, total=7, data=b"age")
    assert inbox.offset("HQ1", NAME) == (0, False)
    assert inbox.store("HQ1", NAME, start=0, total=7, data=b"mess") == 4
    assert inbox.store("HQ1", NAME, start=4, total=7, data=b"age") == 7
    assert [body for _, _, body in inbox.fetch()] == [b"message"]


@pytest.mark.parametrize("start", [0, 2])
def test_an_upload_that_came_whole_but_was_not_taken_is_taken_with_the_next_part(tmp_path: Path, start: int) -> None:
    inbox = Inbox(tmp_path)
    part = tmp_path / "part" / "HQ1" / f"{NAME}-7.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"message")  # the server was killed before it was in its place
    assert inbox.store("HQ1", NAME, start=start, total=7, data=b"message"[start:5]) == 7
    assert [body for _, _, body in inbox.fetch()] == [b"message"]
    assert not part.exists()


def test_an_upload_for_which_there_was_no_room_is_taken_once_there_is(
    http: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = Outgoing.of(bytes(2 * PART + 1))
    transport = http.transport(http.hq, http.br)
    with monkeypatch.context() as full:
        full.setattr("courier.channel.inbox.MAX_WAITING", 0)
        with pytest.raises(UnreachableError, match="507"):
            transport.deliver("BR1", message)
    transport.deliver("BR1", message)
    assert [name for name, _ in came(http.br)] == [message.sha256]


def test_messages_that_wait_are_bounded_for_each_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_WAITING > 1000
    monkeypatch.setattr("courier.channel.inbox.MAX_WAITING", 2)
    inbox = Inbox(tmp_path)
    bodies = [b"%d" % n for n in range(3)]
    names = [hashlib.sha256(body).hexdigest() for body in bodies]
    for name, body in zip(names[:2], bodies, strict=False):
        inbox.store("HQ1", name, start=0, total=1, data=body)
    with pytest.raises(FullError):
        inbox.store("HQ1", names[2], start=0, total=1, data=bodies[2])
    (tmp_path / "in" / "HQ1" / f"{names[0]}.msg").unlink()  # another process took it
    inbox.store("HQ1", names[2], start=0, total=1, data=bodies[2])


# Real sockets.


@dataclass(kw_only=True)
class Running:
    """BR1's server on a loopback socket."""

    url: str
    port: int
    log: list[str]
    stop: threading.Event
    thread: threading.Thread


@contextlib.contextmanager
def running(site: Site, listening: Listening | None = None) -> Iterator[Running]:
    log: list[str] = []
    up, stop = threading.Event(), threading.Event()
    found = Running(url="", port=0, log=log, stop=stop, thread=threading.current_thread())

    def ready(url: str) -> None:
        found.url, found.port = url, int(url.rpartition(":")[2])
        up.set()

    desk = ServerDesk(site, arrived=lambda: None)
    service = make_service(desk, open_inbox(site), log=log.append, rate=1000)
    where = listening or Listening(host="127.0.0.1", port=0, behind_proxy=True)
    found.thread = threading.Thread(target=serve, args=(service, where), kwargs={"ready": ready, "stop": stop})
    found.thread.start()
    try:
        assert up.wait(20)
        yield found
    finally:
        stop.set()
        found.thread.join(30)
        assert not found.thread.is_alive()


def client(pair: Pair, url: str, ca: str = "") -> HttpTransport:
    address = Address(site="BR1", priority=1, address=url, ca=ca)
    return HttpTransport(HttpClient(remote_server(pair.hq, address)), downloads=pair.hq.home / "downloads")


def talk(port: int, *pieces: bytes, patience: float = 20) -> bytes:
    """Send pieces, and read until the server closes (or ``patience`` seconds have passed)."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as wire:
        gathered = b""
        with contextlib.suppress(OSError):
            for piece in pieces:
                wire.sendall(piece)
            while data := wire.recv(65536):
                gathered += data
        return gathered


def raw(sent: Sent, body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"host": "x", **sent.head.headers}.items()]
    return "\r\n".join([f"{sent.head.method} {sent.head.path} HTTP/1.1", *lines, "", ""]).encode() + body


@pytest.fixture
def up(http: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 1.0)
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
        for method in ("GET", "PUT", "DELETE", "POST", "PATCH")
        for path in ("/", "/v1/messages", f"/v1/messages/{NAME}", "/v1/health/x", "/admin")
    }
    assert len(answers) == 1
    assert answers.pop().startswith(b"HTTP/1.1 401 ")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of our own for 127.0.0.1, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, SHA256())
    )
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, key


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
            add_address(http.hq, "BR1", found.url, None, Wishes(ca=key))
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
    with running(http.br) as found, pytest.raises(RefusedError, match="in use"):
        serve(_service(http.br), Listening(host="127.0.0.1", port=found.port, behind_proxy=True))


def test_the_server_takes_in_what_comes_and_makes_its_rounds(http: Pair) -> None:
    up, stop = threading.Event(), threading.Event()
    urls: list[str] = []
    taken = threading.Event()

    def ready(url: str) -> None:
        urls.append(url)
        up.set()

    add_address(http.br, "HQ1", "poll", None)
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
        add_address(http.hq, "BR1", urls[0], None, Wishes())
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
    command = [sys.executable, "-m", "courier", "channel", "serve", "--bind", "127.0.0.1:0", "--behind-proxy"]
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
    add_address(http.br, "HQ1", "poll", None)
    add_address(http.hq, "BR1", f"http://127.0.0.1:{port}", None)
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
add_address(a, "BB1", str(root), None)
synchronise(a, handlers=MESSAGE_HANDLERS)
for act in (
    lambda: add_address(a, "BB1", "https://x", None),
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
