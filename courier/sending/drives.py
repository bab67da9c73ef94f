"""The places that volumes are written to (folders on drives, or one tape device), used in turn."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from courier.error_codes import Code
from courier.errors import NoSpaceError, NotFoundError, RefusedError, UsageError
from courier.files import TEMP, disk_of, free_space, remove_tree, standing_folder
from courier.media.reading import Layout
from courier.media.tape_device import is_tape_device
from courier.media.writing import volume_target
from courier.parcel.archive_plan import take_turns
from courier.parcel.states import VolumeState
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.site.catalog.parcels import SentVolume


class Drives:
    """The places that the volumes of one parcel are written to, used in turn."""

    def __init__(
        self, parcel: OutgoingParcel, layout: Layout, outs: Sequence[Path], changed: Callable[[str], bool]
    ) -> None:
        """``changed`` asks a person to change media, with the text given, and says whether that was done.

        With an empty text it only says whether a person is there. Raises `NotFoundError` for a device that does not
        exist, and `UsageError` for places that cannot be used.
        """
        self._parcel = parcel
        self._layout = layout
        self._outs = [out.absolute() for out in outs]
        self._changed = changed
        self._tape_unused = True
        for out in self._outs:
            # Below /dev there may be a disk too: /dev/shm is one in memory.
            if out.parts[:2] == ("/", "dev") and not out.exists() and disk_of(out) == disk_of(Path("/dev")):
                raise NotFoundError(f"{out}: no such device", hint="check that the drive is connected and switched on")
            if out.exists() and not out.is_dir() and not is_tape_device(out):
                raise UsageError(
                    f"{out} is not a folder",
                    hint="name a folder; a disc is burnt from the image in it, with the tool of your system",
                )
        if any(map(is_tape_device, self._outs)) and (layout != "tape" or len(outs) > 1):
            raise UsageError("a tape device takes the tape layout, and no other --out beside it", hint="--layout tape")

    @property
    def _is_tape(self) -> bool:
        return is_tape_device(self._outs[0])

    def _existing(self, label: str) -> Path | None:
        """The place at which a volume of that label already exists."""
        for out in self._outs:
            target = volume_target(out, label, self._layout)
            if target.exists():
                return target
        return None

    def away(self) -> dict[int, SentVolume]:
        """The volumes that an interrupted run wrote to these places, on media that have been changed since.

        Empty if every volume of the parcel is written: then the operator wants another set.
        """
        volumes = {one.number: one for one in self._parcel.volumes}
        if all(one.state == VolumeState.WRITTEN for one in volumes.values()):
            return {}
        found = {}
        for number, one in volumes.items():
            label = self._parcel.packing.volume_label(number)
            here = {str(volume_target(out, label, self._layout)) for out in self._outs}
            before = (one.state, one.layout) == (VolumeState.WRITTEN, self._layout) and one.path in here
            if before and (self._is_tape or self._existing(label) is None):
                found[number] = one
        return found

    def require_free_places(self, numbers: Sequence[int]) -> None:
        """Raise `RefusedError` where a place is not writable, or where something stands in a volume's place.

        For a parcel that is about to be laid out anew: none of its volumes can exist yet.
        """
        for out in self._outs:
            if not os.access(standing_folder(out), os.W_OK):
                raise RefusedError(
                    f"{out} cannot be written to",
                    hint="is it mounted read-only, or write-protected? check who owns it and what its permissions are",
                    code=Code.PERMISSION,
                )
        for number in numbers:
            existing = self._existing(self._parcel.packing.volume_label(number))
            if existing is not None and not self._is_tape:
                raise RefusedError(
                    f"{existing} exists, and is not of the layout that was asked for",
                    hint="remove it, or name another --out folder; nothing was changed",
                    code=Code.TARGET_EXISTS,
                )

    def _sweep(self) -> None:
        """Remove what killed runs left of this parcel's volumes; under its lock nobody else is writing them."""
        stem = self._parcel.packing.volume_label(1).rpartition("V")[0]
        for out in self._outs:
            for path in out.glob(f"{TEMP}*"):
                if path.name.rpartition("-")[2].startswith(stem):
                    remove_tree(path)

    def _free(self) -> list[int]:
        """Bytes free at each place; places on one disk count once, at the first of them."""
        self._sweep()
        seen: set[int] = set()
        free = []
        for out in self._outs:
            disk = disk_of(out)
            free.append(0 if disk in seen else free_space(out))
            seen.add(disk)
        return free

    def require_space(self, needs: Mapping[int, int]) -> None:
        """Raise `NoSpaceError` if volumes (number -> bytes) do not fit, and nobody is there to change media."""
        if self._is_tape:
            return
        label = self._parcel.packing.volume_label
        costs = [(number, cost) for number, cost in needs.items() if self._existing(label(number)) is None]
        turns = take_turns([cost for _, cost in costs], self._free())
        unplaced = [number for (number, _), drive in zip(costs, turns, strict=True) if drive is None]
        if unplaced and not self._changed(""):
            free = sum(self._free())
            places = ", ".join(map(str, self._outs))
            fitting = [f"--volume {number}" for number, _ in costs if number not in unplaced]
            some = f"here fit {' '.join(fitting[:20])}{' ...' if fitting[20:] else ''}" if fitting else "none fits here"
            raise NoSpaceError(
                f"{places}: no room for {len(unplaced)} of {len(costs)} volumes, the first is volume {unplaced[0]} "
                f"({sum(cost for _, cost in costs):,} bytes needed in all, {free:,} free)",
                hint=f"free space, name more --out folders, or write some of the volumes: {some}",
            )

    def places(self, needs: Mapping[int, int]) -> dict[int, Path]:
        """The places of new volumes (number -> bytes), all of which are written before any is complete.

        Raises `NoSpaceError` if they do not all fit, as no medium can be changed meanwhile.
        """
        turns = take_turns(list(needs.values()), self._free())
        placed = {number: drive for number, drive in zip(needs, turns, strict=True) if drive is not None}
        if len(placed) < len(needs):
            raise NoSpaceError(
                f"{', '.join(map(str, self._outs))}: no room for {len(needs) - len(placed)} of {len(needs)} volumes "
                f"({sum(needs.values()):,} bytes needed in all, {sum(self._free()):,} free)",
                hint="free space, or name more --out folders",
            )
        label = self._parcel.packing.volume_label
        return {
            number: volume_target(self._outs[drive], label(number), self._layout) for number, drive in placed.items()
        }

    def place_for(self, label: str, cost: int) -> tuple[Path, bool]:
        """(path, whether it exists already) of the next volume, of ``cost`` bytes at most.

        Asks for other media if no drive has room. Raises `UsageError` or `NoSpaceError` if they are not changed.
        """
        if self._is_tape:
            return self._tape_for(label), False
        while True:
            existing = self._existing(label)
            if existing is not None:
                return existing, True
            (drive,) = take_turns([cost], self._free())
            if drive is not None:
                out = self._outs[drive]
                self._outs = [*self._outs[drive + 1 :], *self._outs[: drive + 1]]
                return volume_target(out, label, self._layout), False
            if not self._changed(f"No drive has room for {label}: put another medium at {self._outs[0]}"):
                raise NoSpaceError(
                    f"{', '.join(map(str, self._outs))}: no room for {label}, which needs {cost:,} bytes",
                    hint="put another medium there, then run the same command again: it goes on with this volume",
                )

    def _tape_for(self, label: str) -> Path:
        if not self._tape_unused and not self._changed(f"Put the tape for {label} into {self._outs[0]}"):
            raise UsageError(
                f"a tape device takes one volume at a time: {label} goes on the next tape",
                hint="change the tape, then run the same command again: it goes on with that volume",
            )
        self._tape_unused = False
        return self._outs[0]
