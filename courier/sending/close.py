"""Ending a parcel that this site made: marked as failed, or replaced by a later one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.states import SentEvent, SentState, after_sent
from courier.parcel.transitions import checked_reason, log_hint, sent_event
from courier.sending.parcel_key import withdraw_key
from courier.site.catalog import parcels
from courier.site.home import Site
from formats.errors import FormatError
from formats.names import check_parcel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


def fail_parcel(site: Site, parcel: str, reason: str) -> str:
    """A parcel of ours is lost or given up; return its state. Raises `NotFoundError`, `RefusedError` where its state
    forbids it.

    It can be shipped again; until then its key is not released. A receipt confirms it all the same.
    """
    reason = checked_reason(reason)
    with site.catalogue.writing() as connection:
        state = _sent_state(connection, parcel)
        after = after_sent(state, SentEvent.FAILED)
        if after is None:
            raise RefusedError(
                f"{parcel} is {state}: it cannot fail any more", hint=log_hint(parcel), code=Code.WRONG_STATE
            )
        sent_event(connection, site, parcel, SentEvent.FAILED, reason)
        withdraw_key(connection, parcel)
        record(connection, site, parcel, Happened(event="lost", note=reason))
    return after


def _sent_state(connection: Connection, parcel: str) -> str:
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise UsageError(error.message, hint="courier parcel list shows the parcels") from None
    sent = parcels.find_sent(connection, parcel)
    if sent is None:
        raise NotFoundError(f"{parcel} is not a parcel this site made", hint="courier parcel list shows the parcels")
    return sent.state


def check_supersedes(site: Site, parcel: str, destinations: Sequence[str]) -> None:
    """Whether a new parcel for ``destinations`` may replace ``parcel``; raises `NotFoundError`, `RefusedError`."""
    with site.catalogue.reading() as connection:
        state = _sent_state(connection, parcel)
        open_ones = [goes.site for goes in parcels.destinations(connection, parcel) if goes.receipt is None]
    if state == SentState.SUPERSEDED or after_sent(state, SentEvent.SUPERSEDED) is None:
        raise RefusedError(f"{parcel} is {state}: nothing replaces it", hint=log_hint(parcel), code=Code.WRONG_STATE)
    left_out = [code for code in open_ones if code not in destinations]
    if left_out:
        raise RefusedError(
            f"{parcel} is still under way to {', '.join(left_out)}, where the new parcel would not go",
            hint=" ".join(f"--to {code}" for code in [*destinations, *left_out]),
            code=Code.DESTINATIONS_DIFFER,
        )
