"""Importing a whole parcel straight from its media, where nothing is missing and nothing is awaited.

Where every volume with content is named at once, and the ship notice and the definitions have come, the spool would
only be a second copy of everything. Where the import cannot go straight, for one of the reasons in `Aside`, the store
is as it was and no volume is recorded. What has been read by then is passed on, and the volumes gather in the spool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from courier.errors import BusyError, CourierError, DamagedError, RefusedError
from courier.files import naming_space
from courier.media.reading import Medium, RandomMedium
from courier.parcel.custody_ledger import VERIFIED, CustodyBook, Happened
from courier.parcel.import_checks import Admission
from courier.parcel.states import ReceivedEvent
from courier.parcel.transitions import received_event
from courier.parcel.volume_documents import VolumeDocuments
from courier.parcel.volume_reader import bad_blocks
from courier.progress import Progress
from courier.receiving.import_facts import admission_of
from courier.receiving.import_parcel import import_parcel
from courier.receiving.open_spool import OpenSpools, SpoolRequest, open_spool
from courier.receiving.open_volume import FailedVolume, OpenVolume, open_volume
from courier.receiving.parcel_status import ParcelStatus, status_of
from courier.receiving.spool import Spool
from courier.receiving.spools_lock import alone_at_door, spools_door
from courier.receiving.straight_archives import archives_of
from courier.receiving.volume_result import VolumeResult, record_volume, volume_result
from courier.site.catalog import parcels
from courier.site.home import Site
from courier.site.outbox import withdraw_request
from courier.site.trust import Trust

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Aside(StrEnum):
    """Why an import does not go straight from the media, and volumes gather in the spool instead."""

    TAPE = "a tape is read once, from its start"
    INCOMPLETE = "not every volume with content was given"
    MIXED = "the media are of more than one parcel or layout, or one volume was given twice"
    UNREADABLE = "the documents of a medium are damaged or not to be trusted"
    NOT_RECEIVED = "a volume may not be received here, or the disk has no room"
    OTHERS = "other commands receive volumes of the parcel, or work on it"
    BEGUN = "blocks of the parcel are here already"
    AWAITING = "the import awaits something, or the operator"
    DAMAGED = "a medium is damaged: what is good is kept, and parity may mend the rest"
    BUSY = "another command is at work on the store: what is read is kept, and imported later"
    REFUSED = "the import is refused: the content is held until that is settled, and the media are not needed again"


@dataclass(frozen=True, kw_only=True, slots=True)
class SteppedAside:
    """The import did not go straight. ``volumes``: the media read so far, whose documents need not be read again."""

    reason: Aside
    volumes: tuple[OpenVolume | FailedVolume, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedStraight:
    """The import went straight from the media; ``error``: what ended it, with no volume recorded."""

    volumes: tuple[VolumeResult, ...]
    status: ParcelStatus
    error: CourierError | None = None


class _AsideError(Exception):
    """Ends an attempt; `import_straight` catches it."""

    def __init__(self, reason: Aside) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, slots=True)
class _Given:
    """A medium that was given, and its volume."""

    medium: RandomMedium
    volume: OpenVolume

    @property
    def number(self) -> int:
        """The number of the volume."""
        return self.volume.documents.label.number


@dataclass(kw_only=True, slots=True)
class _Attempt:
    """One attempt at a straight import: what it works with, and the media ``read`` so far.

    ``alone`` holds the spool until the attempt ends.
    """

    site: Site
    trust: Trust
    scratch: Path
    opened: OpenSpools
    progress: Progress
    looking: Callable[[Medium, VolumeDocuments], None]
    alone: ExitStack
    read: list[OpenVolume | FailedVolume] = field(default_factory=list)


def import_straight(
    site: Site,
    media: Sequence[Medium],
    *,
    scratch: Path,
    opened: OpenSpools,
    progress: Progress,
    looking: Callable[[Medium, VolumeDocuments], None],
) -> ImportedStraight | SteppedAside:
    """Import a parcel straight from ``media`` if they are all of it and nothing is awaited.

    ``scratch``: a folder for copies of tables, which must stay until the volumes of `SteppedAside` have gathered.
    ``opened`` gets the spool that is opened here. Meanwhile nobody else receives volumes of the parcel.
    """
    at_random = [medium for medium in media if isinstance(medium, RandomMedium)]
    if not at_random or len(at_random) < len(media):
        return SteppedAside(reason=Aside.TAPE)
    with ExitStack() as alone:
        attempt = _Attempt(
            site=site,
            trust=site.trust(),
            scratch=scratch,
            opened=opened,
            progress=progress,
            looking=looking,
            alone=alone,
        )
        try:
            volumes, spool, admission = _prepare(attempt, at_random)
            results = _read_parity(attempt, volumes, spool)
            return _import(attempt, volumes, results, spool, admission)
        except _AsideError as aside:
            return SteppedAside(reason=aside.reason, volumes=tuple(attempt.read))


def _prepare(attempt: _Attempt, media: Sequence[RandomMedium]) -> tuple[list[_Given], Spool, Admission]:
    """Read the documents of all media; nothing of the payload is read before it is sure that the import can be."""
    first = _open(attempt, media[0])
    needed = {file.volume for file in first.volume.documents.packing.archives}
    if len(needed) > len(media):
        raise _AsideError(Aside.INCOMPLETE)
    spool = _open_empty_spool(attempt, first.volume)
    admission = _admit(attempt.site, spool)
    volumes, numbers = [first], {first.number}
    for medium in media[1:]:
        one = _open(attempt, medium)
        if one.volume.documents.envelope != first.volume.documents.envelope or one.number in numbers:
            raise _AsideError(Aside.MIXED)
        volumes.append(one)
        numbers.add(one.number)
    if not needed <= numbers:
        raise _AsideError(Aside.INCOMPLETE)
    return volumes, spool, admission


def _open(attempt: _Attempt, medium: RandomMedium) -> _Given:
    try:
        volume = open_volume(attempt.site, medium, attempt.trust, attempt.scratch)
    except CourierError as error:
        attempt.read.append(FailedVolume(medium=medium, error=error))
        raise _AsideError(Aside.UNREADABLE) from None
    attempt.read.append(volume)
    # A thousand media may have been given: none stays open until its blocks are read.
    volume.reader.close()
    attempt.looking(medium, volume.documents)
    return _Given(medium=medium, volume=volume)


def _open_empty_spool(attempt: _Attempt, volume: OpenVolume) -> Spool:
    """The spool of the parcel, for what must be recorded in any case; no block gathers in it."""
    request = SpoolRequest(documents=volume.documents, trust=volume.trust, where=volume.medium.name, gathers=False)
    site, packing = attempt.site, volume.documents.packing
    folder = site.incoming(packing.parcel, packing.build)
    try:
        with naming_space(folder.parent, lambda: 0, purpose=f"receiving {volume.medium.name}"), spools_door(site):
            attempt.alone.enter_context(alone_at_door(site, folder))
            spool = open_spool(site, request, attempt.opened)
    except BusyError:
        raise _AsideError(Aside.OTHERS) from None
    except CourierError:
        # It is said for each medium when the volumes gather.
        raise _AsideError(Aside.NOT_RECEIVED) from None
    if spool is None or any(state.good for state in spool.states()):
        raise _AsideError(Aside.BEGUN)
    spool.note_edition(volume.documents)
    return spool


def _admit(site: Site, spool: Spool) -> Admission:
    with site.catalogue.reading() as connection:
        (row,) = parcels.find_received(connection, spool.packing.parcel, spool.packing.build)
    try:
        admission = admission_of(site, spool, hold=bool(row.hold))
    except CourierError:
        # It is judged again, and said, when the parcel is complete.
        raise _AsideError(Aside.REFUSED) from None
    if admission.awaiting:
        raise _AsideError(Aside.AWAITING)
    return admission


def _read_parity(attempt: _Attempt, volumes: Sequence[_Given], spool: Spool) -> list[VolumeResult]:
    """Read what the media hold beside archives. Bad parity does not stop an import that needs none."""
    packing, results = spool.packing, []
    attempt.progress.begin("Reading parity", sum(file.size for file in packing.parity))
    for one in volumes:
        parity = [index for index in packing.on_volume(one.number) if index >= len(packing.archives)]
        reader = one.volume.reader
        try:
            bad = bad_blocks(reader, one.volume.documents, spool.table, parity, attempt.progress)
        except CourierError:
            raise _AsideError(Aside.DAMAGED) from None
        finally:
            reader.close()
        results.append(volume_result(one.volume, bad))
    return results


def _import(
    attempt: _Attempt, volumes: Sequence[_Given], results: Sequence[VolumeResult], spool: Spool, admission: Admission
) -> ImportedStraight:
    site, packing = attempt.site, spool.packing
    media = {one.number: one.medium for one in volumes}

    def arrived(connection: Connection, book: CustodyBook) -> None:
        for result in results:
            record_volume(connection, site, result, packing.edition)
        book.write_received(packing.build)
        book.write(Happened(event="verified", note=VERIFIED))
        received_event(
            connection, site, packing.parcel, packing.build, ReceivedEvent.COMPLETE, "media and network agree"
        )
        withdraw_request(connection, packing.source, packing.parcel)

    attempt.progress.begin("Importing", sum(file.size for file in packing.archives))
    try:
        with archives_of(media, packing, spool.table, attempt.progress) as open_archive:
            imported = import_parcel(site, spool, admission, open_archive=open_archive, arrived=arrived)
    except DamagedError:
        raise _AsideError(Aside.DAMAGED) from None
    except BusyError:
        raise _AsideError(Aside.BUSY) from None
    except RefusedError:
        raise _AsideError(Aside.REFUSED) from None
    except CourierError as error:
        return ImportedStraight(volumes=(), status=status_of(site, packing.parcel, packing.build), error=error)
    status = replace(status_of(site, packing.parcel, packing.build), imported=imported)
    return ImportedStraight(volumes=tuple(results), status=status)
