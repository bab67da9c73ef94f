"""New content and listings on their way into a store: a temporary folder inside the folder of the store.

Small contents are appended to packs there, larger ones are files of their own. All of it is flushed to the disk and
moved in at the end; nothing is flushed file by file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from courier.files import TEMP, flush_files, make_folder, remove_tree, sweep, sync_folder
from courier.niceties import same_disk, share_blocks
from courier.site.store.block_sums import BlockSums, ContentHasher, sums_of
from courier.site.store.content_store import MISSING, ContentStore, IncomingContent, Staging, StoredContent
from courier.site.store.large_contents import BLOCKS, CONTENT, LargeContents
from courier.site.store.pack_file import PackWriter
from courier.site.store.packs import Packs
from courier.site.store.sparse import SparsePieces, SparseWriter
from courier.site.store.staged_rows import StagedRows
from courier.uncached import Pieces
from formats.digest import CHUNK
from formats.documents.listing import Entry, ListingSummary, read_listing, write_listing

LISTINGS = "listings"
SIDE = "side"
"""The folder in a staging folder in which other processes write."""
_IN_MEMORY = 16 << 20
"""Bytes of incoming contents that are kept in memory until it is known whether they are small."""
_WAITING = 2 << 20
"""Bytes of small contents that are put off until the store is asked which of them it has."""
_MOST_VERIFIED = 100_000
"""Contents of the store that are remembered as good, so that they are read once."""


class LocalStaging(Staging):
    """New content and listings in a temporary folder inside ``folder``, until a subclass commits them to its store.

    ``packed``: bytes of the largest content that is packed. ``problems`` says which small contents of the store are
    missing or damaged, and ``has_sums`` whether it has the sums of a content's blocks.
    """

    keeps_files = False
    """Whether a staged file becomes one of the store as it is, so that it may be a further name of a source."""

    def __init__(
        self,
        store: ContentStore,
        folder: Path,
        packed: int,
        *,
        problems: Callable[[Iterable[bytes]], Mapping[bytes, str]],
        has_sums: Callable[[str, BlockSums], bool],
    ) -> None:
        self._store, self._store_folder = store, folder
        self._problems, self._has_sums = problems, has_sums
        self._folder = folder / f"{TEMP}{os.getpid()}"
        self._writer = PackWriter(self._folder)
        self._rows = StagedRows(self._folder / "rows.sqlite")
        self._waiting: dict[bytes, bytes] = {}
        self._waiting_size = 0
        self._replaced: list[bytes] = []
        self._listings: dict[str, Path] = {}
        self._verified: set[str] = set()
        self._files = 0
        self._count = 0
        self.packed = packed
        self.in_memory = 0
        self.pieces = Pieces()

    def __enter__(self) -> Self:
        """See `Staging.__enter__`."""
        sweep(self._store_folder)
        make_folder(self._folder)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """See `Staging.__exit__`."""
        self._rows.close()
        with contextlib.suppress(OSError):
            # A disk that is full refuses what was not written yet, and nothing of it is wanted any more.
            self._writer.close()
        remove_tree(self._folder)

    def _new_file(self) -> Path:
        self._count += 1
        return self._folder / str(self._count)

    def add(
        self,
        source: BinaryIO,
        progress: Callable[[int], None] = lambda _: None,
        name_too: Callable[[Path], bool] | None = None,
    ) -> StoredContent:
        """See `Staging.add`."""
        head = source.read(self.packed)
        rest = source.read(CHUNK if len(head) == self.packed else 1)
        if not rest and len(head) <= self.packed:
            progress(len(head))
            return self.keep_small(head)
        descriptor = _descriptor(source)
        if descriptor is not None:
            if name_too is not None and self.keeps_files and same_disk(descriptor, self._folder):
                content, sums = _hashed(_told(source, [head, rest], progress))
                path = self._new_file()
                if name_too(path):
                    self.keep_large(path, content, sums)
                    return content
                source.seek(0)
                head, rest, progress = b"", b"", _untold
            elif (shared := self._sharing(descriptor)) is not None:
                with shared.open("rb") as copy:
                    content, sums = _hashed(_told(copy, [], progress))
                self.keep_large(shared, content, sums)
                return content
        incoming = self.begin()
        try:
            incoming.append(_told(source, [head, rest], progress))
        except BaseException:
            incoming.abandon()
            raise
        return incoming.stage()

    def add_bytes(self, data: bytes, progress: Callable[[int], None] = lambda _: None) -> StoredContent:
        """See `Staging.add_bytes`."""
        if len(data) > self.packed:
            return super().add_bytes(data, progress)
        progress(len(data))
        return self.keep_small(data)

    def _sharing(self, descriptor: int) -> Path | None:
        """A new file that shares the blocks of an open one on the disk; None where the file system cannot do that."""
        path = self._new_file()
        with path.open("wb") as out:
            if share_blocks(descriptor, out.fileno()):
                return path
        path.unlink()
        return None

    def begin(self) -> LocalIncoming:
        """See `Staging.begin`."""
        return LocalIncoming(self, self._new_file())

    def keep_small(self, data: bytes) -> StoredContent:
        """Stage a content that is packed, unless it is held already."""
        digest = hashlib.sha256(data).digest()
        if data and digest not in self._waiting and digest not in self._rows:
            self._waiting[digest] = data
            self._waiting_size += len(data)
            if self._waiting_size >= _WAITING:
                self._pack_waiting()
        return StoredContent(sha256=digest.hex(), size=len(data))

    def _pack_waiting(self) -> None:
        """Pack what was put off, so that the store was asked for many contents at once."""
        problems = self._problems(self._waiting)
        for digest, data in self._waiting.items():
            if digest in problems:
                if problems[digest] != MISSING:
                    self._replaced.append(digest)
                self._rows.add(digest, *self._writer.add(digest, data), len(data))
        self._waiting, self._waiting_size = {}, 0

    def keep_large(self, path: Path, content: StoredContent, sums: BlockSums | None) -> None:
        """Stage the file of a content and the sums of its blocks, or delete it when the content is held already."""
        if not self.holds(content.sha256, content.size):
            self._put_down(path, content, sums)
            return
        if sums is not None and not self._has_sums(content.sha256, sums):
            (make_folder(self._folder / BLOCKS) / content.sha256).write_bytes(sums.encode())
        path.unlink(missing_ok=True)

    def _put_down(self, path: Path, content: StoredContent, sums: BlockSums | None) -> None:
        if sums is not None:
            (make_folder(self._folder / BLOCKS) / content.sha256).write_bytes(sums.encode())
        path.replace(make_folder(self._folder / CONTENT) / content.sha256)
        self._files += 1

    def side_folder(self) -> Path:
        """See `Staging.side_folder`."""
        return make_folder(self._folder / SIDE)

    def take_file(self, path: Path, content: StoredContent, sums: BlockSums | None) -> None:
        """See `Staging.take_file`."""
        if content.size > self.packed:
            self.keep_large(path, content, sums)
        else:
            self.keep_small(path.read_bytes())
            path.unlink()

    def has(self, sha256: str, size: int) -> bool:
        """See `Staging.has`."""
        return size == 0 or self._is_staged(sha256, size) or self._store.has(sha256, size)

    def _is_staged(self, sha256: str, size: int) -> bool:
        if size <= self.packed:
            digest = bytes.fromhex(sha256)
            waiting = self._waiting.get(digest)
            return size == (self._rows.length(digest) if waiting is None else len(waiting))
        try:
            return self._files > 0 and (self._folder / CONTENT / sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def holds(self, sha256: str, size: int) -> bool:
        """See `Staging.holds`."""
        if size == 0 or self._is_staged(sha256, size):
            return True
        if not self._store.has(sha256, size):
            return False
        if sha256 in self._verified:
            return True
        if not self._store.is_good(sha256):
            return False
        if size > self.packed:
            # A small content is read again sooner than it is remembered.
            if len(self._verified) >= _MOST_VERIFIED:
                self._verified.clear()
            self._verified.add(sha256)
        return True

    def add_listing(self, entries: Iterable[Entry]) -> ListingSummary:
        """See `Staging.add_listing`."""
        path = self._new_file()
        with path.open("wb") as out:
            summary = write_listing(entries, out)
        self._listings[summary.sha256] = path
        return summary

    def staged_entries(self, listing: ListingSummary) -> Iterator[Entry]:
        """See `Staging.staged_entries`."""
        with self._listings[listing.sha256].open("rb") as source:
            yield from read_listing(source, expected=listing)


def _untold(_count: int) -> None:
    """Bytes that were told when they were read before."""


def _descriptor(source: BinaryIO) -> int | None:
    """That of a file; None for what is no file of the system's."""
    try:
        return source.fileno()
    except (AttributeError, OSError):
        return None


