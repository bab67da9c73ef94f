"""One exchange with the other sites: messages both ways, and what they let go on here.

Messages come at least once and in any order; one that comes twice does no harm. What cannot be acted on becomes a dead
letter that says why; nothing else happens.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from courier.channel.acknowledgements import acknowledge
from courier.channel.connections import Network, Run
from courier.channel.custody_exchange import share_ledgers
from courier.channel.delivery import deliver
from courier.channel.fetch import fetch_messages, take_from_inbox
from courier.channel.handlers import Handlers
from courier.channel.incoming import Intake
from courier.channel.passed import Passed
from courier.channel.reports import report_to_peers
from courier.channel.schedule import SECOND_NS, Limits, retry_ns
from courier.channel.take_back import take_back
from courier.channel.transport import check_going_on
from courier.errors import BusyError, CourierError
from courier.parcel.transitions import is_open
from courier.receiving.receipts import sign_receipts_anew
from courier.sending.network_record import all_sends
from courier.sending.retention import keep_quota
from courier.site.catalog import packages, parcels, sites
from courier.site.catalog.parcels import LogEntry
from courier.site.home import Site
from courier.site.rotation import announce_card

if TYPE_CHECKING:
    from courier.receiving.parcel_status import ParcelStatus

LOCK_SECONDS = 60
"""How long an exchange waits for another one of this site to end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """What one exchange did.

    ``delivered`` and ``taken``: how many messages went out and came in. ``refused``: (name, why) of dead letters.
    ``unreachable``: (site, why). ``parcels``: those that waited, as they stand now; ``failures``: what stands against
    others, and messages that may not be read.
    ``held``: (site, why) where messages wait though nothing failed, such as for a schedule. ``passed_over``: (site,
    address, why) of addresses that failed while another one of the site worked. ``news``: what was added to the logs of
    parcels. ``contradicted``: stored package versions whose source site signed other content for them.
    ``passed``: each message that went or came, but for acknowledgements, in order of time.
    """

    delivered: int
    taken: int
    refused: tuple[tuple[str, str], ...]
    unreachable: tuple[tuple[str, str], ...]
    parcels: tuple[ParcelStatus, ...]
    failures: tuple[CourierError, ...]
    held: tuple[tuple[str, str], ...] = ()
    passed_over: tuple[tuple[str, str, str], ...] = ()
    news: tuple[LogEntry, ...] = ()
    contradicted: tuple[tuple[str, int], ...] = ()
    passed: tuple[Passed, ...] = ()


Settled = list[tuple["ParcelStatus | None", "CourierError | None"]]


def synchronise(site: Site, *, handlers: Handlers, network: Network | None = None, patient: bool = False) -> Exchange:
    """Deliver what is queued, take in what came, import what can be imported, deliver the receipts of that.

    ``patient``: addresses that failed are not tried until their pause is over (the rounds that a server makes). Raises
    `StoppedError` where the stop of the network is set meanwhile.
    """
    run, intake, log_end = Run(network=network or Network(), patient=patient), Intake(), _log_end(site)
    _queue_news(site)
    stopped = _go_on_sending(site)
    deliver(site, run)
    fetch_messages(site, run, intake, handlers)
    take_back(site, run)
    settled = _complete_all(site)
    _queue_news(site)
    acknowledge(site)
    # What was acknowledged by what came makes room for the next blocks.
    stopped = _go_on_sending(site) or stopped
    deliver(site, run)
    keep_quota(site)
    return _exchange(site, run, intake, [*settled, *((None, error) for error in stopped)], log_end)


def take_inbox(site: Site, *, handlers: Handlers) -> Exchange:
    """Take in what peers brought to our server and import what can be imported; nothing is delivered."""
    intake, log_end = Intake(), _log_end(site)
    take_from_inbox(site, intake, handlers)
    settled = _complete_all(site) if intake.taken else []
    share_ledgers(site)
    acknowledge(site)
    stopped = _go_on_sending(site)
    return _exchange(site, Run(network=Network()), intake, [*settled, *((None, error) for error in stopped)], log_end)


def synchronise_patiently(
    site: Site,
    *,
    handlers: Handlers,
    told: Callable[[Exchange], None],
    network: Network | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Exchange:
    """`synchronise`, and again for the addresses that failed, as often and as far apart as their limits say.

    ``told`` is called with every exchange but the last, which is returned.
    """
    done = exchange_locked(site, lambda: synchronise(site, handlers=handlers, network=network))
    while done.unreachable:
        with site.catalogue.reading() as connection:
            failing = [(one, Limits.parse(one.limits)) for one in sites.addresses(connection) if one.failures]
        waits = [retry_ns(limits, one.failures) for one, limits in failing if one.failures <= limits.retries]
        if not waits:
            break
        told(done)
        sleep(min(waits) / SECOND_NS)
        done = exchange_locked(site, lambda: synchronise(site, handlers=handlers, network=network, patient=True))
    return done


def exchange_locked(
    site: Site,
    act: Callable[[], Exchange],
    *,
    patience: float = LOCK_SECONDS,
    stop: threading.Event | None = None,
) -> Exchange:
    """Do one exchange while no other process of this site does one; wait up to ``patience`` seconds for the others.

    Raises `BusyError` where they do not end, and `StoppedError` once ``stop`` is set.
    """
    stop = stop or threading.Event()
    deadline = time.monotonic() + patience
    while True:
        begun = False
        try:
            with site.locked(site.home / "channel" / "lock"):
                begun = True
                return act()
        except BusyError:
            if begun or time.monotonic() > deadline:
                raise
        stop.wait(0.2)
        check_going_on(stop)


# What completes parcels and what sends them takes as long to load as an exchange that has nothing to do.


def _complete_all(site: Site) -> Settled:
    """`courier.receiving.complete.complete_all`, where a parcel is held or something of one lies here."""
    with site.catalogue.reading() as connection:
        known = parcels.all_received(connection)
    if not any(is_open(one.state) or site.incoming(one.parcel, one.build).exists() for one in known):
        return []
    from courier.receiving.complete import complete_all

    return complete_all(site)


def _go_on_sending(site: Site) -> list[CourierError]:
    """`courier.sending.network_send.go_on_sending`, where a parcel goes by network."""
    if not all_sends(site):
        return []
    from courier.sending.network_send import go_on_sending

    return go_on_sending(site)


def _log_end(site: Site) -> int:
    with site.catalogue.reading() as connection:
        return parcels.log_end(connection)


def _queue_news(site: Site) -> None:
    """Queue what other sites must be told: a new card, receipts signed anew, reports, custody entries."""
    if site.card.serial > 1:
        announce_card(site)
    sign_receipts_anew(site)
    report_to_peers(site)
    share_ledgers(site)


def _exchange(site: Site, run: Run, intake: Intake, settled: Settled, log_end: int) -> Exchange:
    with site.catalogue.reading() as connection:
        news = tuple(parcels.read_log_since(connection, log_end))
        contradicted = tuple(sorted(packages.contradicted(connection)))
    return Exchange(
        delivered=run.delivered,
        taken=intake.taken,
        refused=tuple(intake.refused),
        unreachable=tuple(run.failed.items()),
        held=tuple(item for item in run.held.items() if item[0] not in run.failed),
        passed_over=tuple((*key, reason) for key, reason in sorted(run.down.items()) if key[0] not in run.failed),
        parcels=tuple(status for status, _ in settled if status is not None),
        failures=(*run.refused, *(error for _, error in settled if error is not None)),
        news=news,
        contradicted=contradicted,
        passed=tuple(sorted([*run.passed, *intake.passed], key=lambda one: one.at_ns)),
    )
