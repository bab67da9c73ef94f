"""Releasing a parcel's key: the sender judges an arrival report and hands the key over, or does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError
from courier.parcel.states import SentEvent, SentState
from courier.parcel.transitions import log_entry, sent_event
from courier.sending.outgoing_parcel import OutgoingParcel, open_outgoing, signed_editions
from courier.sending.parcel_key import encrypt_parcel_key
from courier.site.catalog import letters, parcels, sent_notices
from courier.site.catalog.letters import Letter, letter_of
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.text import listed, volumes
from formats.documents import release as release_doc
from formats.documents.arrival import Arrival
from formats.documents.release import KeyRelease
from formats.envelope import Envelope, parse_envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection


def take_arrival(site: Site, arrival: Arrival, envelope: Envelope) -> str:
    """Keep an arrival report and, if it is right, queue the parcel's key for its site.

    Returns what waits for the operator: a report of more lost volumes than the policy releases the key for; else an
    empty text. A report that was answered changes nothing. A newer one has the key released again, to the present
    recipient of the site: it may have lost the keys it had. Raises `RefusedError` if the report is not right, or if the
    key must not leave.
    """
    if _is_settled(site, arrival):
        return ""
    parcel = open_outgoing(site, arrival.parcel)
    with site.catalogue.reading() as connection:
        lost = reported_lost(connection, arrival)
    waits = _decision(parcel, arrival) if len(lost) > site.settings.release_lost else ""
    problem = _judge(site, parcel, arrival, envelope, waits=waits)
    if problem is not None:
        raise _wrong(arrival, problem)
    # The other site is told this; the commands are for the operator here.
    return f"{site.code} decides whether it releases the key, as volumes were lost" if waits else ""


def release_key(site: Site, parcel: OutgoingParcel, code: str) -> Arrival:
    """Release the key to a site whose arrival report waits for the operator, as volumes were lost; return the report.

    Raises `NotFoundError` where no report of that site has come, `RefusedError` as `take_arrival` does.
    """
    with site.catalogue.reading() as connection:
        kept = letters.find(connection, "arrival", parcel.sent.parcel, code)
    if parcel.packing.key != "on-arrival":
        raise RefusedError(
            f"the key of {parcel.sent.parcel} is not one that is released on arrival",
            hint=f"courier parcel show {parcel.sent.parcel} says how its key travels",
            code=Code.WRONG_STATE,
        )
    if kept is None:
        raise NotFoundError(
            f"{code} has not reported the arrival of {parcel.sent.parcel}",
            hint=f"it gives, there: courier parcel arrived {parcel.sent.parcel}; here: courier channel sync",
        )
    envelope = parse_envelope(kept.envelope)
    arrival = Arrival.parse(envelope.payload)
    problem = _judge(site, parcel, arrival, envelope)
    if problem is not None:
        raise _wrong(arrival, problem)
    return arrival


def waiting_reports(site: Site, parcel: OutgoingParcel) -> dict[str, tuple[int, ...]]:
    """The lost volumes of each arrival report that waits for the operator, by site."""
    name, waiting = parcel.sent.parcel, {}
    with site.catalogue.reading() as connection:
        for code in parcel.packing.destinations if parcel.packing.key == "on-arrival" else ():
            kept = letters.find(connection, "arrival", name, code)
            if kept is None or _answers(letters.find(connection, "release", name, code), kept):
                continue
            arrival = _report_in(kept)
            lost = reported_lost(connection, arrival)
            if lost and _problem(connection, parcel, arrival) is None:
                waiting[code] = lost
    return waiting


def reported_lost(connection: Connection, arrival: Arrival) -> tuple[int, ...]:
    """The volumes that a report names as lost, and those that the site has reported lost of another layout before.

    Media of both layouts were on their way there, and the key opens what was lost of either.
    """
    kept = letters.find(connection, "lost", arrival.parcel, arrival.destination)
    before = _report_in(kept) if kept is not None else arrival
    elsewhere = before.lost if before.packing_list != arrival.packing_list else ()
    return tuple(sorted((*arrival.lost, *elsewhere)))


def _report_in(letter: Letter) -> Arrival:
    return Arrival.parse(parse_envelope(letter.envelope).payload)


def _answers(release: Letter | None, report: Letter) -> bool:
    """Whether the key was released for that report, and not for an earlier one."""
    return release is not None and release.at_ns >= report.at_ns


def _decision(parcel: OutgoingParcel, arrival: Arrival) -> str:
    """What the operator is asked, of volumes that were lost."""
    if parcel.packing.key != "on-arrival":
        return ""
    name, code = arrival.parcel, arrival.destination
    return (
        "the key is not released yet, as whoever has what was lost could read it with the key. To release it: courier "
        f"parcel release {name} --to {code}; to take the parcel back: courier parcel recall {name}"
    )


def _judge(
    site: Site, parcel: OutgoingParcel, arrival: Arrival, envelope: Envelope, *, waits: str = ""
) -> _Problem | None:
    """Keep a report and release the key, if it is right; return what is wrong with it.

    ``waits``: what the operator has to decide before the key is released; empty: nothing.
    """
    with site.catalogue.reading() as connection:
        problem = _problem(connection, parcel, arrival)
    key = None
    if problem is None and parcel.packing.key == "on-arrival" and not waits:
        key = _release(site, parcel, arrival)
    with site.catalogue.writing() as connection:
        sent = parcels.find_sent(connection, arrival.parcel)
        if sent is not None and problem is None:
            # It may have been recalled while this was judged.
            problem = _problem(connection, replace(parcel, sent=sent), arrival)
        before = letters.find(connection, "arrival", arrival.parcel, arrival.destination)
        if before is not None and _report_in(before).issued_ns > arrival.issued_ns:
            # A newer report came while this one was judged.
            return problem
        kept = _keep_report(connection, arrival, envelope, is_right=problem is None)
        if key is not None and problem is None:
            _queue_key(connection, site, arrival, key, kept)
        if before is None or before.envelope != envelope.encode():
            _log_arrival(connection, site, arrival, problem, waits)
    return problem


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
    judged_ns = _report_in(before).issued_ns
    return judged_ns > arrival.issued_ns or (judged_ns == arrival.issued_ns and _answers(released, before))


def _keep_report(connection: Connection, arrival: Arrival, envelope: Envelope, *, is_right: bool) -> Letter:
    """Keep a report, and the volumes that are lost according to it; it is later than the release of the key before.

    Nothing that was lost turns up by a report that is not right.
    """
    parcel, code = arrival.parcel, arrival.destination
    released = letters.find(connection, "release", parcel, code)
    report = letter_of("arrival", parcel, code, envelope)
    report = replace(report, at_ns=max(report.at_ns, released.at_ns + 1 if released is not None else 0))
    letters.keep(connection, report)
    lost = letters.find(connection, "lost", parcel, code)
    if arrival.lost or (is_right and lost is not None and _report_in(lost).packing_list == arrival.packing_list):
        letters.keep(connection, letter_of("lost", parcel, code, envelope))
    return report


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


def _queue_key(connection: Connection, site: Site, arrival: Arrival, key: Envelope, report: Letter) -> None:
    released = letter_of("release", arrival.parcel, arrival.destination, key)
    letters.keep(connection, replace(released, at_ns=max(released.at_ns, report.at_ns)))
    enqueue(connection, key, arrival.destination)
    arrived = f"all volumes but {listed(arrival.lost)}, lost" if arrival.lost else "all volumes"
    text = f"to {arrival.destination}, which reported {arrived}{_seals_named(arrival)}"
    parcels.write_log(connection, log_entry(site, arrival.parcel, "key-released", text))


def _log_arrival(connection: Connection, site: Site, arrival: Arrival, problem: _Problem | None, waits: str) -> None:
    arrived = f"all but {volumes(arrival.lost)}, lost" if arrival.lost else "all volumes"
    text = f"reported by {arrival.destination}: {problem.why if problem else arrived}"
    if problem is None:
        sent_event(connection, site, arrival.parcel, SentEvent.ARRIVAL, f"{text}; {waits}" if waits else text)
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


def _problem(connection: Connection, parcel: OutgoingParcel, arrival: Arrival) -> _Problem | None:
    """Why an arrival report does not agree with what was sent; None if it does."""
    packing, sent = parcel.packing, parcel.sent
    if arrival.destination not in packing.destinations:
        return _Problem("was not sent there", Code.NOT_A_DESTINATION)
    if sent.state == SentState.RECALLED:
        return _Problem("was recalled", Code.RECALLED)
    if sent.state in (SentState.FAILED, SentState.SUPERSEDED):
        return _Problem(f"is {sent.state} here", Code.WRONG_STATE)
    to = next((to for to in parcels.destinations(connection, sent.parcel) if to.site == arrival.destination), None)
    if to is None or to.shipped_ns is None:
        return _Problem("was not sent there yet", Code.WRONG_STATE)
    if arrival.build != sent.build:
        return _Problem("was sent as another build", Code.ARRIVAL_DISAGREES)
    edition = next((e for e in signed_editions(parcel) if e.digest == arrival.packing_list), None)
    if edition is None:
        return _Problem("was sent with another packing list than the one reported", Code.ARRIVAL_DISAGREES)
    told = {one.edition for one in sent_notices.of_parcel(connection, sent.parcel).get(arrival.destination, ())}
    if edition.packing.edition not in told:
        layouts = f"edition {', '.join(map(str, sorted(told)))}" if told else "none"
        why = f"was announced there in other layouts ({layouts}) than reported (edition {edition.packing.edition})"
        remedy = "once media of an announced layout have come, they can report those (courier parcel arrived)"
        return _Problem(why, Code.ARRIVAL_DISAGREES, remedy)
    of, reported = edition.packing.volumes, {*arrival.volumes, *arrival.lost}
    if odd := sorted(set(range(1, of + 1)) ^ reported):
        why = f"its volumes are 1 to {of}, and {odd} are not those reported"
        return _Problem(why, Code.ARRIVAL_DISAGREES)
    seals = parcels.seals(connection, sent.parcel, edition.packing.edition).get(arrival.destination, {})
    for number, read in arrival.volumes.items():
        expected = seals.get(number, "")
        if expected != read:
            why = f"volume {number} left with seal {expected or 'none'}, and {read or 'none'} was read"
            return _Problem(why, Code.ARRIVAL_DISAGREES)
    return None


def _wrong(arrival: Arrival, problem: _Problem) -> RefusedError:
    return RefusedError(
        f"arrival report of {arrival.destination} for {arrival.parcel}: {problem.why}; no key was released",
        hint=f"call {arrival.destination}: {problem.remedy}; if media were exchanged or lost: courier parcel recall "
        f"{arrival.parcel}",
        code=problem.code,
    )
