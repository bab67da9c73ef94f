"""Bringing a received parcel as far as it goes: mended from parity, held, imported.

Content is held until the ship notice and the package definitions have come by network and agree with the packing list;
then it is imported, all or nothing. Of a parcel that is imported progressively, each package is, as soon as it is here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from courier.errors import CourierError, RefusedError
from courier.files import naming_space, remove_tree
from courier.parcel.custody_ledger import VERIFIED, Happened, load, record
from courier.parcel.import_checks import Admission, refused_here
from courier.parcel.notices import check_not_recalled
from courier.parcel.states import GATHERING, NOTHING_HERE, ReceivedEvent, ReceivedState
from courier.parcel.transitions import is_open, log_entry, received_event
from courier.progress import SILENT, Progress
from courier.receiving.arrival import report_arrival
from courier.receiving.import_facts import admission_of
from courier.receiving.import_parcel import ImportedParcel, import_parcel
from courier.receiving.mend import mend_media, mend_spool, would_mend_all
from courier.receiving.parcel_status import (
    ParcelStatus,
    received_row,
    status_from_spool,
    status_of,
    volumes_to_come,
)
from courier.receiving.part import Part, imported_before
from courier.receiving.progressive import import_ready, is_progressive
from courier.receiving.spool import Spool
from courier.receiving.spools_lock import (
    EXCHANGE_SECONDS,
    SPOOL_SECONDS,
    OthersGatherError,
    SpoolInUseError,
    alone_with_spool,
)
from courier.site.catalog import letters, parcels
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.home import Site
from courier.site.outbox import withdraw_request
from courier.text import plural
from formats.documents.packing import PackingList

if TYPE_CHECKING:
    from concurrent.futures import Executor


def complete_parcel(
    site: Site,
    parcel: str,
    build: str,
    *,
    release: bool = False,
    progress: Progress = SILENT,
    executor: Executor | None = None,
) -> ParcelStatus:
    """Bring a parcel as far as it goes now: held when complete, imported when all agrees.

    ``release``: the operator asks for the import, so a hold ends; `BusyError` where others are at work on the parcel.
    Else it is for them to go on with it, and the status says so. ``executor``: workers that unpack what is imported.
    Raises what stands against the import.
    """
    received_row(site, parcel, build)
    try:
        patience = 0.0 if release else SPOOL_SECONDS
        with alone_with_spool(site, site.incoming(parcel, build), patience=patience):
            return _complete_alone(site, parcel, build, release=release, progress=progress, executor=executor)
    except (OthersGatherError, SpoolInUseError) as others:
        if release:
            raise
        return replace(status_of(site, parcel, build), elsewhere=others.message)


def _complete_alone(
    site: Site, parcel: str, build: str, *, release: bool, progress: Progress, executor: Executor | None
) -> ParcelStatus:
    row = received_row(site, parcel, build)
    folder = site.incoming(parcel, build)
    if row.state == ReceivedState.IMPORTED:
        # A run that was killed after its import could not give back the space.
        remove_tree(folder)
    elif row.state == ReceivedState.REFUSED:
        check_not_recalled(site, site.trust(), parcel, row.source)
        if release:
            raise refused_here(parcel)
    elif row.state not in NOTHING_HERE and Spool.exists(folder):
        return _complete(site, row, Spool.open(folder), release=release, progress=progress, executor=executor)
    return status_of(site, parcel, build)


def complete_all(site: Site) -> list[tuple[ParcelStatus | None, CourierError | None]]:
    """`complete_parcel` for every parcel that is held, or became complete; used after messages have come."""
    with site.catalogue.reading() as connection:
        everything = parcels.all_received(connection)
    results: list[tuple[ParcelStatus | None, CourierError | None]] = []
    for row in everything:
        try:
            if row.state == ReceivedState.IMPORTED:
                _remove_left(site, row)
            elif _spool_that_goes_on(site, row) is not None:
                results += _go_on(site, row)
            elif is_open(row.state):
                results.append((status_of(site, row.parcel, row.build), None))
        except (OthersGatherError, SpoolInUseError):
            continue  # whoever is at work on it goes on with it
        except CourierError as error:
            results.append((None, error))
    return results


def _remove_left(site: Site, row: ReceivedParcel) -> None:
    """Remove the spool that a run left which was killed after its import."""
    folder = site.incoming(row.parcel, row.build)
    if folder.exists():
        with alone_with_spool(site, folder):
            if received_row(site, row.parcel, row.build).state == ReceivedState.IMPORTED:
                remove_tree(folder)


def _go_on(site: Site, row: ReceivedParcel) -> list[tuple[ParcelStatus | None, CourierError | None]]:
    with alone_with_spool(site, site.incoming(row.parcel, row.build), patience=EXCHANGE_SECONDS):
        row = received_row(site, row.parcel, row.build)  # another may have ended it while this one waited
        spool = _spool_that_goes_on(site, row)
        if spool is None:
            return []
        status = _complete(site, row, spool)
    # Of a parcel of which more is to come there is news only where packages went in.
    return [(status, None)] if status.imported is not None or status.mended or not status.missing_volumes else []


def _spool_that_goes_on(site: Site, row: ReceivedParcel) -> Spool | None:
    """The spool of a parcel that is held, or complete by blocks that came by network, or can be mended now.

    One whose packages are imported before the rest comes goes on with whatever has come.
    """
    folder = site.incoming(row.parcel, row.build)
    if row.state not in GATHERING or not Spool.exists(folder):
        return None
    spool = Spool.open(folder)
    if (
        is_open(row.state)
        or is_progressive(site, folder)
        or spool.complete
        or (spool.packing.groups and would_mend_all(spool))
    ):
        return spool
    return None


def _complete(
    site: Site,
    row: ReceivedParcel,
    spool: Spool,
    *,
    release: bool = False,
    progress: Progress = SILENT,
    executor: Executor | None = None,
) -> ParcelStatus:
    mended = 0
    hold = bool(row.hold) and not release
    if row.hold and release and is_progressive(site, spool.folder):
        with site.catalogue.writing() as connection:
            parcels.change_received(connection, row.parcel, row.build, hold=0)
    if not spool.complete:
        mended = _mend(site, spool)
        if not spool.complete:
            part = import_ready(site, row, spool, hold=hold, progress=progress, executor=executor)
            return replace(status_of(site, row.parcel, row.build), mended=mended, imported=part)
    _note_complete(site, row, hold=hold)
    try:
        admission = admission_of(site, spool, hold=hold)
    except CourierError:
        # What is refused of one package stops no other.
        import_ready(site, row, spool, hold=hold, progress=progress, executor=executor)
        raise
    if admission.awaiting:
        if not hold and _reports_itself(site, spool.packing, admission):
            report_arrival(site, row.parcel, row.build, {})
            admission = admission_of(site, spool, hold=hold)
        _note(site, row, ReceivedEvent.HELD, "; ".join(admission.awaiting))
        part = import_ready(site, row, spool, hold=hold, progress=progress, executor=executor)
        return replace(status_from_spool(site, spool, admission), mended=mended, imported=part)
    _note(site, row, ReceivedEvent.COMPLETE, "media and network agree")
    try:
        imported = _import(site, row, spool, admission, progress, executor)
    except RefusedError:
        import_ready(site, row, spool, hold=hold, progress=progress, executor=executor)
        raise
    return replace(status_of(site, row.parcel, row.build), imported=imported, mended=mended)


def _note_complete(site: Site, row: ReceivedParcel, *, hold: bool) -> None:
    """Record that all content is here, once; and whether the operator holds it."""
    known = is_open(row.state) or (row.state == ReceivedState.IMPORTING and _is_verified(site, row))
    if known and hold == bool(row.hold):
        return
    with site.catalogue.writing() as connection:
        text = "all content is here and good"
        received_event(connection, site, row.parcel, row.build, ReceivedEvent.HELD, text, quiet=True, hold=int(hold))
        if not known:
            record(connection, site, row.parcel, Happened(event="verified", note=VERIFIED))
            withdraw_request(connection, row.source, row.parcel)


def _is_verified(site: Site, row: ReceivedParcel) -> bool:
    """Whether the ledger says already that all of a parcel was here and good."""
    with site.catalogue.reading() as connection:
        entries = load(connection, row.parcel).entries.values()
    return any(entry.site == site.code and entry.event == "verified" and entry.note == VERIFIED for entry in entries)


def _note(site: Site, row: ReceivedParcel, event: ReceivedEvent, text: str) -> None:
    with site.catalogue.writing() as connection:
        received_event(connection, site, row.parcel, row.build, event, text, quiet=True)


def _import(
    site: Site, row: ReceivedParcel, spool: Spool, admission: Admission, progress: Progress, executor: Executor | None
) -> ImportedParcel:
    before = imported_before(received_row(site, row.parcel, row.build))
    progress.begin("Importing", sum(file.size for file in spool.packing.archives))
    return import_parcel(site, spool, admission, progress=progress, part=Part(before=before), executor=executor)


def _mend(site: Site, spool: Spool) -> int:
    """Mend what parity gives back; return the blocks.

    Spare volumes stand in for others when that completes the parcel, or when nothing more is to come: what is still on
    its way need not be made up for.
    """
    packing = spool.packing
    if not packing.groups:
        return 0
    spares = not volumes_to_come(site, packing.parcel, packing.build, of=packing.volumes) or would_mend_all(spool)
    folder = site.home / "parcels" / "in"
    with naming_space(folder, spool.missing_bytes, purpose=f"mending {packing.parcel}"):
        mended = mend_spool(spool).mended if spares else mend_media(spool)
    if mended:
        with site.catalogue.writing() as connection:
            text = f"{plural(mended, 'block')} mended from parity"
            parcels.write_log(connection, log_entry(site, packing.parcel, "mended", text))
    return mended


def _reports_itself(site: Site, packing: PackingList, admission: Admission) -> bool:
    """Whether the arrival is reported without a person: all volumes are here, and none left with a seal to be read."""
    if packing.key != "on-arrival" or admission.notice is None or admission.notice.seals:
        return False
    with site.catalogue.reading() as connection:
        reported = letters.find(connection, "arrival", packing.parcel, packing.source)
    return reported is None and not volumes_to_come(site, packing.parcel, packing.build, of=packing.volumes)
