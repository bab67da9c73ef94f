"""Building archives: their contents are read from the store, compressed where that helps, and the result is digested.

Nothing is copied; `courier.parcel.recipes` says what a build keeps. An archive is finished once its recipe is written:
a build that was killed goes on with those that are not.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

from courier.errors import explain
from courier.files import atomic_file
from courier.parcel.archive_names import PlannedArchives
from courier.parcel.archive_plan import Content, PlannedArchive, PlannedMember, packed_together
from courier.parcel.recipe_columns import RecipeColumns, RecipeMember
from courier.parcel.recipes import PACKS, ArchiveRecipe, Encryptor, compose, opened, pack_path
from courier.sending.member_source import BuildStoppedError, MemberSource, bad_content
from courier.sending.solid_packing import PackedRun, SolidPacking, run_crcs, runs_of
from courier.site.store.pack_file import LARGEST
from formats.archive import check_clashes
from formats.blocks import BLOCK, SideBlockHasher
from formats.codecs import SolidCodec
from formats.digest import CHUNK, chunks
from formats.documents.contents import MemberRecord
from formats.errors import DigestMismatchError, FormatError

WORKERS = 2
AHEAD = WORKERS
"""Archives that are being built, or wait for it, while an earlier one is waited for."""

_Parts = Mapping[tuple[str, int], Future[int]]
"""The CRC-32 of every part of the contents that are cut, by SHA-256 and offset; there once the part has been read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltArchive:
    """What a layout and the block table take of a finished archive; the fields are those of `ArchiveRecipe`."""

    number: int
    size: int
    sha256: str
    blocks: bytes


def _built(recipe: ArchiveRecipe) -> BuiltArchive:
    return BuiltArchive(number=recipe.number, size=recipe.size, sha256=recipe.sha256, blocks=recipe.blocks)