def _hashed(pieces: Iterable[bytes]) -> tuple[StoredContent, BlockSums | None]:
    """What a content of more than one piece is, and the sums of its blocks."""
    sha256, size, sums = sums_of(pieces)
    return StoredContent(sha256=sha256, size=size, blocks=sums.sha256 if sums else ""), sums


def _told(source: BinaryIO, first: Iterable[bytes], progress: Callable[[int], None]) -> Iterator[bytes]:
    for data in first:
        yield data
        progress(len(data))
    while data := source.read(CHUNK):
        yield data
        progress(len(data))


class LocalIncoming(IncomingContent):
    """One content that comes in parts. As long as it may be small it is kept in memory, where there is room; then it
    goes to a file of the staging folder, which is open only while a part is written: very many may be under way."""

    def __init__(self, staging: LocalStaging, path: Path) -> None:
        self._staging, self._path = staging, path
        self._hasher = ContentHasher()
        self._pieces: list[bytes] = []
        self._in_memory = self._in_file = 0

    @property
    def size(self) -> int:
        """See `IncomingContent.size`."""
        return self._hasher.count

    def append(self, pieces: Iterable[bytes]) -> None:
        """See `IncomingContent.append`."""
        rest = iter(pieces)
        for data in rest:
            self._hasher.update(data)
            if self._in_file or not self._fits(len(data)):
                self._write(data, rest)
                return
            self._pieces.append(data)
            self._count_memory(len(data))

    def append_from(self, source: BinaryIO, length: int) -> int:
        """See `IncomingContent.append_from`."""
        if self._pieces:
            self._write(b"", iter(()))
        before = self._in_file
        with SparsePieces(self._path, before) as out:
            works = (*self._hasher.works, out)
            taken = sum(self._staging.pieces.pour(source, works, at=before, length=length))
            out.finish()
        self._in_file = self.size
        return taken

    def _fits(self, count: int) -> bool:
        return self.size <= self._staging.packed and self._staging.in_memory + count <= _IN_MEMORY

    def _count_memory(self, count: int) -> None:
        self._in_memory += count
        self._staging.in_memory += count

    def _write(self, first: bytes, rest: Iterator[bytes]) -> None:
        with SparseWriter(self._path, self._in_file) as out:
            for data in self._pieces:
                out.write(data)
            self._forget_memory()
            out.write(first)
            for data in rest:
                self._hasher.update(data)
                out.write(data)
        self._in_file = self.size

    def _forget_memory(self) -> None:
        self._pieces = []
        self._count_memory(-self._in_memory)

    def finish(self, sha256: str, blocks: str = "") -> bool:
        """See `IncomingContent.finish`."""
        content, sums = self._finished()
        if content.sha256 != sha256 or (blocks and content.blocks != blocks):
            self.abandon()
            return False
        self._keep(content, sums)
        return True

    def stage(self) -> StoredContent:
        """See `IncomingContent.stage`."""
        content, sums = self._finished()
        self._keep(content, sums)
        return content

    def _finished(self) -> tuple[StoredContent, BlockSums | None]:
        sha256, sums = self._hasher.finish()
        self._hasher.close()
        return StoredContent(sha256=sha256, size=self.size, blocks=sums.sha256 if sums else ""), sums

    def _keep(self, content: StoredContent, sums: BlockSums | None) -> None:
        if content.size <= self._staging.packed:
            data = self._path.read_bytes() if self._in_file else b"".join(self._pieces)
            self._staging.keep_small(data)
            self.abandon()
            return
        if not self._in_file:
            self._write(b"", iter(()))
        self._staging.keep_large(self._path, content, sums)

    def abandon(self) -> None:
        """See `IncomingContent.abandon`."""
        self._hasher.close()
        self._forget_memory()
        self._path.unlink(missing_ok=True)


class FolderStaging(LocalStaging):
    """New content and listings on their way into the folder of a store, whose packs and larger contents are given."""

    keeps_files = True

    def __init__(
        self,
        store: ContentStore,
        folder: Path,
        packs: Packs,
        large: LargeContents,
        packed: int,
        check_held: Callable[[], None] = lambda: None,
    ) -> None:
        """``check_held`` raises `BusyError` where the store was lost to another computer."""
        super().__init__(store, folder, packed, problems=packs.problems, has_sums=large.has_sums)
        self._packs, self._large, self._check_held = packs, large, check_held

    def commit(self) -> None:
        """See `Staging.commit`."""
        self._check_held()
        flush_files(list(self._listings.values()))
        self._pack_waiting()
        self._large.move_in(self._folder)
        if self._writer.names:
            self._packs.take_in(self._writer, self._rows.in_order(), self._replaced)
        if self._listings:
            folder = make_folder(self._store_folder / LISTINGS)
            for sha256, path in self._listings.items():
                path.replace(folder / sha256)
            sync_folder(folder)
