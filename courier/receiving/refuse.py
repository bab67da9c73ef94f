"""Refusing a parcel at its receiver, on the operator's word or its sender's, and accepting it after all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.notices import check_not_recalled
from courier.parcel.states import ReceivedEvent, ReceivedState, after_received
from courier.parcel.transitions import begin_received, checked_reason, log_entry, log_hint, received_event
from courier.receiving.ended_import import end_import
from courier.receiving.parcel_status import find_build
from courier.site.catalog import guests, letters, parcels
from courier.site.catalog.letters import letter_of
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.recall import Recall
from formats.documents.receipt import Ending
from formats.documents.supersession import Supersession
from formats.envelope import Envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection


def refuse_parcel(site: Site, parcel: str, reason: str) -> str:
    """Receive nothing more of a parcel, and never import it; return its state.

    Raises `NotFoundError`, and `RefusedError` where its state does not allow that.
    """
    reason, build = checked_reason(reason), find_build(site, parcel)
    return _decide(site, parcel, build, ReceivedEvent.REFUSED, reason)


def accept_parcel(site: Site, parcel: str) -> str:
    """Accept a parcel that was refused; return its state.

    Raises `NotFoundError`, and `RefusedError` where it was recalled or its state does not allow that.
    """
    build = find_build(site, parcel)
    check_not_recalled(site, site.trust(), parcel, parcel[:3])
    return _decide(site, parcel, build, ReceivedEvent.ACCEPTED, "by the operator")


def _decide(site: Site, parcel: str, build: str, event: ReceivedEvent, text: str) -> str:
    with site.catalogue.writing() as connection:
        row = parcels.find_received(connection, parcel, build)[0]
        state = row.state
        after = after_received(state, event)
        if after is None:
            raise RefusedError(
                f"{parcel} is {state}: it cannot be {event}", hint=log_hint(parcel), code=Code.WRONG_STATE
            )
        part = end_import(connection, site, row, Ending.REFUSED if event == ReceivedEvent.REFUSED else None)
        received_event(connection, site, parcel, build, event, f"{text}; {part}" if part else text)
        word = "refused" if event == ReceivedEvent.REFUSED else "note"
        record(connection, site, parcel, Happened(event=word, note=text if word == "refused" else "accepted after all"))
    return after


def take_supersession(site: Site, word: Supersession, _envelope: Envelope) -> str:
    """Refuse a parcel that its sender has replaced by a later one; return an empty text."""
    text = f"superseded by {word.by}" + (f": {word.reason}" if word.reason else "")
    with site.catalogue.writing() as connection:
        _refuse_unwanted(connection, site, word.parcel, word.build, text, Ending.SUPERSEDED)
    return ""


def take_recall(site: Site, recall: Recall, envelope: Envelope) -> str:
    """Keep the word of a sender that takes a parcel back: it is not imported any more. Return an empty text."""
    with site.catalogue.writing() as connection:
        if letters.find(connection, "recall", recall.parcel, recall.source) is not None:
            return ""
        letters.keep(connection, letter_of("recall", recall.parcel, recall.source, envelope))
        text = f"by {recall.source}: {recall.reason or 'no reason given'}"
        known = parcels.find_received(connection, recall.parcel)
        if not known:
            # From now on the parcel is known here: its media, and commands about it, meet a parcel that is refused.
            _refuse_unwanted(connection, site, recall.parcel, recall.build, f"recalled {text}", Ending.RECALLED)
        for row in known:
            if row.state == ReceivedState.IMPORTED:
                text += "; it was imported before, and its packages stay"
            else:
                part = end_import(connection, site, row, Ending.RECALLED)
                text += f"; {part}" if part else ""
                received_event(connection, site, row.parcel, row.build, ReceivedEvent.REFUSED, f"recalled {text}")
        parcels.write_log(connection, log_entry(site, recall.parcel, "recalled", text))
    return ""


def _refuse_unwanted(connection: Connection, site: Site, parcel: str, build: str, text: str, why: Ending) -> None:
    """Refuse a parcel on its sender's word, also one that is not known here yet; one that was imported stays so."""
    rows = parcels.find_received(connection, parcel)
    for row in rows:
        if row.state != ReceivedState.IMPORTED:
            part = end_import(connection, site, row, why)
            shown = f"{text}; {part}" if part else text
            received_event(connection, site, parcel, row.build, ReceivedEvent.REFUSED, shown, quiet=True)
    if not rows:
        guests.count(connection, parcel[:3], 0)
        unseen = ReceivedParcel(
            parcel=parcel,
            build=build,
            source=parcel[:3],
            state=ReceivedState.REFUSED,
            packing_list="",
            hold=0,
            first_ns=now(),
            imported_ns=None,
            receipt=None,
        )
        begin_received(connection, site, ReceivedEvent.REFUSED, unseen, text)
