"""Receiving volumes, in any order and any number of times; a parcel is imported when all of it agrees.

Media are read only. Content gathers in the spool until every block is here; then it is held until the ship notice
and the package definitions have come by network and agree with the packing list; then it is imported, all or
nothing. The same command, or the next ``channel sync``, goes on wherever a run was stopped.

Several commands may receive volumes of one parcel at one time, also at several computers of the site: see
`courier.receiving.spools_lock`. The one that ends last goes on with the parcel; the others say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from courier.errors import CourierError
from courier.files import make_folder, naming_space
from courier.media.finding import Note, find_all_media
from courier.media.reading import Medium
from courier.media.tape_reels import Ask, nobody
from courier.parcel.custody_ledger import CustodyBook
from courier.parcel.volume_documents import VolumeDocuments
from courier.progress import SILENT, Progress
from courier.receiving.complete import complete_parcel
from courier.receiving.gather import gather
from courier.receiving.open_spool import OpenSpools, SpoolRequest, open_spool
from courier.receiving.open_volume import FailedVolume, OpenVolume, open_volume
from courier.receiving.parcel_status import ParcelStatus, status_of
from courier.receiving.progressive import choose_progressive
from courier.receiving.spool import Spool
from courier.receiving.spools_lock import gathering, spools_door
from courier.receiving.straight import ImportedStraight, SteppedAside, import_straight
from courier.receiving.volume_result import VolumeResult
from courier.site.home import Site
from courier.site.scratch import scratch, sweep_left

if TYPE_CHECKING:
    from concurrent.futures import Executor


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """What `receive_media` did: the result of each medium, media that failed, and the parcels they belong to."""

    volumes: tuple[VolumeResult, ...]
    failures: tuple[tuple[str, CourierError], ...]
    parcels: tuple[ParcelStatus, ...]


def receive_media(
    site: Site,
    paths: Sequence[Path],
    *,
    hold: bool = False,
    progressive: bool | None = None,
    progress: Progress = SILENT,
    looking: Callable[[Medium, VolumeDocuments], None] = lambda _medium, _documents: None,
    received: Callable[[VolumeResult], None] = lambda _: None,
    ask: Ask = nobody,
    note: Note = lambda _: None,
    executor: Executor | None = None,
) -> Received:
    """Receive every volume at ``paths``; then import what is complete and agreed, unless ``hold``.

    ``progressive``: whether packages are imported before the rest of their parcel comes; None: as it was said before,
    else as the site's policy says. One bad medium does not stop the others: its error is among ``failures``.
    ``progress`` is told bytes that were read, ``looking`` with each medium and its documents as soon as these are
    verified, ``received`` with the result of each medium. ``ask`` has a person put in the next reel of a tape, ``note``
    is told what lies beside the volumes. ``executor``: workers that unpack what gathered in the spool; what is imported
    straight from its media needs none.
    """
    media = find_all_media(paths, ask, note)
    site.unlock()
    with _tables(site) as tables:
        run = _Run(
            site=site,
            tables=tables,
            hold=hold,
            progressive=progressive,
            progress=progress,
            looking=looking,
            received=received,
            executor=executor,
        )
        read = 0
        if not hold:
            attempt = run.straight(media)
            if isinstance(attempt, ImportedStraight):
                return _received_straight(attempt, received)
            read = len(attempt.volumes)
        for medium in media[read:]:
            run.receive(medium)
    return run.complete()


@contextmanager
def _tables(site: Site) -> Iterator[Path]:
    """A folder for copies of the tables of media, from which a spool can take them."""
    root = make_folder(site.home / "parcels" / "in")
    with spools_door(site):
        sweep_left(site, root)
    with scratch(site, root) as folder:
        yield folder


def _received_straight(done: ImportedStraight, received: Callable[[VolumeResult], None]) -> Received:
    for one in done.volumes:
        received(one)
    failures = ((done.status.parcel, done.error),) if done.error is not None else ()
    return Received(volumes=done.volumes, failures=failures, parcels=(done.status,))


@dataclass(kw_only=True, slots=True)
class _Run:
    """One run of `receive_media`, and what it has come to so far. ``tables``: the folder for copies of tables."""

    site: Site
    tables: Path
    hold: bool
    progressive: bool | None
    progress: Progress
    looking: Callable[[Medium, VolumeDocuments], None]
    received: Callable[[VolumeResult], None]
    executor: Executor | None
    results: list[VolumeResult] = field(default_factory=list)
    failures: list[tuple[str, CourierError]] = field(default_factory=list)
    opened: OpenSpools = field(default_factory=OpenSpools)

    def straight(self, media: Sequence[Medium]) -> ImportedStraight | SteppedAside:
        """Try to import straight from the media; where that cannot be, those that were read by then gather."""
        attempt = import_straight(
            self.site,
            media,
            scratch=self.tables,
            opened=self.opened,
            progress=self.progress,
            looking=self.looking,
        )
        if isinstance(attempt, SteppedAside):
            for one in attempt.volumes:
                if isinstance(one, FailedVolume):
                    self.failures.append((one.medium.name, one.error))
                else:
                    with self._failing(one.medium):
                        self._gather(one)
        return attempt

    def receive(self, medium: Medium) -> None:
        """Receive one volume."""
        with self._failing(medium):
            volume = open_volume(self.site, medium, self.site.trust(), self.tables)
            self.looking(medium, volume.documents)
            self._gather(volume)

    def complete(self) -> Received:
        """Bring each parcel of which a volume came as far as it goes."""
        statuses = []
        for parcel, build in dict.fromkeys((one.parcel, one.build) for one in self.results):
            with self.site.catalogue.writing() as connection:
                # A run that was killed before this is made good by the next.
                CustodyBook(connection, self.site, parcel).write_received(build)
            folder = self.site.incoming(parcel, build)
            if self.progressive is not None and Spool.exists(folder):
                choose_progressive(folder, progressive=self.progressive)
            try:
                statuses.append(
                    complete_parcel(self.site, parcel, build, progress=self.progress, executor=self.executor)
                )
            except CourierError as error:
                self.failures.append((parcel, error))
                statuses.append(status_of(self.site, parcel, build))
        return Received(volumes=tuple(self.results), failures=tuple(self.failures), parcels=tuple(statuses))

    def _gather(self, volume: OpenVolume) -> None:
        site, documents, name = self.site, volume.documents, volume.medium.name
        packing = documents.packing

        def begin() -> Spool | None:
            request = SpoolRequest(
                documents=documents, trust=volume.trust, where=name, hold=self.hold, number=documents.label.number
            )
            begun = open_spool(site, request, self.opened)
            if begun is not None:
                begun.note_edition(documents)
            return begun

        folder, number = site.incoming(packing.parcel, packing.build), documents.label.number
        with (
            naming_space(folder.parent, lambda: self._missing_bytes(folder), purpose=f"receiving {name}"),
            gathering(site, folder, number=number, layout=documents.digest, begin=begin) as spool,
        ):
            result = gather(site, volume, spool, self.progress)
        self.results.append(result)
        self.received(result)

    def _missing_bytes(self, folder: Path) -> int:
        spool = self.opened.by_folder.get(folder)
        return spool.missing_bytes() if spool is not None else 0

    @contextmanager
    def _failing(self, medium: Medium) -> Iterator[None]:
        """One bad medium does not stop the others: note its error."""
        try:
            yield
        except CourierError as error:
            self.failures.append((medium.name, error))
