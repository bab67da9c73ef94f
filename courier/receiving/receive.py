"""The receiver's journey: take volumes in, in any order and any number of times; import when all agrees.

Media are read only. Content gathers in the spool until every block is here; then it is held until the ship notice
and the package definitions have come by network and agree with the packing list; then it is imported, all or
nothing. The same command, or the next ``channel sync``, goes on wherever a run was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from courier.errors import CourierError
from courier.files import TEMP, locked, make_folder, naming_space, remove_tree, sweep
from courier.media.reading import Medium, find_all_media
from courier.media.tape_reels import Ask, nobody
from courier.parcel.custody_ledger import note_received
from courier.parcel.volume_documents import VolumeDocuments
from courier.parcel.volume_reader import VolumeReader
from courier.receiving.complete import ParcelStatus, complete_parcel, status_of
from courier.receiving.open_spool import known_packing_list, open_spool, packing_list_of
from courier.receiving.spool import Filling, Spool
from courier.receiving.straight import import_straight
from courier.receiving.volume_result import VolumeResult, record_volume, volume_result
from courier.site.clock import now
from courier.site.home import Site
from formats.envelope import parse_envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """What `receive_media` did: each medium, media that failed, and the parcels they belong to."""

    volumes: tuple[VolumeResult, ...]
    failures: tuple[tuple[str, CourierError], ...]
    parcels: tuple[ParcelStatus, ...]


def receive_media(
    site: Site,
    paths: Sequence[Path],
    *,
    hold: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    looking: Callable[[Medium, VolumeDocuments], None] = lambda _medium, _head: None,
    taken: Callable[[VolumeResult], None] = lambda _: None,
    ask: Ask = nobody,
) -> Received:
    """Take in every volume at ``paths``; then import what is complete and agreed, unless ``hold``.

    One bad medium does not stop the others: its error is among ``failures``. ``looking`` is told what each medium is
    as soon as that is known, ``taken`` how it went. ``ask`` has a person put in the next reel of a tape.
    """
    media = find_all_media(paths, ask)
    site.unlock()
    told: set[str] = set()

    def look(medium: Medium, documents: VolumeDocuments) -> None:
        if medium.name not in told:
            told.add(medium.name)
            looking(medium, documents)

    straight = None if hold else import_straight(site, media, progress=progress, looking=look)
    if straight is not None:
        volumes, status = straight
        for one in volumes:
            taken(one)
        return Received(volumes=volumes, failures=(), parcels=(status,))
    results: list[VolumeResult] = []
    failures: list[tuple[str, CourierError]] = []
    builds: dict[tuple[str, str], None] = {}
    opened: dict[Path, Spool] = {}
    for medium in media:
        try:
            one = _take(site, medium, opened, hold=hold, progress=progress, looking=look)
        except CourierError as error:
            failures.append((medium.name, error))
            continue
        results.append(one)
        builds[one.parcel, one.build] = None
        taken(one)
    statuses = []
    for parcel, build in builds:
        note_received(site, parcel, build)
        try:
            statuses.append(complete_parcel(site, parcel, build))
        except CourierError as error:
            failures.append((parcel, error))
            statuses.append(status_of(site, parcel, build))
    return Received(volumes=tuple(results), failures=tuple(failures), parcels=tuple(statuses))


def _take(
    site: Site,
    medium: Medium,
    opened: dict[Path, Spool],
    *,
    hold: bool,
    progress: Callable[[int], None],
    looking: Callable[[Medium, VolumeDocuments], None],
) -> VolumeResult:
    root = make_folder(site.home / "parcels" / "in")
    spool: Spool | None = None

    def needed() -> int:
        return spool.missing_bytes() if spool is not None else 0

    with locked(root / "lock"), naming_space(root, needed, purpose=f"receiving {medium.name}"):
        sweep(root)
        scratch = make_folder(root / f"{TEMP}tables")
        try:
            reader = VolumeReader(medium, site.trust(), scratch=scratch, now_ns=now())
            documents = reader.documents(
                lambda digest: known_packing_list(site, digest),
                lambda label, created_ns: packing_list_of(site, label, created_ns),
            )
            looking(medium, documents)
            spool = open_spool(site, documents, hold=hold, where=medium.name, opened=opened)
            if spool is not None:
                spool.note_edition(documents.envelope)
            return _gather(site, medium, reader, documents, spool, progress)
        finally:
            remove_tree(scratch)


def _gather(
    site: Site,
    medium: Medium,
    reader: VolumeReader,
    documents: VolumeDocuments,
    spool: Spool | None,
    progress: Callable[[int], None],
) -> VolumeResult:
    """Take the blocks that are still missing; say what could not be had."""
    packing, number = documents.packing, documents.label.number
    bad: dict[int, list[int]] = {}
    all_here = spool is None
    if spool is not None:
        fillings: dict[int, Filling] = {}
        # Parity belongs to one edition; archives are the same in all.
        same = parse_envelope(documents.envelope).sha256 == spool.digest
        wanted = [index for index in packing.on_volume(number) if same or index < len(packing.archives)]
        haves = {index: spool.have(index) for index in wanted}
        all_here = bool(haves) and all(all(have) for have in haves.values())
        try:
            for read in reader.blocks(packing, number, lambda index, block: index in haves and not haves[index][block]):
                if read.index not in fillings:
                    for done in fillings.values():
                        done.__exit__()
                    fillings = {read.index: spool.filling(read.index).__enter__()}
                if read.data is not None and fillings[read.index].write(read.block, read.data):
                    haves[read.index][read.block] = 1
                    progress(len(read.data))
                else:
                    bad.setdefault(read.index, []).append(read.block)
        finally:
            for done in fillings.values():
                done.__exit__()
        for index, have in haves.items():
            bad[index] = [block for block, here in enumerate(have) if not here]
        if not same and packing.parity and any(bad.values()):
            documents.findings.append(
                f"its parity is of another layout (edition {packing.edition}) than what gathers here (edition "
                f"{spool.packing.edition}) and does not count; where all of its layout is at hand, courier parcel "
                f"discard {packing.parcel} and receive that alone"
            )
    one = volume_result(medium, reader, documents, {index: blocks for index, blocks in bad.items() if blocks})
    if spool is not None:
        with site.catalogue.writing() as connection:
            record_volume(connection, site, one, packing.edition)
    return replace(one, read=not all_here)
