"""Telling the sender that a parcel which was imported in part will not be imported further, or may be after all.

What was imported stays, and the receipt lists it; what was not is named as outstanding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from courier.receiving.part import partial_receipt
from courier.site.catalog import parcels
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.documents import receipt as receipt_doc
from formats.documents.receipt import Ending

if TYPE_CHECKING:
    from sqlalchemy import Connection


def end_import(connection: Connection, site: Site, row: ReceivedParcel, why: Ending | None) -> str:
    """Queue the receipt of a build that was imported in part, with ``why`` it goes no further (None: it may).

    Returns what was imported and what was not, for the log; empty where nothing was imported in part.
    """
    before = partial_receipt(row)
    if before is None:
        return ""
    if before.ended != (why or ""):
        receipt = replace(before, issued_ns=max(now(), before.issued_ns + 1), ended=str(why or ""))
        envelope = site.sign(receipt.payload(), receipt_doc.TYPE)
        parcels.change_received(connection, row.parcel, row.build, receipt=envelope.encode())
        enqueue(connection, envelope, row.source)
    taken = ", ".join(f"{one.package}:{one.version}" for one in before.packages)
    left = ", ".join(f"{one.package}:{one.version}" for one in before.outstanding)
    return f"imported before, and stays: {taken}; not imported: {left}"
