"""A whole parcel at hand: imported straight from its media, where nothing is missing and nothing is awaited.

Whatever is not as it should be ends the attempt, with the store as it was and no volume recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from courier.errors import CourierError
from courier.files import TEMP, locked, make_folder, remove_tree, sweep
from courier.media.reading import Medium, RandomMedium
from courier.parcel.custody_ledger import Happened, record, record_received
from courier.parcel.notices import Admission
from courier.parcel.states import ReceivedEvent
from courier.parcel.transitions import received_event
from courier.parcel.volume_documents import VolumeDocuments
from courier.parcel.volume_reader import VolumeReader
from courier.receiving.complete import ParcelStatus, admission_of, status_of
from courier.receiving.import_parcel import import_parcel
from courier.receiving.open_spool import open_spool
from courier.receiving.spool import Spool
from courier.receiving.straight_archives import archives_of, bad_parity
from courier.receiving.volume_result import VolumeResult, record_volume, volume_result
from courier.site.catalog import parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import withdraw_request
from formats.errors import FormatError

if TYPE_CHECKING:
    from sqlalchemy import Connection


def import_straight(
    site: Site,
    media: Sequence[Medium],
    *,
    progress: Callable[[int], None],
    looking: Callable[[Medium, VolumeDocuments], None],
) -> tuple[tuple[VolumeResult, ...], ParcelStatus] | None:
    """Import a parcel straight from ``media`` if they are all of it and nothing is awaited; None where they are not."""
    whole = [medium for medium in media if isinstance(medium, RandomMedium)]
    if not whole or len(whole) < len(media):
        return None
    root = make_folder(site.home / "parcels" / "in")
    with locked(root / "lock"):
        sweep(root)
        scratch = make_folder(root / f"{TEMP}tables")
        try:
            return _import(site, whole, scratch, progress, looking)
        except (CourierError, FormatError):
            # Whatever it is, it is found again where volumes gather one by one, and said there.
            return None
        finally:
            remove_tree(scratch)


def _import(
    site: Site,
    media: Sequence[RandomMedium],
    scratch: Path,
    progress: Callable[[int], None],
    looking: Callable[[Medium, VolumeDocuments], None],
) -> tuple[tuple[VolumeResult, ...], ParcelStatus] | None:
    trust = site.trust()
    spool, admission, envelope = None, None, b""
    by_number: dict[int, RandomMedium] = {}
    volumes: list[VolumeResult] = []
    for medium in media:
        reader = VolumeReader(medium, trust, scratch=scratch, now_ns=now())
        try:
            documents = reader.documents()
            if spool is None or admission is None:
                needed = {file.volume for file in documents.packing.archives}
                begun = _begin(site, documents) if len(needed) <= len(media) else None
                if begun is None:
                    return None
                spool, admission = begun
                envelope = documents.envelope
            if documents.envelope != envelope or documents.label.number in by_number:
                return None
            looking(medium, documents)
            bad = bad_parity(reader, documents, spool.table, progress)
            volumes.append(volume_result(medium, reader, documents, bad))
            by_number[documents.label.number] = medium
        finally:
            reader.close()
    if spool is None or admission is None or not needed <= by_number.keys():
        return None
    packing = spool.packing

    def arrived(connection: Connection) -> None:
        for volume in volumes:
            record_volume(connection, site, volume, packing.edition)
        record_received(connection, site, packing.parcel, packing.build)
        verified = Happened(event="verified", note="every block agrees with the packing list")
        record(connection, site, packing.parcel, verified)
        event, text = ReceivedEvent.COMPLETE, "media and network agree"
        received_event(connection, site, packing.parcel, packing.build, event, text)
        withdraw_request(connection, packing.source, packing.parcel)

    with archives_of(by_number, packing, spool.table, progress) as open_archive:
        imported = import_parcel(site, spool, admission, open_archive=open_archive, arrived=arrived)
    status = replace(status_of(site, packing.parcel, packing.build), imported=imported)
    return tuple(volumes), status


def _begin(site: Site, documents: VolumeDocuments) -> tuple[Spool, Admission] | None:
    """An empty spool for what must be recorded in any case, and what admits the import; None where that waits."""
    spool = open_spool(site, documents, hold=False, straight=True)
    if spool is None or any(state.good for state in spool.states()):
        return None
    with site.catalogue.reading() as connection:
        (row,) = parcels.find_received(connection, documents.packing.parcel, documents.packing.build)
    spool.note_edition(documents.envelope)
    admission = admission_of(site, spool)
    return None if admission.awaiting or row.hold else (spool, admission)
