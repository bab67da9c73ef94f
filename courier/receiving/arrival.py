"""Reporting the arrival of a parcel to its sender, with the seals on its volumes, so that its key is released."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError
from courier.parcel.notices import check_not_recalled, verified_notices
from courier.parcel.transitions import log_entry
from courier.receiving.spool import Spool
from courier.site.catalog import letters, parcels
from courier.site.catalog.letters import letter_of
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.text import dashed, plural
from formats.blocks import ranges
from formats.documents import arrival as arrival_doc
from formats.documents.arrival import Arrival
from formats.documents.packing import PackingList


def report_arrival(
    site: Site,
    parcel: str,
    build: str,
    seals: Mapping[int, str],
    *,
    differing: Callable[[Sequence[str]], None] = lambda _: None,
) -> Arrival:
    """Queue a signed report to the sender: which volumes are here, and the seals that a person read on them.

    ``seals``: serial numbers by volume number. ``differing`` is called, before anything is written, with texts on seals
    that are not those of the ship notice, where that has come. The report may still be right: a wrong seal has to be
    reported.

    Raises `NotFoundError` for a volume that has not been received, `RefusedError` while one is missing.
    """
    folder = site.incoming(parcel, build)
    if not Spool.exists(folder):
        raise NotFoundError(f"nothing of {parcel} is waiting here", hint="courier parcel receive MEDIUM")
    packing = Spool.open(folder).packing
    check_not_recalled(site, site.trust(), parcel, packing.source)
    with site.catalogue.reading() as connection:
        row = parcels.find_received(connection, parcel, build)[0]
        here = {volume.number for volume in parcels.received_volumes(connection, parcel, build)}
    for number in seals:
        if number not in here:
            raise NotFoundError(
                f"volume {number} of {parcel} has not been received", hint="courier parcel receive MEDIUM"
            )
    missing = sorted(set(range(1, packing.volumes + 1)) - here)
    if missing:
        spans = dashed(ranges(missing))
        raise RefusedError(
            f"{parcel}: volumes not received yet: {spans}; {packing.source} releases the key for all of them",
            hint="receive them first; if one was lost, ask the sender for a new parcel",
            code=Code.VOLUMES_MISSING,
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
        letters.keep(connection, letter_of("arrival", parcel, packing.source, envelope))
        enqueue(connection, envelope, packing.source)
        shown = ", ".join(f"{number}={seal}" for number, seal in arrival.volumes.items() if seal) or "none"
        text = f"{plural(len(here), 'volume')}, seals read: {shown}"
        parcels.write_log(connection, log_entry(site, parcel, "arrival-reported", text))
    return arrival


def _noticed_seals(site: Site, packing: PackingList, packing_list: str) -> Mapping[int, str] | None:
    """The seals of the ship notice that names this build and packing list; None where none has come."""
    try:
        notices = verified_notices(site, site.trust(), packing)
    except RefusedError:
        # A notice that is not to be trusted is nothing to compare with; the import says what is wrong with it.
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
