"""The content store in a folder of the site home.

``content/ab/abcd...`` is a file's bytes, ``listings/HEX`` a listing, ``damaged/HEX`` content in quarantine, ``lock``
the lock file. New content is written into a temporary folder, flushed to the disk, and moved in once all of it is
there.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from courier.errors import DamagedError
from courier.files import (
    RESERVE,
    TEMP,
    flush_files,
    free_space,
    locked,
    make_folder,
    naming_space,
    remove_tree,
    require_space,
    sweep,
    sync_folder,
    writing_out,
)
from courier.site.store.content_store import ContentStore, Finding, IncomingContent, Staging, StoredContent, StoreSpace
from formats.blocks import BLOCK, BlockHasher
from formats.digest import CHUNK, SideHash
from formats.documents.listing import Entry, FileEntry, ListingSummary, read_listing, write_listing
from formats.errors import FormatError

_HEX = re.compile(r"[0-9a-f]{64}")


class FolderStore(ContentStore):
    """The content store of a site, in ``folder``, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, sha256: str, size: int) -> bool:
        """See `ContentStore.has`."""
        try:
            return self._content(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def has_listing(self, sha256: str) -> bool:
        """See `ContentStore.has_listing`."""
        return self._listing(sha256).exists()

    def open_content(self, sha256: str) -> BinaryIO:
        """See `ContentStore.open_content`."""
        try:
            return self._content(sha256).open("rb")
        except FileNotFoundError:
            raise _missing(f"content {sha256}") from None

    def entries(self, listing: ListingSummary) -> Iterator[Entry]:
        """See `ContentStore.entries`."""
        try:
            with self._listing(listing.sha256).open("rb") as source:
                yield from read_listing(source, expected=listing)
        except FileNotFoundError:
            raise _missing(f"listing {listing.sha256}") from None
        except FormatError as error:
            raise DamagedError(
                f"package store: listing {listing.sha256}: {error}",
                hint="remove the package and add or receive it again",
            ) from None

    def contents(self) -> Iterator[StoredContent]:
        """See `ContentStore.contents`."""
        for path in self._content_files():
            yield StoredContent(sha256=path.name, size=path.stat().st_size)

    def verify(self, listing: ListingSummary) -> Iterator[Finding]:
        """See `ContentStore.verify`."""
        for entry in self.entries(listing):
            if isinstance(entry, FileEntry) and entry.size and (problem := self._problem(entry.sha256)):
                yield Finding(path=entry.path, sha256=entry.sha256, problem=problem)

    def is_good(self, sha256: str) -> bool:
        """See `ContentStore.is_good`."""
        return not self._problem(sha256)

    def _problem(self, sha256: str) -> str:
        """What is wrong with stored content; empty when it is good."""
        try:
            with self._content(sha256).open("rb") as source:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
        except FileNotFoundError:
            return "content is missing"
        except OSError as error:
            return f"content cannot be read: {error.strerror}"
        return "" if digest == sha256 else "content differs from its SHA-256"

    def quarantine(self, sha256: str) -> None:
        """See `ContentStore.quarantine`."""
        path = self._content(sha256)
        if path.exists():
            path.replace(make_folder(self._folder / "damaged") / sha256)

    def stage(self) -> Staging:
        """See `ContentStore.stage`."""
        return FolderStaging(self, self._folder)

    def move_in(self, contents: dict[str, Path], listings: dict[str, Path]) -> None:
        """Move staged files, by their SHA-256, to where they belong, flushed to disk."""
        flush_files([*contents.values(), *listings.values()])
        folders = set()
        for place, files in ((self._content, contents), (self._listing, listings)):
            for sha256, path in files.items():
                target = place(sha256)
                if target.parent not in folders:
                    folders.add(make_folder(target.parent))
                path.replace(target)
        for folder in folders:
            sync_folder(folder)

    def collect(self, keep: Iterable[ListingSummary], pinned: Iterable[bytes] = ()) -> int:
        """See `ContentStore.collect`."""
        kept = list(keep)
        # 32 bytes for each content, not 64 characters: a site may hold millions.
        needed = {
            bytes.fromhex(entry.sha256)
            for listing in kept
            for entry in self.entries(listing)
            if isinstance(entry, FileEntry)
        }
        needed.update(pinned)
        listings = {listing.sha256 for listing in kept}
        unneeded = [
            *_named_by_digest(self._folder / "damaged"),
            *(path for path in _named_by_digest(self._folder / "listings") if path.name not in listings),
            *(path for path in self._content_files() if bytes.fromhex(path.name) not in needed),
        ]
        freed = 0
        for path in unneeded:
            freed += path.stat().st_size
            path.unlink()
        sweep(self._folder)
        return freed

    def lock(self) -> AbstractContextManager[None]:
        """See `ContentStore.lock`."""
        return locked(self._folder / "lock")

    def space(self) -> StoreSpace:
        """See `ContentStore.space`."""
        return StoreSpace(free=free_space(self._folder), reserve=RESERVE)

    def require_space(self, needed: int, *, purpose: str) -> None:
        """See `ContentStore.require_space`."""
        require_space(self._folder, needed, purpose=purpose)

    def naming_space(self, needed: Callable[[], int], *, purpose: str) -> AbstractContextManager[None]:
        """See `ContentStore.naming_space`."""
        return naming_space(self._folder, needed, purpose=purpose)

    def _content(self, sha256: str) -> Path:
        return self._folder / f"content/{sha256[:2]}/{sha256}"

    def _listing(self, sha256: str) -> Path:
        return self._folder / "listings" / sha256

    def _content_files(self) -> Iterator[Path]:
        for folder in _files_in(self._folder / "content"):
            yield from _named_by_digest(folder)


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _named_by_digest(folder: Path) -> list[Path]:
    # Other names are not ours: desktop systems and network file systems leave files everywhere.
    return [path for path in _files_in(folder) if _HEX.fullmatch(path.name)]


def _missing(what: str) -> DamagedError:
    return DamagedError(f"package store: {what} is missing", hint="remove the package and add or receive it again")


class FolderStaging(Staging):
    """New content and listings in a temporary folder inside the folder of the store."""

    def __init__(self, store: FolderStore, folder: Path) -> None:
        self._store, self._store_folder = store, folder
        self._folder = folder / f"{TEMP}{os.getpid()}"
        self._contents: dict[str, Path] = {}
        self._listings: dict[str, Path] = {}
        self._verified: set[str] = set()
        self._count = 0

    def __enter__(self) -> FolderStaging:
        """See `Staging.__enter__`."""
        sweep(self._store_folder)
        make_folder(self._folder)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """See `Staging.__exit__`."""
        remove_tree(self._folder)

    def _new_file(self) -> Path:
        self._count += 1
        return self._folder / str(self._count)

    def add(self, source: BinaryIO, progress: Callable[[int], None] = lambda _: None) -> StoredContent:
        """See `Staging.add`."""
        content = self.begin()
        try:
            content.append(_told(source, progress))
        except BaseException:
            content.abandon()
            raise
        return content.stage()

    def begin(self) -> FolderIncoming:
        """See `Staging.begin`."""
        return FolderIncoming(self, self._new_file())

    def keep(self, path: Path, sha256: str, size: int) -> None:
        """Stage a file that has this digest and size, or delete it when its content is held already."""
        if self.holds(sha256, size):
            path.unlink(missing_ok=True)
        else:
            self._contents[sha256] = path

    def has(self, sha256: str, size: int) -> bool:
        """See `Staging.has`."""
        return size == 0 or sha256 in self._contents or self._store.has(sha256, size)

    def holds(self, sha256: str, size: int) -> bool:
        """See `Staging.holds`."""
        if size == 0 or sha256 in self._contents or sha256 in self._verified:
            return True
        if not self._store.has(sha256, size) or not self._store.is_good(sha256):
            return False
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

    def commit(self) -> None:
        """See `Staging.commit`."""
        self._store.move_in(self._contents, self._listings)


def _told(source: BinaryIO, progress: Callable[[int], None]) -> Iterator[bytes]:
    while data := source.read(CHUNK):
        yield data
        progress(len(data))


class FolderIncoming(IncomingContent):
    """One content that comes in parts, in a file of the staging folder. The file is open only while a part is written:
    very many contents may be under way."""

    def __init__(self, staging: FolderStaging, path: Path) -> None:
        self._staging, self._path = staging, path
        self._digest = SideHash()
        self._blocks = BlockHasher()

    @property
    def size(self) -> int:
        """See `IncomingContent.size`."""
        return self._digest.count

    def append(self, pieces: Iterable[bytes]) -> None:
        """See `IncomingContent.append`."""
        with self._path.open("ab") as out:
            written = writing_out(out)
            for data in pieces:
                self._digest.update(data)
                self._blocks.update(data)
                if data.count(0) == len(data):  # zeros take no room where the file system has holes
                    out.truncate(out.tell() + len(data))
                    out.seek(0, os.SEEK_END)
                else:
                    out.write(data)
                written(len(data))

    def finish(self, sha256: str, blocks: str = "") -> bool:
        """See `IncomingContent.finish`."""
        if self._digest.hexdigest() != sha256 or (blocks and self._table() != blocks):
            self.abandon()
            return False
        self.stage()
        return True

    def stage(self) -> StoredContent:
        """See `IncomingContent.stage`."""
        sha256, size = self._digest.hexdigest(), self.size
        self._digest.close()
        self._staging.keep(self._path, sha256, size)
        return StoredContent(sha256=sha256, size=size, blocks=self._table())

    def _table(self) -> str:
        return hashlib.sha256(self._blocks.finish()[1]).hexdigest() if self.size > BLOCK else ""

    def abandon(self) -> None:
        """See `IncomingContent.abandon`."""
        self._digest.close()
        self._path.unlink(missing_ok=True)
