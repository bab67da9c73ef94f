"""The channel journey: move messages both ways now, act on what came, and let held parcels go on.

At least once, in any order, duplicates harmless: a message is known by the SHA-256 of its bytes. What cannot be acted
on becomes a dead letter that says why; nothing else happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from courier.catalog import messages, packages, parcels, sites
from courier.catalog.messages import Message
from courier.catalog.parcels import ReceivedParcel
from courier.catalog.sites import Address
from courier.channel.folder import FolderTransport
from courier.channel.transport import Transport
from courier.errors import CourierError, Refused, Unreachable
from courier.lifecycle import ReceivedState, SentState, may_follow_sent
from courier.receive import ParcelStatus, settle_all
from courier.send import log_entry
from courier.site import Site, now
from courier.trust import check_newer_card
from formats.documents import card as card_doc
from formats.documents import notice as notice_doc
from formats.documents import package as package_doc
from formats.documents import receipt as receipt_doc
from formats.documents.card import SiteCard
from formats.documents.notice import ShipNotice
from formats.documents.package import PackageDefinition
from formats.documents.receipt import Receipt
from formats.envelope import parse_envelope
from formats.errors import FormatError


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


def take_message(site: Site, body: bytes) -> tuple[str, str]:
    """Verify a message and act on it; return (sender, type). Acting twice does no harm. Raises `CourierError`."""
    try:
        kind = parse_envelope(body).payload_type
    except FormatError as error:
        raise Refused(f"message: {error}", hint="ask the sender for it again", code="malformed") from None
    action = _ACTIONS.get(kind)
    if action is None:
        raise Refused(f"message of unknown type {kind[:100]!r}", hint="update this toolkit", code="unknown-type")
    return action(site, body), kind


def _take_definition(site: Site, body: bytes) -> str:
    definition, envelope = site.trust().verify(
        body,
        PackageDefinition.parse,
        payload_type=package_doc.TYPE,
        signed_ns=lambda d: d.created_ns,
        now_ns=now(),
        where="package definition",
    )
    with site.catalogue.writing() as connection:
        packages.keep_definition(
            connection,
            definition.package,
            definition.version,
            definition.site,
            envelope=envelope.encode(),
            received_ns=now(),
        )
    return definition.site


def _take_notice(site: Site, body: bytes) -> str:
    notice, envelope = site.trust().verify(
        body,
        ShipNotice.parse,
        payload_type=notice_doc.TYPE,
        signed_ns=lambda n: n.issued_ns,
        now_ns=now(),
        where="ship notice",
    )
    if not notice.parcel.startswith(notice.source):
        raise Refused(
            f"ship notice by {notice.source} for parcel {notice.parcel}, which is another site's",
            hint="ask the sender",
            code="wrong-site",
        )
    with site.catalogue.writing() as connection:
        parcels.keep_notice(
            connection,
            notice.parcel,
            notice.packing_list,
            build=notice.build,
            envelope=envelope.encode(),
            received_ns=now(),
        )
        if not parcels.find_received(connection, notice.parcel):
            announced = ReceivedParcel(
                parcel=notice.parcel,
                build=notice.build,
                source=notice.source,
                state=ReceivedState.ANNOUNCED,
                packing_list=notice.packing_list,
                hold=0,
                first_ns=now(),
                imported_ns=None,
                receipt=None,
            )
            parcels.put_received(connection, announced)
        text = f"{notice.volumes} volumes, carrier {notice.carrier or '-'}, tracking {notice.tracking or '-'}"
        parcels.write_log(connection, log_entry(site, notice.parcel, "announced", text))
    return notice.source


def _take_receipt(site: Site, body: bytes) -> str:
    receipt, envelope = site.trust().verify(
        body,
        Receipt.parse,
        payload_type=receipt_doc.TYPE,
        signed_ns=lambda r: r.issued_ns,
        now_ns=now(),
        where="receipt",
    )
    with site.catalogue.writing() as connection:
        sent = parcels.find_sent(connection, receipt.parcel)
        if sent is None or sent.build != receipt.build:
            raise Refused(
                f"receipt of {receipt.destination} for {receipt.parcel}, which is not the parcel sent under that ID",
                hint=f"ask {receipt.destination} what it imported",
                code="unknown-parcel",
            )
        kept = parcels.keep_receipt(
            connection, receipt.parcel, receipt.destination, receipt=envelope.encode(), confirmed_ns=receipt.issued_ns
        )
        if not kept:
            raise Refused(
                f"receipt of {receipt.destination} for {receipt.parcel}, which was not sent there",
                hint=f"ask {receipt.destination} how it came by the parcel",
                code="not-a-destination",
            )
        outcomes = ", ".join(f"{p.package}:{p.version} {p.outcome}" for p in receipt.packages)
        parcels.write_log(connection, log_entry(site, receipt.parcel, "receipt", f"{receipt.destination}: {outcomes}"))
        confirmed = all(item.receipt is not None for item in parcels.destinations(connection, receipt.parcel))
        if confirmed and may_follow_sent(sent.state, SentState.CONFIRMED):
            parcels.change_sent(connection, receipt.parcel, state=SentState.CONFIRMED)
    return receipt.destination


def _take_card(site: Site, body: bytes) -> str:
    code = SiteCard.parse(parse_envelope(body).payload).site
    known = site.trust().site(code)
    card = check_newer_card(body, known.card)
    with site.catalogue.writing() as connection:
        pinned = sites.find(connection, code)
        if pinned is not None and card.serial > pinned.serial:
            sites.pin(connection, replace(pinned, name=card.name, card=body, serial=card.serial))
    return code


_ACTIONS: dict[str, Callable[[Site, bytes], str]] = {
    card_doc.TYPE: _take_card,
    notice_doc.TYPE: _take_notice,
    package_doc.TYPE: _take_definition,
    receipt_doc.TYPE: _take_receipt,
}
