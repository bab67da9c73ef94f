"""Serving peers (``courier channel serve``): what they bring is taken in at once, and rounds of sync are made."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from courier.channel.connections import Network
from courier.channel.fetch import open_inbox
from courier.channel.handlers import Handlers
from courier.channel.http_server import Listening, check_listening, require_server, serve
from courier.channel.metrics_page import MetricsPage
from courier.channel.passed import Passed
from courier.channel.server_desk import ServerDesk
from courier.channel.sync import Exchange, exchange_locked, synchronise, take_inbox
from courier.errors import CourierError, StoppedError
from courier.site.home import Site

Told = TypeVar("Told")

LOOK_AGAIN_SECONDS = 5
"""Pause after an exchange that failed, before it is tried again."""
LONGEST_WAIT_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reports:
    """Whom a server tells what: ``log`` each line of its log, ``ready`` its URL, ``done`` each exchange,
    ``passed`` each message that a site fetched.

    What is told may fail to be told (a full disk, a reader that went away): the server goes on, and can be stopped.
    """

    log: Callable[[str], None]
    ready: Callable[[str], None]
    done: Callable[[Exchange], None]
    passed: Callable[[Passed], None] = lambda _: None


def run_server(
    site: Site,
    listening: Listening,
    *,
    handlers: Handlers,
    rate: int,
    every: int,
    reports: Reports,
    stop: threading.Event | None = None,
    metrics: MetricsPage | None = None,
) -> None:
    """Serve until told to stop. ``every``: seconds between rounds of deliveries and fetches, 0 for none.

    ``rate``: requests a second that one site may make. ``metrics``: the page for monitoring, if there is to be one.
    Raises `UsageError`, `NotFoundError`, `RefusedError`, and `BusyError` where another server of this site runs.
    """
    check_listening(listening)  # before a passphrase is asked for
    require_server()
    from courier.channel.http_application import make_service

    reports = _unhindered(reports)
    unlock_keys(site)
    inbox = open_inbox(site)
    rounds = _Rounds(site, handlers, every=every, reports=reports)
    service = make_service(
        ServerDesk(site, arrived=rounds.look, passed=reports.passed),
        inbox,
        log=reports.log,
        rate=rate,
        metrics=metrics,
    )
    # Two servers would write into one upload at once.
    with site.locked(site.home / "channel" / "server" / "lock"):
        inbox.sweep()
        worker = threading.Thread(target=rounds.run, name="rounds")
        worker.start()
        try:
            serve(service, listening, ready=reports.ready, stop=stop)
        finally:
            rounds.end()
            worker.join()


def unlock_keys(site: Site) -> None:
    """Ask for a passphrase now, and not from a thread in an hour."""
    site.keyring.signer(site.card.keys[0].key)
    site.keyring.identities()


class _Rounds:
    """Takes in what arrives, and makes a round of sync every so many seconds, until the server ends."""

    def __init__(self, site: Site, handlers: Handlers, *, every: int, reports: Reports) -> None:
        self._site, self._handlers, self._every, self._reports = site, handlers, every, reports
        self._arrived, self._ended = threading.Event(), threading.Event()
        self._network = Network(stop=self._ended)
        self._arrived.set()  # what came before a restart is taken in first

    def look(self) -> None:
        """Have the inbox looked at: something has come."""
        self._arrived.set()

    def end(self) -> None:
        """End: an exchange that is under way waits for no other site any more, and what it has is finished."""
        self._ended.set()
        self._arrived.set()

    def run(self) -> None:
        """Do one exchange after another until the end."""
        next_round = time.monotonic() + self._every
        while True:
            left = max(0.0, next_round - time.monotonic()) if self._every else LONGEST_WAIT_SECONDS
            has_come = self._arrived.wait(min(left, LONGEST_WAIT_SECONDS))
            self._arrived.clear()
            if self._ended.is_set():
                return
            is_round = bool(self._every) and time.monotonic() >= next_round
            if is_round:
                next_round = time.monotonic() + self._every
            if has_come or is_round:
                self._exchange(is_round=is_round)

    def _exchange(self, *, is_round: bool) -> None:
        try:
            act = self._round if is_round else self._take_inbox
            self._reports.done(exchange_locked(self._site, act, stop=self._network.stop))
        except StoppedError:
            return
        except Exception as error:  # whatever it is, the server goes on taking messages
            text = f"{error.message} ({error.hint})" if isinstance(error, CourierError) else f"unexpected: {error!r}"
            self._reports.log(text)
            # What came is still there: look again soon, but not in a tight circle.
            if not self._ended.wait(LOOK_AGAIN_SECONDS):
                self._arrived.set()

    def _round(self) -> Exchange:
        return synchronise(self._site, handlers=self._handlers, network=self._network, patient=True)

    def _take_inbox(self) -> Exchange:
        return take_inbox(self._site, handlers=self._handlers)


def _unhindered(reports: Reports) -> Reports:
    """Reports that raise no `OSError`."""

    def unhindered(tell: Callable[[Told], None]) -> Callable[[Told], None]:
        def told(what: Told) -> None:
            with contextlib.suppress(OSError):
                tell(what)

        return told

    return Reports(
        log=unhindered(reports.log),
        ready=unhindered(reports.ready),
        done=unhindered(reports.done),
        passed=unhindered(reports.passed),
    )
