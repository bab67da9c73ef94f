"""Arrival and release: the receiver reports volumes and seals; the sender hands the key over, or does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from courier.errors import NotFound, Refused
from courier.parcel.notices import check_not_recalled, verified_notices
from courier.parcel.states import SentEvent, SentState
from courier.parcel.transitions import log_entry, sent_event
from courier.receiving.spool import Spool
from courier.sending.outgoing_parcel import OutgoingParcel, open_outgoing
from courier.sending.parcel_key import seal_parcel_key
from courier.site.catalog import letters, parcels
from courier.site.catalog.letters import Letter
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.text import listed, plural
from formats.blocks import ranges
from formats.documents import arrival as arrival_doc
from formats.documents import release as release_doc
from formats.documents.arrival import Arrival
from formats.documents.packing import PackingList
from formats.documents.release import KeyRelease
from formats.envelope import Envelope, parse_envelope


def report_arrival(
    site: Site,
    parcel: str,
    build: str,
    seals: Mapping[int, str],
    *,
    differing: Callable[[Sequence[str]], None] = lambda _: None,
) -> Arrival:
    """Report to the sender which volumes are here, with the seals a person read on them; queue the signed report.

    ``differing`` is told, before anything is written, which seals are not those of the ship notice, where that has
    come; the report may still be right, and go out: a wrong seal has to be reported.

    Raises `NotFound` for a volume that has not been received, `Refused` while one is missing.
    """
    folder = site.arriving(parcel, build)
    if not Spool.exists(folder):
        raise NotFound(f"nothing of {parcel} is waiting here", hint="courier parcel receive MEDIUM")
    packing = Spool.open(folder).packing
    check_not_recalled(site, site.trust(), parcel, packing.source)
    with site.catalogue.reading() as connection:
        row = parcels.find_received(connection, parcel, build)[0]
        here = {volume.number for volume in parcels.received_volumes(connection, parcel, build)}
    for number in seals:
        if number not in here:
            raise NotFound(f"volume {number} of {parcel} has not been received", hint="courier parcel receive MEDIUM")
    missing = sorted(set(range(1, packing.volumes + 1)) - here)
    if missing:
        spans = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges(missing))
        raise Refused(
            f"{parcel}: volumes not received yet: {spans}; {packing.source} releases the key for all of them",
            hint="receive them first; if one was lost, ask the sender for a new parcel",
            code="volumes-missing",
        )
    if odd := _differences(_noticed_seals(site, packing, row.packing_list), seals):
        differing(odd)
    arrival = Arrival(
        parcel=parcel,
        source=packing.source,
        destination=site.code,
        build=build,
        packing_list=row.packing_list,
        issued_ns=now(),
        volumes={number: seals.get(number, "") for number in sorted(here)},
    )
    envelope = site.sign(arrival.payload(), arrival_doc.TYPE)
    with site.catalogue.writing() as connection:
        letters.keep(connection, _letter("arrival", parcel, packing.source, envelope))
        enqueue(connection, envelope, packing.source)
        shown = ", ".join(f"{number}={seal}" for number, seal in arrival.volumes.items() if seal) or "none"
        text = f"{plural(len(here), 'volume')}, seals read: {shown}"
        parcels.write_log(connection, log_entry(site, parcel, "arrival-reported", text))
    return arrival


def _noticed_seals(site: Site, packing: PackingList, packing_list: str) -> Mapping[int, str] | None:
    """The seals of the ship notice that is here and fits; None where there is none."""
    try:
        notices = verified_notices(site, site.trust(), packing)
    except Refused:
        # One that does not stand is no word to compare with; the import says what is wrong with it.
        return None
    return next(
        (n.seals for n in reversed(notices) if (n.build, n.packing_list) == (packing.build, packing_list)), None
    )


def _differences(noticed: Mapping[int, str] | None, read: Mapping[int, str]) -> list[str]:
    if noticed is None:
        return []
    return [
        f"volume {number}: {f'seal {read[number]}' if read.get(number) else 'no seal'} was typed, "
        f"and the ship notice names {noticed.get(number) or 'none'}"
        for number in sorted({*noticed, *read})
        if read.get(number, "") != noticed.get(number, "")
    ]


def judge_arrival(site: Site, arrival: Arrival, envelope: Envelope) -> None:
    """Keep an arrival report, and queue the parcel's key for its site if it is right. Again: nothing more happens.

    A newer report has the key released anew, to the site's present recipient: it may have lost the keys it had. Raises
    `Refused` for a report that is not right, or when the key may not leave.
    """
    with site.catalogue.reading() as connection:
        released = letters.find(connection, "release", arrival.parcel, arrival.destination)
        before = letters.find(connection, "arrival", arrival.parcel, arrival.destination)
        known = parcels.find_sent(connection, arrival.parcel)
    if known is None:
        raise _wrong(arrival, "is not a parcel this site made", code="unknown-parcel")
    if (
        before is not None
        and _issued(before) >= arrival.issued_ns
        and (released or _issued(before) > arrival.issued_ns)
    ):
        return
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
            key=seal_parcel_key(site, parcel, (arrival.destination,)),
        )
        key = site.sign(release.payload(), release_doc.TYPE)
    with site.catalogue.writing() as connection:
        sent = parcels.find_sent(connection, arrival.parcel)
        if sent is not None and problem is None:
            # It may have been recalled while this was judged.
            problem = _problem(replace(parcel, sent=sent), arrival)
        same = letters.find(connection, "arrival", arrival.parcel, arrival.destination)
        letters.keep(connection, _letter("arrival", arrival.parcel, arrival.destination, envelope))
        if key is not None and problem is None:
            letters.keep(connection, _letter("release", arrival.parcel, arrival.destination, key))
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


def _seals_named(arrival: Arrival) -> str:
    sealed = [number for number, seal in arrival.volumes.items() if seal]
    if not sealed:
        return " (no seals were named)"
    if len(sealed) == len(arrival.volumes):
        return " with their seals"
    return f", and the seals of {listed(sealed)} alone"


def _issued(letter: Letter) -> int:
    return Arrival.parse(parse_envelope(letter.envelope).payload).issued_ns


def _problem(parcel: OutgoingParcel, arrival: Arrival) -> tuple[str, str] | None:
    """(why, code) when an arrival report is not what was sent."""
    packing = parcel.packing
    if arrival.destination not in packing.destinations:
        return "was not sent there", "not-a-destination"
    if parcel.sent.state == SentState.RECALLED:
        return "was recalled", "recalled"
    if parcel.sent.state in (SentState.FAILED, SentState.SUPERSEDED):
        return f"is {parcel.sent.state} here", "wrong-state"
    if parcel.sent.state not in (SentState.SENT, SentState.ARRIVING, SentState.CONFIRMED):
        return "was not sent yet", "wrong-state"
    if (arrival.build, arrival.packing_list) != (parcel.sent.build, parcel.sent.packing_list):
        return "was sent as another build or layout", "arrival-disagrees"
    missing = sorted(set(range(1, packing.volumes + 1)) ^ set(arrival.volumes))
    if missing:
        return f"its volumes are 1 to {packing.volumes}, and {missing} are not those reported", "arrival-disagrees"
    for volume in parcel.volumes:
        if volume.seal != arrival.volumes[volume.number]:
            read = arrival.volumes[volume.number] or "none"
            expected = volume.seal or "none"
            return f"volume {volume.number} left with seal {expected}, and {read} was read", "arrival-disagrees"
    return None


def _wrong(arrival: Arrival, why: str, *, code: str) -> Refused:
    return Refused(
        f"arrival report of {arrival.destination} for {arrival.parcel}: {why}; no key was released",
        hint=f"call {arrival.destination}: they can report again (courier parcel arrived); if media were exchanged or "
        f"lost: courier parcel recall {arrival.parcel}",
        code=code,
    )


def _letter(kind: str, parcel: str, site: str, envelope: Envelope) -> Letter:
    return Letter(kind=kind, parcel=parcel, site=site, envelope=envelope.encode(), at_ns=now())
