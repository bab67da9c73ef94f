"""Bringing a received parcel as far as it goes: mended, held, imported; and saying how it stands.

Content is held until the ship notice and the package definitions have come by network and agree with the packing list;
then it is imported, all or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from courier.errors import CourierError, NotFoundError, RefusedError, UsageError
from courier.files import locked, naming_space, remove_tree
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.notices import Admission, check_not_recalled, judge, refused_here
from courier.parcel.states import ReceivedEvent, ReceivedState
from courier.parcel.transitions import is_open, log_entry, received_event
from courier.receiving.arrival import report_arrival
from courier.receiving.awaited_key import awaited_key
from courier.receiving.import_parcel import ImportedParcel, import_parcel
from courier.receiving.mend import mend_media, mend_spool, would_mend_all
from courier.receiving.spool import Spool
from courier.site.catalog import letters, parcels
from courier.site.catalog.parcels import ReceivedParcel, ReceivedVolume
from courier.site.home import Site
from courier.site.outbox import withdraw_request
from courier.text import plural
from formats.documents.packing import PackingList
from formats.errors import FormatError
from formats.names import check_parcel


@dataclass(frozen=True, kw_only=True, slots=True)
class ParcelStatus:
    """A parcel as it stands here: what is missing, why it is held, what was imported; ``mended``: blocks, just now.

    ``source``: the site that sent it. ``spare``: volumes that may stay away, any of them. ``incomplete``: the paths,
    as on any medium, of archives of which blocks are missing. ``report``: as in `Admission`.
    """

    parcel: str
    build: str
    state: str
    volumes: tuple[ReceivedVolume, ...]
    of: int
    missing_volumes: tuple[int, ...]
    missing_blocks: int
    awaiting: tuple[str, ...]
    imported: ImportedParcel | None = None
    mended: int = 0
    source: str = ""
    spare: int = 0
    incomplete: tuple[str, ...] = ()
    report: str = ""


def complete_parcel(site: Site, parcel: str, build: str, *, release: bool = False) -> ParcelStatus:
    """Bring a parcel as far as it goes now: held when complete, imported when all agrees.

    ``release``: the operator asks for the import, so a hold ends. Raises what stands against the import.
    """
    row = _row(site, parcel, build)
    if row.state == ReceivedState.IMPORTED:
        # A run that was killed after its import could not give back the space.
        remove_tree(site.incoming(parcel, build))
    if row.state == ReceivedState.REFUSED:
        check_not_recalled(site, site.trust(), parcel, row.source)
    if row.state == ReceivedState.REFUSED and release:
        raise refused_here(parcel)
    if row.state in (ReceivedState.IMPORTED, ReceivedState.ANNOUNCED, ReceivedState.REFUSED):
        return status_of(site, parcel, build)
    if not Spool.exists(site.incoming(parcel, build)):
        return status_of(site, parcel, build)
    spool = Spool.open(site.incoming(parcel, build))
    mended = 0 if spool.complete else _mend(site, spool)
    if not spool.complete:
        return replace(status_of(site, parcel, build), mended=mended)
    hold = 0 if release else row.hold
    if not is_open(row.state) or hold != row.hold:
        _note(site, row, ReceivedEvent.HELD, "all content is here and good", hold=hold)
    if not is_open(row.state):
        with site.catalogue.writing() as connection:
            record(
                connection, site, parcel, Happened(event="verified", note="every block agrees with the packing list")
            )
            withdraw_request(connection, row.source, parcel)
    admission = admission_of(site, spool)
    if admission.awaiting and not hold and _reports_itself(site, spool.packing, admission):
        report_arrival(site, parcel, build, {})
    if hold or admission.awaiting:
        _note(site, row, ReceivedEvent.HELD, "; ".join(admission.awaiting) or "the operator wants no import yet")
        return replace(status_of(site, parcel, build), mended=mended)
    _note(site, row, ReceivedEvent.COMPLETE, "media and network agree")
    # Nobody discards a parcel while it is being imported.
    with locked(site.home / "parcels" / "in" / "lock"):
        imported = import_parcel(site, spool, admission)
    return replace(status_of(site, parcel, build), imported=imported, mended=mended)


def _note(site: Site, row: ReceivedParcel, event: ReceivedEvent, text: str, **values: object) -> None:
    with site.catalogue.writing() as connection:
        received_event(connection, site, row.parcel, row.build, event, text, quiet=True, **values)


def _mend(site: Site, spool: Spool) -> int:
    """Mend what parity gives back; return the blocks.

    Spare volumes stand in for others when that completes the parcel, or nothing more is to come: what is still on its
    way need not be made up.
    """
    if not spool.packing.groups:
        return 0
    spares = would_mend_all(spool) or not _to_come(site, spool.packing)
    folder = site.home / "parcels" / "in"
    with locked(folder / "lock"), naming_space(folder, spool.missing_bytes, purpose=f"mending {spool.packing.parcel}"):
        mended = mend_spool(spool).mended if spares else mend_media(spool)
    if mended:
        with site.catalogue.writing() as connection:
            text = f"{plural(mended, 'block')} mended from parity"
            parcels.write_log(connection, log_entry(site, spool.packing.parcel, "mended", text))
    return mended


def _to_come(site: Site, packing: PackingList) -> set[int]:
    """Volumes of which no medium was seen."""
    with site.catalogue.reading() as connection:
        seen = {volume.number for volume in parcels.received_volumes(connection, packing.parcel, packing.build)}
    return set(range(1, packing.volumes + 1)) - seen


def complete_all(site: Site) -> list[tuple[ParcelStatus | None, CourierError | None]]:
    """`complete_parcel` for every parcel that is held, or became complete; used after messages have come."""
    with site.catalogue.reading() as connection:
        everything = parcels.all_received(connection)
    for row in everything:
        if row.state == ReceivedState.IMPORTED:
            remove_tree(site.incoming(row.parcel, row.build))
    results: list[tuple[ParcelStatus | None, CourierError | None]] = []
    for row in everything:
        try:
            if is_open(row.state) or _arrived(site, row):
                results.append((complete_parcel(site, row.parcel, row.build), None))
        except CourierError as error:
            results.append((None, error))
    return results


def _arrived(site: Site, row: ReceivedParcel) -> bool:
    """Whether an arriving parcel became complete, or can be mended now, by blocks that came by network."""
    folder = site.incoming(row.parcel, row.build)
    if row.state != ReceivedState.ARRIVING or not Spool.exists(folder):
        return False
    spool = Spool.open(folder)
    return spool.complete or (bool(spool.packing.groups) and would_mend_all(spool))


def _row(site: Site, parcel: str, build: str) -> ReceivedParcel:
    with site.catalogue.reading() as connection:
        rows = parcels.find_received(connection, parcel, build)
    if not rows:
        raise NotFoundError(f"nothing of {parcel} has been received", hint="courier parcel receive MEDIUM")
    return rows[0]


def find_build(site: Site, parcel: str) -> str:
    """The build of a parcel that arrives here; raises `NotFoundError`, or `UsageError` for what is no parcel ID."""
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise UsageError(error.message, hint="courier parcel list shows the parcels") from None
    with site.catalogue.reading() as connection:
        rows, sent = parcels.find_received(connection, parcel), parcels.find_sent(connection, parcel)
    if not rows and sent is not None:
        raise NotFoundError(
            f"{parcel} is a parcel of {site.code}, this site: it arrives at its destinations",
            hint="give this command there: --home or COURIER_HOME says which site a command is for",
        )
    if not rows:
        raise NotFoundError(f"{parcel} is not known here", hint="courier parcel list shows the parcels")
    return rows[-1].build


def admission_of(site: Site, spool: Spool) -> Admission:
    """What speaks for an import, the parcel's key among it; raises what stands against it."""
    admission = judge(site, spool.packing, spool.editions())
    if admission.notice is None:
        return admission
    key, report = awaited_key(site, spool.packing, admission.notice.seals)
    return replace(admission, awaiting=(*admission.awaiting, key) if key else admission.awaiting, report=report)


