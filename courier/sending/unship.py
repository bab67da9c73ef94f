"""Taking a mistaken shipment back, for as long as its ship notice has not left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.states import SentEvent, SentState, VolumeState
from courier.parcel.transitions import log_entry, log_hint, sent_event
from courier.sending.arrivals_there import volumes_arrived
from courier.sending.media_sets import Shipped, chosen_destinations, shipped_before
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.site.catalog import letters, messages, parcels, sent_notices
from courier.site.catalog.messages import Message
from courier.site.home import Site
from formats.documents import package as package_doc
from formats.documents.package import PackageDefinition
from formats.envelope import parse_envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


def unship(site: Site, parcel: OutgoingParcel, to: Sequence[str] = ()) -> tuple[str, tuple[str, ...]]:
    """Take a shipment back, to the destinations ``to`` or to all; return the parcel's state, and those destinations.

    Every ship notice is taken out of the outbox, and the definitions that no other parcel announces there. The custody
    ledger, which only grows, says that it was taken back. Raises `RefusedError` where the parcel was not shipped, where
    a notice was handed over or may have been, or where volumes have arrived.
    """
    name = parcel.sent.parcel
    arrived = volumes_arrived(site, name)
    with site.catalogue.writing() as connection:
        sent = parcels.find_sent(connection, name)
        if sent is None or sent.state not in (SentState.SENT, SentState.ARRIVING):
            raise RefusedError(
                f"{name} is {sent.state if sent else 'gone'}: there is no shipment to take back",
                hint=log_hint(name),
                code=Code.WRONG_STATE,
            )
        if any(volume.state != VolumeState.WRITTEN for volume in parcel.volumes):
            raise RefusedError(
                f"{name} goes by network: what has left cannot be taken back",
                hint=f"courier parcel send {name} --by-network --stop; or courier parcel recall {name}",
                code=Code.WRONG_STATE,
            )
        if sent.supersedes:
            raise RefusedError(
                f"{name} has superseded {sent.supersedes} when it was shipped: that cannot be taken back",
                hint=f"courier parcel recall {name}",
                code=Code.WRONG_STATE,
            )
        before = shipped_before(connection, name, sent.edition)
        chosen = [code for code in chosen_destinations(parcel, to) if before.to[code].shipped_ns]
        if not chosen:
            raise RefusedError(f"{name} was not shipped there", hint=log_hint(name), code=Code.WRONG_STATE)
        for code in chosen:
            has_reported = letters.find(connection, "arrival", name, code) is not None
            _check_may_be_taken_back(before, name, code, arrived=has_reported or code in arrived)
        for code in chosen:
            _take_back(connection, before, name, code)
        text = f"to {', '.join(chosen)}, before the notice left"
        if all(code in chosen for code in _shipped_to(before)):
            sent_event(connection, site, name, SentEvent.TAKEN_BACK, text)
        else:
            parcels.write_log(connection, log_entry(site, name, SentEvent.TAKEN_BACK, text))
        staying = {to.copy for code, to in before.to.items() if code not in chosen}
        for copy in sorted({before.to[code].copy for code in chosen} - staying):
            record(connection, site, name, Happened(event="taken-back", copy=copy, note=text))
        after = parcels.find_sent(connection, name)
    return (after or sent).state, tuple(chosen)


def _shipped_to(before: Shipped) -> list[str]:
    return [code for code, to in before.to.items() if to.shipped_ns]


def _check_may_be_taken_back(before: Shipped, parcel: str, code: str, *, arrived: bool) -> None:
    """Raise `RefusedError` where a destination knows of a shipment, or may know of it, or has volumes of it."""
    if before.has_left(code):
        raise RefusedError(
            f"{parcel}: the ship notice for {code} has left, or may have: the shipment cannot be taken back",
            hint=f"ship it again with what is right, or: courier parcel recall {parcel}",
            code=Code.WRONG_STATE,
        )
    if arrived:
        raise RefusedError(
            f"{parcel}: volumes have arrived at {code}: the shipment cannot be taken back",
            hint=f"courier parcel recall {parcel}",
            code=Code.WRONG_STATE,
        )


def _take_back(connection: Connection, before: Shipped, parcel: str, code: str) -> None:
    """Forget the shipment to a destination: its notices, the definitions that went with them, seals and carrier."""
    for one in before.notices.get(code, ()):
        message = messages.find(connection, "out", one.notice, code)
        if message is not None:
            messages.forget(connection, message)
        sent_notices.forget(connection, parcel, code, one.notice)
    _forget_definitions(connection, parcel, code)
    values = {"copy": 0, "carrier": "", "tracking": "", "shipped_ns": None}
    parcels.change_destination(connection, parcel, code, **values)
    parcels.forget_seals(connection, parcel, code)


def _forget_definitions(connection: Connection, parcel: str, code: str) -> None:
    """Take definitions back that wait for a site, of packages that no other parcel which was shipped there carries."""
    carried = {(p, v) for p, v, _, _ in parcels.sent_packages(connection, parcel)}
    for other in parcels.all_sent(connection):
        goes_there = any(to.site == code and to.shipped_ns for to in parcels.destinations(connection, other.parcel))
        if other.parcel != parcel and goes_there:
            carried -= {(p, v) for p, v, _, _ in parcels.sent_packages(connection, other.parcel)}
    for message in messages.queued(connection, code):
        if message.type == package_doc.TYPE and not message.attempts:
            definition = PackageDefinition.parse(parse_envelope(_body(connection, message)).payload)
            if (definition.package, definition.version) in carried:
                messages.forget(connection, message)


def _body(connection: Connection, message: Message) -> bytes:
    return messages.read(connection, message.sha256, message.site, 0, message.size)
