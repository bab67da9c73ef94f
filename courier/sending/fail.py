"""Marking a parcel that this site made as failed: it is lost, or given up."""

from __future__ import annotations

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.states import SentEvent, after_sent
from courier.parcel.transitions import checked_reason, log_hint, sent_event
from courier.sending.outgoing_parcel import find_outgoing
from courier.sending.parcel_key import withdraw_key
from courier.site.home import Site


def fail_parcel(site: Site, parcel: str, reason: str) -> str:
    """Mark a parcel of ours as failed; return its state.

    It can be shipped again; until then its key is not released. A receipt confirms it all the same. Raises
    `UsageError`, `NotFoundError`, or `RefusedError` if its state does not allow it.
    """
    reason = checked_reason(reason)
    with site.catalogue.writing() as connection:
        state = find_outgoing(connection, parcel).state
        after = after_sent(state, SentEvent.FAILED)
        if after is None:
            raise RefusedError(
                f"{parcel} is {state}: it cannot fail any more", hint=log_hint(parcel), code=Code.WRONG_STATE
            )
        sent_event(connection, site, parcel, SentEvent.FAILED, reason)
        withdraw_key(connection, parcel)
        record(connection, site, parcel, Happened(event="lost", note=reason))
    return after
