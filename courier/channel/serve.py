"""The journey of a server: peers bring and fetch messages; what they bring is taken in at once, and rounds are made."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from courier.channel.delivery import POLL, Network
from courier.channel.requests import Service
from courier.channel.schedule import SECOND_NS, Limits, resend_ns, retry_ns
from courier.channel.server import Listening, check_listening, require_server, serve
from courier.channel.sync import Exchange, open_inbox, synchronise, take_inbox
from courier.errors import BusyError, CourierError
from courier.files import locked
from courier.site.card import pinned_card
from courier.site.catalog import messages, sites
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import transfer_piece, transfer_size
from formats.documents import acknowledgement as acknowledgement_doc
from formats.documents.card import SiteCard
from formats.envelope import PublicKey

Told = TypeVar("Told")

FRESH_NS = 10**9
"""How old what the server knows of trusted sites may be: a revocation counts after a second."""
LOCK_SECONDS = 60


class SiteDesk:
    """What the server is told of its site (`courier.channel.requests.Desk`)."""

    def __init__(self, site: Site, *, arrived: Callable[[], None], clock: Callable[[], int] = now) -> None:
        self._site, self._arrived, self._clock = site, arrived, clock
        self._cards: dict[str, SiteCard] = {}
        self._read_ns: int | None = None

    @property
    def code(self) -> str:
        """See `Desk.code`."""
        return self._site.code

    def key(self, site: str, keyid: str) -> PublicKey | None:
        """See `Desk.key`."""
        moment = self._clock()
        if self._read_ns is None or not 0 <= moment - self._read_ns < FRESH_NS:
            with self._site.catalogue.reading() as connection:
                pinned = sites.everyone(connection)
            self._cards = {one.code: pinned_card(one.card) for one in pinned if not one.revoked}
            self._read_ns = moment
        card = self._cards.get(site)
        found = (key for key in card.keys if key.key.keyid == keyid) if card else iter(())
        return next((key.key for key in found if key.valid_from_ns <= moment < key.valid_until_ns), None)

    def _polls(self, site: str) -> Limits | None:
        """The limits of the site's `POLL` address, or None: only a site that has one fetches from here."""
        with self._site.catalogue.reading() as connection:
            address = sites.find_address(connection, site, POLL)
        return Limits.parse(address.limits) if address else None

    def waiting(self, site: str, limit: int) -> list[tuple[str, int]]:
        """See `Desk.waiting`."""
        limits, moment = self._polls(site), self._clock()
        if limits is None:
            return []
        with self._site.catalogue.reading() as connection:
            due = messages.due(connection, moment, site, limit)
        return [(m.name, transfer_size(m)) for m in due if limits.admits(m.priority, moment)]

    def piece(self, site: str, sha256: str, offset: int, length: int) -> tuple[bytes, int] | None:
        """See `Desk.piece`."""
        limits = self._polls(site)
        with self._site.catalogue.reading() as connection:
            message = messages.named(connection, "out", sha256, site)
            if limits is None or message is None or not limits.admits(message.priority, self._clock()):
                return None
            if message.state not in messages.LIVE:
                return None
            return transfer_piece(connection, message, offset, length), transfer_size(message)

    def fetched(self, site: str, sha256: str) -> None:
        """See `Desk.fetched`: an acknowledgement has done its work, another message waits for its own."""
        moment = self._clock()
        with self._site.catalogue.writing() as connection:
            message = messages.named(connection, "out", sha256, site)
            if message is None:
                return
            if message.type == acknowledgement_doc.TYPE:
                messages.forget(connection, message)
            else:
                due_ns = moment + resend_ns(messages.handed_over(message))
                messages.delivered(connection, message, due_ns=due_ns, now_ns=moment)

    def taken_before(self, site: str, sha256: str) -> bool:
        """See `Desk.taken_before`."""
        with self._site.catalogue.writing() as connection:
            message = messages.named(connection, "in", sha256, site)
            if message is None or message.state != "taken":
                return False
            messages.owe(connection, message, now())
        self._arrived()
        return True

    def limits(self, site: str) -> Limits:
        """See `Desk.limits`."""
        return self._polls(site) or Limits()

    def arrived(self) -> None:
        """See `Desk.arrived`."""
        self._arrived()


