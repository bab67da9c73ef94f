"""Replacing a parcel that this site made by a later one: the later one supersedes it when it is first shipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.states import SentEvent, SentState, after_sent
from courier.parcel.transitions import log_hint, sent_event
from courier.sending.outgoing_parcel import OutgoingParcel, find_outgoing
from courier.sending.parcel_key import withdraw_key
from courier.site.catalog import parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.documents import supersession as supersession_doc
from formats.documents.supersession import Supersession

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from courier.site.catalog.parcels import SentParcel


def check_supersedes(site: Site, parcel: str, destinations: Sequence[str]) -> None:
    """Check that a new parcel for ``destinations`` may replace ``parcel``.

    Raises `UsageError`, `NotFoundError`, or `RefusedError` if its state does not allow it, or if it is still under way
    to a site that is not among the destinations.
    """
    with site.catalogue.reading() as connection:
        state = find_outgoing(connection, parcel).state
        unconfirmed = [goes.site for goes in parcels.destinations(connection, parcel) if goes.receipt is None]
    if state == SentState.SUPERSEDED or after_sent(state, SentEvent.SUPERSEDED) is None:
        raise RefusedError(f"{parcel} is {state}: it cannot be replaced", hint=log_hint(parcel), code=Code.WRONG_STATE)
    left_out = [code for code in unconfirmed if code not in destinations]
    if left_out:
        raise RefusedError(
            f"{parcel} is still under way to {', '.join(left_out)}, where the new parcel would not go",
            hint=" ".join(f"--to {code}" for code in [*destinations, *left_out]),
            code=Code.DESTINATIONS_DIFFER,
        )


def replaced_by(connection: Connection, parcel: OutgoingParcel) -> SentParcel | None:
    """The parcel that ``parcel`` replaces if it is shipped now; None if there is none, or it cannot be replaced."""
    if not parcel.sent.supersedes or parcel.sent.state != SentState.WRITTEN:
        return None
    old = parcels.find_sent(connection, parcel.sent.supersedes)
    return old if old is not None and after_sent(old.state, SentEvent.SUPERSEDED) is not None else None


def sites_to_tell(connection: Connection, old: SentParcel | None) -> tuple[str, ...]:
    """The sites that are told when ``old`` is superseded: its destinations, if it was ever built."""
    if old is None or not old.build:
        return ()
    return tuple(goes.site for goes in parcels.destinations(connection, old.parcel))


def supersede(connection: Connection, site: Site, old: str, new: str) -> int:
    """Mark ``old`` as superseded by ``new``, and queue the news for its destinations; return how many messages."""
    sent = parcels.find_sent(connection, old)
    if sent is None or not sent_event(connection, site, old, SentEvent.SUPERSEDED, f"by {new}") or not sent.build:
        return 0
    withdraw_key(connection, old)
    codes = sites_to_tell(connection, sent)
    document = Supersession(
        parcel=old, build=sent.build, by=new, source=site.code, destinations=codes, issued_ns=now(), reason=""
    )
    envelope = site.sign(document.payload(), supersession_doc.TYPE)
    return sum(enqueue(connection, envelope, code) for code in codes)
