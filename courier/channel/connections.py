"""Opening the addresses of other sites, and what one run of deliveries and fetches knows of each address."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from courier.channel.folder_transport import FolderTransport
from courier.channel.pace import Meter, Pacer
from courier.channel.passed import Passed
from courier.channel.schedule import SECOND_NS, Limits, retry_ns
from courier.channel.transport import Pace, Transport
from courier.errors import CourierError
from courier.site.catalog import sites
from courier.site.catalog.sites import Address
from courier.site.clock import now
from courier.site.home import Site

if TYPE_CHECKING:
    from courier.channel.http_client import RemoteServer, RequestKey

POLL = "poll"
"""The address of a site that fetches its messages from our server."""


def is_server(address: Address) -> bool:
    """Whether an address is that of another site's server."""
    return address.address.startswith(("http://", "https://"))


def remote_server(site: Site, address: Address) -> RemoteServer:
    """The server at an http(s) address, and the keys that sign our requests to it."""
    from courier.channel.http_client import RemoteServer

    return RemoteServer(
        url=address.address,
        site=address.site,
        present_key=request_keys(site)[0],
        older_keys=lambda: request_keys(site, older=True),
        ca=address.ca,
    )


def request_keys(site: Site, *, older: bool = False) -> list[RequestKey]:
    """What signs our requests: the present key, or with ``older`` those before it that are still ours."""
    from courier.channel.http_client import RequestKey

    keys = [key.key for key in site.card.keys[1:] if key.revoked_ns is None and site.keyring.has(key.key)]
    chosen = keys if older else [site.card.keys[0].key]
    return [RequestKey(source=site.code, key=key, signer=site.keyring.signer(key)[1]) for key in chosen]


def download_folder(site: Site, address: Address) -> Path:
    """The folder of messages from a site's server that have not been fetched whole."""
    return site.home / "channel" / "fetch" / address.site


class Network:
    """Opens transports and gives the time: a test puts its own network and clock in their place.

    ``clock`` gives nanoseconds since 1970, UTC; ``sleep`` takes seconds. Once ``stop`` is set, every wait ends with a
    `StoppedError`.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = now,
        sleep: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.clock, self.stop = clock, stop or threading.Event()
        self.sleep: Callable[[float], object] = sleep or self.stop.wait

    def open(self, site: Site, address: Address, pace: Pace | None = None) -> Transport:
        """The transport of an address; raises `UsageError` or `NotFoundError` when it cannot be used at all."""
        if not is_server(address):
            return FolderTransport(Path(address.address), pace)
        from courier.channel.http_client import HttpClient
        from courier.channel.http_transport import HttpTransport

        client = HttpClient(remote_server(site, address), sleep=self.sleep, stop=self.stop)
        return HttpTransport(client, downloads=download_folder(site, address), pace=pace)

    def pacer(self, site: Site, address: Address, meter: Meter, priority: str) -> Pacer:
        """The pace of a transfer: its limits are read from the catalogue anew for every piece."""

        def limits() -> Limits:
            with site.catalogue.reading() as connection:
                present = sites.find_address(connection, address.site, address.address)
            return Limits.parse(present.limits if present else address.limits)

        return Pacer(meter, limits, priority=priority, now=self.clock, sleep=self.sleep, stop=self.stop)


@dataclass(kw_only=True, slots=True)
class Run:
    """One run of deliveries and fetches: how many messages were delivered, and what is known of each address.

    ``patient``: an address that failed is not tried until its pause is over. ``failed``: why a site was not reached.
    ``held``: why messages for a site wait though nothing failed. ``down``: why an address, by its site and text, is not
    tried in this run. ``refused``: why messages that wait for us cannot be read, where the address works otherwise.
    """

    network: Network
    patient: bool = False
    delivered: int = 0
    passed: list[Passed] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    down: dict[tuple[str, str], str] = field(default_factory=dict)
    refused: list[CourierError] = field(default_factory=list)
    meters: dict[tuple[str, str], Meter] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def meter(self, address: Address) -> Meter:
        """The one meter of an address, which all its transfers share."""
        with self.lock:
            return self.meters.setdefault((address.site, address.address), Meter())

    def why_not(self, address: Address) -> str:
        """Why an address is not tried now; an empty text when it is."""
        with self.lock:
            known = self.down.get((address.site, address.address))
        if known is not None:
            return known
        if not self.patient or address.tried_ns is None or not address.failures:
            return ""
        now_ns = self.network.clock()
        if address.tried_ns > now_ns:
            return ""  # the clock was wrong when it failed
        wait = address.tried_ns + retry_ns(Limits.parse(address.limits), address.failures) - now_ns
        return f"{address.address} failed; it is tried again in {-(-wait // SECOND_NS)} s" if wait > 0 else ""

    def worked(self, site: Site, address: Address) -> None:
        """Note that an address worked: its failures are forgotten."""
        if address.failures:
            with site.catalogue.writing() as connection:
                sites.change_address(connection, address.site, address.address, failures=0, tried_ns=None)

    def broke(self, site: Site, address: Address, reason: str) -> None:
        """Note that an address failed: it is not tried again in this run."""
        with self.lock:
            if (address.site, address.address) in self.down:
                return
            self.down[address.site, address.address] = reason
        failures, tried_ns = address.failures + 1, self.network.clock()
        with site.catalogue.writing() as connection:
            sites.change_address(connection, address.site, address.address, failures=failures, tried_ns=tried_ns)


class Connections:
    """The open transports of one thread: an address is opened once, and paced anew for each message."""

    def __init__(self, site: Site, run: Run) -> None:
        self._site, self._run = site, run
        self._open: dict[tuple[str, str], tuple[Transport, Pacer]] = {}

    def to(self, address: Address, priority: str) -> Transport:
        """The transport of an address, for messages of a priority."""
        key = address.site, address.address
        if key not in self._open:
            network = self._run.network
            pacer = network.pacer(self._site, address, self._run.meter(address), priority)
            self._open[key] = network.open(self._site, address, pacer), pacer
        transport, pacer = self._open[key]
        pacer.priority = priority
        return transport

    def close(self) -> None:
        """Close them all."""
        for transport, _ in self._open.values():
            transport.close()
