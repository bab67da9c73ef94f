"""Facts of the parcels of a site that have not ended: those made here, and those that arrive."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from courier.care.facts import DestinationFacts, ReceivedFacts, SentFacts
from courier.errors import CourierError
from courier.media.kinds import usual_layout
from courier.parcel.notices import notices_about
from courier.parcel.states import ReceivedState, SentState, VolumeState
from courier.receiving.parcel_status import status_of
from courier.sending.arrivals_there import volumes_arrived
from courier.sending.confirmation import part_of
from courier.sending.network_record import sends_of
from courier.sending.outgoing_parcel import open_outgoing
from courier.sending.release import waiting_reports
from courier.site.catalog import parcels
from courier.site.catalog.parcels import ReceivedParcel, SentParcel
from courier.site.home import Site

OPEN = (SentState.PLANNED, SentState.BUILT, SentState.WRITTEN, SentState.SENT, SentState.ARRIVING)
"""States of a sent parcel that goes on. One that failed was given up by a person, who knows why."""
OPEN_HERE = (
    ReceivedState.ANNOUNCED,
    ReceivedState.ARRIVING,
    ReceivedState.HELD,
    ReceivedState.COMPLETE,
    ReceivedState.IMPORTING,
)
"""States of a received parcel that is not imported yet."""


def parcel_facts(
    site: Site,
) -> tuple[dict[tuple[str, str], int], tuple[SentFacts, ...], tuple[ReceivedFacts, ...]]:
    """(how many parcels of each side and state, the sent ones that go on, the received ones that go on)."""
    with site.catalogue.reading() as connection:
        sent, received = parcels.all_sent(connection), parcels.all_received(connection)
    counts = Counter([*(("sent", one.state) for one in sent), *(("received", one.state) for one in received)])
    return (
        dict(counts),
        tuple(_sent(site, one) for one in sent if one.state in OPEN),
        tuple(_received(site, one) for one in received if one.state in OPEN_HERE),
    )


def _sent(site: Site, one: SentParcel) -> SentFacts:
    sends = sends_of(site, one.parcel)
    with site.catalogue.reading() as connection:
        goes_to = parcels.destinations(connection, one.parcel)
        parts = {to.site: part_of(connection, one.parcel, to.site) for to in goes_to}
    volumes, unwritten, layout, problem = 0, 0, "", ""
    lost: dict[str, tuple[int, ...]] = {}
    if one.state != SentState.PLANNED:
        try:
            outgoing = open_outgoing(site, one.parcel)
        except CourierError as error:
            problem = f"{error.message}; {error.hint}"
        else:
            volumes = outgoing.packing.volumes
            unwritten = sum(volume.state != VolumeState.WRITTEN for volume in outgoing.volumes)
            layout = usual_layout(outgoing.packing.media)
            lost = waiting_reports(site, outgoing)
    arrived = volumes_arrived(site, one.parcel) if one.state == SentState.ARRIVING else {}
    return SentFacts(
        parcel=one.parcel,
        state=one.state,
        priority=one.priority,
        created_ns=one.created_ns,
        destinations=tuple(
            DestinationFacts(
                site=to.site,
                copy=to.copy,
                carrier=to.carrier,
                tracking=to.tracking,
                shipped_ns=to.shipped_ns,
                confirmed_ns=to.confirmed_ns,
                arrived=len(arrived.get(to.site, {})),
                lost=lost.get(to.site, ()),
                usable=len(part.packages) if (part := parts[to.site]) else 0,
                packages=len(part.packages) + len(part.outstanding) if part else 0,
                sent_bytes=send.arrived if (send := sends.get(to.site)) else 0,
                network_bytes=send.bytes if send else 0,
                problem=send.problem if send else "",
            )
            for to in goes_to
        ),
        volumes=volumes,
        unwritten=unwritten,
        layout=layout,
        problem=problem,
    )


def _received(site: Site, one: ReceivedParcel) -> ReceivedFacts:
    here = ReceivedFacts(parcel=one.parcel, source=one.source, state=one.state, since_ns=one.first_ns)
    try:
        status = status_of(site, one.parcel, one.build)
    except CourierError as error:
        return replace(here, problem=f"{error.message}; {error.hint}")
    if one.state == ReceivedState.ANNOUNCED:
        return replace(here, volumes=_announced_volumes(site, one))
    damaged = {volume.number for volume in status.volumes if volume.state == VolumeState.DAMAGED}
    return replace(
        here,
        hold=bool(one.hold),
        missing=status.missing_volumes,
        damaged=tuple(sorted(damaged & set(status.missing_volumes))),
        awaiting=status.awaiting,
        report=status.report,
        usable=tuple(package.name for package in status.packages if package.outcome),
        packages=len(status.packages),
        refusal=status.refusal,
        refused=tuple(f"{package.name}: {package.refused}" for package in status.packages if package.refused),
    )


def _announced_volumes(site: Site, one: ReceivedParcel) -> int:
    """How many volumes the newest trusted notice of a parcel announces; 0 where none can be read."""
    try:
        notices = notices_about(site, site.trust(), one.parcel, one.source)
    except CourierError:
        return 0
    return notices[-1].volumes if notices else 0
