"""Bringing a received parcel as far as it goes: mended from parity, held, imported.

Content is held until the ship notice and the package definitions have come by network and agree with the packing list;
then it is imported, all or nothing.
"""

from __future__ import annotations

from dataclasses import replace

from courier.errors import CourierError
from courier.files import locked, naming_space, remove_tree
from courier.parcel.custody_ledger import VERIFIED, Happened, record
from courier.parcel.import_checks import Admission, refused_here
from courier.parcel.notices import check_not_recalled
from courier.parcel.states import NOTHING_HERE, ReceivedEvent, ReceivedState
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
from courier.receiving.spool import Spool
from courier.site.catalog import letters, parcels
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.home import Site
from courier.site.outbox import withdraw_request
from courier.text import plural
from formats.documents.packing import PackingList


def complete_parcel(
    site: Site, parcel: str, build: str, *, release: bool = False, progress: Progress = SILENT
) -> ParcelStatus:
    """Bring a parcel as far as it goes now: held when complete, imported when all agrees.

    ``release``: the operator asks for the import, so a hold ends. Raises what stands against the import.
    """
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
        return _complete(site, row, Spool.open(folder), release=release, progress=progress)
    return status_of(site, parcel, build)


def complete_all(site: Site) -> list[tuple[ParcelStatus | None, CourierError | None]]:
    """`complete_parcel` for every parcel that is held, or became complete; used after messages have come."""
    with site.catalogue.reading() as connection:
        everything = parcels.all_received(connection)
    results: list[tuple[ParcelStatus | None, CourierError | None]] = []
    for row in everything:
        if row.state == ReceivedState.IMPORTED:
            remove_tree(site.incoming(row.parcel, row.build))
    for row in everything:
        try:
            spool = _spool_that_goes_on(site, row)
            if spool is not None:
                results.append((_complete(site, row, spool), None))
            elif is_open(row.state):
                results.append((status_of(site, row.parcel, row.build), None))
        except CourierError as error:
            results.append((None, error))
    return results


def _spool_that_goes_on(site: Site, row: ReceivedParcel) -> Spool | None:
    """The spool of a parcel that is held, or complete by blocks that came by network, or can be mended now."""
    folder = site.incoming(row.parcel, row.build)
    if not (is_open(row.state) or row.state == ReceivedState.ARRIVING) or not Spool.exists(folder):
        return None
    spool = Spool.open(folder)
    if is_open(row.state) or spool.complete or (spool.packing.groups and would_mend_all(spool)):
        return spool
    return None


def _complete(
    site: Site, row: ReceivedParcel, spool: Spool, *, release: bool = False, progress: Progress = SILENT
) -> ParcelStatus:
    mended = 0
    if not spool.complete:
        mended = _mend(site, spool)
        if not spool.complete:
            return replace(status_from_spool(site, spool), mended=mended)
    hold = bool(row.hold) and not release
    _note_complete(site, row, hold=hold)
    admission = admission_of(site, spool, hold=hold)
    if admission.awaiting:
        if not hold and _reports_itself(site, spool.packing, admission):
            report_arrival(site, row.parcel, row.build, {})
            admission = admission_of(site, spool, hold=hold)
        _note(site, row, ReceivedEvent.HELD, "; ".join(admission.awaiting))
        return replace(status_from_spool(site, spool, admission), mended=mended)
    _note(site, row, ReceivedEvent.COMPLETE, "media and network agree")
    imported = _import(site, spool, admission, progress)
    return replace(status_of(site, row.parcel, row.build), imported=imported, mended=mended)


def _note_complete(site: Site, row: ReceivedParcel, *, hold: bool) -> None:
    """Record that all content is here, once; and whether the operator holds it."""
    if is_open(row.state) and hold == bool(row.hold):
        return
    with site.catalogue.writing() as connection:
        text = "all content is here and good"
        received_event(connection, site, row.parcel, row.build, ReceivedEvent.HELD, text, quiet=True, hold=int(hold))
        if not is_open(row.state):
            record(connection, site, row.parcel, Happened(event="verified", note=VERIFIED))
            withdraw_request(connection, row.source, row.parcel)


def _note(site: Site, row: ReceivedParcel, event: ReceivedEvent, text: str) -> None:
    with site.catalogue.writing() as connection:
        received_event(connection, site, row.parcel, row.build, event, text, quiet=True)


def _import(site: Site, spool: Spool, admission: Admission, progress: Progress) -> ImportedParcel:
    # Nobody discards a parcel while it is being imported.
    with locked(site.home / "parcels" / "in" / "lock"):
        progress.begin("Importing", sum(file.size for file in spool.packing.archives))
        return import_parcel(site, spool, admission, progress=progress)


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
    with locked(folder / "lock"), naming_space(folder, spool.missing_bytes, purpose=f"mending {packing.parcel}"):
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
