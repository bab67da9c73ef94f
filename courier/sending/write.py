"""The sender's journey, third step: write volumes to media and read them back.

What is on a volume says `courier.sending.volume_source`; it is the same to the byte each time. A set that was
interrupted goes on at the first volume that does not stand, whole, at its target.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, NoSpaceError, NotFoundError, RefusedError, UsageError
from courier.files import (
    TEMP,
    disk_of,
    free_space,
    naming_space,
    path_text,
    remove_tree,
    standing_folder,
)
from courier.media.reading import Layout, find_media
from courier.media.tape_device import is_tape_device
from courier.media.writing import VolumeSource, read_back, volume_target, write_volume_to
from courier.parcel.archive_plan import take_turns
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.states import SentEvent, SentState, VolumeEvent, VolumeState
from courier.parcel.transitions import sent_event, sent_volume_event
from courier.sending.build_again import ensure_files
from courier.sending.outgoing_parcel import OutgoingParcel, alone_with
from courier.sending.volume_source import medium_bytes, volume_source
from courier.site.catalog import parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.text import plural
from formats.documents.packing import PackingList


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenVolume:
    """A volume that was written to ``path`` and read back; ``bytes`` on the medium. ``kept``: it stood there before.

    ``away``: it was written there before, and its medium was changed since; it has not been looked at again.
    ``reels``: how many media it took; more than one only in a tape drive.
    """

    number: int
    of: int
    path: Path
    bytes: int
    layout: Layout
    kept: bool
    away: bool = False
    reels: int = 1


def write_volumes(
    site: Site,
    parcel: OutgoingParcel,
    *,
    layout: Layout,
    outs: Sequence[Path],
    numbers: Sequence[int] = (),
    progress: Callable[[int], None] = lambda _: None,
    written: Callable[[WrittenVolume], None] = lambda _: None,
    changed: Callable[[str], bool] = lambda _: False,
) -> list[WrittenVolume]:
    """Write volumes (all, or those numbered) to ``outs`` and read each back; ``written`` is told of each.

    An out is a folder, on a drive of its own or not; they are taken in turn. A tape device takes one volume at a time.
    When no out has room for the next volume, ``changed`` is asked to have media changed; it says whether they were.
    Where all volumes are asked for, and some are not written yet, those that were written to an out and are there no
    more are taken to be on the media that were in it before: the set goes on at the first that is not written.

    Raises `NotFoundError` for a number the parcel does not have, `NoSpaceError` (before the first byte, where no media
    can be changed), `DamagedError` when a medium does not hold what was written, `RefusedError` for a parcel that was
    recalled.
    """
    check_wanted(parcel)
    wanted = sorted(set(numbers)) or list(range(1, parcel.packing.volumes + 1))
    check_numbers(parcel.packing, wanted)
    site.unlock()
    ensure_files(site, parcel, [index for number in wanted for index in parcel.packing.on_volume(number)])
    result: list[WrittenVolume] = []
    with alone_with(site, parcel), _in_the_ledger(site, parcel, result):
        drives = _Drives(parcel, layout, [out.absolute() for out in outs], changed)
        needed = medium_bytes(site, parcel, wanted)
        away = {} if numbers else drives.away()
        drives.require({number: cost for number, cost in needed.items() if number not in away})
        for number in wanted:
            if number in away:
                written(away[number])
                result.append(away[number])
                continue
            source = volume_source(site, parcel, number)
            target, kept = drives.target(source.label, needed[number])
            reels = 1
            if kept:
                _check_standing(target, source, progress)
                size = sum(path.stat().st_size for path in (target.rglob("*") if target.is_dir() else [target]))
            else:
                cost = needed[number]
                with (
                    _naming(target),
                    naming_space(target.parent, partial(int, cost), purpose=f"writing {source.label}"),
                ):
                    size, reels = write_volume_to(target, source, layout, progress, changed)
            one = WrittenVolume(
                number=number,
                of=parcel.packing.volumes,
                path=target,
                bytes=size,
                layout=layout,
                kept=kept,
                reels=reels,
            )
            _record(site, parcel, one)
            written(one)
            result.append(one)
    return result


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Have errors of the system that say no place (a drive that was unplugged, a bad sector) say ``target``."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(target)) from None
        raise


def check_wanted(parcel: OutgoingParcel) -> None:
    """Raise `RefusedError` for a parcel that was recalled or superseded: nobody takes its media."""
    if parcel.sent.state in (SentState.RECALLED, SentState.SUPERSEDED):
        was = parcel.sent.state.lower()
        code = Code.RECALLED if parcel.sent.state == SentState.RECALLED else Code.SUPERSEDED
        raise RefusedError(f"{parcel.sent.parcel} was {was}", hint="create a new parcel", code=code)


@contextmanager
def _in_the_ledger(site: Site, parcel: OutgoingParcel, result: list[WrittenVolume]) -> Iterator[None]:
    """One custody entry for what a run has written, however the run ends."""
    try:
        yield
    finally:
        done = tuple(one.number for one in result if not one.kept)
        if done:
            what = Happened(event="written", volumes=done, note=f"{result[0].layout}, edition {parcel.packing.edition}")
            with site.catalogue.writing() as connection:
                record(connection, site, parcel.sent.parcel, what)


def check_numbers(packing: PackingList, numbers: Sequence[int]) -> None:
    """Raise `NotFoundError` for a volume number that the parcel does not have."""
    for number in numbers:
        if not 1 <= number <= packing.volumes:
            raise NotFoundError(
                f"{packing.parcel} has no volume {number}", hint=f"its volumes are 1 to {packing.volumes}"
            )


def require_room(
    site: Site,
    parcel: OutgoingParcel,
    *,
    layout: Layout,
    outs: Sequence[Path],
    numbers: Sequence[int],
    changed: Callable[[str], bool] = lambda _: False,
) -> None:
    """Raise what `write_volumes` would raise before its first byte, of a parcel that is only laid out so far."""
    with alone_with(site, parcel):
        drives = _Drives(parcel, layout, [out.absolute() for out in outs], changed)
        drives.refuse_places(numbers)
        drives.require(medium_bytes(site, parcel, numbers))


class _Drives:
    """The places volumes are written to, taken in turn."""

    def __init__(
        self, parcel: OutgoingParcel, layout: Layout, outs: Sequence[Path], changed: Callable[[str], bool]
    ) -> None:
        self._parcel = parcel
        self._layout = layout
        self._outs = list(outs)
        self._changed = changed
        self._fresh = True
        for out in outs:
            if out.parts[:2] == ("/", "dev") and not out.exists():
                raise NotFoundError(f"{out}: no such device", hint="check that the drive is connected and switched on")
            if out.exists() and not out.is_dir() and not is_tape_device(out):
                raise UsageError(
                    f"{out} is no folder",
                    hint="name a folder; a disc is burnt from the image in it, with the tool of your system",
                )
        if any(is_tape_device(out) for out in outs) and (layout != "tape" or len(outs) > 1):
            raise UsageError("a tape device takes the tape layout, and no other --out beside it", hint="--layout tape")

    @property
    def _device(self) -> bool:
        return is_tape_device(self._outs[0])

    def _standing(self, label: str) -> Path | None:
        for out in self._outs:
            target = volume_target(out, label, self._layout)
            if target.exists():
                return target
        return None

    def away(self) -> dict[int, WrittenVolume]:
        """The volumes of an interrupted set that were written here, on media that have been changed since."""
        volumes = {one.number: one for one in self._parcel.volumes}
        if all(one.state == VolumeState.WRITTEN for one in volumes.values()):
            return {}  # The set is whole: what is asked for is another one.
        packing, found = self._parcel.packing, {}
        for number, one in volumes.items():
            label = packing.volume_label(number)
            here = {str(volume_target(out, label, self._layout)) for out in self._outs}
            before = (one.state, one.layout) == (VolumeState.WRITTEN, self._layout) and one.path in here
            if before and (self._device or self._standing(label) is None):
                found[number] = WrittenVolume(
                    number=number,
                    of=packing.volumes,
                    path=Path(one.path),
                    bytes=one.bytes,
                    layout=self._layout,
                    kept=True,
                    away=True,
                )
        return found

    def refuse_places(self, numbers: Sequence[int]) -> None:
        """Raise `RefusedError` where nothing may be written, or a volume's place is taken: none can stand there yet."""
        for out in self._outs:
            if not os.access(standing_folder(out), os.W_OK):
                raise RefusedError(
                    f"{out} cannot be written to",
                    hint="is it mounted read-only, or write-protected? check who owns it and what its permissions are",
                    code=Code.PERMISSION,
                )
        for number in numbers:
            standing = self._standing(self._parcel.packing.volume_label(number))
            if standing is not None and not self._device:
                raise RefusedError(
                    f"{standing} exists, and is not of the layout that was asked for",
                    hint="remove it, or name another --out folder; nothing was changed",
                    code=Code.TARGET_EXISTS,
                )

    def _sweep(self) -> None:
        """Remove what killed runs have left of this parcel's volumes: under its lock nobody else is writing them."""
        stem = self._parcel.packing.volume_label(1).rpartition("V")[0]
        for out in self._outs:
            for path in out.glob(f"{TEMP}*"):
                if path.name.rpartition("-")[2].startswith(stem):
                    remove_tree(path)

    def _free(self) -> list[int]:
        """Bytes free at each out; drives that are one disk count once, at the first of them."""
        self._sweep()
        seen: set[int] = set()
        free = []
        for out in self._outs:
            disk = disk_of(out)
            free.append(0 if disk in seen else free_space(out))
            seen.add(disk)
        return free

    def require(self, needs: Mapping[int, int]) -> None:
        """Raise `NoSpaceError` before the first byte if the volumes do not fit and nobody is there to change media."""
        if self._device:
            return
        label = self._parcel.packing.volume_label
        costs = [(number, cost) for number, cost in needs.items() if self._standing(label(number)) is None]
        homeless = [
            number
            for (number, _), at in zip(costs, take_turns([c for _, c in costs], self._free()), strict=True)
            if at is None
        ]
        if homeless and not self._changed(""):
            free = sum(self._free())
            places = ", ".join(map(str, self._outs))
            fitting = [f"--volume {number}" for number, _ in costs if number not in homeless]
            some = f"here fit {' '.join(fitting[:20])}{' ...' if fitting[20:] else ''}" if fitting else "none fits here"
            raise NoSpaceError(
                f"{places}: no room for {len(homeless)} of {len(costs)} volumes, the first is volume {homeless[0]} "
                f"({sum(cost for _, cost in costs):,} bytes needed in all, {free:,} free)",
                hint=f"free space, name more --out folders, or write some of the volumes: {some}",
            )

    def target(self, label: str, cost: int) -> tuple[Path, bool]:
        """Where the next volume goes, and whether it stands there already; asks for other media when none has room."""
        if self._device:
            if not self._fresh and not self._changed(f"Put the tape for {label} into {self._outs[0]}"):
                raise UsageError(
                    f"a tape device takes one volume at a time: {label} goes on the next tape",
                    hint="change the tape, then run the same command again: it goes on with that volume",
                )
            self._fresh = False
            return self._outs[0], False
        while True:
            standing = self._standing(label)
            if standing is not None:
                return standing, True
            (at,) = take_turns([cost], self._free())
            if at is not None:
                out = self._outs[at]
                self._outs = [*self._outs[at + 1 :], *self._outs[: at + 1]]
                return volume_target(out, label, self._layout), False
            if not self._changed(f"No drive has room for {label}: put another medium at {self._outs[0]}"):
                raise NoSpaceError(
                    f"{', '.join(map(str, self._outs))}: no room for {label}, which needs {cost:,} bytes",
                    hint="put another medium there, then run the same command again: it goes on with this volume",
                )


