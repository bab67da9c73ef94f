"""Building archives: their contents are read from the store, compressed where that helps, and the result is digested.

Nothing is copied; `courier.parcel.recipes` says what a build keeps. An archive is finished once its recipe is written:
a build that was killed goes on with those that are not.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import BinaryIO

from courier.errors import explain
from courier.files import atomic_file
from courier.parcel.archive_plan import PlannedArchive, PlannedMember, packed_together
from courier.parcel.patches import Contents
from courier.parcel.recipe_columns import RecipeColumns, RecipeMember
from courier.parcel.recipes import PACKS, ArchiveRecipe, Encryptor, compose, pack_path
from courier.sending.member_source import BuildStoppedError, MemberSource, bad_content
from courier.sending.run_crcs import ComparedRun, run_crc32, stored_members
from courier.sending.solid_packing import PackedRun, SolidPacking, joined, runs_of
from formats.archive import check_clashes
from formats.blocks import SideBlockHasher
from formats.codecs import SolidCodec
from formats.digest import CHUNK, chunks
from formats.documents.contents import MemberRecord
from formats.errors import DigestMismatchError, FormatError

WORKERS = 2
AHEAD = WORKERS
"""Archives that are being built, or wait for it, while an earlier one is waited for."""


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
    """Builds the archives of one parcel in its ``folder``, of its ``contents``."""

    def __init__(
        self,
        folder: Path,
        contents: Contents,
        *,
        level: int,
        encryptor: Encryptor | None,
        progress: Callable[[int], None],
    ) -> None:
        """``level`` is given to the codecs. ``progress`` is told bytes of content, from any thread: each twice, when it
        is read and when it is in its archive.
        """
        self._folder = folder
        self._contents = contents
        self._open = contents.open_content
        self._level = level
        self._encryptor = encryptor
        self._progress = progress
        self._stop = Event()

    def build(self, archives: Collection[PlannedArchive]) -> list[BuiltArchive]:
        """Build the archives that are not finished yet, in parallel; return what was built of all, in order.

        A few of them are in memory at a time. Raises `DamagedError` for bad content.
        """
        packing = SolidPacking(self._open, level=self._level, folder=self._folder / PACKS, pieces=self._told_pieces)
        with packing, ThreadPoolExecutor(WORKERS) as pool:
            return self._build(archives, pool, packing)

    def _build(self, archives: Iterable[PlannedArchive], pool: Executor, packing: SolidPacking) -> list[BuiltArchive]:
        waiting: deque[Future[BuiltArchive]] = deque()
        built: list[BuiltArchive] = []
        try:
            for archive in archives:
                waiting.append(pool.submit(self._one, archive, packing))
                if len(waiting) > AHEAD:
                    built.append(waiting.popleft().result())
            while waiting:
                built.append(waiting.popleft().result())
        except BaseException:
            self._stop.set()
            for future in waiting:
                future.cancel()
            raise
        return built

    def _one(self, archive: PlannedArchive, packing: SolidPacking) -> BuiltArchive:
        done = ArchiveRecipe.load(self._folder, archive.number)
        if done is not None and done.columns.are_planned(archive.members) and self._pack_is_whole(done):
            self._progress(2 * sum(member.length for member in archive.members))
            return _built(done)
        try:
            recipe = self._digested(archive.number, *self._members(archive, packing))
        except FormatError as error:
            if isinstance(error, DigestMismatchError):
                raise bad_content(error.place) from None
            raise explain(error, where=f"archive {archive.number}") from None
        recipe.save(self._folder)
        return _built(recipe)

    def _pack_is_whole(self, recipe: ArchiveRecipe) -> bool:
        if not recipe.pack:
            return True
        try:
            with pack_path(self._folder, recipe.number).open("rb") as source:
                return hashlib.file_digest(source, "sha256").hexdigest() == recipe.pack_sha256
        except FileNotFoundError:
            return False

    def _members(self, archive: PlannedArchive, packing: SolidPacking) -> tuple[list[RecipeMember], int, str]:
        """(members with their sizes and CRC-32s, bytes of the pack of the compressed ones, SHA-256 of the pack)."""
        members: list[RecipeMember] = []
        if all(member.content.codec.as_is for member in archive.members):
            return self._all_stored(archive), 0, ""
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
                    members += self._solid(group, codec, packed, pack)
                elif codec.as_is:
                    members.append(self._stored(member))
                else:
                    at = pack.size
                    pack.crc32 = 0
                    for data in self._compressed(member):
                        pack.write(data)
                    members.append(RecipeMember(planned=member, size=pack.size - at, crc32=pack.crc32, at=at))
        return members, pack.size, pack.digest.hexdigest()

    def _solid(
        self, group: Sequence[PlannedMember], codec: SolidCodec, packed: Iterator[PackedRun], pack: _Pack
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
            crcs = [joined(crcs, codec.run, group[0].length)]
        for member, crc in zip(group, crcs, strict=True):
            if member.length > codec.run or member.length < member.content.size:
                self._check_part(member, crc)
            yield RecipeMember(planned=member, size=pack.size - at if member is group[0] else 0, crc32=crc, at=at)

    def _check_part(self, member: PlannedMember, crc: int) -> None:
        """Raise `DamagedError` if what was read of a content in parts is not what was added."""
        if run_crc32(self._contents, member) != crc:
            raise bad_content(member.content.path)

    def _all_stored(self, archive: PlannedArchive) -> list[RecipeMember]:
        """The members of an archive without compressed ones."""
        members: list[RecipeMember] = []
        for member in stored_members(self._contents, archive):
            if self._stop.is_set():
                raise BuildStoppedError
            members.append(member)
        return members

    def _stored(self, member: PlannedMember) -> RecipeMember:
        """A member that is not compressed. Its CRC-32 is known; a content of one block is read for it."""
        if self._stop.is_set():
            raise BuildStoppedError
        crc = run_crc32(self._contents, member)
        return RecipeMember(planned=member, size=member.length, crc32=crc, at=member.offset)

    def _compressed(self, member: PlannedMember) -> Iterator[bytes]:
        crc = run_crc32(self._contents, member) if member.length < member.content.size else None
        with MemberSource(self._open(member.content.sha256), member, crc) as source:
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
        """Compose the archive and digest it: what is signed are the digests of the bytes that go onto the media.

        This is the one reading of content that is stored as it is, which is compared with its CRC-32s on the way.
        SHA-256 runs over each byte twice: over the file, which stock tools check, and over its blocks, by which damage
        is found, mended, and judged before a block leaves. Neither follows from the other, nor from the content's own.
        """
        columns = RecipeColumns.of_members(members)
        check_clashes(columns.names)
        recipe = ArchiveRecipe(
            number=number, columns=columns, pack=pack, pack_sha256=pack_sha256, size=0, sha256="", blocks=b""
        )
        left = sum(columns.lengths)
        unread = sum(length for length, stored in zip(columns.lengths, columns.stored(), strict=True) if stored)

        def compared(at: int, source: BinaryIO) -> BinaryIO:
            return ComparedRun(source, members[at].planned, members[at].crc32)

        composed = compose(recipe, self._folder, self._open, self._encryptor, self._contents.small, compared)
        with composed as source, SideBlockHasher() as hasher:
            while data := source.read(CHUNK):
                if self._stop.is_set():
                    raise BuildStoppedError
                hasher.update(data)
                told, read = min(left, len(data)), min(unread, len(data))
                left, unread = left - told, unread - read
                self._progress(told + read)
            sha256, blocks = hasher.finish_all()
            size = hasher.count
        self._progress(left + unread)
        return replace(recipe, size=size, sha256=sha256, blocks=blocks)


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
