"""What a worker does for an import: it unpacks contents from archives of the spool, and compares their digests.

What it unpacks lies in a folder of the command's staging, each time under a new name: who does a task twice harms
nothing, and only what the task gives back is taken into the store. Where anything is wrong with an archive the worker
says only that; the command then reads the archive itself, and says what is wrong in its own words.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from courier.files import flush_files, remove_tree
from courier.parcel.keys import identities_for
from courier.receiving.archive_file import ArchiveFile, ImportedArchive
from courier.receiving.spool import PACKING_LIST
from courier.site.home import Site
from courier.site.store.block_sums import BlockSums, ContentHasher
from courier.site.store.content_store import ContentStore
from courier.site.store.pack_file import LARGEST
from courier.site.store.sparse import SparseWriter
from courier.site.workers.work_place import Failure, WorkPlace, at_work
from formats.age import Identity
from formats.codecs import CODECS, STORE
from formats.documents.contents import MemberRecord
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import DigestMismatchError, FormatError

SMALL = "small"
"""The file with all contents of an archive of at most `LARGEST` bytes, one after the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnpackPlace:
    """Where an import takes place: the parcel's spool, and the folder in which workers put what they unpack."""

    at: WorkPlace
    spool: Path
    side: Path
    encrypted: bool


class How(Enum):
    """Where a content is that was unpacked: in a file of its own, among the small ones, or in the store already."""

    FILE = "file"
    SMALL = "small"
    HELD = "held"


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A content that was unpacked from the member number ``position``; ``sums``: of its blocks, or None."""

    position: int
    how: How
    sums: BlockSums | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpacked:
    """What a task unpacked, in ``folder``; contents in files of their own are called by their positions."""

    folder: Path
    contents: tuple[Content, ...]


def unpack_archive(
    place: UnpackPlace, archive: Path, members: Sequence[MemberRecord], wanted: Sequence[int]
) -> Unpacked | Failure | None:
    """Unpack the ``wanted`` members, whole contents by their positions; None where the archive is not as listed."""

    def work(site: Site, readers: _Readers, folder: Path) -> tuple[Content, ...]:
        opened = readers.open(archive)
        opened.expect(members)
        return tuple(_unpacked(site.store, opened, folder, members, wanted))

    return _in_folder(place, work)


def unpack_content(place: UnpackPlace, parts: Sequence[tuple[Path, int, MemberRecord]]) -> Unpacked | Failure | None:
    """Unpack a content that is cut, each part an archive, a position and a member; None where it is not as listed."""

    def work(site: Site, readers: _Readers, folder: Path) -> tuple[Content, ...]:
        def pieces() -> Iterator[bytes]:
            for archive, position, part in parts:
                with readers.open(archive).open(position, part) as source:
                    yield from _decoded(source, part)

        return (_large(site.store, folder, 0, parts[0][2], pieces()),)

    return _in_folder(place, work)


class _Readers(ExitStack):
    """Archives that are read, one at a time."""

    def __init__(self, identities: Sequence[Identity] | None) -> None:
        super().__init__()
        self._identities = identities

    def open(self, archive: Path) -> ImportedArchive:
        """Open an archive in the place of the one before it."""
        self.close()
        source = self.enter_context(archive.open("rb"))
        return ImportedArchive(ArchiveFile(checked=source, unchecked=source), self._identities)


def _in_folder(
    place: UnpackPlace, work: Callable[[Site, _Readers, Path], tuple[Content, ...]]
) -> Unpacked | Failure | None:
    """Unpack into a new folder; None, and nothing of it is left, where the archives are not as listed."""

    def unpack(site: Site) -> Unpacked | None:
        # Not its parents: a command that is gone took them with it.
        folder = place.side / secrets.token_hex(8)
        folder.mkdir()
        try:
            with _Readers(_identities(place, site)) as readers:
                contents = work(site, readers, folder)
        except FormatError:
            remove_tree(folder)
            return None
        flush_files(list(folder.iterdir()))
        return Unpacked(folder=folder, contents=contents)

    return at_work(place.at, unpack)


def _identities(place: UnpackPlace, site: Site) -> list[Identity] | None:
    """What decrypts the parcel; None where it is not encrypted."""
    if not place.encrypted:
        return None
    packing = PackingList.parse(parse_envelope((place.spool / PACKING_LIST).read_bytes()).payload)
    return identities_for(site, packing)


def _decoded(source: BinaryIO, member: MemberRecord) -> Iterator[bytes]:
    codec = CODECS[member.coding]
    # Solid groups are unpacked by the reader of the archive.
    return (STORE if codec.solid else codec).decode(source, member.length, place=member.name)


def _unpacked(
    store: ContentStore, archive: ImportedArchive, folder: Path, members: Sequence[MemberRecord], wanted: Sequence[int]
) -> Iterator[Content]:
    with (folder / SMALL).open("wb", buffering=1 << 20) as small:
        for position in wanted:
            member = members[position]
            with archive.open(position, member) as source:
                if member.of > LARGEST:
                    yield _large(store, folder, position, member, _decoded(source, member))
                    continue
                data = b"".join(_decoded(source, member))
            if hashlib.sha256(data).hexdigest() != member.sha256:
                raise DigestMismatchError("content differs from its signed SHA-256", place=member.name)
            small.write(data)
            yield Content(position=position, how=How.SMALL)


def _large(store: ContentStore, folder: Path, position: int, member: MemberRecord, pieces: Iterable[bytes]) -> Content:
    """Unpack a content to a file of its own, unless it is held: then it is only compared, and what is held too."""
    held = store.has(member.sha256, member.of) and store.is_good(member.sha256)
    with ContentHasher() as hasher, ExitStack() as stack:
        out = None if held else stack.enter_context(SparseWriter(folder / str(position), 0))
        for data in pieces:
            hasher.update(data)
            if out is not None:
                out.write(data)
        digest, sums = hasher.finish()
        if (digest, hasher.count) != (member.sha256, member.of):
            raise DigestMismatchError("content differs from its signed SHA-256", place=member.name)
    return Content(position=position, how=How.HELD if held else How.FILE, sums=sums)
