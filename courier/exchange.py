"""The channel journey: move messages both ways now, act on what came, and let held parcels go on.

At least once, in any order, duplicates harmless: a message is known by the SHA-256 of its bytes. What cannot be acted
on becomes a dead letter that says why; nothing else happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from courier.catalog import messages, sites
from courier.catalog.messages import Message
from courier.catalog.sites import Address
from courier.channel.folder import FolderTransport
from courier.channel.transport import Transport
from courier.errors import CourierError, Unreachable
from courier.inbox import take_message
from courier.receive import ParcelStatus, settle_all
from courier.site import Site, now


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """What one ``channel sync`` did: messages out and in, dead letters, sites not reached, parcels that went on."""

    delivered: int
    taken: int
    refused: tuple[tuple[str, str], ...]
    unreachable: tuple[tuple[str, str], ...]
    parcels: tuple[ParcelStatus, ...]
    failures: tuple[CourierError, ...]


def transport_for(address: str) -> Transport:
    """The transport of an address."""
    return FolderTransport(Path(address))


def synchronise(site: Site) -> Exchange:
    """Deliver what is queued, take what came, import what can be imported, deliver the receipts of that."""
    failed: dict[str, str] = {}
    delivered = _deliver(site, failed)
    taken, refused = _fetch(site, failed)
    settled = settle_all(site)
    delivered += _deliver(site, failed)
    return Exchange(
        delivered=delivered,
        taken=taken,
        refused=tuple(refused),
        unreachable=tuple(failed.items()),
        parcels=tuple(status for status, _ in settled if status is not None),
        failures=tuple(error for _, error in settled if error is not None),
    )


def _deliver(site: Site, failed: dict[str, str]) -> int:
    with site.catalogue.reading() as connection:
        queue = messages.queued(connection)
        routes = {code: sites.addresses(connection, code) for code in {message.site for message in queue}}
    count = 0
    for message in queue:
        reason = _try(routes[message.site], lambda t, m=message: t.deliver(m.site, m.sha256, m.body))  # type: ignore[misc]
        with site.catalogue.writing() as connection:
            if reason is None:
                messages.settle(connection, message, state="delivered", now_ns=now())
                count += 1
            else:
                messages.attempted(connection, message, reason=reason)
                failed[message.site] = reason
    return count


def _try(addresses: list[Address], act: Callable[[Transport], None]) -> str | None:
    """Try addresses by priority; None when one worked, else why the last did not."""
    reason = "there is no address to it: courier channel address add"
    for address in addresses:
        try:
            act(transport_for(address.address))
        except Unreachable as error:
            reason = error.message
        else:
            return None
    return reason


def _fetch(site: Site, failed: dict[str, str]) -> tuple[int, list[tuple[str, str]]]:
    with site.catalogue.reading() as connection:
        everywhere = {address.address: address.site for address in sites.addresses(connection)}
    taken, refused = 0, []
    for text, code in everywhere.items():
        transport = transport_for(text)
        try:
            for sha256, body in transport.fetch(site.code):
                reason = _take_once(site, sha256, body)
                if reason == "":
                    taken += 1
                elif reason is not None:
                    refused.append((sha256, reason))
                transport.done(site.code, sha256)
        except Unreachable as error:
            failed.setdefault(code, error.message)
    return taken, refused


def _take_once(site: Site, sha256: str, body: bytes) -> str | None:
    """Act on a message: '' when taken, the reason when it is a dead letter, None when it was known before."""
    with site.catalogue.reading() as connection:
        if messages.find(connection, "in", sha256) is not None:
            return None
    reason, sender, kind = "", "", ""
    try:
        sender, kind = take_message(site, body)
    except CourierError as error:
        reason = error.message
    with site.catalogue.writing() as connection:
        messages.put(
            connection,
            Message(
                direction="in",
                sha256=sha256,
                site=sender,
                type=kind,
                state="refused" if reason else "taken",
                reason=reason,
                body=body if reason and len(body) < 1 << 20 else b"",
                created_ns=now(),
                settled_ns=now(),
                attempts=0,
            ),
        )
    return reason