def _check_standing(target: Path, source: VolumeSource, progress: Callable[[int], None]) -> None:
    """What stands at the target must be this very volume; it is never overwritten."""
    try:
        (medium,) = find_media(target)
        read_back(medium, source, progress)
    except (CourierError, ValueError) as error:
        raise RefusedError(
            f"{target} exists and is not {source.label} of this parcel as it is now ({error})",
            hint="remove it, or name another --out folder",
            code=Code.TARGET_EXISTS,
        ) from None


def _record(site: Site, parcel: OutgoingParcel, one: WrittenVolume) -> None:
    at = path_text(one.path)
    how = f"{one.layout}, {one.reels} reels" if one.reels > 1 else one.layout
    with site.catalogue.writing() as connection:
        before = {v.number: v for v in parcels.sent_volumes(connection, parcel.sent.parcel, parcel.packing.edition)}
        sent_volume_event(
            connection,
            site,
            replace(
                before[one.number],
                state=VolumeState.WRITTEN,
                layout=one.layout,
                path=at,
                bytes=one.bytes,
                written_ns=now(),
            ),
            VolumeEvent.WRITTEN,
            f"volume {one.number} of {one.of} {'stood at' if one.kept else 'to'} {at} ({how}), read back",
        )
        everything = {v.state for number, v in before.items() if number != one.number} <= {VolumeState.WRITTEN}
        sent = parcels.find_sent(connection, parcel.sent.parcel)
        if everything and sent is not None and sent.state == SentState.BUILT:
            sent_event(connection, site, sent.parcel, SentEvent.WRITTEN, f"all of {plural(one.of, 'volume')}")