def _reports_itself(site: Site, packing: PackingList, admission: Admission) -> bool:
    """Whether the arrival is reported without a person: all volumes are here, and none left with a seal to be read."""
    if packing.key != "on-arrival" or admission.notice is None or admission.notice.seals:
        return False
    with site.catalogue.reading() as connection:
        reported = letters.find(connection, "arrival", packing.parcel, packing.source)
    return reported is None and not _to_come(site, packing)


def _awaiting(site: Site, spool: Spool, row: ReceivedParcel) -> tuple[tuple[str, ...], str]:
    """What a complete parcel waits for; a disagreement of media and network is one of these, not an error here.

    And the command that reports the arrival, as in `Admission`.
    """
    try:
        admission = admission_of(site, spool)
    except RefusedError as error:
        return (f"an answer: {error.message}",), ""
    held = (f"the operator: courier parcel import {row.parcel}",) if row.hold else ()
    return admission.awaiting or held, admission.report


def status_of(site: Site, parcel: str, build: str) -> ParcelStatus:
    """How a parcel stands here."""
    row = _row(site, parcel, build)
    with site.catalogue.reading() as connection:
        volumes = tuple(parcels.received_volumes(connection, parcel, build))
    folder = site.incoming(parcel, build)
    if row.state == ReceivedState.IMPORTED or not Spool.exists(folder):
        return ParcelStatus(
            parcel=parcel,
            build=build,
            state=row.state,
            volumes=volumes,
            of=max((volume.number for volume in volumes), default=0),
            missing_volumes=(),
            missing_blocks=0,
            awaiting=(),
            source=row.source,
        )
    spool = Spool.open(folder)
    packing = spool.packing
    incomplete = [state for state in spool.states()[: len(packing.archives)] if not state.whole]
    files = packing.files()
    awaiting, report = _awaiting(site, spool, row) if not incomplete else ((), "")
    return ParcelStatus(
        parcel=parcel,
        build=build,
        state=row.state,
        volumes=volumes,
        of=packing.volumes,
        missing_volumes=tuple(sorted({files[state.index].volume for state in incomplete})),
        missing_blocks=sum(state.blocks - state.good for state in incomplete),
        awaiting=awaiting,
        source=row.source,
        spare=min((group.parity for group in packing.groups if group.spares), default=0),
        incomplete=tuple(packing.path(state.index) for state in incomplete),
        report=report,
    )
