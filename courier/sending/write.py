"""Writing the volumes of a parcel to media and reading each back.

`courier.sending.volume_source` says what is on a volume; it is the same to the byte each time. An interrupted run goes
on at the first volume that does not exist, complete, at its place.

A write is planned first (`plan_writing`): the plan is shown to the operator, then `write_volumes` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, RefusedError
from courier.files import naming_space, path_text
from courier.media.finding import find_media
from courier.media.reading import Layout
from courier.media.writing import VolumeSource, read_back, write_volume_to
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.recipes import ComposedFiles
from courier.parcel.states import SentEvent, SentState, VolumeEvent, VolumeState
from courier.parcel.transitions import sent_event, sent_volume_event
from courier.parcel.volume_layout import VolumeSpace, volume_spaces
from courier.progress import SILENT, Progress
from courier.sending import partial_volumes
from courier.sending.drives import Drives
from courier.sending.missing_files import ensure_files
from courier.sending.outgoing_parcel import OutgoingParcel, alone_with, check_not_withdrawn
from courier.sending.volume_source import fixed_sizes_of, volume_source
from courier.site.catalog import parcels
from courier.site.catalog.parcels import SentMedium, SentVolume
from courier.site.clock import now
from courier.site.home import Site
from courier.text import plural


@dataclass(frozen=True, kw_only=True, slots=True)
class WritePlan:
    """Which volumes of ``parcel`` are written, in which layout and where; ``spaces`` by volume number.

    ``chosen``: the operator named these volumes; else all are meant, and a run that was interrupted goes on.
    """

    parcel: OutgoingParcel
    layout: Layout
    outs: tuple[Path, ...]
    spaces: Mapping[int, VolumeSpace]
    chosen: bool

    @property
    def payload(self) -> int:
        """Bytes of archives and parity files on these volumes."""
        return sum(space.payload for space in self.spaces.values())

    @property
    def work(self) -> int:
        """Bytes of the volumes, counted twice: they are written and read back."""
        return 2 * sum(space.bytes for space in self.spaces.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenVolume:
    """A volume that was written to ``path`` and read back; ``bytes`` on the medium.

    ``kept``: it was written before, and has only been verified again. ``away``: it was written before, and its medium
    was changed since, so that it was not verified. ``reels``: how many media it took; more than one only on tape.
    """

    number: int
    of: int
    path: Path
    bytes: int
    layout: Layout
    kept: bool
    away: bool = False
    reels: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteReport:
    """The volumes of a write, in order, and the state of the parcel after it."""

    volumes: tuple[WrittenVolume, ...]
    state: str


def plan_writing(
    site: Site,
    parcel: OutgoingParcel,
    *,
    layout: Layout,
    outs: Sequence[Path],
    numbers: Sequence[int] = (),
    spaces: Sequence[VolumeSpace] = (),
) -> WritePlan:
    """Plan to write the volumes of ``numbers`` (none: all) to ``outs``: folders on one drive or several, or one tape.

    ``spaces``: what all volumes take of their media, where that is known already.

    Raises `NotFoundError` for a number that the parcel does not have, `RefusedError` for a parcel that was recalled or
    superseded.
    """
    check_not_withdrawn(parcel)
    packing = parcel.packing
    wanted = sorted(set(numbers)) or list(range(1, packing.volumes + 1))
    for number in wanted:
        if not 1 <= number <= packing.volumes:
            raise NotFoundError(
                f"{packing.parcel} has no volume {number}", hint=f"its volumes are 1 to {packing.volumes}"
            )
    if not spaces:
        spaces = volume_spaces(packing, fixed_sizes_of(parcel), name=site.settings.name, numbers=wanted)
    by_number = {space.number: space for space in spaces}
    return WritePlan(
        parcel=parcel,
        layout=layout,
        outs=tuple(outs),
        spaces={number: by_number[number] for number in wanted},
        chosen=bool(numbers),
    )


def require_room(site: Site, plan: WritePlan, *, changed: Callable[[str], bool] = lambda _: False) -> None:
    """Raise what `write_volumes` would raise before its first byte, for a parcel that is about to be laid out anew.

    ``changed`` as for `write_volumes`.
    """
    with alone_with(site, plan.parcel):
        drives = Drives(plan.parcel, plan.layout, plan.outs, changed)
        drives.require_free_places(list(plan.spaces))
        drives.require_space({number: space.bytes for number, space in plan.spaces.items()})


def write_volumes(
    site: Site,
    plan: WritePlan,
    *,
    progress: Progress = SILENT,
    written: Callable[[WrittenVolume], None] = lambda _: None,
    changed: Callable[[str], bool] = lambda _: False,
) -> WriteReport:
    """Write the volumes of a plan and read each back.

    The drives are used in turn; a tape device takes one volume at a time. ``progress`` is told bytes as they are
    written and as they are read back, ``plan.work`` in all; ``written`` each volume. If no drive has room for the next
    volume, ``changed`` is asked to have media changed, and says whether they were.

    If all volumes are meant and some are not written yet, those that were written to a drive and are no longer there
    are taken to be on the media that were in it before: the run goes on at the first that is not written.

    Raises `NoSpaceError` (before the first byte if nobody can change media), `DamagedError` if a medium does not hold
    what was written, `RefusedError` if something else stands in a volume's place.
    """
    parcel, result = plan.parcel, list[WrittenVolume]()
    site.unlock()
    files = parcel.files(site)
    wanted = [index for number in plan.spaces for index in parcel.packing.on_volume(number)]
    ensure_files(site, parcel, wanted, files)
    with alone_with(site, parcel), custody_entry(site, parcel, result):
        partial_volumes.remove(parcel.folder)
        drives = Drives(parcel, plan.layout, plan.outs, changed)
        away = {} if plan.chosen else drives.away()
        drives.require_space({number: space.bytes for number, space in plan.spaces.items() if number not in away})
        unwritten = _unwritten(site, parcel)
        progress.begin("Writing", plan.work)
        for number, space in plan.spaces.items():
            with _told_in_all(2 * space.bytes, progress) as told:
                if number in away:
                    one = _away(parcel, away[number], plan.layout)
                else:
                    one = _write_one(site, plan, space, files, drives, told, changed)
                    unwritten.discard(number)
                    record_written(site, parcel, one, last=not unwritten)
            written(one)
            result.append(one)
        if not unwritten:
            partial_volumes.forget(parcel.folder)
    return WriteReport(volumes=tuple(result), state=_state(site, parcel))


@contextmanager
def _told_in_all(total: int, progress: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Tell ``progress`` of just ``total`` bytes, however many are told here: a volume kept is only read, a format of
    its own takes some more.
    """
    left = total

    def told(count: int) -> None:
        nonlocal left
        progress(min(count, left))
        left -= min(count, left)

    yield told
    progress(left)


