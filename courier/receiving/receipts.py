"""Signing receipts anew that were not delivered before the key that signed them was lost or ended.

The sender would refuse them as they are, and nothing else would ever confirm its parcel. What a receipt says stays the
same. A receipt that was refused for another reason is sent again, too, signed by the present key.
"""

from __future__ import annotations

from dataclasses import replace

from courier.site.catalog import messages, parcels, sites
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.documents import receipt as receipt_doc
from formats.documents.receipt import Receipt
from formats.envelope import Envelope, parse_envelope


def sign_receipts_anew(site: Site) -> int:
    """Sign and queue receipts anew that their sender would refuse for their signature; return how many."""
    if site.card.serial == 1:
        return 0
    with site.catalogue.reading() as connection:
        codes = [pinned.code for pinned in sites.everyone(connection) if not pinned.revoked]
        old = [one for code in codes for one in messages.unsettled(connection, code, (receipt_doc.TYPE,))]
        bodies = [messages.read(connection, one.sha256, one.site, 0, one.size) for one in old]
    count = 0
    for one, body in zip(old, bodies, strict=True):
        envelope = parse_envelope(body)
        receipt = Receipt.parse(envelope.payload)
        if not _is_refused(site, envelope, receipt, dead=one.state == "dead"):
            continue
        receipt = replace(receipt, issued_ns=site.signing_time(receipt.issued_ns))
        new = site.sign(receipt.payload(), receipt_doc.TYPE)
        with site.catalogue.writing() as connection:
            messages.forget(connection, one)
            enqueue(connection, new, one.site)
            for row in parcels.find_received(connection, receipt.parcel, receipt.build):
                # A later receipt may have taken the place of one that still waits.
                if row.receipt == body:
                    parcels.change_received(connection, receipt.parcel, receipt.build, receipt=new.encode())
        count += 1
    return count


def _is_refused(site: Site, envelope: Envelope, receipt: Receipt, *, dead: bool) -> bool:
    """Whether the other site refuses a receipt for its signature, by what our own card says of the key.

    ``dead``: it was refused. A receipt that is signed by the present key is not signed anew.
    """
    present, *older = site.card.keys
    signed = dict(envelope.signatures)
    if present.key.keyid in signed:
        return False
    return dead or not any(
        key.key.keyid in signed
        and key.revoked_ns is None
        and key.valid_from_ns <= receipt.issued_ns < key.valid_until_ns
        for key in older
    )
