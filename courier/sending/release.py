"""Releasing a parcel's key: the sender judges an arrival report and hands the key over, or does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.states import SentEvent, SentState
from courier.parcel.transitions import log_entry, sent_event
from courier.sending.outgoing_parcel import OutgoingParcel, open_outgoing
from courier.sending.parcel_key import encrypt_parcel_key
from courier.site.catalog import letters, parcels
from courier.site.catalog.letters import letter_of
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.text import listed
from formats.documents import release as release_doc
from formats.documents.arrival import Arrival
from formats.documents.release import KeyRelease
from formats.envelope import Envelope, parse_envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection


def take_arrival(site: Site, arrival: Arrival, envelope: Envelope) -> str:
    """Keep an arrival report and, if it is right, queue the parcel's key for its site; return an empty text.

    A report that is known already changes nothing. A newer one has the key released again, to the present recipient of
    the site: it may have lost the keys it had. Raises `RefusedError` if the report is not right, or if the key must not
    leave.
    """
    if _is_settled(site, arrival):
        return ""
    parcel = open_outgoing(site, arrival.parcel)
    problem = _problem(parcel, arrival)
    key = None
    if problem is None and parcel.packing.key == "on-arrival":
        key = _release(site, parcel, arrival)
    with site.catalogue.writing() as connection:
        sent = parcels.find_sent(connection, arrival.parcel)
        if sent is not None and problem is None:
            # It may have been recalled while this was judged.
            problem = _problem(replace(parcel, sent=sent), arrival)
        before = letters.find(connection, "arrival", arrival.parcel, arrival.destination)
        letters.keep(connection, letter_of("arrival", arrival.parcel, arrival.destination, envelope))
        if key is not None and problem is None:
            _queue_key(connection, site, arrival, key)
        if before is None or before.envelope != envelope.encode():
            _log_arrival(connection, site, arrival, problem)
    if problem is not None:
        raise _wrong(arrival, problem)
    return ""


def _is_settled(site: Site, arrival: Arrival) -> bool:
    """Whether this report, or a newer one, was judged before; raises `RefusedError` for a parcel that is not ours."""
    with site.catalogue.reading() as connection:
        released = letters.find(connection, "release", arrival.parcel, arrival.destination)
        before = letters.find(connection, "arrival", arrival.parcel, arrival.destination)
        known = parcels.find_sent(connection, arrival.parcel)
    if known is None:
        raise _wrong(arrival, _Problem("is not a parcel this site made", Code.UNKNOWN_PARCEL))
    if before is None:
        return False
    judged_ns = Arrival.parse(parse_envelope(before.envelope).payload).issued_ns
    return judged_ns > arrival.issued_ns or (judged_ns == arrival.issued_ns and released is not None)


def _release(site: Site, parcel: OutgoingParcel, arrival: Arrival) -> Envelope:
    card = site.trust().site(arrival.destination).card
    release = KeyRelease(
        parcel=arrival.parcel,
        source=site.code,
        destination=arrival.destination,
        build=arrival.build,
        issued_ns=now(),
        key=encrypt_parcel_key(parcel, [card]),
    )
    return site.sign(release.payload(), release_doc.TYPE)


def _queue_key(connection: Connection, site: Site, arrival: Arrival, key: Envelope) -> None:
    letters.keep(connection, letter_of("release", arrival.parcel, arrival.destination, key))
    enqueue(connection, key, arrival.destination)
    text = f"to {arrival.destination}, which reported all volumes{_seals_named(arrival)}"
    parcels.write_log(connection, log_entry(site, arrival.parcel, "key-released", text))


def _log_arrival(connection: Connection, site: Site, arrival: Arrival, problem: _Problem | None) -> None:
    text = f"reported by {arrival.destination}: {problem.why if problem else 'all volumes'}"
    if problem is None:
        sent_event(connection, site, arrival.parcel, SentEvent.ARRIVAL, text)
    else:
        remedy = "" if problem.remedy in text else f"; {problem.remedy}"
        text += f"; no key was released{remedy}; or: courier parcel recall {arrival.parcel}"
        parcels.write_log(connection, log_entry(site, arrival.parcel, "arrival", text))


def _seals_named(arrival: Arrival) -> str:
    sealed = [number for number, seal in arrival.volumes.items() if seal]
    if not sealed:
        return " (no seals were named)"
    if len(sealed) == len(arrival.volumes):
        return " with their seals"
    return f", and the seals of {listed(sealed)} alone"


class _Problem(NamedTuple):
    """Why an arrival report is not right, and what the site that sent it can do."""

    why: str
    code: Code
    remedy: str = "they can report again (courier parcel arrived)"


def _problem(parcel: OutgoingParcel, arrival: Arrival) -> _Problem | None:
    """Why an arrival report does not agree with what was sent; None if it does."""
    packing, sent = parcel.packing, parcel.sent
    if arrival.destination not in packing.destinations:
        return _Problem("was not sent there", Code.NOT_A_DESTINATION)
    if sent.state == SentState.RECALLED:
        return _Problem("was recalled", Code.RECALLED)
    if sent.state in (SentState.FAILED, SentState.SUPERSEDED):
        return _Problem(f"is {sent.state} here", Code.WRONG_STATE)
    if sent.state not in (SentState.SENT, SentState.ARRIVING, SentState.CONFIRMED):
        return _Problem("was not sent yet", Code.WRONG_STATE)
    if arrival.build != sent.build:
        return _Problem("was sent as another build", Code.ARRIVAL_DISAGREES)
    if arrival.packing_list != sent.packing_list:
        # What gathers there is bound to the edition that came first: a report anew would name the same one.
        remedy = (
            f"there: courier parcel discard {arrival.parcel}, then receive the media of edition {sent.edition} alone, "
            "and report again"
        )
        why = f"was sent in another layout, edition {sent.edition}, than the one reported; {remedy}"
        return _Problem(why, Code.ARRIVAL_DISAGREES, remedy)
    odd = sorted(set(range(1, packing.volumes + 1)) ^ set(arrival.volumes))
    if odd:
        why = f"its volumes are 1 to {packing.volumes}, and {odd} are not those reported"
        return _Problem(why, Code.ARRIVAL_DISAGREES)
    for volume in parcel.volumes:
        if volume.seal != arrival.volumes[volume.number]:
            read = arrival.volumes[volume.number] or "none"
            expected = volume.seal or "none"
            why = f"volume {volume.number} left with seal {expected}, and {read} was read"
            return _Problem(why, Code.ARRIVAL_DISAGREES)
    return None


def _wrong(arrival: Arrival, problem: _Problem) -> RefusedError:
    return RefusedError(
        f"arrival report of {arrival.destination} for {arrival.parcel}: {problem.why}; no key was released",
        hint=f"call {arrival.destination}: {problem.remedy}; if media were exchanged or lost: courier parcel recall "
        f"{arrival.parcel}",
        code=problem.code,
    )
