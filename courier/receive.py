"""The receiver's journey: take volumes in, in any order and any number of times; import when all agrees.

Media are read only. Content gathers in the spool until every block is here; then it is held until the ship notice
and the package definitions have come by network and agree with the packing list; then it is imported, all or
nothing. The same command, or the next ``channel sync``, goes on wherever a run was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from courier.admit import Admission, check_not_recalled
from courier.catalog import parcels
from courier.catalog.parcels import ReceivedParcel, ReceivedVolume
from courier.direct import archives_of, bad_parity
from courier.errors import CourierError, Damaged, Refused
from courier.files import locked, make_folder, remove_tree, require_space, sweep, write_atomic
from courier.importing import expanded_bytes, import_parcel, is_held
from courier.intake import Head, VolumeReader
from courier.ledger import Happened, note_received, record, record_received
from courier.lifecycle import ReceivedEvent, ReceivedState, VolumeEvent, VolumeState
from courier.media import Medium, RandomMedium, find_media
from courier.settle import ParcelStatus, admission_of, settle_parcel, status_of
from courier.site import Site, now
from courier.spool import PACKING_LIST, Filling, Spool
from courier.transitions import begin_received, received_event, received_volume_event
from formats.blocks import ranges
from formats.envelope import parse_envelope
from formats.errors import FormatError

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenVolume:
    """How one medium was taken in. ``bad``: (file path, ranges of blocks that could not be had from this medium)."""

    parcel: str
    build: str
    number: int
    of: int
    path: str
    bytes: int
    state: VolumeState
    damaged_blocks: int
    bad: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """What `receive_media` did: each medium, media that failed, and the parcels they belong to."""

    volumes: tuple[TakenVolume, ...]
    failures: tuple[tuple[str, CourierError], ...]
    parcels: tuple[ParcelStatus, ...]


def receive_media(
    site: Site,
    paths: Sequence[Path],
    *,
    hold: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    looking: Callable[[Medium, Head], None] = lambda _medium, _head: None,
    taken: Callable[[TakenVolume], None] = lambda _: None,
) -> Received:
    """Take in every volume at ``paths``; then import what is complete and agreed, unless ``hold``.

    One bad medium does not stop the others: its error is among ``failures``. ``looking`` is told what each medium is
    as soon as that is known, ``taken`` how it went.
    """
    media = [medium for path in paths for medium in find_media(path)]
    told: set[str] = set()

    def look(medium: Medium, head: Head) -> None:
        if medium.name not in told:
            told.add(medium.name)
            looking(medium, head)

    straight = None if hold else _straight(site, media, progress=progress, looking=look)
    if straight is not None:
        for one in straight.volumes:
            taken(one)
        return straight
    results: list[TakenVolume] = []
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
            statuses.append(settle_parcel(site, parcel, build))
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
    looking: Callable[[Medium, Head], None],
) -> TakenVolume:
    root = make_folder(site.home / "parcels" / "in")
    with locked(root / "lock"):
        sweep(root)
        scratch = make_folder(root / ".tmp-tables")
        try:
            reader = VolumeReader(medium, site.trust(), scratch=scratch, now_ns=now())
            head = reader.head(lambda digest: _known_packing_list(site, digest))
            looking(medium, head)
            spool = begin_spool(site, head, hold=hold, where=medium.name, opened=opened)
            if spool is not None:
                spool.note_edition(head.envelope)
            return _gather(site, medium, reader, head, spool, progress)
        finally:
            remove_tree(scratch)


def _straight(
    site: Site, media: Sequence[Medium], *, progress: Callable[[int], None], looking: Callable[[Medium, Head], None]
) -> Received | None:
    """Import a parcel straight from ``media`` if they are all of it and nothing is awaited; None where they are not."""
    whole = [medium for medium in media if isinstance(medium, RandomMedium)]
    if not whole or len(whole) < len(media):
        return None
    root = make_folder(site.home / "parcels" / "in")
    with locked(root / "lock"):
        sweep(root)
        scratch = make_folder(root / ".tmp-tables")
        try:
            return _import_straight(site, whole, scratch, progress, looking)
        except (CourierError, FormatError):
            # Whatever it is, it is found again where volumes gather one by one, and said there.
            return None
        finally:
            remove_tree(scratch)


def _import_straight(
    site: Site,
    media: Sequence[RandomMedium],
    scratch: Path,
    progress: Callable[[int], None],
    looking: Callable[[Medium, Head], None],
) -> Received | None:
    trust = site.trust()
    spool, admission, envelope = None, None, b""
    by_number: dict[int, RandomMedium] = {}
    volumes: list[TakenVolume] = []
    for medium in media:
        reader = VolumeReader(medium, trust, scratch=scratch, now_ns=now())
        try:
            head = reader.head()
            if spool is None or admission is None:
                needed = {file.volume for file in head.packing.archives}
                begun = _begin_straight(site, head) if len(needed) <= len(media) else None
                if begun is None:
                    return None
                spool, admission = begun
                envelope = head.envelope
            if head.envelope != envelope or head.label.number in by_number:
                return None
            looking(medium, head)
            bad = bad_parity(reader, head, spool.table, progress)
            volumes.append(_taken(medium, reader, head, bad))
            by_number[head.label.number] = medium
        finally:
            reader.close()
    if spool is None or admission is None or not needed <= by_number.keys():
        return None
    packing = spool.packing

    def arrived(connection: Connection) -> None:
        for volume in volumes:
            _record_volume(connection, site, volume, packing.edition)
        record_received(connection, site, packing.parcel, packing.build)
        verified = Happened(event="verified", note="every block agrees with the packing list")
        record(connection, site, packing.parcel, verified)
        event, text = ReceivedEvent.COMPLETE, "media and network agree"
        received_event(connection, site, packing.parcel, packing.build, event, text)

    with archives_of(by_number, packing, spool.table, progress) as open_archive:
        imported = import_parcel(site, spool, admission, open_archive=open_archive, arrived=arrived)
    status = replace(status_of(site, packing.parcel, packing.build), imported=imported)
    return Received(volumes=tuple(volumes), failures=(), parcels=(status,))


def _begin_straight(site: Site, head: Head) -> tuple[Spool, Admission] | None:
    """An empty spool for what must be recorded in any case, and what admits the import; None where that waits."""
    spool = begin_spool(site, head, hold=False, straight=True)
    if spool is None or any(state.good for state in spool.states()):
        return None
    with site.catalogue.reading() as connection:
        (row,) = parcels.find_received(connection, head.packing.parcel, head.packing.build)
    spool.note_edition(head.envelope)
    admission = admission_of(site, spool)
    return None if admission.awaiting or row.hold else (spool, admission)


def _known_packing_list(site: Site, digest: str) -> bytes | None:
    for path in (site.home / "parcels" / "in").glob(f"*/{PACKING_LIST}"):
        data = path.read_bytes()
        try:
            if parse_envelope(data).sha256 == digest:
                return data
        except FormatError:
            # Damaged on our own disk: a volume of that parcel puts it right.
            continue
    return None


def begin_spool(
    site: Site,
    head: Head,
    *,
    hold: bool,
    where: str = "",
    opened: dict[Path, Spool] | None = None,
    straight: bool = False,
) -> Spool | None:
    """The spool of the build this volume belongs to, begun if need be; None when it was imported and is still held.

    ``where`` names the medium in errors. ``opened`` remembers the spools of one command, so that the space for all
    that is missing is judged once, not again for each of a thousand volumes. ``straight``: nothing will gather in it.

    Raises `Refused` for another build of a parcel of which volumes came before, `NoSpace`, and `Damaged` where a new
    spool would need a table that is damaged on this medium.
    """
    packing = head.packing
    with site.catalogue.reading() as connection:
        known = parcels.find_received(connection, packing.parcel)
    same = next((row for row in known if row.build == packing.build), None)
    others = [row for row in known if row.build != packing.build and row.state != ReceivedState.ANNOUNCED]
    if same is None and others:
        raise Refused(
            f"{where or head.label.label}: a volume of another build of {packing.parcel} than those received before",
            hint=f"ask {packing.source} which is right; courier parcel discard {packing.parcel} forgets the other",
            code="other-build",
        )
    imported = same is not None and same.state == ReceivedState.IMPORTED
    if imported and (head.contents is None or is_held(site, packing, head.contents)):
        return None
    check_not_recalled(site, site.trust(), packing.parcel, packing.source)
    if any(row.state == ReceivedState.REFUSED for row in known):
        raise Refused(
            f"{where or head.label.label}: {packing.parcel} is refused here",
            hint=f"courier parcel log {packing.parcel} says why; to take it all the same: "
            f"courier parcel accept {packing.parcel}",
            code="parcel-refused",
        )
    folder = site.arriving(packing.parcel, packing.build)
    opened = {} if opened is None else opened
    if Spool.exists(folder):
        if folder in opened:
            return opened[folder]
        Spool.heal(folder, packing, head.envelope, contents=head.contents, blocks=head.blocks)
        spool = opened[folder] = Spool.open(folder)
        sweep(folder / "archives")
        coming = 0 if straight else spool.missing_bytes()
        require_space(site.home, coming + _expanded(folder), purpose="receiving the parcel")
        _note_arrival(site, head, same, hold=hold)
        return spool
    if head.contents is None or head.blocks is None:
        raise Damaged(
            f"{where or head.label.label}: a table that every volume carries is damaged on this one",
            hint="receive another volume of the parcel first, then this one again",
        )
    expanded = expanded_bytes(site, head.packing, head.contents)
    needed = expanded + (0 if straight else sum(file.size for file in packing.files()))
    require_space(site.home, needed, purpose="receiving the parcel (archives and what they expand to)")
    make_folder(folder)
    write_atomic(folder / "expanded", str(expanded).encode())
    spool = opened[folder] = Spool.begin(folder, packing, head.envelope, contents=head.contents, blocks=head.blocks)
    _note_arrival(site, head, same, hold=hold)
    return spool


def _note_arrival(site: Site, head: Head, same: ReceivedParcel | None, *, hold: bool) -> None:
    """Record that a build arrives; again, after a kill came in between, and when a later command asks for a hold."""
    packing = head.packing
    with site.catalogue.writing() as connection:
        if same is not None and same.state == ReceivedState.IMPORTED:
            text = "the store does not hold all that it brought any more"
            received_event(connection, site, packing.parcel, packing.build, ReceivedEvent.AGAIN, text)
        if same is not None and same.state != ReceivedState.ANNOUNCED:
            if hold:
                parcels.change_received(connection, packing.parcel, packing.build, hold=1)
            if not same.packing_list:
                # Its sender's word against it was all that was known of it.
                digest = parse_envelope(head.envelope).sha256
                parcels.change_received(connection, packing.parcel, packing.build, packing_list=digest)
            return
        for row in parcels.find_received(connection, packing.parcel):
            if row.state == ReceivedState.ANNOUNCED and row.build != packing.build:
                parcels.forget_received(connection, row.parcel, row.build)
        begin_received(
            connection,
            site,
            ReceivedEvent.ARRIVED,
            ReceivedParcel(
                parcel=packing.parcel,
                build=packing.build,
                source=packing.source,
                state=ReceivedState.ARRIVING,
                packing_list=parse_envelope(head.envelope).sha256,
                hold=int(hold),
                first_ns=now(),
                imported_ns=None,
                receipt=None,
            ),
            f"the first volume seen is {head.label.number} of {head.label.of}",
        )


def _expanded(folder: Path) -> int:
    try:
        return int((folder / "expanded").read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _gather(
    site: Site,
    medium: Medium,
    reader: VolumeReader,
    head: Head,
    spool: Spool | None,
    progress: Callable[[int], None],
) -> TakenVolume:
    """Take the blocks that are still missing; say what could not be had."""
    packing, number = head.packing, head.label.number
    bad: dict[int, list[int]] = {}
    if spool is not None:
        fillings: dict[int, Filling] = {}
        # Parity belongs to one edition; archives are the same in all.
        same = parse_envelope(head.envelope).sha256 == spool.digest
        wanted = [index for index in packing.on_volume(number) if same or index < len(packing.archives)]
        haves = {index: spool.have(index) for index in wanted}
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
    one = _taken(medium, reader, head, {index: blocks for index, blocks in bad.items() if blocks})
    if spool is not None:
        with site.catalogue.writing() as connection:
            _record_volume(connection, site, one, packing.edition)
    return one


def _taken(medium: Medium, reader: VolumeReader, head: Head, missing: Mapping[int, Sequence[int]]) -> TakenVolume:
    packing, number = head.packing, head.label.number
    findings = [*head.findings, *(f"{text}: not taken" for text in reader.unexpected())]
    damaged = sum(len(blocks) for blocks in missing.values())
    return TakenVolume(
        parcel=packing.parcel,
        build=packing.build,
        number=number,
        of=packing.volumes,
        path=medium.name,
        bytes=packing.volume_bytes(number),
        state=VolumeState.DAMAGED if damaged else VolumeState.RECEIVED,
        damaged_blocks=damaged,
        bad=tuple((packing.path(index), tuple(ranges(blocks))) for index, blocks in missing.items()),
        findings=tuple(findings),
    )


def _record_volume(connection: Connection, site: Site, one: TakenVolume, edition: int) -> None:
    text = f"volume {one.number} of {one.of} from {one.path}: {one.state}"
    if one.damaged_blocks:
        text += f", {one.damaged_blocks} blocks could not be had"
    received_volume_event(
        connection,
        site,
        ReceivedVolume(
            parcel=one.parcel,
            build=one.build,
            edition=edition,
            number=one.number,
            state=one.state,
            damaged_blocks=one.damaged_blocks,
            seen_ns=now(),
        ),
        VolumeEvent.READ_IN_PART if one.damaged_blocks else VolumeEvent.READ,
        text,
    )
