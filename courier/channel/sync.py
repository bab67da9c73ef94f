"""The channel journey: move messages both ways now, act on what came, and let held parcels go on.

At least once, in any order, duplicates harmless: a message is known by the SHA-256 of its envelope. What cannot be
acted on becomes a dead letter that says why; nothing else happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from courier.channel.acknowledgements import acknowledge, surely_from
from courier.channel.custody_exchange import share_ledgers
from courier.channel.delivery import POLL, Lines, Network, Run, deliver
from courier.channel.handlers import take_message
from courier.channel.inbox import Inbox
from courier.channel.reports import report_to_peers
from courier.channel.transport import PausedError, RejectedError
from courier.errors import CourierError, DamagedError, NotFoundError, RefusedError, UnreachableError, UsageError
from courier.receiving.complete import complete_all
from courier.receiving.parcel_status import ParcelStatus
from courier.receiving.receipts import sign_receipts_anew
from courier.sending.retention import keep_quota
from courier.site.catalog import messages, parcels, sites
from courier.site.catalog.messages import Message
from courier.site.catalog.parcels import LogEntry
from courier.site.catalog.sites import Address
from courier.site.clock import now
from courier.site.home import Site
from courier.site.message_encryption import is_covered, open_cover
from courier.site.rotation import announce_card
from formats.digest import sha256_hex
from formats.documents import acknowledgement as acknowledgement_doc

if TYPE_CHECKING:
    from formats.age import Identity

MAX_STRANGE = 1000
"""Dead letters of unknown origin that are remembered."""
AGAIN_BYTES = 16 << 20
"""Of refused messages so many bytes are kept, the first ones, to be looked at once more after all others of a run."""
OUR_FAULTS = {"busy", "catalogue", "clock"}
"""Refusals that say something of us and nothing of the message: it stays where it is, for the next run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """What one ``channel sync`` did: messages out and in, dead letters, sites not reached, parcels that went on.

    ``held``: (site, why) where messages wait though nothing failed, such as a closed schedule. ``news``: what the logs
    of parcels say of it.
    """

    delivered: int
    taken: int
    refused: tuple[tuple[str, str], ...]
    unreachable: tuple[tuple[str, str], ...]
    parcels: tuple[ParcelStatus, ...]
    failures: tuple[CourierError, ...]
    held: tuple[tuple[str, str], ...] = ()
    news: tuple[LogEntry, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Brought:
    """A message that came, as it travelled: ``peer`` brought it (empty where nobody knows).

    ``done`` is called once it is dealt with.
    """

    peer: str
    sha256: str
    body: bytes
    done: Callable[[], None]


@dataclass(kw_only=True, slots=True)
class Came:
    """What came so far: how many messages were new, and (name, why) of the dead letters."""

    taken: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


def synchronise(site: Site, *, network: Network | None = None, patient: bool = False) -> Exchange:
    """Deliver what is queued, take what came, import what can be imported, deliver the receipts of that.

    ``patient``: addresses that failed are left alone until their back-off is over (a server's own rounds).
    """
    run = Run(network=network or Network(), patient=patient)
    end = _log_end(site)
    _queue_news(site)
    deliver(site, run)
    came = _fetch(site, run)
    settled = complete_all(site)
    _queue_news(site)
    acknowledge(site)
    deliver(site, run)
    keep_quota(site)
    return _exchange(site, run, came, settled, end)


def take_inbox(site: Site) -> Exchange:
    """Take what peers brought to our server, and import what can be imported; nothing is delivered."""
    came, end = Came(), _log_end(site)
    _take_all(site, _inbox(site), came)
    settled = complete_all(site) if came.taken else []
    share_ledgers(site)
    acknowledge(site)
    return _exchange(site, Run(network=Network()), came, settled, end)


def _log_end(site: Site) -> int:
    with site.catalogue.reading() as connection:
        return parcels.log_end(connection)


def _queue_news(site: Site) -> None:
    """Queue what other sites shall know of what happened here."""
    if site.card.serial > 1:
        announce_card(site)
    sign_receipts_anew(site)
    report_to_peers(site)
    share_ledgers(site)


def _exchange(
    site: Site, run: Run, came: Came, settled: list[tuple[ParcelStatus | None, CourierError | None]], end: int
) -> Exchange:
    with site.catalogue.reading() as connection:
        news = tuple(parcels.read_log_since(connection, end))
    return Exchange(
        delivered=run.delivered,
        taken=came.taken,
        refused=tuple(came.refused),
        unreachable=tuple(run.failed.items()),
        held=tuple(item for item in run.held.items() if item[0] not in run.failed),
        parcels=tuple(status for status, _ in settled if status is not None),
        failures=tuple(error for _, error in settled if error is not None),
        news=news,
    )


def open_inbox(site: Site) -> Inbox:
    """Where our server puts what peers bring."""
    return Inbox(site.home / "channel")


def _inbox(site: Site) -> Iterator[Brought]:
    inbox = open_inbox(site)
    for peer, sha256, body in inbox.fetch():
        yield Brought(peer=peer, sha256=sha256, body=body, done=lambda p=peer, s=sha256: inbox.done(p, s))  # type: ignore[misc]


def _fetch(site: Site, run: Run) -> Came:
    """Take from our own server's inbox, from every folder, and of each site's servers from the first that answers."""
    came = Came()
    _take_all(site, _inbox(site), came)
    with site.catalogue.reading() as connection:
        everywhere = [a for a in sites.addresses(connection) if a.address != POLL]
    reached: set[str] = set()
    failed: dict[str, tuple[str, str]] = {}
    lines = Lines(site, run)
    try:
        for address in everywhere:
            place = f"server of {address.site}" if _is_server(address) else address.address
            if place in reached or run.usable(address) is not None:
                continue
            try:
                _take_all(site, _brought(site, lines, address), came)
            except PausedError as error:
                run.held.setdefault(address.site, f"{address.address}: {error.message}")
            except (UnreachableError, RejectedError, NotFoundError, UsageError) as error:
                failed.setdefault(place, (address.site, error.message))
                run.broke(site, address, error.message)
            else:
                reached.add(place)
                run.worked(site, address)
    finally:
        lines.close()
    for place, (code, reason) in failed.items():
        if place not in reached:  # else another address of that server answered
            run.failed.setdefault(code, reason)
    return came


def _is_server(address: Address) -> bool:
    return address.address.startswith(("http://", "https://"))


def _brought(site: Site, lines: Lines, address: Address) -> Iterator[Brought]:
    transport = lines.to(address, "high")
    peer = address.site if _is_server(address) else ""
    for sha256, body in transport.fetch(site.code):
        yield Brought(peer=peer, sha256=sha256, body=body, done=lambda s=sha256: transport.done(site.code, s))  # type: ignore[misc]


def _take_all(site: Site, brought: Iterator[Brought], came: Came) -> None:
    """Take each, and note it in ``came``, also where the way to them breaks half-way."""
    identities = cache(site.keyring.identities)
    again: list[tuple[Brought, str]] = []
    room = AGAIN_BYTES
    try:
        for one in brought:
            try:
                reason = _take_once(site, one, identities)
            except RefusedError as error:
                if error.code != "clock":
                    raise
                # A wrong clock of ours is no verdict on the message: it stays where it is.
                came.refused.append((one.sha256, f"{error.message}; it is kept until the clock is right"))
                continue
            if reason == "":
                came.taken += 1
            elif reason is not None:
                kept = len(one.body) <= room
                room -= len(one.body) if kept else 0
                again.append((one if kept else replace(one, body=b""), reason))
            one.done()
    except CourierError:
        came.refused += [(one.sha256, reason) for one, reason in again]
        raise
    for one, reason in again:
        # What a site signed with its new key may have come before the card that names it.
        if one.body and _take_once(site, one, site.keyring.identities) == "":
            came.taken += 1
        else:
            came.refused.append((one.sha256, reason))


def _take_once(site: Site, one: Brought, identities: Callable[[], list[Identity]]) -> str | None:
    """Act on a message: '' when taken, reason and remedy when it is a dead letter, None when nothing in it is new.

    A message is known by the bytes that came, and once it is opened by its envelope: sealed anew it is the same.

    A message that was taken before is acknowledged again. One that was refused is judged anew, for a card that came
    since may let it in; it is reported once. Raises `CourierError` for what is our own fault, not the message's.
    """
    with site.catalogue.reading() as connection:
        known = messages.named(connection, "in", one.sha256)
    if known is not None and known.state == "taken":
        _acknowledge_again(site, known)
        return None
    keys = identities() if is_covered(one.body) else []
    reason, hint, waits, sender, kind, sha256, body = "", "", "", "", "", one.sha256, one.body
    try:
        body = open_cover(body, keys) if is_covered(body) else body
        sha256 = sha256_hex(body)
        with site.catalogue.reading() as connection:
            known = messages.find(connection, "in", sha256) or known
        if known is not None and known.state == "taken":
            _acknowledge_again(site, replace(known, name=one.sha256))
            return None
        sender, kind, waits = take_message(site, body)
    except (RefusedError, DamagedError, NotFoundError, UsageError) as error:
        if error.code in OUR_FAULTS:
            raise
        sender, hint = surely_from(site, body, error), f"; {error.hint}" if error.hint else ""
        reason = error.message if sender or not one.peer else f"brought by {one.peer}: {error.message}"
    if kind == acknowledgement_doc.TYPE:
        # Not kept, and not answered: there is one for every few messages, and it is of no use a second time.
        if known is None:
            return None
        with site.catalogue.writing() as connection:
            messages.forget(connection, known)
        return ""
    keep = Message(
        direction="in",
        sha256=sha256,
        site=sender,
        type=kind,
        state="refused" if reason else "taken",
        reason=reason or waits,
        body=b"",
        created_ns=now(),
        settled_ns=now(),
        attempts=0,
        size=len(body),
        due_ns=now() if sender else None,
        name=one.sha256,
    )
    with site.catalogue.writing() as connection:
        if known is not None:
            messages.forget(connection, known)
        messages.put(connection, keep)
        if not sender:
            messages.thin_out(connection, keep=MAX_STRANGE)
    return None if known is not None and known.reason == reason else reason + hint


def _acknowledge_again(site: Site, known: Message) -> None:
    """A message came again that was taken, perhaps under another name."""
    with site.catalogue.writing() as connection:
        messages.put_cover(connection, known)
        messages.owe(connection, known, now())
