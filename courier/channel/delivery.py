"""Handing messages over: every message to its site, by the first of its addresses that works, within its limits.

A message stays in the outbox until the other site's signed acknowledgement names it. One that was handed over goes
again after an hour, two, four ... without acknowledgement; after `EXPIRY_NS` it becomes a dead letter.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from courier.channel.folder_transport import FolderTransport
from courier.channel.pace import Meter, Pacer, paused
from courier.channel.schedule import EXPIRY_NS, SECOND_NS, THREADS, THREADS_PER_SITE, Limits, resend_ns, retry_ns
from courier.channel.transport import Outgoing, Pace, PausedError, RejectedError, Transport
from courier.errors import CourierError, UnreachableError
from courier.site.catalog import messages, sites
from courier.site.catalog.messages import Message
from courier.site.catalog.sites import Address
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import transfer_piece, transfer_size
from formats.documents import acknowledgement as acknowledgement_doc
from formats.documents import card as card_doc

if TYPE_CHECKING:
    from courier.channel.http_transport import Signing

POLL = "poll"
"""The address of a site that fetches its messages from our server."""
NO_ADDRESS = "there is no address to it: courier channel address add"


class Network:
    """How transports are opened, and the clock: a test puts its own network and time in their place."""

    def __init__(self, *, clock: Callable[[], int] = now, sleep: Callable[[float], None] = time.sleep) -> None:
        self.clock, self.sleep = clock, sleep

    def open(self, site: Site, address: Address, pace: Pace | None = None) -> Transport:
        """The transport of an address; raises `UsageError` or `NotFoundError` when it cannot be used at all."""
        if not address.address.startswith(("http://", "https://")):
            return FolderTransport(Path(address.address), pace)
        from courier.channel.http_transport import HttpTransport

        return HttpTransport(
            address.address,
            address.site,
            signing=signings(site)[0],
            older=lambda: signings(site, older=True),
            spool=site.home / "channel" / "fetch" / address.site,
            pace=pace,
            ca=address.ca,
            sleep=self.sleep,
        )

    def pacer(self, site: Site, address: Address, meter: Meter, priority: str) -> Pacer:
        """The pace of a transfer: its limits are read from the catalogue for every piece."""

        def limits() -> Limits:
            with site.catalogue.reading() as connection:
                present = sites.find_address(connection, address.site, address.address)
            return Limits.parse(present.limits if present else address.limits)

        return Pacer(meter, limits, priority=priority, now=self.clock, sleep=self.sleep)


def signings(site: Site, *, older: bool = False) -> list[Signing]:
    """What our requests are signed with: the present key, or those before it that are still ours."""
    from courier.channel.http_transport import Signing

    keys = [key.key for key in site.card.keys[1:] if key.revoked_ns is None and site.keyring.has(key.key)]
    chosen = keys if older else [site.card.keys[0].key]
    return [Signing(source=site.code, key=key, signer=site.keyring.signer(key)[1]) for key in chosen]


@dataclass(kw_only=True, slots=True)
class Run:
    """One run of deliveries and fetches: what was done, and what is known of each address.

    ``patient``: addresses that failed are left alone until their back-off is over. ``failed`` and ``held``: why sites
    were not reached, and why messages wait though nothing failed.
    """

    network: Network
    patient: bool = False
    delivered: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    down: dict[tuple[str, str], str] = field(default_factory=dict)
    meters: dict[tuple[str, str], Meter] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def meter(self, address: Address) -> Meter:
        """The one meter of an address."""
        with self.lock:
            return self.meters.setdefault((address.site, address.address), Meter())

    def usable(self, address: Address) -> str | None:
        """Why an address is not tried now, or None."""
        with self.lock:
            known = self.down.get((address.site, address.address))
        if known is not None or not self.patient or address.tried_ns is None or not address.failures:
            return known
        moment = self.network.clock()
        if address.tried_ns > moment:
            return None  # the clock was wrong when it failed
        wait = address.tried_ns + retry_ns(Limits.parse(address.limits), address.failures) - moment
        return f"{address.address} failed; it is tried again in {-(-wait // SECOND_NS)} s" if wait > 0 else None

    def worked(self, site: Site, address: Address) -> None:
        """An address worked: forget its failures."""
        if address.failures:
            with site.catalogue.writing() as connection:
                sites.change_address(connection, address.site, address.address, failures=0, tried_ns=None)

    def broke(self, site: Site, address: Address, reason: str) -> None:
        """An address failed; it is not tried again in this run."""
        with self.lock:
            if (address.site, address.address) in self.down:
                return
            self.down[address.site, address.address] = reason
        failures, moment = address.failures + 1, self.network.clock()
        with site.catalogue.writing() as connection:
            sites.change_address(connection, address.site, address.address, failures=failures, tried_ns=moment)


def deliver(site: Site, run: Run) -> None:
    """Hand over every message that is due; at most `THREADS` at one time, `THREADS_PER_SITE` to one site."""
    moment = run.network.clock()
    _expire(site, moment)
    with site.catalogue.reading() as connection:
        pinned = {one.code: one.revoked for one in sites.everyone(connection)}
        queue = messages.due(connection, moment)
        routes = {code: sites.addresses(connection, code) for code in {message.site for message in queue}}
    boxes: dict[str, deque[Message]] = {}
    for message in queue:
        if pinned.get(message.site):
            _wait(site, run, message, f"{message.site} was revoked: {pinned[message.site]}", held=True)
            continue
        boxes.setdefault(message.site, deque()).append(message)
    if not boxes:
        return
    # A card goes before what the new key of it has signed, and nothing beside it.
    boxes = {code: deque(sorted(box, key=lambda message: message.type != card_doc.TYPE)) for code, box in boxes.items()}
    most = {code: 1 if box[0].type == card_doc.TYPE else min(len(box), THREADS_PER_SITE) for code, box in boxes.items()}
    workers = [(code, worker) for worker in range(THREADS_PER_SITE) for code in boxes if worker < most[code]]
    if len(workers) == 1:
        _work(site, run, boxes[workers[0][0]], routes[workers[0][0]])
        return
    with ThreadPoolExecutor(THREADS, thread_name_prefix="deliver") as pool:
        jobs = [pool.submit(_work, site, run, boxes[code], routes[code]) for code, _ in workers]
        for job in jobs:
            job.result()


def _expire(site: Site, moment: int) -> None:
    """Make dead letters of messages that nobody has acknowledged for too long; a clock set right undoes it."""
    with site.catalogue.reading() as connection:
        old = messages.expired(connection, moment - EXPIRY_NS)
        ahead = messages.dead_ahead(connection, moment)
    if ahead:
        with site.catalogue.writing() as connection:
            for message in ahead:
                messages.revive(connection, message)
    if not old:
        return
    with site.catalogue.writing() as connection:
        for message in old:
            if message.type == acknowledgement_doc.TYPE:
                messages.forget(connection, message)
                continue
            days = EXPIRY_NS // (24 * 3600 * SECOND_NS)
            reason = f"not acknowledged by {message.site} within {days} days"
            reason += f"; last: {message.reason}" if message.reason else ""
            messages.settle(connection, message, state="dead", reason=reason, now_ns=moment)


class Lines:
    """The open transports of one worker: a line to an address is opened once, and paced anew for each message."""

    def __init__(self, site: Site, run: Run) -> None:
        self._site, self._run = site, run
        self._open: dict[tuple[str, str], tuple[Transport, Pacer]] = {}

    def to(self, address: Address, priority: str) -> Transport:
        """The transport of an address, for a message of that priority."""
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


def _work(site: Site, run: Run, box: deque[Message], routes: list[Address]) -> None:
    """Hand over one message after another until none is left; several threads may share a box."""
    lines = Lines(site, run)
    try:
        while True:
            try:
                message = box.popleft()
            except IndexError:
                return
            _hand_over(site, run, lines, message, routes)
    finally:
        lines.close()


def _hand_over(site: Site, run: Run, lines: Lines, message: Message, routes: list[Address]) -> None:
    reason, held = NO_ADDRESS, False
    for address in routes:
        if address.address == POLL:
            # Not a failure, and no reason to try a lower address: the message is offered until that site has it.
            reason, held = f"{message.site} fetches it from our server: courier channel serve", True
            break
        known = run.usable(address)
        if known is not None:
            reason, held = known, False
            continue
        try:
            _through(site, run, lines, message, address)
        except PausedError as error:
            reason, held = f"{address.address}: {error.message}", True
        except RejectedError as error:
            reason, held = error.message, False
        except UnreachableError as error:
            reason, held = error.message, False
            run.broke(site, address, error.message)
        except CourierError as error:
            reason, held = f"{error.message}; {error.hint}", False
            run.broke(site, address, reason)
        else:
            run.worked(site, address)
            _note_delivered(site, run, message)
            return
    _wait(site, run, message, reason, held=held)


def _wait(site: Site, run: Run, message: Message, reason: str, *, held: bool) -> None:
    """Note why a message stays in the outbox; ``held``: though nothing has failed."""
    with run.lock:
        (run.held if held else run.failed).setdefault(message.site, reason)
    if message.reason != reason or not held:
        with site.catalogue.writing() as connection:
            messages.attempted(connection, message, reason=reason)


def _through(site: Site, run: Run, lines: Lines, message: Message, address: Address) -> None:
    """Hand a message over through one address. Raises `UnreachableError`, `PausedError`, `RejectedError`."""
    limits, moment = Limits.parse(address.limits), run.network.clock()
    if not limits.admits(message.priority, moment):
        raise paused(limits, message.priority, moment)

    def read(offset: int, length: int) -> bytes:
        with site.catalogue.reading() as connection:
            return transfer_piece(connection, message, offset, length)

    outgoing = Outgoing(sha256=message.name, size=transfer_size(message), read=read)
    lines.to(address, message.priority).deliver(message.site, outgoing)


def _note_delivered(site: Site, run: Run, message: Message) -> None:
    moment = run.network.clock()
    own_word = message.type == acknowledgement_doc.TYPE
    with site.catalogue.writing() as connection:
        if own_word:
            messages.forget(connection, message)
        else:
            due_ns = moment + resend_ns(messages.handed_over(message))
            messages.delivered(connection, message, due_ns=due_ns, now_ns=moment)
    if not own_word:
        with run.lock:
            run.delivered += 1
