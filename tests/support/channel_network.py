"""A network in memory: client and server of the channel, joined without sockets, and what can go wrong on the way."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from courier.channel.addresses import add_address
from courier.channel.connections import Network, download_folder, is_server, remote_server
from courier.channel.fetch import open_inbox
from courier.channel.folder_transport import FolderTransport
from courier.channel.http_application import Service, make_app, make_service
from courier.channel.http_client import HttpClient
from courier.channel.http_transport import HttpTransport
from courier.channel.request_signatures import Head
from courier.channel.server_desk import ServerDesk
from courier.channel.sync import Exchange, synchronise
from courier.channel.transport import Outgoing, Pace, Transport
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import UnreachableError
from courier.files import make_folder
from courier.site.catalog import messages
from courier.site.catalog.sites import Address
from courier.site.clock import now
from courier.site.home import Site, open_site
from courier.site.outbox import enqueue
from formats.digest import sha256_hex
from formats.documents import package as package_doc
from formats.documents.listing import ListingSummary
from formats.documents.package import PackageDefinition
from formats.envelope import Envelope

HOUR_NS = 3600 * 10**9


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.ns = time.time_ns()

    def __call__(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 10**9)


class Restart(BaseException):
    """The process of a site ends at this very point."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request as it was on the wire."""

    head: Head
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A response as it was on the wire, without the fields that say how long and of what kind it is."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


@cache
def event_loop() -> asyncio.AbstractEventLoop:
    """The loop in which all servers in memory run, in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="servers", daemon=True).start()
    return loop


class MemoryServer:
    """The server of one site, asked without sockets."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._app = make_app(service)

    def ask(self, sent: Sent) -> Reply:
        """What the server answers to a request."""
        return asyncio.run_coroutine_threadsafe(self._ask(sent), event_loop()).result()

    async def _ask(self, sent: Sent) -> Reply:
        head, gathered = sent.head, list[dict[str, Any]]()
        scope = {
            "type": "http",
            "method": head.method,
            "path": head.path,
            "raw_path": head.path.encode("latin-1"),
            "query_string": head.query.encode("latin-1"),
            "headers": [(name.encode("latin-1"), text.encode("latin-1")) for name, text in head.headers.items()],
            "client": ("wire", 0),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": sent.body, "more_body": False}

        async def send(message: Any) -> None:
            gathered.append(message)

        await self._app(scope, receive, send)
        start, *rest = gathered
        headers = [(name.decode(), text.decode()) for name, text in start["headers"]]
        told = tuple(item for item in headers if item[0] not in ("content-length", "content-type", "connection"))
        return Reply(status=start["status"], headers=told, body=b"".join(one.get("body", b"") for one in rest))


@dataclass(kw_only=True)
class Faults:
    """How often each thing goes wrong, and the dice."""

    rate: float
    dice: random.Random
    late: list[tuple[int, Callable[[], object]]] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)
    resumed: int = 0
    spared: int = 0
    """Transfers of a message in parts that were cut, how many went on, and bytes that did not pass again for it."""

    def note(self, sent: Sent, *, fault: bool) -> None:
        """Keep count of transfers that are cut, and of those that go on where they were."""
        asked = {"PUT": "content-range", "GET": "range"}.get(sent.head.method, "")
        start = re.match(r"bytes[ =]([0-9]+)-", sent.head.headers.get(asked, ""))
        name = sent.head.path.rpartition("/")[2]
        if start and name in self.cut:
            self.cut.discard(name)
            self.resumed += int(start[1]) > 0
            self.spared += int(start[1])
        if start and fault:
            self.cut.add(name)

    def happens(self, share: float = 1.0) -> bool:
        return self.dice.random() < self.rate * share


