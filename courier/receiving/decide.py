"""What an operator, or a later parcel, decides over a parcel: failed, superseded; refused, accepted after all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.errors import NotFound, Refused, Usage
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.notices import check_not_recalled
from courier.parcel.states import ReceivedEvent, ReceivedState, SentEvent, SentState, after_received, after_sent
from courier.parcel.transitions import begin_received, received_event, sent_event
from courier.receiving.settle import find_build
from courier.sending.parcel_key import withdraw_key
from courier.site.catalog import parcels
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from formats.documents import supersession as supersession_doc
from formats.documents.supersession import Supersession
from formats.errors import FormatError
from formats.names import check_parcel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


def _reason(text: str) -> str:
    if not text.strip():
        raise Usage("no reason given", hint='say why: --reason "lost by the carrier"')
    return text.strip()[: supersession_doc.MAX_REASON]


def fail_parcel(site: Site, parcel: str, reason: str) -> str:
    """A parcel of ours is lost or given up; return its state. Raises `NotFound`, `Refused` where its state forbids it.

    It can be shipped again; until then its key is not released. A receipt confirms it all the same.
    """
    reason = _reason(reason)
    with site.catalogue.writing() as connection:
        state = _sent_state(connection, parcel)
        after = after_sent(state, SentEvent.FAILED)
        if after is None:
            raise Refused(f"{parcel} is {state}: it cannot fail any more", hint=_log_hint(parcel), code="wrong-state")
        sent_event(connection, site, parcel, SentEvent.FAILED, reason)
        withdraw_key(connection, parcel)
        record(connection, site, parcel, Happened(event="lost", note=reason))
    return after


def _sent_state(connection: Connection, parcel: str) -> str:
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise Usage(error.message, hint="courier parcel list shows the parcels") from None
    sent = parcels.find_sent(connection, parcel)
    if sent is None:
        raise NotFound(f"{parcel} is not a parcel this site made", hint="courier parcel list shows the parcels")
    return sent.state


def _log_hint(parcel: str) -> str:
    return f"courier parcel log {parcel} says what happened to it"


def refuse_parcel(site: Site, parcel: str, reason: str) -> str:
    """Take nothing more of a parcel, and never import it; return its state. Raises `NotFound`, `Refused`."""
    reason, build = _reason(reason), find_build(site, parcel)
    return _decide(site, parcel, build, ReceivedEvent.REFUSED, reason)


def accept_parcel(site: Site, parcel: str) -> str:
    """Take a parcel after all that was refused; return its state. Raises `NotFound`, `Refused`."""
    build = find_build(site, parcel)
    check_not_recalled(site, site.trust(), parcel, parcel[:3])
    return _decide(site, parcel, build, ReceivedEvent.ACCEPTED, "by the operator")


def _decide(site: Site, parcel: str, build: str, event: ReceivedEvent, text: str) -> str:
    with site.catalogue.writing() as connection:
        state = parcels.find_received(connection, parcel, build)[0].state
        after = after_received(state, event)
        if after is None:
            raise Refused(f"{parcel} is {state}: it cannot be {event}", hint=_log_hint(parcel), code="wrong-state")
        received_event(connection, site, parcel, build, event, text)
        word = "refused" if event == ReceivedEvent.REFUSED else "note"
        record(connection, site, parcel, Happened(event=word, note=text if word == "refused" else "accepted after all"))
    return after


def check_supersedes(site: Site, parcel: str, destinations: Sequence[str]) -> None:
    """Whether a new parcel for ``destinations`` may replace ``parcel``; raises `NotFound`, `Refused`."""
    with site.catalogue.reading() as connection:
        state = _sent_state(connection, parcel)
        open_ones = [goes.site for goes in parcels.destinations(connection, parcel) if goes.receipt is None]
    if state == SentState.SUPERSEDED or after_sent(state, SentEvent.SUPERSEDED) is None:
        raise Refused(f"{parcel} is {state}: nothing replaces it", hint=_log_hint(parcel), code="wrong-state")
    left_out = [code for code in open_ones if code not in destinations]
    if left_out:
        raise Refused(
            f"{parcel} is still under way to {', '.join(left_out)}, where the new parcel would not go",
            hint=" ".join(f"--to {code}" for code in [*destinations, *left_out]),
            code="destinations-differ",
        )


def take_supersession(site: Site, body: bytes) -> str:
    """A sender replaces a parcel: refuse what may still come of it. Return the sender."""
    word, _ = site.trust().verify(
        body,
        Supersession.parse,
        payload_type=supersession_doc.TYPE,
        signed_ns=lambda s: s.issued_ns,
        now_ns=now(),
        where="supersession",
    )
    text = f"superseded by {word.by}" + (f": {word.reason}" if word.reason else "")
    with site.catalogue.writing() as connection:
        refuse_unwanted(connection, site, word.parcel, word.build, text)
    return word.source


def refuse_unwanted(connection: Connection, site: Site, parcel: str, build: str, text: str) -> None:
    """Refuse a parcel on its sender's word, also one that nobody here has heard of yet; what is imported stays."""
    rows = parcels.find_received(connection, parcel)
    for row in rows:
        if row.state != ReceivedState.IMPORTED:
            received_event(connection, site, parcel, row.build, ReceivedEvent.REFUSED, text, quiet=True)
    if not rows:
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
