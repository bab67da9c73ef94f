"""The key of a parcel on its way to the destinations: encrypted for them, and taken back."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.encryption import network_identity
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.site.catalog import messages, parcels
from courier.site.home import Site
from formats.age import EncryptingWriter
from formats.documents import notice as notice_doc
from formats.documents import release as release_doc
from formats.documents.notice import ShipNotice
from formats.documents.release import KeyRelease, ParcelKey
from formats.envelope import parse_envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection


def encrypt_parcel_key(site: Site, parcel: OutgoingParcel, destinations: tuple[str, ...]) -> bytes:
    """The parcel's key as an age file for these destinations; raises `RefusedError` where a card has no recipient."""
    trust = site.trust()
    recipients = []
    for code in destinations:
        recipient = trust.site(code).card.recipient
        if recipient is None:
            raise RefusedError(
                f"the card of {code} has no recipient to seal the key to",
                hint=f"get a card made by a present release from {code}",
                code=Code.NO_RECIPIENT,
            )
        recipients.append(recipient)
    identity = network_identity(parcel.folder)
    key = ParcelKey(parcel=parcel.packing.parcel, build=parcel.packing.build, identity=identity.to_text())
    out = io.BytesIO()
    with EncryptingWriter(out, recipients) as encrypted:
        encrypted.write(key.payload())
    return out.getvalue()


def withdraw_key(connection: Connection, parcel: str) -> int:
    """Take out of the outbox what would hand a parcel's key over, and is not acknowledged; return how many messages.

    In the transaction in which the parcel is recalled, fails or is superseded: what was queued before goes no more.
    """
    count = 0
    for goes in parcels.destinations(connection, parcel):
        for one in messages.unsettled(connection, goes.site, (notice_doc.TYPE, release_doc.TYPE)):
            payload = parse_envelope(messages.read(connection, one.sha256, goes.site, 0, one.size)).payload
            what = ShipNotice.parse(payload) if one.type == notice_doc.TYPE else KeyRelease.parse(payload)
            if what.parcel == parcel and what.key:
                messages.forget(connection, one)
                count += 1
    return count
