"""Release of a parcel's key: the sender judges an arrival report and hands the key over, or does not."""

from __future__ import annotations

from dataclasses import replace

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.states import SentEvent, SentState
from courier.parcel.transitions import log_entry, sent_event
from courier.sending.outgoing_parcel import OutgoingParcel, open_outgoing
from courier.sending.parcel_key import encrypt_parcel_key
from courier.site.catalog import letters, parcels
from courier.site.catalog.letters import Letter, letter_of
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.text import listed
from formats.documents import release as release_doc
from formats.documents.arrival import Arrival
from formats.documents.release import KeyRelease
from formats.envelope import Envelope, parse_envelope


def take_arrival(site: Site, arrival: Arrival, envelope: Envelope) -> str:
    """Keep an arrival report, and queue the parcel's key for its site if the report is right; return an empty text.

    A newer report has the key released anew, to the site's present recipient: it may have lost the keys it had. Raises
    `RefusedError` for a report that is not right, or when the key may not leave.
    """
    with site.catalogue.reading() as connection:
        released = letters.find(connection, "release", arrival.parcel, arrival.destination)
        before = letters.find(connection, "arrival", arrival.parcel, arrival.destination)
        known = parcels.find_sent(connection, arrival.parcel)
    if known is None:
        raise _wrong(arrival, "is not a parcel this site made", code=Code.UNKNOWN_PARCEL)
    if (
        before is not None
        and _issued(before) >= arrival.issued_ns
        and (released or _issued(before) > arrival.issued_ns)
    ):
        return ""
    parcel = open_outgoing(site, arrival.parcel)
    problem = _problem(parcel, arrival)
    key = None
    if problem is None and parcel.packing.key == "on-arrival":
        release = KeyRelease(
            parcel=arrival.parcel,
            source=site.code,
            destination=arrival.destination,
            build=arrival.build,
            issued_ns=now(),
            key=encrypt_parcel_key(parcel, [site.trust().site(arrival.destination).card]),
        )
        key = site.sign(release.payload(), release_doc.TYPE)
    with site.catalogue.writing() as connection:
        sent = parcels.find_sent(connection, arrival.parcel)
        if sent is not None and problem is None:
            # It may have been recalled while this was judged.
            problem = _problem(replace(parcel, sent=sent), arrival)
        same = letters.find(connection, "arrival", arrival.parcel, arrival.destination)
        letters.keep(connection, letter_of("arrival", arrival.parcel, arrival.destination, envelope))
        if key is not None and problem is None:
            letters.keep(connection, letter_of("release", arrival.parcel, arrival.destination, key))
            enqueue(connection, key, arrival.destination)
            text = f"to {arrival.destination}, which reported all volumes{_seals_named(arrival)}"
            parcels.write_log(connection, log_entry(site, arrival.parcel, "key-released", text))
        if same is None or same.envelope != envelope.encode():
            text = f"reported by {arrival.destination}: {problem[0] if problem else 'all volumes'}"
            if problem is None:
                sent_event(connection, site, arrival.parcel, SentEvent.ARRIVAL, text)
            else:
                text += f"; no key was released; they can report again, or: courier parcel recall {arrival.parcel}"
                parcels.write_log(connection, log_entry(site, arrival.parcel, "arrival", text))
    if problem is not None:
        raise _wrong(arrival, problem[0], code=problem[1])
    return ""


def _seals_named(arrival: Arrival) -> str:
    sealed = [number for number, seal in arrival.volumes.items() if seal]
    if not sealed:
        return " (no seals were named)"
    if len(sealed) == len(arrival.volumes):
        return " with their seals"
    return f", and the seals of {listed(sealed)} alone"


def _issued(letter: Letter) -> int:
    return Arrival.parse(parse_envelope(letter.envelope).payload).issued_ns


def _problem(parcel: OutgoingParcel, arrival: Arrival) -> tuple[str, Code] | None:
    """(why, code) when an arrival report is not what was sent."""
    packing = parcel.packing
    if arrival.destination not in packing.destinations:
        return "was not sent there", Code.NOT_A_DESTINATION
    if parcel.sent.state == SentState.RECALLED:
        return "was recalled", Code.RECALLED
    if parcel.sent.state in (SentState.FAILED, SentState.SUPERSEDED):
        return f"is {parcel.sent.state} here", Code.WRONG_STATE
    if parcel.sent.state not in (SentState.SENT, SentState.ARRIVING, SentState.CONFIRMED):
        return "was not sent yet", Code.WRONG_STATE
    if (arrival.build, arrival.packing_list) != (parcel.sent.build, parcel.sent.packing_list):
        return "was sent as another build or layout", Code.ARRIVAL_DISAGREES
    missing = sorted(set(range(1, packing.volumes + 1)) ^ set(arrival.volumes))
    if missing:
        return f"its volumes are 1 to {packing.volumes}, and {missing} are not those reported", Code.ARRIVAL_DISAGREES
    for volume in parcel.volumes:
        if volume.seal != arrival.volumes[volume.number]:
            read = arrival.volumes[volume.number] or "none"
            expected = volume.seal or "none"
            return f"volume {volume.number} left with seal {expected}, and {read} was read", Code.ARRIVAL_DISAGREES
    return None


def _wrong(arrival: Arrival, why: str, *, code: Code) -> RefusedError:
    return RefusedError(
        f"arrival report of {arrival.destination} for {arrival.parcel}: {why}; no key was released",
        hint=f"call {arrival.destination}: they can report again (courier parcel arrived); if media were exchanged or "
        f"lost: courier parcel recall {arrival.parcel}",
        code=code,
    )
