"""The key of a parcel whose key travels by network: encrypted for its destinations, and withdrawn."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.encryption import network_identity
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.site.catalog import messages, parcels, sent_notices
from formats.age import EncryptingWriter
from formats.documents import notice as notice_doc
from formats.documents import release as release_doc
from formats.documents.card import SiteCard
from formats.documents.notice import ShipNotice
from formats.documents.release import KeyRelease, ParcelKey
from formats.envelope import parse_envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection


def encrypt_parcel_key(parcel: OutgoingParcel, cards: Iterable[SiteCard]) -> bytes:
    """The parcel's key as an age file for the sites of these cards.

    Raises `RefusedError` if a card has no recipient, `NotFoundError` if the key is gone.
    """
    recipients = []
    for card in cards:
        if card.recipient is None:
            raise RefusedError(
                f"the card of {card.site} has no recipient to encrypt the key to",
                hint=f"get a card made by a current release from {card.site}",
                code=Code.NO_RECIPIENT,
            )
        recipients.append(card.recipient)
    identity = network_identity(parcel.folder)
    key = ParcelKey(parcel=parcel.packing.parcel, build=parcel.sent.build, identity=identity.to_text())
    out = io.BytesIO()
    with EncryptingWriter(out, recipients) as encrypted:
        encrypted.write(key.payload())
    return out.getvalue()


def withdraw_key(connection: Connection, parcel: str) -> int:
    """Delete unacknowledged messages with a parcel's key from the outbox; return how many.

    Called in the transaction in which the parcel is recalled, fails or is superseded, so that its key does not leave
    any more.
    """
    count = 0
    for goes in parcels.destinations(connection, parcel):
        for one in messages.unsettled(connection, goes.site, (notice_doc.TYPE, release_doc.TYPE)):
            payload = parse_envelope(messages.read(connection, one.sha256, goes.site, 0, one.size)).payload
            what = ShipNotice.parse(payload) if one.type == notice_doc.TYPE else KeyRelease.parse(payload)
            if what.parcel == parcel and what.key:
                messages.forget(connection, one)
                if not messages.may_have_left(one):
                    sent_notices.forget(connection, parcel, goes.site, one.sha256)
                count += 1
    return count
