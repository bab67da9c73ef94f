"""Importing with workers: they unpack and compare, and the command takes what they unpacked into its staging.

A task is an archive with its whole contents, or one content that is cut over several archives. The command moves the
files of large contents; small ones, of which a worker makes one file, it packs and digests itself. What a worker cannot
unpack the command reads itself, so that it is judged as in an import without workers. The catalogue, the listings and
what a delta makes stay with the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.files import remove_tree
from courier.receiving.archive_file import ArchiveFile, ImportedArchive, one_stream
from courier.receiving.carried import CarriedContents
from courier.receiving.delta_import import DeltaImport
from courier.receiving.import_tasks import SMALL, Content, How, Unpacked, UnpackPlace, unpack_archive, unpack_content
from courier.receiving.spool import Spool
from courier.site.home import Site
from courier.site.workers.spread import Task, spread
from courier.site.workers.work_place import WorkPlace
from formats.age import Identity
from formats.documents.contents import ContentsReader, MemberRecord
from formats.errors import UnexpectedError


@dataclass(frozen=True, kw_only=True, slots=True)
class _Archive:
    """An archive that is unpacked: its index, its members, and the positions of those that are whole contents."""

    index: int
    members: Sequence[MemberRecord]
    wanted: Sequence[int]
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cut:
    """A content that is cut into parts, in their order."""

    parts: Sequence[_Part]
    bytes: int


_Part = tuple[int, int, MemberRecord]
"""A part of a content that is cut: the index of its archive, and its position there."""
_About = _Archive | _Cut


class UnpackedArchives:
    """The archives of a spool, which workers unpack into the folder ``side`` of a staging."""

    def __init__(
        self,
        site: Site,
        spool: Spool,
        carried: CarriedContents,
        identities: Sequence[Identity],
        delta: DeltaImport | None,
        side: Path,
    ) -> None:
        """``carried``: what the archives are taken into; ``identities`` decrypt what the command reads itself."""
        self._spool, self._carried, self._delta = spool, carried, delta
        self._open = one_stream(spool.open_file)
        self._identities = identities
        self._cut: dict[str, list[_Part]] = {}
        packing = spool.packing
        at = WorkPlace.in_folder(site, side)
        self._place = UnpackPlace(at=at, spool=spool.folder, side=side, encrypted=packing.encrypted)

    def stage(self, executor: Executor, contents: ContentsReader, progress: Callable[[int], None]) -> None:
        """Stage the content of every member that is taken. Raises `FormatError`, and what `spread` raises."""
        try:
            for about, found in spread(executor, self._tasks(contents)):
                if found is None:
                    self._read_here(about)
                elif isinstance(about, _Archive):
                    self._take_archive(about, found)
                else:
                    self._take_cut(about, found)
                progress(about.bytes)
            for parts in self._cut.values():  # some are missing: what is here is read, and the rest is found to lack
                self._read_here(_Cut(parts=parts, bytes=0))
        finally:
            self._carried.abandon()

    def _tasks(self, contents: ContentsReader) -> Iterator[Task[_About]]:
        for number, members in contents.archives():
            index = number - 1
            wanted, own, cut = list[int](), list[int](), 0
            for position, member in enumerate(members):
                if not self._carried.wants(member.sha256):
                    continue
                if self._delta is not None and self._delta.is_patch(member):
                    own.append(position)
                elif member.length == member.of:
                    wanted.append(position)
                else:
                    cut += member.size
                    if (whole := self._grown(index, position, member)) is not None:
                        yield self._task_of(whole)
            if own:
                self._read_members(index, members, own)
            if wanted or own or cut:
                size = self._spool.packing.archives[index].size - cut
                archive = _Archive(index=index, members=members, wanted=wanted, bytes=size)
                arguments = (self._place, self._file(index), members, wanted)
                yield Task(about=archive, function=unpack_archive, arguments=arguments, items=len(members))

    def _file(self, index: int) -> Path:
        """The file of an archive. Raises `DamagedError` while blocks of it are missing."""
        self._spool.open_file(index).close()
        return self._spool.path(index)

    def _grown(self, index: int, position: int, member: MemberRecord) -> _Cut | None:
        """Note a part of a content that is cut; return the content once that was its last part."""
        parts = self._cut.setdefault(member.sha256, [])
        if member.offset != (parts[-1][2].offset + parts[-1][2].length if parts else 0):
            place = f"{self._spool.packing.path(index)}: {member.name}"
            raise UnexpectedError("parts out of order" if parts else "a part without the part before it", place=place)
        parts.append((index, position, member))
        if member.offset + member.length < member.of:
            return None
        del self._cut[member.sha256]
        return _Cut(parts=parts, bytes=sum(part.size for _, _, part in parts))

    def _task_of(self, cut: _Cut) -> Task[_About]:
        files = [(self._file(index), position, part) for index, position, part in cut.parts]
        return Task(about=cut, function=unpack_content, arguments=(self._place, files), items=len(files))

    def _take_archive(self, archive: _Archive, found: Unpacked) -> None:
        with (found.folder / SMALL).open("rb", buffering=1 << 20) as small:
            for content in found.contents:
                self._take(archive.index, archive.members[content.position], content, found.folder, small)
        remove_tree(found.folder)

    def _take_cut(self, cut: _Cut, found: Unpacked) -> None:
        index, _, member = cut.parts[-1]
        for content in found.contents:
            self._take(index, member, content, found.folder, None)
        remove_tree(found.folder)

    def _take(self, index: int, member: MemberRecord, content: Content, folder: Path, small: BinaryIO | None) -> None:
        place = f"{self._spool.packing.path(index)}: {member.name}"
        if content.how == How.HELD:
            self._carried.take_compared(member, content.sums, place)
        elif small is not None and content.how == How.SMALL:
            self._carried.take_small(small.read(member.of), member, place)
        else:
            self._carried.take_file(folder / str(content.position), member, content.sums, place)

    def _read_here(self, about: _About) -> None:
        """Do what a worker could not: whatever is wrong with it is found, and said, here."""
        if isinstance(about, _Archive):
            self._read_members(about.index, about.members, about.wanted)
            return
        for index, position, part in about.parts:
            with self._open(index) as file, self._archive(file).open(position, part) as source:
                self._carried.take(source, part, f"{self._spool.packing.path(index)}: {part.name}")

    def _read_members(self, index: int, members: Sequence[MemberRecord], wanted: Sequence[int]) -> None:
        place = self._spool.packing.path(index)
        with self._open(index) as file:
            archive = self._archive(file)
            archive.expect(members)
            for position in wanted:
                member = members[position]
                delta = self._delta
                takes = self._carried.take if delta is None or not delta.is_patch(member) else delta.take
                with archive.open(position, member) as source:
                    takes(source, member, f"{place}: {member.name}")

    def _archive(self, file: ArchiveFile) -> ImportedArchive:
        return ImportedArchive(file, self._identities if self._spool.packing.encrypted else None)