def _write_one(
    site: Site,
    plan: WritePlan,
    space: VolumeSpace,
    files: ComposedFiles,
    drives: Drives,
    progress: Callable[[int], None],
    changed: Callable[[str], bool],
) -> WrittenVolume:
    """Write a volume and read it back; one that exists already is only verified."""
    source = volume_source(site, plan.parcel, space, files)
    target, kept = drives.place_for(source.label, space.bytes)
    reels = 1
    if kept:
        _verify_existing(target, source, progress)
        size = sum(path.stat().st_size for path in (target.rglob("*") if target.is_dir() else [target]))
    else:
        enough = naming_space(target.parent, partial(int, space.bytes), purpose=f"writing {source.label}")
        with _naming(target), enough:
            size, reels = write_volume_to(target, source, plan.layout, progress, changed)
    return WrittenVolume(
        number=space.number,
        of=plan.parcel.packing.volumes,
        path=target,
        bytes=size,
        layout=plan.layout,
        kept=kept,
        reels=reels,
    )


def _away(parcel: OutgoingParcel, volume: SentVolume, layout: Layout) -> WrittenVolume:
    return WrittenVolume(
        number=volume.number,
        of=parcel.packing.volumes,
        path=Path(volume.path),
        bytes=volume.bytes,
        layout=layout,
        kept=True,
        away=True,
    )


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Name ``target`` in errors of the system that name no path (an unplugged drive, a bad sector)."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(target)) from None
        raise


def _verify_existing(target: Path, source: VolumeSource, progress: Callable[[int], None]) -> None:
    """Raise `RefusedError` unless what stands at ``target`` is this very volume; it is never overwritten."""
    try:
        (medium,) = find_media(target)
        read_back(medium, source, progress)
    except (CourierError, ValueError) as error:
        raise RefusedError(
            f"{target} exists and is not {source.label} of this parcel as it is now ({error})",
            hint="remove it, or name another --out folder",
            code=Code.TARGET_EXISTS,
        ) from None


@contextmanager
def custody_entry(site: Site, parcel: OutgoingParcel, result: list[WrittenVolume]) -> Iterator[None]:
    """Write one custody entry for the volumes that a run has written, however the run ends."""
    try:
        yield
    finally:
        done = tuple(one.number for one in result if not one.kept)
        if done:
            what = Happened(event="written", volumes=done, note=f"{result[0].layout}, edition {parcel.packing.edition}")
            with site.catalogue.writing() as connection:
                record(connection, site, parcel.sent.parcel, what)


def _unwritten(site: Site, parcel: OutgoingParcel) -> set[int]:
    """The numbers of the volumes that were never written."""
    with site.catalogue.reading() as connection:
        volumes = parcels.sent_volumes(connection, parcel.sent.parcel, parcel.packing.edition)
    return {one.number for one in volumes if one.state != VolumeState.WRITTEN}


def record_written(site: Site, parcel: OutgoingParcel, one: WrittenVolume, *, last: bool) -> None:
    """Record a volume as written; ``last``: now all volumes of the parcel are."""
    name, at = parcel.sent.parcel, path_text(one.path)
    how = f"{one.layout}, {one.reels} reels" if one.reels > 1 else one.layout
    what = f"already at {at} ({how}), verified again" if one.kept else f"to {at} ({how}), read back"
    with site.catalogue.writing() as connection:
        known = parcels.sent_volumes(connection, name, parcel.packing.edition, one.number)
        after = SentVolume(
            parcel=name,
            edition=parcel.packing.edition,
            number=one.number,
            state=VolumeState.WRITTEN,
            layout=one.layout,
            path=at,
            bytes=one.bytes,
            # A medium that is only found again is not a new one.
            written_ns=(known[0].written_ns if one.kept and known else None) or now(),
        )
        sent_volume_event(connection, site, after, VolumeEvent.WRITTEN, f"volume {one.number} of {one.of} {what}")
        parcels.put_medium(connection, medium_of(after))
        sent = parcels.find_sent(connection, name) if last else None
        if sent is not None and sent.state == SentState.BUILT:
            sent_event(connection, site, name, SentEvent.WRITTEN, f"all of {plural(one.of, 'volume')}")


def medium_of(volume: SentVolume) -> SentMedium:
    """The record of the medium that a volume was written to."""
    return SentMedium(
        parcel=volume.parcel,
        edition=volume.edition,
        number=volume.number,
        path=volume.path,
        layout=volume.layout,
        written_ns=volume.written_ns or now(),
    )


def _state(site: Site, parcel: OutgoingParcel) -> str:
    with site.catalogue.reading() as connection:
        sent = parcels.find_sent(connection, parcel.sent.parcel)
    return parcel.sent.state if sent is None else sent.state
