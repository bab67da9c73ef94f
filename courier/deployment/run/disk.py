"""A raw disk image as the target, or a disk that the caller holds, without a mount.

Partitions that a step makes are folders of the work folder until the sequence ends (for NTFS, a WIM besides); then each
becomes a file system in a file, which is copied to its place. Raw images are written to their place at once; files for
what came so, or was there before, wait in a folder too, and are added at the end to a copy, which then goes back. So
every step can be done again, and only the last part writes the partitions.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, BinaryIO

from courier.deployment.run import file_system_kinds, file_systems, partitions
from courier.deployment.run.copying import Region, copy_file, copy_region, write_region
from courier.deployment.run.directory import no_partition
from courier.deployment.run.facts import TargetFacts, VolumeFacts
from courier.deployment.run.target import LOOKED_AT, disk_size, is_blank
from courier.deployment.run.tools import run_tool
from courier.deployment.run.work import Work
from courier.deployment.sequence import FileSystem, PartitionStep
from courier.deployment.sequence_fields import LABEL_PATTERN
from courier.errors import DamagedError, NoSpaceError, RefusedError
from courier.files import make_folder, remove_tree, require_space, sync_file, sync_folder, write_atomic
from formats.errors import FormatError
from formats.records import Count, NamedRecord, Record, items, read_named, text

TREES, STATE, STORES, IMAGES = "target", "disk.json", "stores", "images"
_SMALLEST_READ = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume(Record):
    """A partition. ``made``: 1 where its file system is made at the end. ``step``, ``index``: of the WIM for NTFS.

    ``complete``: 1 once the end has put it in its place.
    """

    label: Annotated[str, text(200)]
    begin: Count
    size: Count
    file_system: Annotated[str, text(10)]
    made: Count
    step: Count = 0
    index: Count = 0
    complete: Count = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskState(NamedRecord):
    """What the run knows of the partitions."""

    NAME = "deployment-disk"

    volumes: Annotated[tuple[Volume, ...], items(0, 4096)]


class DiskTarget:
    """See `courier.deployment.run.target.Target`. ``identity``: GUIDs and serial numbers follow from it."""

    def __init__(self, disk: Path, work: Work, identity: uuid.UUID) -> None:
        self._disk, self._work, self._identity = disk, work, identity
        self.root = make_folder(work.place(TREES))

    # --- what is there ---

    def facts(self) -> TargetFacts:
        """See `Target.facts`."""
        volumes = {
            one.label: VolumeFacts(size=one.size, file_system=_kind(one), made=bool(one.made))
            for one in self._volumes()
        }
        size = disk_size(self._disk)
        return TargetFacts(is_disk=True, size=size, empty=is_blank(self._disk), volumes=volumes)

    def _read_at(self, offset: int, count: int) -> bytes:
        if offset >= disk_size(self._disk):  # a partition table may name any place
            return b""
        with self._disk.open("rb") as disk:
            disk.seek(offset)
            return disk.read(count)

    def _volumes(self) -> tuple[Volume, ...]:
        path = self._work.place(STATE)
        if path.exists():
            try:
                return read_named(DiskState, path.read_bytes().rstrip(b"\n")).volumes
            except FormatError as error:
                raise DamagedError(f"{path}: {error}", hint="begin the run anew: --anew") from None
        return self._found()

    def _found(self) -> tuple[Volume, ...]:
        """The partitions that the disk itself has; of those with one label the first."""
        table = partitions.read_table(self._read_at)
        if table is not None:
            partitions.check_within(table, disk_size(self._disk), where=str(self._disk))
        found: dict[str, Volume] = {}
        for span in table.spans if table else ():
            if not re.fullmatch(LABEL_PATTERN, span.label):
                continue  # no step can name it
            kind = file_system_kinds.kind_of(self._read_at(span.begin, _SMALLEST_READ))
            found.setdefault(
                span.label,
                Volume(label=span.label, begin=span.begin, size=span.size, file_system=kind, made=0),
            )
        return tuple(found.values())

    def _volume(self, label: str) -> Volume:
        if not label:
            raise RefusedError(
                "a disk has no files outside of its partitions", hint="name the partition in the step: part = LABEL"
            )
        found = next((one for one in self._volumes() if one.label.casefold() == label.casefold()), None)
        if found is None:
            raise no_partition(label)
        return found

    def _save(self, volumes: Iterable[Volume]) -> None:
        write_atomic(self._work.place(STATE), DiskState(volumes=tuple(volumes)).json() + b"\n")

    def _change(self, changed: Volume) -> None:
        self._save(changed if one.label == changed.label else one for one in self._volumes())

    def _forget(self) -> None:
        """What was gathered for partitions that are no more."""
        self._work.place(STATE).unlink(missing_ok=True)
        for name in (TREES, STORES, IMAGES):
            remove_tree(self._work.place(name))
        make_folder(self.root)
        sync_folder(self._work.built)

    def is_as_left(self) -> bool:
        """See `Target.is_as_left`: the partition table names all of them. Once the run is over, there is a table."""
        if not self._work.place(STATE).exists():
            return not is_blank(self._disk)
        there = {(one.label, one.begin, one.size) for one in self._found()}
        return {(one.label, one.begin, one.size) for one in self._volumes()} <= there

    # --- steps ---

    def erase(self, step: PartitionStep) -> None:
        """See `Target.erase`."""
        size = disk_size(self._disk)
        spans = partitions.lay_out(step.parts, size)
        head, tail_at, tail = partitions.table_bytes(step.parts, spans, size, identity=self._identity)
        self._forget()
        with self._disk.open("r+b") as disk:
            _make_blank(disk, size)
            disk.write(head)
            disk.seek(tail_at)
            disk.write(tail)
            disk.flush()
            sync_file(disk.fileno(), self._disk)
        self._save(
            Volume(label=part.label, begin=span.begin, size=span.size, file_system=part.file_system, made=1)
            for part, span in zip(step.parts, spans, strict=True)
        )
        for part in step.parts:
            make_folder(self.root / part.label)

    def folder(self, label: str) -> Path:
        """See `Target.folder`."""
        return make_folder(self.root / self._volume(label).label)

    @contextlib.contextmanager
    def reading(self, label: str) -> Iterator[Path]:
        """See `Target.reading`: of a file system that is there, a copy of its files.

        Raises `RefusedError` where files wait to be added to it: they are not in it yet.
        """
        volume = self._volume(label)
        if volume.made and not volume.step:
            yield self.folder(label)
            return
        if any(os.scandir(self.folder(label))):
            raise RefusedError(
                f"steps before this one added files to {label}, which are not in it yet",
                hint="put the step that captures before those that add files",
            )
        with self._work.scratch("files") as target:
            if volume.made:
                make_folder(target)
                run_tool(self._work, "wimapply", self._wim(volume), str(volume.index), target)
            else:
                file_systems.read_file_system(
                    self._work, _kind(volume), self._disk, target, begin=volume.begin, size=volume.size
                )
            yield target

    def apply_wim(self, label: str, wim: Path, index: int, *, step: int) -> None:
        """See `Target.apply_wim`. For NTFS the WIM is kept: it has what a folder here cannot hold, and is applied last.

        Raises `RefusedError` for a partition whose file system is there already, and for a second one onto NTFS.
        """
        volume = self._volume(label)
        if not volume.made:
            raise RefusedError(
                f"the partition {label} holds a file system already", hint="a WIM is applied to one that a step made"
            )
        if volume.file_system != "ntfs":
            unix = volume.file_system == "ext4"
            file_systems.apply_to_folder(self._work, wim, index, self.folder(label), step=step, unix=unix)
            return
        if volume.step not in (0, step):
            raise RefusedError(
                f"step {volume.step} has applied an image to {label} already; NTFS takes one",
                hint="let the conditions of the steps choose one of them",
            )
        store = make_folder(self._work.place(STORES) / volume.label)
        base = file_systems.base_of(store)
        require_space(store, wim.stat().st_size, purpose=f"keeping the image for {label}")
        temporary = base.with_name("new")
        copy_file(wim, temporary)
        temporary.replace(base)
        sync_folder(store)
        self._change(replace(volume, step=step, index=index))

    def _wim(self, volume: Volume) -> Path:
        return file_systems.base_of(self._work.place(STORES) / volume.label)

    def write_raw(self, label: str, size: int, pieces: Iterable[bytes | memoryview]) -> None:
        """See `Target.write_raw`. Raises `NoSpaceError` before the first write where it does not fit."""
        if not label:
            self._write_disk(size, pieces)
            return
        volume = self._volume(label)
        if size > volume.size:
            raise too_large(f"the partition {label}", size, volume.size)
        remove_tree(self.root / volume.label)
        remove_tree(self._work.place(STORES) / volume.label)
        self._change(replace(volume, file_system="none", made=0, step=0, index=0))
        with Region(self._disk, volume.begin, volume.size) as region:
            for piece in pieces:
                region.write(piece)
            region.zero_rest()
        kind = file_system_kinds.kind_of(self._read_at(volume.begin, _SMALLEST_READ))
        self._change(replace(volume, file_system=kind, made=0, step=0, index=0))

    def _write_disk(self, size: int, pieces: Iterable[bytes | memoryview]) -> None:
        room = disk_size(self._disk)
        if size > room:
            raise too_large("the disk", size, room)
        self._forget()
        self._save(())
        with self._disk.open("r+b") as disk:
            _make_blank(disk, room)
        write_region(self._disk, 0, room, pieces)
        new = partitions.stretched(self._read_at, room)
        if new is not None:
            head, tail_at, tail = new
            write_region(self._disk, tail_at, len(tail), [tail])
            write_region(self._disk, 0, len(head), [head])
        self._save(self._found())

    # --- the end ---

    def finish(self) -> None:
        """See `Target.finish`: file systems are made or added to, one after the other, and copied to their places."""
        for volume in self._volumes():
            tree = self.root / volume.label
            if volume.complete:
                continue
            if volume.made and volume.file_system != "none":
                self._make(volume, make_folder(tree))
            elif tree.is_dir() and any(os.scandir(tree)):
                self._add(volume, tree)
            self._change(replace(volume, complete=1))
        with self._disk.open("r+b") as disk:
            sync_file(disk.fileno(), self._disk)

    def _make(self, volume: Volume, tree: Path) -> None:
        kind = _kind(volume)
        with self._work.scratch("partition.img") as image:
            with file_systems.saying_what_is_full(self._work, kind, volume.label, volume.size):
                file_systems.make_file_system(
                    self._work,
                    kind,
                    image,
                    size=volume.size,
                    begin=volume.begin,
                    label=volume.label,
                    tree=tree,
                    identity=self._identity,
                )
                if kind == "ntfs":
                    store = self._work.place(STORES) / volume.label
                    file_systems.fill_ntfs(self._work, image, store, tree, index=volume.index)
            self._put(volume, image)

    def _add(self, volume: Volume, tree: Path) -> None:
        # The partition as it was is kept until its new bytes are all in place: what is cut is done again from it.
        before = make_folder(self._work.place(IMAGES)) / f"{volume.begin}.img"
        if not before.exists():
            temporary = before.with_name("new")
            copy_file(self._disk, temporary, volume.begin, volume.size)
            temporary.replace(before)
            sync_folder(before.parent)
        kind = _kind(volume)
        with self._work.scratch("partition.img") as image:
            copy_file(before, image)
            with file_systems.saying_what_is_full(self._work, kind, volume.label, volume.size):
                file_systems.add_files(self._work, kind, image, tree)
            self._put(volume, image)

    def _put(self, volume: Volume, image: Path) -> None:
        length = image.stat().st_size
        if length != volume.size:
            raise DamagedError(
                f"the file system for {volume.label} has {length:,} bytes, not {volume.size:,}",
                hint=f"look at {self._work.log_file}",
            )
        copy_region(image, self._disk, volume.begin, volume.size)


def _make_blank(disk: BinaryIO, size: int) -> None:
    """Let a disk image be zeros, sparse again; it is left at its begin.

    Of a device the begin and the end become zeros, where tables are; a file system is written whole later on.
    """
    if stat.S_ISBLK(os.fstat(disk.fileno()).st_mode):
        for at in (max(0, size - LOOKED_AT), 0):
            disk.seek(at)
            disk.write(bytes(min(LOOKED_AT, size)))
    else:
        disk.truncate(0)
        disk.truncate(size)
    disk.seek(0)


def _kind(volume: Volume) -> FileSystem:
    return next((kind for kind in file_system_kinds.NAMES if kind == volume.file_system), "none")


def too_large(what: str, size: int, room: int) -> NoSpaceError:
    """The error for an image of ``size`` bytes that does not fit in ``room``; ``what`` names the place."""
    return NoSpaceError(
        f"the image has {size:,} bytes, {what} has {room:,}", hint="use a larger disk or partition, or a smaller image"
    )
