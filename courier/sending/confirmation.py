"""Receipts that came by network: a parcel is confirmed once every destination has sent one that leaves nothing out.

A partial receipt says which packages are in the store there before the rest of the parcel came. The newest is kept; it
confirms nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.states import SentEvent, after_sent
from courier.parcel.transitions import log_entry, sent_event
from courier.site.catalog import letters, parcels
from courier.site.catalog.letters import letter_of
from courier.site.catalog.parcels import SentTo
from courier.site.home import Site
from formats.documents.receipt import Receipt
from formats.envelope import Envelope, parse_envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

PART = "part"
"""The kind of letter that a partial receipt is kept as."""


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
        if receipt.partial:
            _keep_part(connection, site, receipt, envelope, known)
            return ""
        kept = parcels.keep_receipt(
            connection, receipt.parcel, receipt.destination, receipt=envelope.encode(), confirmed_ns=receipt.issued_ns
        )
        if not kept:
            raise _not_sent_there(receipt)
        outcomes = _outcomes(receipt)
        parcels.write_log(connection, log_entry(site, receipt.parcel, "receipt", f"{receipt.destination}: {outcomes}"))
        if all(item.receipt is not None for item in parcels.destinations(connection, receipt.parcel)):
            sent_event(connection, site, receipt.parcel, SentEvent.CONFIRMED, "every destination has answered")
    return ""


def part_of(connection: Connection, parcel: str, code: str) -> Receipt | None:
    """The newest partial receipt of a destination, while none has come from there that confirms the parcel."""
    kept = letters.find(connection, PART, parcel, code)
    confirmed = any(to.receipt is not None for to in parcels.destinations(connection, parcel) if to.site == code)
    return Receipt.parse(parse_envelope(kept.envelope).payload) if kept and not confirmed else None


def _keep_part(
    connection: Connection, site: Site, receipt: Receipt, envelope: Envelope, known: Sequence[SentTo]
) -> None:
    """Keep a partial receipt, unless the one that is here is as new."""
    code, parcel = receipt.destination, receipt.parcel
    to = next((one for one in known if one.site == code), None)
    if to is None:
        raise _not_sent_there(receipt)
    before = part_of(connection, parcel, code)
    if to.receipt is not None or (before is not None and before.issued_ns >= receipt.issued_ns):
        return
    letters.keep(connection, letter_of(PART, parcel, code, envelope))
    left = ", ".join(f"{one.package}:{one.version}" for one in receipt.outstanding)
    text = f"{code}: {_outcomes(receipt)}; outstanding: {left}"
    text += f"; the rest is {receipt.ended} there" if receipt.ended else ""
    sent = parcels.find_sent(connection, parcel)
    if sent is not None and after_sent(sent.state, SentEvent.ARRIVAL) != sent.state:
        sent_event(connection, site, parcel, SentEvent.ARRIVAL, f"{code} has imported a part")
    parcels.write_log(connection, log_entry(site, parcel, "receipt", text))


def _outcomes(receipt: Receipt) -> str:
    return ", ".join(f"{one.package}:{one.version} {one.outcome}" for one in receipt.packages)


def _not_sent_there(receipt: Receipt) -> RefusedError:
    return RefusedError(
        f"receipt of {receipt.destination} for {receipt.parcel}, which was not sent there",
        hint=f"ask {receipt.destination} how it came by the parcel",
        code=Code.NOT_A_DESTINATION,
    )


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
    if carried and carried != {(p.package, p.version, p.listing) for p in (*receipt.packages, *receipt.outstanding)}:
        raise RefusedError(
            f"receipt of {receipt.destination} for {receipt.parcel} names other packages than it carries",
            hint=f"ask {receipt.destination} what it imported",
            code=Code.RECEIPT_DISAGREES,
        )
