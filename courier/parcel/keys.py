"""The key of a parcel that is not on its media: made when it is built, sealed to its destinations, found again there.

The parcel's files are sealed for one fresh age identity. The sender keeps it with the build, owner-only; it leaves the
site only inside an age file sealed to the destinations, in the ship notice or in a key release.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from courier.errors import Refused, explain
from courier.parcel.encryption import network_identity, opened
from courier.parcel.notices import verified_notices
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.site.catalog import letters, messages, parcels
from courier.site.home import Site, now
from formats.age import Identity, SealingWriter
from formats.digest import sha256_hex
from formats.documents import notice as notice_doc
from formats.documents import release as release_doc
from formats.documents.notice import ShipNotice
from formats.documents.packing import PackingList
from formats.documents.release import KeyRelease, ParcelKey
from formats.envelope import parse_envelope
from formats.errors import FormatError, NotForUs

if TYPE_CHECKING:
    from sqlalchemy import Connection


def seal_parcel_key(site: Site, parcel: OutgoingParcel, destinations: tuple[str, ...]) -> bytes:
    """The parcel's key as an age file for these destinations; raises `Refused` where a card has no recipient."""
    trust = site.trust()
    recipients = []
    for code in destinations:
        recipient = trust.site(code).card.recipient
        if recipient is None:
            raise Refused(
                f"the card of {code} has no recipient to seal the key to",
                hint=f"get a card made by a present release from {code}",
                code="no-recipient",
            )
        recipients.append(recipient)
    identity = network_identity(parcel.folder)
    key = ParcelKey(parcel=parcel.packing.parcel, build=parcel.packing.build, identity=identity.to_text())
    out = io.BytesIO()
    with SealingWriter(out, recipients) as sealed:
        sealed.write(key.payload())
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


def identities_for(site: Site, packing: PackingList) -> list[Identity]:
    """What opens a sealed parcel here; none where its key has not come yet.

    Raises `Refused` when a key came that is not this parcel's, or is sealed for others.
    """
    if packing.key == "media":
        return site.keyring.identities()
    if packing.source == site.code:
        return [network_identity(site.outgoing(packing.parcel))]
    sealed = _sealed_key(site, packing)
    return [_open(site, sealed, packing)] if sealed else []


def _sealed_key(site: Site, packing: PackingList) -> bytes:
    if packing.key == "on-arrival":
        with site.catalogue.reading() as connection:
            kept = letters.find(connection, "release", packing.parcel, packing.source)
        if kept is None:
            return b""
        release, _ = site.trust().verify(
            kept.envelope,
            KeyRelease.parse,
            payload_type=release_doc.TYPE,
            signed_ns=lambda r: r.issued_ns,
            now_ns=now(),
            where=f"key release of {packing.parcel}",
            arrived_ns=kept.at_ns,
        )
        return release.key if release.build == packing.build else b""
    notices = verified_notices(site, site.trust(), packing)
    return next((n.key for n in reversed(notices) if n.key and n.build == packing.build), b"")


def _open(site: Site, sealed: bytes, packing: PackingList) -> Identity:
    try:
        with opened(io.BytesIO(sealed), site.keyring.identities()) as source:
            key = ParcelKey.parse(source.read(1 << 16))
        identity = Identity.from_text(key.identity)
    except FormatError as error:
        # It was sealed for the keys on our card of that time, which may have been lost since.
        again = "courier parcel ship there" if packing.key == "network" else "courier parcel arrived here"
        hint = f"once {packing.source} has this site's present card, {again}" if isinstance(error, NotForUs) else ""
        raise explain(error, where=f"key of {packing.parcel}", hint=hint) from None
    if (key.parcel, key.build) != (packing.parcel, packing.build):
        raise Refused(
            f"the key that came for {packing.parcel} is of {key.parcel}, or of another build",
            hint=f"ask {packing.source} to ship it again: courier parcel ship {packing.parcel}",
            code="wrong-key",
        )
    return identity


def awaited_key(site: Site, packing: PackingList, seals: Mapping[int, str]) -> tuple[str, str]:
    """What a complete parcel waits for while its key is not here (empty when it is, or is none), and the command by
    which a person reports the arrival (empty where the key comes without).

    ``seals``: those of the ship notice.
    """
    if not packing.sealed or packing.key == "media" or identities_for(site, packing):
        return "", ""
    if packing.key == "network":
        return f"its key, in the ship notice of {packing.source} (by network: courier channel sync)", ""
    with site.catalogue.reading() as connection:
        report = letters.find(connection, "arrival", packing.parcel, packing.source)
        sent = report and messages.find(connection, "out", sha256_hex(report.envelope), packing.source)
    refused = sent.reason if sent and sent.state == "dead" else ""
    if report and not refused:
        return f"its key, which {packing.source} releases for our arrival report (by network: courier channel sync)", ""
    typed = " ".join(f"--seal {number}=SERIAL" for number in sorted(seals)[:3])
    why = (
        f"its key; {refused}; to report again"
        if refused
        else (f"its key, which {packing.source} releases when all volumes and the seals on them were reported")
    )
    command = f"courier parcel arrived {packing.parcel}{f' {typed}' if typed else ''}"
    return f"{why}: {command}", command