class ArchiveBuilder:
    """Builds the archives of one parcel in its ``folder``; ``open_content`` opens a content of the store by SHA-256."""

    def __init__(
        self,
        folder: Path,
        open_content: Callable[[str], BinaryIO],
        *,
        level: int,
        encryptor: Encryptor | None,
        progress: Callable[[int], None],
        small: Callable[[bytes], bytes | None] = opened,
    ) -> None:
        """``level`` is given to the codecs. ``progress`` is told bytes of content, from any thread: each twice, when it
        is read and when it is in its archive. ``small``: as `courier.parcel.patches.Contents.small`.
        """
        self._folder = folder
        self._open = open_content
        self._level = level
        self._encryptor = encryptor
        self._progress = progress
        self._small_content = small
        self._stop = Event()
        self._verified: Mapping[tuple[str, int], int] = {}

    def build(
        self, archives: Collection[PlannedArchive], checked: Mapping[tuple[str, int], int] | None = None
    ) -> list[BuiltArchive]:
        """Build the archives that are not finished yet, in parallel; return what was built of all, in order.

        They are gone through twice, and a few of them are in memory at a time. ``checked``: the CRC-32s of parts of
        contents that were verified as a whole, by SHA-256 and offset; these contents are not read again for it. Raises
        `DamagedError` for bad content.
        """
        self._verified = checked or {}
        packing = SolidPacking(self._open, level=self._level, folder=self._folder / PACKS, pieces=self._told_pieces)
        with packing, ThreadPoolExecutor(WORKERS) as pool:
            return self._build(archives, pool, packing)

    def _build(self, archives: Iterable[PlannedArchive], pool: Executor, packing: SolidPacking) -> list[BuiltArchive]:
        every = cut_contents(archives)
        parts: _Parts = {(run[0].content.sha256, m.offset): Future() for run in every for m in run}
        for at, crc in self._verified.items():
            if at in parts:
                parts[at].set_result(crc)
        cut = [run for run in every if not all(parts[run[0].content.sha256, m.offset].done() for m in run)]
        # Archives wait for parts of contents. The contents are submitted first, so that they are never kept waiting.
        checks = [pool.submit(self._read_parts, run, parts) for run in cut]
        waiting: deque[Future[BuiltArchive]] = deque()
        built: list[BuiltArchive] = []
        try:
            for archive in archives:
                waiting.append(pool.submit(self._one, archive, parts, packing))
                if len(waiting) > AHEAD:
                    built.append(waiting.popleft().result())
            while waiting:
                built.append(waiting.popleft().result())
            for check in checks:
                check.result()
        except BaseException:
            self._stop.set()
            unfinished: list[Future[Any]] = [*checks, *waiting, *parts.values()]
            for future in unfinished:
                future.cancel()
            raise
        return built

    def _one(self, archive: PlannedArchive, parts: _Parts, packing: SolidPacking) -> BuiltArchive:
        done = ArchiveRecipe.load(self._folder, archive.number)
        if (
            done is not None
            and done.columns.are_planned(archive.members)
            and self._pack_is_whole(done)
            and self._agrees(done)
        ):
            # What is cut and was not checked is read again for its digest all the same, and told there.
            places = ((m.length, (m.content.sha256, m.offset)) for m in archive.members)
            cut = sum(length for length, part in places if part in parts and part not in self._verified)
            self._progress(2 * sum(member.length for member in archive.members) - cut)
            return _built(done)
        try:
            recipe = self._digested(archive.number, *self._members(archive, parts, packing))
        except FormatError as error:
            if isinstance(error, DigestMismatchError):
                raise bad_content(error.place) from None
            raise explain(error, where=f"archive {archive.number}") from None
        recipe.save(self._folder)
        return _built(recipe)

    def _agrees(self, recipe: ArchiveRecipe) -> bool:
        """Whether the stored parts of an archive that is finished are those of the contents that were checked."""
        return not self._verified or all(
            self._verified.get((m.planned.content.sha256, m.planned.offset), m.crc32) == m.crc32
            for m in recipe.members
            if m.planned.content.codec.as_is
        )

    def _pack_is_whole(self, recipe: ArchiveRecipe) -> bool:
        if not recipe.pack:
            return True
        try:
            with pack_path(self._folder, recipe.number).open("rb") as source:
                return hashlib.file_digest(source, "sha256").hexdigest() == recipe.pack_sha256
        except FileNotFoundError:
            return False

    def _members(
        self, archive: PlannedArchive, parts: _Parts, packing: SolidPacking
    ) -> tuple[list[RecipeMember], int, str]:
        """(members with their sizes and CRC-32s, bytes of the pack of the compressed ones, SHA-256 of the pack)."""
        members: list[RecipeMember] = []
        if all(member.content.codec.as_is for member in archive.members):
            return self._all_stored(archive, parts), 0, ""
        groups = list(packed_together(archive.members))
        runs = [
            (group[0].content.codec, run)
            for group in groups
            if isinstance(group[0].content.codec, SolidCodec)
            for run in runs_of(group, group[0].content.codec)
        ]
        with atomic_file(pack_path(self._folder, archive.number)) as out, closing(packing.pack(runs)) as packed:
            pack = _Pack(out)
            for group in groups:
                member, codec = group[0], group[0].content.codec
                if isinstance(codec, SolidCodec):
                    members += self._solid(group, codec, packed, pack, parts)
                elif codec.as_is:
                    members.append(self._stored(member, parts))
                else:
                    at = pack.size
                    pack.crc32 = 0
                    for data in self._compressed(member):
                        pack.write(data)
                    members.append(RecipeMember(planned=member, size=pack.size - at, crc32=pack.crc32, at=at))
        return members, pack.size, pack.digest.hexdigest()

    def _solid(
        self,
        group: Sequence[PlannedMember],
        codec: SolidCodec,
        packed: Iterator[PackedRun],
        pack: _Pack,
        parts: _Parts,
    ) -> Iterator[RecipeMember]:
        """The members of a solid group, whose runs are the next of ``packed``, and go into the pack."""
        at, crcs = pack.size, list[int]()
        for _ in runs_of(group, codec):
            run = next(packed)
            crcs += run.crc32s
            with run.data as source:
                for data in chunks(source):
                    pack.write(data)
        pack.write(codec.ending)
        if group[0].length > codec.run:
            crcs = [self._checked(group[0], crcs, codec.run)]
        for member, crc in zip(group, crcs, strict=True):
            self._check_part(member, crc, parts)
            yield RecipeMember(planned=member, size=pack.size - at if member is group[0] else 0, crc32=crc, at=at)

    def _checked(self, member: PlannedMember, crcs: list[int], run: int) -> int:
        """The CRC-32 of a member that was packed in several runs, whose CRC-32s are ``crcs``.

        It is read as a whole once more: only so it can be checked that the runs are of the right content.
        """
        with MemberSource(self._open(member.content.sha256), member) as source:
            whole, found = run_crcs(self._pieces(source), run)
        if found != crcs:
            raise bad_content(member.content.path)
        return whole

    def _check_part(self, member: PlannedMember, crc: int, parts: _Parts) -> None:
        """Raise `DamagedError` if a part of a content that is cut is not what was read for the content's digest."""
        part = parts.get((member.content.sha256, member.offset))
        if part is not None and part.result() != crc:
            raise bad_content(member.content.path)

    def _all_stored(self, archive: PlannedArchive, parts: _Parts) -> list[RecipeMember]:
        """The members of an archive without compressed ones; for small contents nothing more is done than must be."""
        members: list[RecipeMember] = []
        small, crc32, told = self._small_content, zlib.crc32, 0
        for member in archive.members:
            content, length = member.content, member.length
            data = small(bytes.fromhex(content.sha256)) if length == content.size <= LARGEST else None
            if data is None or len(data) != length:
                members.append(self._stored(member, parts))
                continue
            members.append(RecipeMember(planned=member, size=length, crc32=crc32(data), at=0))
            told += length
            if told > CHUNK:
                if self._stop.is_set():
                    raise BuildStoppedError
                self._progress(told)
                told = 0
        self._progress(told)
        return members

    def _stored(self, member: PlannedMember, parts: _Parts) -> RecipeMember:
        """A member that is not compressed: read once for its CRC-32, and checked if it is a whole content."""
        part = parts.get((member.content.sha256, member.offset))
        if part is not None:
            crc = part.result()
        elif member.length == member.content.size <= BLOCK:
            crc = zlib.crc32(self._small(member.content))
        else:
            crc = 0
            with MemberSource(self._open(member.content.sha256), member) as source:
                for data in self._told_pieces(source):
                    crc = zlib.crc32(data, crc)
        return RecipeMember(planned=member, size=member.length, crc32=crc, at=member.offset)

    def _small(self, content: Content) -> bytes:
        """A whole content, which is compared with its SHA-256; for one of a few bytes the rest would take longer."""
        if self._stop.is_set():
            raise BuildStoppedError
        with self._open(content.sha256) as raw:
            data = raw.read(content.size + 1)
        if len(data) != content.size or hashlib.sha256(data).hexdigest() != content.sha256:
            raise bad_content(content.path)
        self._progress(len(data))
        return data

    def _compressed(self, member: PlannedMember) -> Iterator[bytes]:
        with MemberSource(self._open(member.content.sha256), member) as source:
            yield from member.content.codec.encode(self._told_pieces(source), length=member.length, level=self._level)

    def _pieces(self, source: MemberSource) -> Iterator[bytes]:
        while data := source.read(CHUNK):
            if self._stop.is_set():
                raise BuildStoppedError
            yield data

    def _told_pieces(self, source: MemberSource) -> Iterator[bytes]:
        """As `_pieces`, and tells the progress."""
        for data in self._pieces(source):
            yield data
            self._progress(len(data))

    def _digested(self, number: int, members: list[RecipeMember], pack: int, pack_sha256: str) -> ArchiveRecipe:
        """Compose the archive and digest it: what is signed are the digests of the bytes that go onto the media."""
        columns = RecipeColumns.of_members(members)
        check_clashes(columns.names)
        recipe = ArchiveRecipe(
            number=number, columns=columns, pack=pack, pack_sha256=pack_sha256, size=0, sha256="", blocks=b""
        )
        left = sum(columns.lengths)
        small = self._small_content
        with compose(recipe, self._folder, self._open, self._encryptor, small) as source, SideBlockHasher() as hasher:
            while data := source.read(CHUNK):
                if self._stop.is_set():
                    raise BuildStoppedError
                hasher.update(data)
                told = min(left, len(data))
                left -= told
                self._progress(told)
            sha256, blocks = hasher.finish_all()
            size = hasher.count
        self._progress(left)
        return replace(recipe, size=size, sha256=sha256, blocks=blocks)

    def _read_parts(self, run: Sequence[PlannedMember], parts: _Parts) -> None:
        """Read the parts of a content that is cut for their CRC-32s, and check its digest if all parts are read.

        When single archives are made again, not all parts are; then the digests of the archives tell.
        """
        content = run[0].content
        digest = hashlib.sha256()
        try:
            with self._open(content.sha256) as raw:
                for member in run:
                    raw.seek(member.offset)
                    crc, left = 0, member.length
                    while left and (data := raw.read(min(CHUNK, left))):
                        if self._stop.is_set():
                            raise BuildStoppedError
                        digest.update(data)
                        crc = zlib.crc32(data, crc)
                        left -= len(data)
                        self._progress(len(data))
                    if left:
                        raise bad_content(content.path)
                    parts[content.sha256, member.offset].set_result(crc)
                whole = sum(member.length for member in run) == content.size
                if whole and (raw.read(1) or digest.hexdigest() != content.sha256):
                    raise bad_content(content.path)
        except BaseException as error:
            for member in run:
                part = parts[content.sha256, member.offset]
                if not part.done():
                    part.set_exception(error)
            raise


class _Pack:
    """A pack in the making: counts and digests what is written, and takes the CRC-32 of the present member."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.size = 0
        self.crc32 = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self.size += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.digest.update(data)


def cut_contents(archives: Iterable[PlannedArchive]) -> list[list[PlannedMember]]:
    """The parts of every content that is cut, those of one content together and in order."""
    if isinstance(archives, PlannedArchives) and not archives.any_cut:
        return []
    runs: dict[str, list[PlannedMember]] = {}
    for archive in archives:
        for member in archive.members:
            if member.length < member.content.size:
                runs.setdefault(member.content.sha256, []).append(member)
    return list(runs.values())


def member_records(archive: PlannedArchive, sizes: Sequence[int]) -> list[MemberRecord]:
    """The records of an archive's members in the contents; ``sizes`` are their stored sizes in bytes."""
    return [
        MemberRecord(
            name=member.name,
            size=size,
            sha256=member.content.sha256,
            of=member.content.size,
            offset=member.offset,
            length=member.length,
            coding=member.content.coding,
        )
        for member, size in zip(archive.members, sizes, strict=True)
    ]
