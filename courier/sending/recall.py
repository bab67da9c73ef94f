"""Recalling a parcel: sites that have not imported it yet never will, and its key is not released any more."""

from __future__ import annotations

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.encryption import forget_network_identity
from courier.parcel.states import SentEvent, after_sent
from courier.parcel.transitions import sent_event
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.sending.parcel_key import withdraw_key
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.documents import recall as recall_doc
from formats.documents.recall import Recall


def check_recall(parcel: OutgoingParcel) -> None:
    """Raise `RefusedError` if there is nothing to recall: every destination has imported the parcel."""
    if after_sent(parcel.sent.state, SentEvent.RECALLED) is None:
        raise RefusedError(
            f"{parcel.sent.parcel} is {parcel.sent.state}: all its destinations have imported it",
            hint="remove the packages at those sites: courier package remove ID",
            code=Code.WRONG_STATE,
        )


def recall_parcel(site: Site, parcel: OutgoingParcel, reason: str) -> tuple[str, ...]:
    """Recall a parcel for good, and queue the news for its destinations; return these. It may be done again.

    Raises `RefusedError` if every destination has imported it.
    """
    check_recall(parcel)
    name = parcel.sent.parcel
    recall = Recall(
        parcel=name,
        source=site.code,
        destinations=parcel.packing.destinations,
        build=parcel.sent.build,
        issued_ns=now(),
        reason=reason,
    )
    envelope = site.sign(recall.payload(), recall_doc.TYPE)
    with site.catalogue.writing() as connection:
        sent_event(connection, site, name, SentEvent.RECALLED, reason or "no reason given")
        withdraw_key(connection, name)
        for code in parcel.packing.destinations:
            enqueue(connection, envelope, code)
    forget_network_identity(parcel.folder)
    return parcel.packing.destinations
