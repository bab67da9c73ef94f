"""Delivering messages: each goes to its site by the first of the site's addresses that works, within its limits.

A message stays in the outbox until the other site's signed acknowledgement names it. One that was delivered goes again
after an hour, two, four ... without an acknowledgement; after `EXPIRY_NS` it becomes a dead letter.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from courier.channel.connections import POLL, Connections, Run, is_server
from courier.channel.pace import paused
from courier.channel.passed import Passed
from courier.channel.schedule import EXPIRY_NS, SECOND_NS, THREADS, THREADS_PER_SITE, Limits, resend_ns
from courier.channel.transport import Outgoing, PausedError, RejectedError
from courier.errors import CourierError, StoppedError, UnreachableError
from courier.site.catalog import messages, sites
from courier.site.catalog.messages import Message
from courier.site.catalog.sites import Address
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import transfer_piece, transfer_size
from formats.documents import acknowledgement as acknowledgement_doc
from formats.documents import card as card_doc
from formats.documents import notice as notice_doc

if TYPE_CHECKING:
    from sqlalchemy import Connection

NO_ADDRESS = "there is no address to it: courier channel address add"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Queue:
    """The messages that are due for one site, and its addresses in the order they are tried. Threads may share it."""

    messages: deque[Message]
    addresses: list[Address]

    @property
    def threads(self) -> int:
        """How many threads may deliver from it: nothing goes beside a card, which what follows may need."""
        return 1 if self.messages[0].type == card_doc.TYPE else min(len(self.messages), THREADS_PER_SITE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Obstacle:
    """Why a message was not delivered; ``held``: it waits though nothing failed."""

    reason: str
    held: bool = False


def deliver(site: Site, run: Run) -> None:
    """Deliver every message that is due, with at most `THREADS` threads, `THREADS_PER_SITE` to one site.

    Raises `StoppedError`.
    """
    now_ns = run.network.clock()
    _expire(site, now_ns)
    queues = _due_queues(site, run, now_ns)
    workers = [queue for number in range(THREADS_PER_SITE) for queue in queues if number < queue.threads]
    if len(workers) == 1:
        _deliver_queue(site, run, workers[0])
    elif workers:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="deliver") as pool:
            jobs = [pool.submit(_deliver_queue, site, run, queue) for queue in workers]
            try:
                for job in jobs:
                    job.result()
            except (KeyboardInterrupt, SystemExit):
                # The pool waits for its threads, and they for other sites.
                run.network.stop.set()
                raise


def _expire(site: Site, now_ns: int) -> None:
    """Make dead letters of messages that nobody has acknowledged for too long; once a clock is set right, undo it."""
    with site.catalogue.reading() as connection:
        old = messages.expired(connection, now_ns - EXPIRY_NS)
        ahead = messages.dead_ahead(connection, now_ns)
    if not old and not ahead:
        return
    with site.catalogue.writing() as connection:
        for message in ahead:
            messages.revive(connection, message)
        for message in old:
            if message.type == acknowledgement_doc.TYPE:
                messages.forget(connection, message)
                continue
            days = EXPIRY_NS // (24 * 3600 * SECOND_NS)
            reason = f"not acknowledged by {message.site} within {days} days"
            reason += f"; last: {message.reason}" if message.reason else ""
            messages.settle(connection, message, state="dead", reason=reason, now_ns=now_ns)


def _due_queues(site: Site, run: Run, now_ns: int) -> list[_Queue]:
    """The messages that are due, by site; those for revoked sites are noted as waiting instead."""
    with site.catalogue.reading() as connection:
        revoked = {one.code: one.revoked for one in sites.everyone(connection) if one.revoked}
        due = messages.due(connection, now_ns)
        addresses = {code: sites.addresses(connection, code) for code in {message.site for message in due}}
    by_site: dict[str, list[Message]] = {}
    for message in due:
        if message.site in revoked:
            reason = f"{message.site} was revoked: {revoked[message.site]}"
            _note_waiting(site, run, message, _Obstacle(reason=reason, held=True))
        else:
            by_site.setdefault(message.site, []).append(message)
    # A card goes before what the new key of it has signed.
    return [
        _Queue(messages=deque(sorted(box, key=lambda one: one.type != card_doc.TYPE)), addresses=addresses[code])
        for code, box in by_site.items()
    ]


def _deliver_queue(site: Site, run: Run, queue: _Queue) -> None:
    """Deliver one message after another until none is left."""
    connections = Connections(site, run)
    try:
        while True:
            try:
                message = queue.messages.popleft()
            except IndexError:
                return
            obstacle = _deliver_message(site, run, connections, message, queue.addresses)
            if obstacle is None:
                _note_delivered(site, run, message)
            else:
                _note_waiting(site, run, message, obstacle)
    finally:
        connections.close()


def _deliver_message(
    site: Site, run: Run, connections: Connections, message: Message, addresses: list[Address]
) -> _Obstacle | None:
    """Deliver a message by the first address that works; return None, or what stands against the last one tried."""
    obstacle: _Obstacle | None = _Obstacle(reason=NO_ADDRESS)
    for address in addresses:
        if address.address == POLL:
            # Not a failure, and no reason to try a lower address: the message is offered until that site has it.
            return _Obstacle(reason=f"{message.site} fetches it from our server: courier channel serve", held=True)
        obstacle = _try_address(site, run, connections, message, address)
        if obstacle is None:
            return None
    return obstacle


def _try_address(
    site: Site, run: Run, connections: Connections, message: Message, address: Address
) -> _Obstacle | None:
    """Deliver a message by one address; return what stands against it, or None."""
    if reason := run.why_not(address):
        return _Obstacle(reason=reason)
    try:
        _transfer(site, run, connections, message, address)
    except PausedError as error:
        return _Obstacle(reason=f"{address.address}: {error.message}", held=True)
    except RejectedError as error:
        return _Obstacle(reason=error.message)
    except StoppedError:
        raise
    except CourierError as error:
        reason = error.message if isinstance(error, UnreachableError) else f"{error.message}; {error.hint}"
        run.broke(site, address, reason)
        return _Obstacle(reason=reason)
    run.worked(site, address)
    return None


def _transfer(site: Site, run: Run, connections: Connections, message: Message, address: Address) -> None:
    """Move a message to one address. Raises `UnreachableError`, `PausedError`, `RejectedError`."""
    limits, now_ns = Limits.parse(address.limits), run.network.clock()
    if not limits.admits(message.priority, now_ns):
        raise paused(limits, message.priority, now_ns)

    def read(offset: int, length: int) -> bytes:
        with site.catalogue.reading() as connection:
            return transfer_piece(connection, message, offset, length)

    if message.type == notice_doc.TYPE and message.begun_ns is None:
        with site.catalogue.writing() as connection:
            if not messages.begin(connection, message, now_ns):
                raise PausedError("the shipment was taken back", hint="nothing is to be done")
    outgoing = Outgoing(sha256=message.name, size=transfer_size(message), read=read)
    connections.to(address, message.priority).deliver(message.site, outgoing)


def _note_waiting(site: Site, run: Run, message: Message, obstacle: _Obstacle) -> None:
    """Note why a message stays in the outbox."""
    with run.lock:
        (run.held if obstacle.held else run.failed).setdefault(message.site, obstacle.reason)
    if message.reason != obstacle.reason or not obstacle.held:
        with site.catalogue.writing() as connection:
            messages.attempted(connection, message, reason=obstacle.reason)


def _note_delivered(site: Site, run: Run, message: Message) -> None:
    """Note that a message was delivered, and count it unless it is an acknowledgement."""
    with site.catalogue.writing() as connection:
        mark_handed_over(connection, message, run.network.clock())
    if message.type != acknowledgement_doc.TYPE:
        with run.lock:
            run.delivered += 1
            run.passed.append(Passed(at_ns=now(), out=True, site=message.site, kind=message.kind, what="handed over"))


def mark_handed_over(connection: Connection, message: Message, now_ns: int) -> None:
    """Note that the other site has a message: an acknowledgement is done with, another message waits for its own.

    Where the site has a folder as its address, the acknowledgement's name is kept until it does not lie there any more.
    """
    if message.type == acknowledgement_doc.TYPE:
        addresses = sites.addresses(connection, message.site)
        if all(one.address == POLL or is_server(one) for one in addresses):
            messages.forget(connection, message)
        else:
            messages.handed(connection, message, now_ns)
    else:
        due_ns = now_ns + resend_ns(messages.handed_over(message))
        messages.delivered(connection, message, due_ns=due_ns, now_ns=now_ns)
