"""The receiver's journey: take volumes in, in any order and any number of times; import when all agrees.

Media are read only. Content gathers in the spool until every block is here; then it is held until the ship notice
and the package definitions have come by network and agree with the packing list; then it is imported, all or
nothing. The same command, or the next ``channel sync``, goes on wherever a run was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from courier.admit import Admission, check_not_recalled, judge
from courier.arrival import report_arrival
from courier.catalog import letters, parcels
from courier.catalog.parcels import ReceivedParcel, ReceivedVolume
from courier.errors import CourierError, Damaged, NotFound, Refused, Usage
from courier.files import locked, make_folder, remove_tree, require_space, sweep, write_atomic
from courier.importing import ImportedParcel, expanded_bytes, import_parcel
from courier.intake import Head, VolumeReader
from courier.ledger import Happened, note_received, record
from courier.lifecycle import ReceivedEvent, ReceivedState, VolumeEvent, VolumeState
from courier.media import Medium, find_media
from courier.mend import mend_spool, prospect
from courier.parcelkey import awaited_key
from courier.site import Site, now
from courier.spool import PACKING_LIST, Filling, Spool
from courier.transitions import begin_received, is_open, log_entry, received_event, received_volume_event
from formats.blocks import ranges
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import FormatError
from formats.names import check_parcel


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
class ParcelStatus:
    """A parcel as it stands here: what is missing, why it is held, what was imported; ``mended``: blocks, just now."""

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
    results: list[TakenVolume] = []
    failures: list[tuple[str, CourierError]] = []
    builds: dict[tuple[str, str], None] = {}
    opened: dict[Path, Spool] = {}
    for medium in media:
        try:
            one = _take(site, medium, opened, hold=hold, progress=progress, looking=looking)
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


def _known_packing_list(site: Site, digest: str) -> bytes | None:
    for path in (site.home / "parcels" / "in").glob(f"*/{PACKING_LIST}"):
        data = path.read_bytes()
        if parse_envelope(data).sha256 == digest:
            return data
    return None


def begin_spool(
    site: Site, head: Head, *, hold: bool, where: str = "", opened: dict[Path, Spool] | None = None
) -> Spool | None:
    """The spool of the build this volume belongs to, begun if need be; None when it was imported before.

    ``where`` names the medium in errors. ``opened`` remembers the spools of one command, so that the space for all
    that is missing is judged once, not again for each of a thousand volumes.

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
    if same is not None and same.state == ReceivedState.IMPORTED:
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
        spool = opened[folder] = Spool.open(folder)
        sweep(folder / "archives")
        require_space(site.home, spool.missing_bytes() + _expanded(folder), purpose="receiving the parcel")
        _note_arrival(site, head, same, hold=hold)
        return spool
    if head.contents is None or head.blocks is None:
        raise Damaged(
            f"{where or head.label.label}: a table that every volume carries is damaged on this one",
            hint="receive another volume of the parcel first, then this one again",
        )
    expanded = expanded_bytes(site, head.packing, head.contents)
    needed = sum(file.size for file in packing.files()) + expanded
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
    findings = [*head.findings, *(f"{path} is not in the packing list: not taken" for path in reader.unexpected)]
    missing = {index: blocks for index, blocks in bad.items() if blocks}
    damaged = sum(len(blocks) for blocks in missing.values())
    one = TakenVolume(
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
    if spool is not None:
        _record(site, one, packing.edition)
    return one


def _record(site: Site, one: TakenVolume, edition: int) -> None:
    text = f"volume {one.number} of {one.of} from {one.path}: {one.state}"
    if one.damaged_blocks:
        text += f", {one.damaged_blocks} blocks could not be had"
    with site.catalogue.writing() as connection:
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


def settle_parcel(site: Site, parcel: str, build: str, *, release: bool = False) -> ParcelStatus:
    """Bring a parcel as far as it goes now: held when complete, imported when all agrees.

    ``release``: the operator asks for the import, so a hold ends. Raises what stands against the import.
    """
    row = _row(site, parcel, build)
    if row.state == ReceivedState.IMPORTED:
        # A run that was killed after its import could not give back the space.
        remove_tree(site.arriving(parcel, build))
    if row.state == ReceivedState.REFUSED:
        check_not_recalled(site, site.trust(), parcel, row.source)
    if row.state == ReceivedState.REFUSED and release:
        raise Refused(
            f"{parcel} is refused here",
            hint=f"courier parcel log {parcel} says why; to take it all the same: courier parcel accept {parcel}",
            code="parcel-refused",
        )
    if row.state in (ReceivedState.IMPORTED, ReceivedState.ANNOUNCED, ReceivedState.REFUSED):
        return status_of(site, parcel, build)
    if not Spool.exists(site.arriving(parcel, build)):
        return status_of(site, parcel, build)
    spool = Spool.open(site.arriving(parcel, build))
    mended = 0 if spool.complete else _mend(site, spool)
    if not spool.complete:
        return status_of(site, parcel, build)
    hold = 0 if release else row.hold
    if not is_open(row.state) or hold != row.hold:
        _note(site, row, ReceivedEvent.HELD, "all content is here and good", hold=hold)
    if not is_open(row.state):
        with site.catalogue.writing() as connection:
            record(
                connection, site, parcel, Happened(event="verified", note="every block agrees with the packing list")
            )
    admission = _admission(site, spool)
    if admission.awaiting and not hold and _reports_itself(site, spool.packing, admission):
        report_arrival(site, parcel, build, {})
    if hold or admission.awaiting:
        _note(site, row, ReceivedEvent.HELD, "; ".join(admission.awaiting) or "the operator wants no import yet")
        return replace(status_of(site, parcel, build), mended=mended)
    _note(site, row, ReceivedEvent.COMPLETE, "media and network agree")
    imported = import_parcel(site, spool, admission)
    return replace(status_of(site, parcel, build), imported=imported, mended=mended)


def _note(site: Site, row: ReceivedParcel, event: ReceivedEvent, text: str, **values: object) -> None:
    with site.catalogue.writing() as connection:
        received_event(connection, site, row.parcel, row.build, event, text, quiet=True, **values)


def _mend(site: Site, spool: Spool) -> int:
    """Mend what is missing if parity can give back all of it; return the blocks mended."""
    if not spool.packing.groups or prospect(spool).left:
        return 0
    with locked(site.home / "parcels" / "in" / "lock"):
        report = mend_spool(spool)
    if report.mended:
        with site.catalogue.writing() as connection:
            text = f"{report.mended} blocks mended from parity"
            parcels.write_log(connection, log_entry(site, spool.packing.parcel, "mended", text))
    return report.mended


def settle_all(site: Site) -> list[tuple[ParcelStatus | None, CourierError | None]]:
    """`settle_parcel` for every parcel that is held, or became complete; used after messages have come."""
    with site.catalogue.reading() as connection:
        everything = parcels.all_received(connection)
    for row in everything:
        if row.state == ReceivedState.IMPORTED:
            remove_tree(site.arriving(row.parcel, row.build))
    rows = [row for row in everything if is_open(row.state) or _arrived(site, row)]
    results: list[tuple[ParcelStatus | None, CourierError | None]] = []
    for row in rows:
        try:
            results.append((settle_parcel(site, row.parcel, row.build), None))
        except CourierError as error:
            results.append((None, error))
    return results


def _arrived(site: Site, row: ReceivedParcel) -> bool:
    """Whether an arriving parcel became complete, or can be mended now, by blocks that came by network."""
    folder = site.arriving(row.parcel, row.build)
    if row.state != ReceivedState.ARRIVING or not Spool.exists(folder):
        return False
    spool = Spool.open(folder)
    return spool.complete or (bool(spool.packing.groups) and not prospect(spool).left)


def _row(site: Site, parcel: str, build: str) -> ReceivedParcel:
    with site.catalogue.reading() as connection:
        rows = parcels.find_received(connection, parcel, build)
    if not rows:
        raise NotFound(f"nothing of {parcel} has been received", hint="courier parcel receive MEDIUM")
    return rows[0]


def find_build(site: Site, parcel: str) -> str:
    """The build of a parcel that arrives here; raises `NotFound`, or `Usage` for what is no parcel ID."""
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise Usage(error.message, hint="courier parcel list shows the parcels") from None
    with site.catalogue.reading() as connection:
        rows = parcels.find_received(connection, parcel)
    if not rows:
        raise NotFound(f"{parcel} is not known here", hint="courier parcel list shows the parcels")
    return rows[-1].build


def _admission(site: Site, spool: Spool) -> Admission:
    """What speaks for an import, the parcel's key among it; raises what stands against it."""
    admission = judge(site, spool.packing, spool.editions())
    if admission.notice is None:
        return admission
    return replace(admission, awaiting=admission.awaiting + awaited_key(site, spool.packing, admission.notice.seals))


def _reports_itself(site: Site, packing: PackingList, admission: Admission) -> bool:
    """Whether the arrival is reported without a person: all volumes are here, and none left with a seal to be read."""
    if packing.key != "on-arrival" or admission.notice is None or admission.notice.seals:
        return False
    with site.catalogue.reading() as connection:
        here = {volume.number for volume in parcels.received_volumes(connection, packing.parcel, packing.build)}
        reported = letters.find(connection, "arrival", packing.parcel, packing.source)
    return reported is None and here == set(range(1, packing.volumes + 1))


def _awaiting(site: Site, spool: Spool, row: ReceivedParcel) -> tuple[str, ...]:
    """What a complete parcel waits for; a disagreement of media and network is one of these, not an error here."""
    try:
        admission = _admission(site, spool)
    except Refused as error:
        return (f"an answer: {error.message}",)
    return admission.awaiting or (("the operator: courier parcel import " + row.parcel,) if row.hold else ())


def status_of(site: Site, parcel: str, build: str) -> ParcelStatus:
    """How a parcel stands here."""
    row = _row(site, parcel, build)
    with site.catalogue.reading() as connection:
        volumes = tuple(parcels.received_volumes(connection, parcel, build))
    folder = site.arriving(parcel, build)
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
        )
    spool = Spool.open(folder)
    packing = spool.packing
    incomplete = [state for state in spool.states()[: len(packing.archives)] if not state.whole]
    files = packing.files()
    awaiting: tuple[str, ...] = ()
    if not incomplete:
        awaiting = _awaiting(site, spool, row)
    return ParcelStatus(
        parcel=parcel,
        build=build,
        state=row.state,
        volumes=volumes,
        of=packing.volumes,
        missing_volumes=tuple(sorted({files[state.index].volume for state in incomplete})),
        missing_blocks=sum(state.blocks - state.good for state in incomplete),
        awaiting=awaiting,
    )