class Wire(httpx.BaseTransport):
    """The network between a client and the server of one site; ``server`` gives it, or None while it is down."""

    def __init__(self, server: Callable[[], MemoryServer | None], faults: Faults | None = None) -> None:
        self._server, self._faults = server, faults

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        path, _, query = request.url.raw_path.decode().partition("?")
        sent = Sent(head=Head(method=request.method, path=path, query=query, headers=headers), body=body)
        server = self._server()
        if server is None:
            raise httpx.ConnectError("nobody listens", request=request)
        reply = self._carry(server, sent, request)
        return httpx.Response(
            reply.status, headers=list(reply.headers), stream=httpx.ByteStream(reply.body), request=request
        )

    def _carry(self, server: MemoryServer, sent: Sent, request: httpx.Request) -> Reply:
        faults = self._faults
        if faults is None:
            return server.ask(sent)
        fault = faults.happens()
        faults.note(sent, fault=fault)
        if not fault:
            return server.ask(sent)
        match faults.dice.randrange(6):
            case 0:
                raise httpx.ConnectError("lost on the way there", request=request)
            case 1:
                server.ask(sent)
                raise httpx.ReadError("lost on the way back", request=request)
            case 2:
                server.ask(sent)
                return server.ask(sent)  # the second is a replay, and its answer is what the client sees
            case 3:
                faults.late.append((faults.dice.randrange(1, 9), lambda: server.ask(sent)))
                raise httpx.ReadTimeout("delayed", request=request)
            case 4:
                half = Sent(head=sent.head, body=sent.body[: len(sent.body) // 2])
                server.ask(half)
                raise httpx.WriteError("cut on the way there", request=request)
            case _:
                whole = server.ask(sent)
                return Reply(status=whole.status, headers=whole.headers, body=whole.body[: len(whole.body) // 2])


class FaultyFolder:
    """A shared folder whose sync tool loses, doubles, reorders, delays and cuts."""

    def __init__(self, folder: Path, pace: Pace | None, faults: Faults) -> None:
        self._folder, self._faults = folder, faults
        self._inner = FolderTransport(folder, pace)

    def deliver(self, to: str, message: Outgoing) -> None:
        faults = self._faults
        if not faults.happens():
            self._inner.deliver(to, message)
            return
        path = self._folder / to / f"{message.sha256}.msg"
        body = message.read(0, message.size)
        match faults.dice.randrange(4):
            case 0:
                return  # the tool says it has it, and loses it
            case 1:
                raise UnreachableError("the share is gone", hint="mount it")
            case 2:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(body[: len(body) // 2])
            case _:
                faults.late.append((faults.dice.randrange(1, 9), lambda: _put(path, body)))

    def fetch(self, own: str) -> Iterator[tuple[str, bytes]]:
        found = list(self._inner.fetch(own))
        self._faults.dice.shuffle(found)
        for item in found:
            if self._faults.happens(0.5):
                raise UnreachableError("the share is gone", hint="mount it")
            yield item

    def done(self, own: str, sha256: str) -> None:
        if not self._faults.happens():  # else the file comes back: a double
            self._inner.done(own, sha256)

    def close(self) -> None:
        self._inner.close()


def _put(path: Path, body: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(body)


class MemoryNetwork(Network):
    """Every site's server by its URL ``https://CODE``, on one clock."""

    def __init__(self, clock: Clock, faults: Faults | None = None) -> None:
        super().__init__(clock=clock, sleep=clock.sleep)
        self.faults = faults
        self.servers: dict[str, MemoryServer | None] = {}
        self.log: list[str] = []

    def serve(self, site: Site, *, rate: int = 10**6) -> MemoryServer:
        """Start (or restart) the server of a site; it holds no response back, for its clock stands still meanwhile."""

        async def no_sleep(_seconds: float) -> None:
            pass

        desk = ServerDesk(site, arrived=lambda: None, clock=self.clock)
        service = make_service(desk, open_inbox(site), log=self.log.append, rate=rate, now=self.clock, sleep=no_sleep)
        server = self.servers[site.code] = MemoryServer(service)
        return server

    def open(self, site: Site, address: Address, pace: Pace | None = None) -> Transport:
        """See `Network.open`."""
        if not is_server(address):
            folder = Path(address.address)
            return FaultyFolder(folder, pace, self.faults) if self.faults else FolderTransport(folder, pace)
        wire = Wire(lambda: self.servers.get(address.site), self.faults)
        client = HttpClient(remote_server(site, address), wire=wire, now=self.clock, sleep=self.sleep)
        return HttpTransport(client, downloads=download_folder(site, address), pace=pace)

    def pass_time(self, ns: int = HOUR_NS) -> None:
        """Let time pass; what was delayed so long arrives."""
        self.clock.sleep(ns / 10**9)  # type: ignore[attr-defined]
        if self.faults is not None:
            waiting, self.faults.late = self.faults.late, []
            for rounds, act in waiting:
                if rounds <= 1:
                    act()
                else:
                    self.faults.late.append((rounds - 1, act))


def copy_home(home: Path, to: Path) -> Path:
    """A copy of a closed site's home."""
    shutil.copytree(home, to)
    return to


@dataclass(kw_only=True)
class Pair:
    """Two sites that trust one another, and the network between them."""

    hq: Site
    br: Site
    clock: Clock
    network: MemoryNetwork
    share: Path
    kind: str

    def way(self, site: Site, other: Site) -> str:
        return str(self.share) if self.kind == "folder" else f"https://{other.code.lower()}"

    def transport(self, own: Site, other: Site, pace: Pace | None = None) -> Transport:
        return self.network.open(own, Address(site=other.code, priority=1, address=self.way(own, other)), pace)

    def link(self) -> None:
        """Addresses both ways."""
        add_address(self.hq, "BR1", self.way(self.hq, self.br))
        add_address(self.br, "HQ1", self.way(self.br, self.hq))

    def sync(self, *who: Site) -> list[Exchange]:
        return [synchronise(site, handlers=MESSAGE_HANDLERS, network=self.network) for site in who]


def make_pair(kind: str, homes: Path) -> Iterator[Pair]:
    root = Path(tempfile.mkdtemp(dir=homes))
    hq, br = (open_site(copy_home(homes / code, root / code)) for code in ("HQ1", "BR1"))
    clock = Clock()
    network = MemoryNetwork(clock)
    for site in (hq, br):
        network.serve(site)
    yield Pair(hq=hq, br=br, clock=clock, network=network, share=make_folder(root / "share"), kind=kind)
    hq.close()
    br.close()
    shutil.rmtree(root)


def definition(site: Site, number: int = 1, *, filler: str = "") -> Envelope:
    """A signed document of the site's own: the definition of a package."""
    made = PackageDefinition(
        package=f"{site.code}{number:05X}",
        version=1,
        name=f"P{filler}",
        site=site.code,
        created_ns=now(),
        issued_ns=now(),
        listing=ListingSummary(sha256="1" * 64, entries=1, files=1, bytes=1, holes=0),
    )
    return site.sign(made.payload(), package_doc.TYPE)


def put(site: Site, to: Site, *envelopes: Envelope, priority: str = "medium") -> list[str]:
    """Queue messages; return the digests of their envelopes."""
    names = []
    with site.catalogue.writing() as connection:
        for envelope in envelopes:
            assert enqueue(connection, envelope, to.code, priority=priority)
            names.append(sha256_hex(envelope.encode()))
    return names


def state(site: Site, sha256: str, direction: str = "out") -> str | None:
    with site.catalogue.reading() as connection:
        found = messages.find(connection, direction, sha256)
    return found.state if found else None


def travels_as(site: Site, sha256: str) -> str:
    """The name by which a message of the outbox travels."""
    with site.catalogue.reading() as connection:
        found = messages.find(connection, "out", sha256)
    assert found is not None
    return found.name


def came(site: Site) -> list[tuple[str, bytes]]:
    """What a server's inbox holds."""
    return [(name, body) for _, name, body in open_inbox(site).fetch()]
