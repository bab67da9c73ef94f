"""Reporting the arrival of a parcel to its sender, with the seals on its volumes, so that its key is released."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from courier.parcel.notices import check_not_recalled, verified_notices
from courier.parcel.transitions import is_open, log_entry
from courier.receiving.spool import Spool
from courier.site.catalog import letters, parcels
from courier.site.catalog.letters import letter_of
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.text import listed, plural, volumes
from formats.documents import arrival as arrival_doc
from formats.documents.arrival import Arrival
from formats.documents.notice import ShipNotice
from formats.documents.packing import PackingList


def report_arrival(
    site: Site,
    parcel: str,
    build: str,
    seals: Mapping[int, str],
    *,
    lost: Collection[int] = (),
    differing: Callable[[Sequence[str]], None] = lambda _: None,
) -> Arrival:
    """Queue a signed report to the sender: which volumes are here, and the seals that a person read on them.

    ``seals``: serial numbers by volume number. ``lost``: volumes that did not arrive and are given up; the sender
    decides whether it releases the key without them. ``differing`` is called, before anything is written, with texts on
    seals that are not those of the ship notice, where that has come. The report may still be right: a wrong seal has to
    be reported.

    Raises `NotFoundError` for a volume that has not been received, `UsageError` for a lost one that has or that there
    is not, `RefusedError` while one is missing, or while parity has not made up for those that were lost.
    """
    folder = site.incoming(parcel, build)
    if not Spool.exists(folder):
        raise NotFoundError(f"nothing of {parcel} is waiting here", hint="courier parcel receive MEDIUM")
    spool = Spool.open(folder)
    layout = arrived_layout(site, spool, trusted_notices(site, spool))
    packing, here = layout.packing, layout.here
    check_not_recalled(site, site.trust(), parcel, packing.source)
    with site.catalogue.reading() as connection:
        row = parcels.find_received(connection, parcel, build)[0]
    for number in seals:
        if number in lost:
            raise UsageError(
                f"volume {number} of {parcel} is lost, and has a seal that was read",
                hint=f"leave out --seal {number}, or --lost {number}",
            )
        if number not in here:
            raise NotFoundError(
                f"volume {number} of {parcel} has not been received", hint="courier parcel receive MEDIUM"
            )
    _check_lost(packing, row, here, lost)
    noticed = None if layout.sealed is None else {n: s for n, s in layout.sealed.items() if n not in lost}
    if odd := _differences(noticed, seals):
        differing(odd)
    arrival = Arrival(
        parcel=parcel,
        source=packing.source,
        destination=site.code,
        build=build,
        packing_list=layout.digest,
        issued_ns=now(),
        volumes={number: seals.get(number, "") for number in sorted(here)},
        lost=tuple(sorted(lost)),
    )
    envelope = site.sign(arrival.payload(), arrival_doc.TYPE)
    with site.catalogue.writing() as connection:
        letters.keep(connection, letter_of("arrival", parcel, packing.source, envelope))
        enqueue(connection, envelope, packing.source)
        shown = ", ".join(f"{number}={seal}" for number, seal in arrival.volumes.items() if seal) or "none"
        gone = f", lost: {listed(arrival.lost)}" if lost else ""
        text = f"{plural(len(here), 'volume')}, seals read: {shown}{gone}"
        parcels.write_log(connection, log_entry(site, parcel, "arrival-reported", text))
    return arrival


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrivedLayout:
    """The layout of a parcel whose arrival is reported: its packing list, and the numbers of its volumes that are here.

    ``sealed``: the seals of the ship notice about this layout, by volume number; None where none has come.
    """

    packing: PackingList
    digest: str
    here: frozenset[int]
    sealed: Mapping[int, str] | None

    @property
    def missing(self) -> tuple[int, ...]:
        """The volumes that are not here."""
        return tuple(sorted(set(range(1, self.packing.volumes + 1)) - self.here))

    @property
    def share_missing(self) -> float:
        """The share of its volumes that are not here, from 0 to 1."""
        return len(self.missing) / self.packing.volumes


def trusted_notices(site: Site, spool: Spool) -> Sequence[ShipNotice]:
    """The ship notices of a parcel that are to be trusted, the oldest first.

    One that is not to be trusted is nothing to compare with; the import says what is wrong with it.
    """
    try:
        return verified_notices(site, site.trust(), spool.packing)
    except RefusedError:
        return ()


def arrived_layout(site: Site, spool: Spool, notices: Sequence[ShipNotice]) -> ArrivedLayout:
    """The layout of which the largest share has arrived, of those whose media came; of equal ones the announced one.

    ``notices``: those of the parcel, verified, the oldest first.
    """
    with site.catalogue.reading() as connection:
        came = parcels.received_volumes(connection, spool.packing.parcel, spool.packing.build)
    layouts = []
    for digest, packing in spool.layouts().items():
        here = frozenset(volume.number for volume in came if volume.edition == packing.edition)
        about = [n.seals for n in notices if (n.build, n.packing_list) == (packing.build, digest)]
        sealed = about[-1] if about else None
        layouts.append(ArrivedLayout(packing=packing, digest=digest, here=here, sealed=sealed))
    return min(layouts, key=lambda one: (one.share_missing, one.sealed is None, -one.packing.edition))


def _check_lost(packing: PackingList, row: ReceivedParcel, here: Collection[int], lost: Collection[int]) -> None:
    """Raise an error unless every volume is here or lost, and all content is here without those that are lost."""
    parcel, every = packing.parcel, range(1, packing.volumes + 1)
    for number in sorted(lost):
        if number not in every or number in here:
            why = "has been received" if number in here else f"is none of its {packing.volumes}"
            raise UsageError(f"--lost {number}: volume {number} of {parcel} {why}", hint="name what did not arrive")
    if missing := sorted(set(every) - {*here, *lost}):
        options = " ".join(f"--lost {number}" for number in missing[:3])
        raise RefusedError(
            f"{parcel}: not received yet: {volumes(missing)}; {packing.source} releases the key for all of them",
            hint=f"receive them first; if they were lost, and parity makes up for them, report that: {options}",
            code=Code.VOLUMES_MISSING,
        )
    if lost and not is_open(row.state):
        raise RefusedError(
            f"{parcel}: without what was lost, not all content is here",
            hint=f"courier parcel repair {parcel} --from-network asks for what is missing; then report again",
            code=Code.VOLUMES_MISSING,
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
