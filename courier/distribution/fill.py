"""Putting contents into the folders of a point: what is missing there is copied, flushed, read back, and then appears.

A content appears under its name only after its bytes were read back from the disk and had its SHA-256; its block table
is there before it. Files are flushed and read back many at a time.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from courier.distribution.folder import PointFolder
from courier.distribution.open_point import OpenPoint, read_whole
from courier.distribution.room import Reservation, reserving
from courier.distribution.supply import Supply
from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, NoSpaceError, RefusedError
from courier.files import disk_of, flush_files, free_space, naming_space, writing_out
from courier.site.point_places import reserve_bytes
from formats.blocks import DIGEST, BlockHasher, block_count
from formats.digest import CHUNK, sha256_hex
from formats.documents.listing import Entry, FileEntry, write_listing
from formats.documents.point import blocks_path, content_path, definition_path, listing_path

BATCH_BYTES = 256 << 20
BATCH_FILES = 512
"""Files are flushed and read back when so many, or so many bytes of them, are written."""
_PAGE = 4096
_FEW = 1 << 20
"""Bytes reckoned for listing, definition and statement beside the listing's own length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A content of a package: SHA-256, size in bytes, SHA-256 of its block table (empty for one block or less)."""

    sha256: str
    size: int
    blocks: str

    @property
    def room(self) -> int:
        """Bytes that it takes on the disk, with its block table."""
        table = block_count(self.size) * DIGEST if self.blocks else 0
        return -(-self.size // _PAGE) * _PAGE + (-(-table // _PAGE) * _PAGE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """What a command wrote: contents, their bytes, and whether listing or definition were written."""

    contents: int = 0
    bytes: int = 0
    documents: int = 0

    def __add__(self, other: Filled) -> Filled:
        return Filled(
            contents=self.contents + other.contents,
            bytes=self.bytes + other.bytes,
            documents=self.documents + other.documents,
        )


def contents_of(entries: Iterator[Entry]) -> Iterator[Content]:
    """The contents of a listing, each once; empty files have none."""
    seen: set[bytes] = set()
    for entry in entries:
        if isinstance(entry, FileEntry) and entry.size and (key := bytes.fromhex(entry.sha256)) not in seen:
            seen.add(key)
            yield Content(sha256=entry.sha256, size=entry.size, blocks=entry.blocks)


def is_there(point: OpenPoint, content: Content) -> bool:
    """Whether the point has a content and its block table, by their sizes. Their bytes are not read."""
    if point.holder(content_path(content.sha256), content.size) is None:
        return False
    return not content.blocks or point.first.size(blocks_path(content.sha256)) == block_count(content.size) * DIGEST


def fill(
    point: OpenPoint,
    supply: Supply,
    *,
    is_good: Callable[[OpenPoint, Content], bool] = is_there,
    progress: Callable[[int], None] = lambda _: None,
) -> Filled:
    """Put what is missing of a version into a point's folders: contents, then listing and definition.

    Nothing of it is named by the point's statement yet. ``is_good`` judges what is there. ``progress`` is told the
    bytes copied. Raises `NoSpaceError` before the first byte where there is no room, `DamagedError` where the source of
    the content is damaged, `RefusedError` where every folder is excluded.
    """
    missing = [content for content in contents_of(supply.entries()) if not is_good(point, content)]
    places: list[int] = []
    what = f"{supply.ref.package}:{supply.ref.version}"

    def plan(taken: Mapping[int, int]) -> Mapping[int, int]:
        room = _Room(point, taken)
        places.extend(room.place_all(missing, purpose=f"putting {what} on point {point.name}"))
        return room.wanted

    with reserving(point.site, plan) as reservation:
        total = sum(content.room for content in missing)
        filling = _Filling(point, supply, reservation, progress)
        for folder in point.folders:
            # Which disk is full is told by the folder whose write failed; all are asked for the same sum.
            with naming_space(folder.folder, lambda: total, purpose=f"putting {what} on point {point.name}"):
                mine = [one for one, place in zip(missing, places, strict=True) if point.folders[place] is folder]
                for content in mine:
                    filling.add(content, folder)
                filling.finish()
        documents = _put_listing(point, supply) + _put_definition(point, supply)
    return Filled(contents=len(missing), bytes=sum(content.size for content in missing), documents=documents)


class _Room:
    """Which folder each content goes to: the first with room, and not excluded."""

    def __init__(self, point: OpenPoint, taken: Mapping[int, int]) -> None:
        self.wanted: Counter[int] = Counter()
        self._name = point.name
        self._left: dict[int, int] = {}
        self._disks: list[int | None] = []
        for folder in point.folders:
            disk = disk_of(folder.folder)
            left = free_space(folder.folder) - reserve_bytes(point.row.reserve, folder.folder) - taken.get(disk, 0)
            self._left[disk] = left
            self._disks.append(None if folder.is_excluded else disk)

    def place_all(self, missing: list[Content], *, purpose: str) -> list[int]:
        open_disks = {disk for disk in self._disks if disk is not None}
        if not open_disks:
            raise RefusedError(
                f"{purpose}: every folder of the point has a file called no_courier, so nothing is put there",
                hint="delete that file where content may go",
            )
        free = sum(max(0, self._left[disk]) for disk in open_disks)
        first = self._disks[0] if self._disks[0] is not None else min(open_disks)
        places = []
        self._take(first, _FEW)
        for content in missing:
            place = next(
                (n for n, disk in enumerate(self._disks) if disk is not None and self._left[disk] >= content.room),
                None,
            )
            if place is None:
                total = sum(one.room for one in missing)
                raise NoSpaceError(
                    f"{purpose} needs {total:,} bytes; beside what it leaves free, and what other commands reserved, "
                    f"point {self._name} has {free:,}",
                    hint="withdraw what clients no longer need, free space there, or give the point a further --folder",
                )
            disk = self._disks[place]
            assert disk is not None
            self._take(disk, content.room)
            places.append(place)
        return places

    def _take(self, disk: int, count: int) -> None:
        self._left[disk] -= count
        self.wanted[disk] += count


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """A file that is written and not yet flushed; ``sha256``: of its bytes."""

    folder: PointFolder
    new: str
    path: str
    sha256: str
    room: int


class _Filling:
    def __init__(
        self, point: OpenPoint, supply: Supply, reservation: Reservation, progress: Callable[[int], None]
    ) -> None:
        self._point, self._supply = point, supply
        self._reservation, self._progress = reservation, progress
        self._batch: list[_Written] = []
        self._bytes = 0

    def add(self, content: Content, folder: PointFolder) -> None:
        """Copy a content. Its block table is made on the way, and compared with the one that the listing names."""
        blocks = BlockHasher() if content.blocks else None
        whole = hashlib.sha256()
        new, out = folder.create()
        try:
            with out, self._supply.open_content(content.sha256) as source:
                written = writing_out(out, self._progress)
                size = 0
                while data := source.read(min(CHUNK, content.size + 1 - size)):
                    (blocks or whole).update(data)
                    out.write(data)
                    written(len(data))
                    size += len(data)
            # The table is bound by the listing, and the whole is compared when it is read back.
            table = blocks.finish()[1] if blocks else b""
            good = sha256_hex(table) == content.blocks if blocks else whole.hexdigest() == content.sha256
            if size != content.size or not good:
                raise self._damaged(content)
        except BaseException:
            folder.delete(new)
            raise
        if table:
            self._put_table(content, table)
        self._batch.append(
            _Written(
                folder=folder, new=new, path=content_path(content.sha256), sha256=content.sha256, room=content.room
            )
        )
        self._bytes += content.size
        if self._bytes >= BATCH_BYTES or len(self._batch) >= BATCH_FILES:
            self.finish()

    def _put_table(self, content: Content, table: bytes) -> None:
        new, out = self._point.first.create()
        with out:
            out.write(table)
        self._batch.append(
            _Written(folder=self._point.first, new=new, path=blocks_path(content.sha256), sha256=content.blocks, room=0)
        )

    def finish(self) -> None:
        """Flush what was written, read it back from the disk, and let it appear."""
        batch, self._batch, self._bytes = self._batch, [], 0
        flush_files([one.folder.path(one.new) for one in batch])
        for one in batch:
            if read_back(one.folder, one.new) != one.sha256:
                raise DamagedError(
                    f"{one.folder.path(one.path)}: what was written there did not read back the same",
                    hint="check that disk; then give the same command again",
                    code=Code.READ_BACK,
                )
        for one in batch:
            one.folder.place(one.new, one.path)
            self._reservation.written(disk_of(one.folder.folder), one.room)
            for other in self._point.folders:
                if other is not one.folder:
                    other.delete(one.path)  # a damaged copy there would be found first
        for folder in self._point.folders:
            if paths := [one.path for one in batch if one.folder is folder]:
                folder.flush(paths)

    def _damaged(self, content: Content) -> CourierError:
        ref = self._supply.ref
        return DamagedError(
            f"{ref.package}:{ref.version}: content {content.sha256} differs from its digests where it comes from",
            hint=f"{self._supply.remedy}; the point did not change",
        )


def read_back(folder: PointFolder, path: str) -> str:
    """The SHA-256 of a file, read from the disk and not from the memory of what was just written, where possible."""
    with folder.open(path) as source:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(source, "sha256").hexdigest()


def _put_listing(point: OpenPoint, supply: Supply) -> int:
    """Put the listing there unless it is there, whole; return how many files were written."""
    path = listing_path(supply.ref.listing)
    if digest_there(point.first, path) == supply.ref.listing:
        return 0
    new, out = point.first.create()
    with out:
        summary = write_listing(supply.entries(), out)
        out.flush()
        os.fsync(out.fileno())
    if summary.sha256 != supply.ref.listing or read_back(point.first, new) != supply.ref.listing:
        raise DamagedError(
            f"{point.first.path(path)}: what was written there did not read back the same",
            hint="check that disk; then give the same command again",
            code=Code.READ_BACK,
        )
    point.first.place(new, path)
    point.first.flush([path])
    return 1


def _put_definition(point: OpenPoint, supply: Supply) -> int:
    path = definition_path(supply.ref.package, supply.ref.version)
    envelope = supply.definition()
    if read_whole(point.first, path) == envelope:
        return 0
    point.first.write(path, envelope)
    return 1


def digest_there(folder: PointFolder, path: str) -> str:
    """The SHA-256 of a file, empty where there is none or it cannot be read."""
    try:
        with folder.open(path) as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError:
        return ""
