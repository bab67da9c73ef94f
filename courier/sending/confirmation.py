"""Receipts that came by network: a parcel is confirmed once every destination has sent one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.states import SentEvent
from courier.parcel.transitions import log_entry, sent_event
from courier.site.catalog import parcels
from courier.site.home import Site
from formats.documents.receipt import Receipt
from formats.envelope import Envelope, parse_envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection


def take_receipt(site: Site, receipt: Receipt, envelope: Envelope) -> str:
    """Keep a destination's receipt, unless the one that is here is as new; return an empty text.

    Raises `RefusedError` for a receipt that does not fit the parcel sent under that ID.
    """
    with site.catalogue.writing() as connection:
        _check_fits(connection, receipt)
        known = parcels.destinations(connection, receipt.parcel)
        before = next((to.receipt for to in known if to.site == receipt.destination), None)
        if before is not None and Receipt.parse(parse_envelope(before).payload).issued_ns >= receipt.issued_ns:
            return ""
        kept = parcels.keep_receipt(
            connection, receipt.parcel, receipt.destination, receipt=envelope.encode(), confirmed_ns=receipt.issued_ns
        )
        if not kept:
            raise RefusedError(
                f"receipt of {receipt.destination} for {receipt.parcel}, which was not sent there",
                hint=f"ask {receipt.destination} how it came by the parcel",
                code=Code.NOT_A_DESTINATION,
            )
        outcomes = ", ".join(f"{p.package}:{p.version} {p.outcome}" for p in receipt.packages)
        parcels.write_log(connection, log_entry(site, receipt.parcel, "receipt", f"{receipt.destination}: {outcomes}"))
        if all(item.receipt is not None for item in parcels.destinations(connection, receipt.parcel)):
            sent_event(connection, site, receipt.parcel, SentEvent.CONFIRMED, "every destination has answered")
    return ""


def _check_fits(connection: Connection, receipt: Receipt) -> None:
    """Raise `RefusedError` unless a receipt names the build that was sent and the packages that it carries."""
    sent = parcels.find_sent(connection, receipt.parcel)
    if sent is None or sent.build != receipt.build:
        raise RefusedError(
            f"receipt of {receipt.destination} for {receipt.parcel}, which is not the parcel sent under that ID",
            hint=f"ask {receipt.destination} what it imported",
            code=Code.UNKNOWN_PARCEL,
        )
    carried = {(p, v, listing) for p, v, listing, _ in parcels.sent_packages(connection, receipt.parcel)}
    if carried and carried != {(p.package, p.version, p.listing) for p in receipt.packages}:
        raise RefusedError(
            f"receipt of {receipt.destination} for {receipt.parcel} names other packages than it carries",
            hint=f"ask {receipt.destination} what it imported",
            code=Code.RECEIPT_DISAGREES,
        )
