"""Requests of HQ1 to BR1's server, right or wrong, and the server on a real socket."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from channel_network import Pair, Sent

from courier.channel.connections import remote_server
from courier.channel.fetch import open_inbox
from courier.channel.http_application import make_service
from courier.channel.http_client import HttpClient
from courier.channel.http_server import Listening, serve
from courier.channel.http_transport import HttpTransport
from courier.channel.request_signatures import Head, sign_head
from courier.channel.server_desk import ServerDesk
from courier.site.catalog.sites import Address
from courier.site.home import Site

ROOT = Path(__file__).resolve().parents[2]
NAME = hashlib.sha256(b"message").hexdigest()


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


def ask(pair: Pair, sent: Sent) -> tuple[int, str]:
    """(status, code) of BR1's answer."""
    server = pair.network.servers["BR1"]
    assert server is not None
    reply = server.ask(sent)
    return reply.status, json.loads(reply.body)["error"]["code"] if reply.body[:9] == b'{"error":' else ""


def tampered(sent: Sent, name: str, value: str) -> Sent:
    return replace(sent, head=replace(sent.head, headers={**sent.head.headers, name: value}))


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