def exchange_locked(site: Site, act: Callable[[], Exchange], *, patience: float = LOCK_SECONDS) -> Exchange:
    """Do one exchange, while no other process of this site does; waits ``patience`` seconds. Raises `BusyError`."""
    deadline = time.monotonic() + patience
    while True:
        begun = False
        try:
            with locked(site.home / "channel" / "lock"):
                begun = True
                return act()
        except BusyError:
            if begun or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def synchronise_patiently(
    site: Site, *, told: Callable[[Exchange], None], network: Network | None = None, sleep: Callable[[float], None]
) -> Exchange:
    """`synchronise`, and again for the addresses that failed, as often and as far apart as their limits say.

    ``told`` of every exchange but the last, which is returned.
    """
    done = exchange_locked(site, lambda: synchronise(site, network=network))
    while done.unreachable:
        with site.catalogue.reading() as connection:
            failing = [(a, Limits.parse(a.limits)) for a in sites.addresses(connection) if a.failures]
        waits = [retry_ns(limits, a.failures) for a, limits in failing if a.failures <= limits.retries]
        if not waits:
            break
        told(done)
        sleep(min(waits) / SECOND_NS)
        done = exchange_locked(site, lambda: synchronise(site, network=network, patient=True))
    return done


def unhindered(say: Callable[[Told], None]) -> Callable[[Told], None]:
    """``say``, but that it raises no `OSError`."""

    def said(what: Told) -> None:
        with contextlib.suppress(OSError):
            say(what)

    return said


def run_server(
    site: Site,
    listening: Listening,
    *,
    rate: int,
    every: int,
    log: Callable[[str], None],
    ready: Callable[[str], None],
    done: Callable[[Exchange], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve until told to stop. ``every``: seconds between rounds of deliveries and fetches, 0 for none.

    ``rate``: requests a second of one site; ``done`` is told of every exchange that did something. What is said of
    it may fail to be said (a full disk, a reader that went away): the server goes on, and can be stopped.
    """
    check_listening(listening)
    require_server()
    log, ready, done = unhindered(log), unhindered(ready), unhindered(done)
    # A passphrase is asked for now, not by a thread in an hour.
    site.keyring.signer(site.card.keys[0].key)
    site.keyring.identities()
    inbox = open_inbox(site)
    inbox.sweep()
    arrived, ended = threading.Event(), threading.Event()
    arrived.set()  # what came before a restart is taken in first
    service = Service(SiteDesk(site, arrived=arrived.set), inbox, log=log, rate=rate)
    worker = threading.Thread(target=_rounds, args=(site, every, arrived, ended, log, done), name="rounds")
    worker.start()
    try:
        serve(service, listening, ready=ready, stop=stop)
    finally:
        ended.set()
        arrived.set()
        worker.join()


def _rounds(
    site: Site,
    every: int,
    arrived: threading.Event,
    ended: threading.Event,
    log: Callable[[str], None],
    done: Callable[[Exchange], None],
) -> None:
    """Take in what arrives, and make a round every so often, until the server ends."""
    next_round = time.monotonic() + every
    while not ended.is_set():
        wait = max(0.0, next_round - time.monotonic()) if every else 3600.0
        came = arrived.wait(min(wait, 3600.0))
        arrived.clear()
        if ended.is_set():
            return
        full = bool(every) and time.monotonic() >= next_round
        if full:
            next_round = time.monotonic() + every
        if not (came or full):
            continue
        try:
            act = partial(synchronise, site, patient=True) if full else partial(take_inbox, site)
            done(exchange_locked(site, act))
        except Exception as error:  # whatever it is, the server goes on taking messages
            log(f"{error.message} ({error.hint})" if isinstance(error, CourierError) else f"unexpected: {error!r}")
            # What came is still there: look again soon, but not in a tight circle.
            if not ended.wait(5):
                arrived.set()
