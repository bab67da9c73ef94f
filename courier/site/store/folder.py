"""The package store: single-instance content by SHA-256, and the listings of the packages that hold it.

``content/ab/abcd...`` is a file's bytes, kept once however many packages hold it; ``listings/HEX`` the listing of a
package version. New content is staged out of sight and moved in when all of it is there and on the disk; a package
exists when the catalogue says so. What a killed run left behind is collected by the next removal.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from courier.errors import DamagedError
from courier.files import TEMP, locked, make_folder, remove_tree, settle, sweep, sync_folder
from formats.digest import CHUNK
from formats.documents.listing import Entry, FileEntry, ListingSummary, read_listing, write_listing
from formats.errors import FormatError

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something wrong with stored content: which file of the package, its SHA-256, and what."""

    path: str
    sha256: str
    problem: str


class Store:
    """The content of all packages of a site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def content_path(self, sha256: str) -> Path:
        """Where content of that digest is, or would be."""
        return self.folder / f"content/{sha256[:2]}/{sha256}"

    def listing_path(self, sha256: str) -> Path:
        """Where the listing of that digest is, or would be."""
        return self.folder / "listings" / sha256

    def has(self, sha256: str, size: int) -> bool:
        """Whether content of that digest is here, whole by its size."""
        try:
            return self.content_path(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def open_content(self, sha256: str) -> BinaryIO:
        """Content to read; raises `DamagedError` when it is gone."""
        try:
            return self.content_path(sha256).open("rb")
        except FileNotFoundError:
            raise _lost(f"content {sha256}") from None

    def entries(self, listing: ListingSummary) -> Iterator[Entry]:
        """The entries of a listing, judged against its summary; raises `DamagedError`."""
        try:
            with self.listing_path(listing.sha256).open("rb") as source:
                yield from read_listing(source, expected=listing)
        except FileNotFoundError:
            raise _lost(f"listing {listing.sha256}") from None
        except FormatError as error:
            raise DamagedError(
                f"package store: listing {listing.sha256}: {error}",
                hint="remove the package and add or receive it again",
            ) from None

    def verify(self, listing: ListingSummary) -> Iterator[Finding]:
        """Read every content of a package again and yield what is wrong."""
        for entry in self.entries(listing):
            if isinstance(entry, FileEntry) and entry.size:
                problem = self._problem(entry)
                if problem:
                    yield Finding(path=entry.path, sha256=entry.sha256, problem=problem)

    def _problem(self, entry: FileEntry) -> str:
        digest = hashlib.sha256()
        try:
            with self.content_path(entry.sha256).open("rb") as source:
                while data := source.read(CHUNK):
                    digest.update(data)
        except FileNotFoundError:
            return "content is missing"
        except OSError as error:
            return f"content cannot be read: {error.strerror}"
        return "" if digest.hexdigest() == entry.sha256 else "content differs from its SHA-256"

    def is_good(self, sha256: str) -> bool:
        """Whether stored content can be read and has its digest."""
        try:
            with self.content_path(sha256).open("rb") as source:
                return hashlib.file_digest(source, "sha256").hexdigest() == sha256
        except OSError:
            return False

    def quarantine(self, sha256: str) -> None:
        """Take content that was found damaged out of use, so that adding or receiving it again puts it right.

        Call it under the store's lock. The damaged file is kept in ``damaged/`` until the next `collect`.
        """
        path = self.content_path(sha256)
        if path.exists():
            path.replace(make_folder(self.folder / "damaged") / sha256)

    def stage(self) -> Staging:
        """Begin to take content in; use it as a context manager."""
        return Staging(self)

    def collect(self, keep: Iterable[ListingSummary], pinned: Iterable[bytes] = ()) -> int:
        """Delete listings and content that none of ``keep`` needs, nor ``pinned``; return the bytes freed.

        Call it under the store's lock, with the summaries of every package the catalogue has, and the digests of all
        content that is needed besides.
        """
        kept = list(keep)
        needed = {
            bytes.fromhex(entry.sha256)
            for listing in kept
            for entry in self.entries(listing)
            if isinstance(entry, FileEntry)
        }
        needed.update(pinned)
        listings = {listing.sha256 for listing in kept}
        freed = 0
        doomed = [
            *_named_by_digest(self.folder / "damaged"),
            *(path for path in _named_by_digest(self.folder / "listings") if path.name not in listings),
            *(
                path
                for folder in _files_in(self.folder / "content")
                for path in _named_by_digest(folder)
                if bytes.fromhex(path.name) not in needed
            ),
        ]
        for path in doomed:
            freed += path.stat().st_size
            path.unlink()
        for path in _files_in(self.folder):
            if path.name.startswith(TEMP):
                remove_tree(path)
        return freed

    def lock(self) -> AbstractContextManager[None]:
        """One writer at a time: hold it around staging, removal and collection."""
        return locked(self.folder / "lock")


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _named_by_digest(folder: Path) -> list[Path]:
    # Other names are not ours: what a desktop system or a network file system leaves everywhere.
    return [path for path in _files_in(folder) if _HEX.fullmatch(path.name)]


def _lost(what: str) -> DamagedError:
    return DamagedError(f"package store: {what} is missing", hint="remove the package and add or receive it again")


class Staging:
    """New content and listings on their way in: invisible until `commit`, gone if it is never called."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.folder / f"{TEMP}{os.getpid()}"
        self._contents: dict[str, Path] = {}
        self._listings: dict[str, Path] = {}
        self._checked: set[str] = set()
        self._count = 0

    def __enter__(self) -> Staging:
        # What a killed run staged is of no use any more; staging is done under the store's lock.
        sweep(self._store.folder)
        make_folder(self._folder)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        remove_tree(self._folder)

    def _new(self) -> Path:
        self._count += 1
        return self._folder / str(self._count)

    def add(self, source: BinaryIO, progress: Callable[[int], None] = lambda _: None) -> tuple[str, int]:
        """Take in a stream to its end; return its SHA-256 and size. Content that is here already is not kept twice."""
        path, digest, size = self._new(), hashlib.sha256(), 0
        with path.open("wb") as out:
            while data := source.read(CHUNK):
                digest.update(data)
                size += len(data)
                out.write(data)
                progress(len(data))
        sha256 = digest.hexdigest()
        self.place(path, sha256, size)
        return sha256, size

    def temporary(self) -> Path:
        """A path in the staging folder to write one content to; hand it to `place` when it is whole and checked."""
        return self._new()

    def place(self, path: Path, sha256: str, size: int) -> None:
        """Take in a file that was written to a `temporary` path and has this digest and size."""
        if self.holds(sha256, size):
            path.unlink()
        else:
            self._contents[sha256] = path

    def has(self, sha256: str, size: int) -> bool:
        """Whether content is staged or in the store."""
        return size == 0 or sha256 in self._contents or self._store.has(sha256, size)

    def holds(self, sha256: str, size: int) -> bool:
        """Whether good content is staged or in the store, where it is read again, once, before it counts."""
        if size == 0 or sha256 in self._contents or sha256 in self._checked:
            return True
        if not self._store.has(sha256, size) or not self._store.is_good(sha256):
            return False
        self._checked.add(sha256)
        return True

    def add_listing(self, entries: Iterable[Entry]) -> ListingSummary:
        """Take in a listing; its entries must come in path order. Raises as `write_listing` does."""
        path = self._new()
        with path.open("wb") as out:
            summary = write_listing(entries, out)
        self._listings[summary.sha256] = path
        return summary

    def staged_entries(self, listing: ListingSummary) -> Iterator[Entry]:
        """The entries of a listing that was staged."""
        with self._listings[listing.sha256].open("rb") as source:
            yield from read_listing(source, expected=listing)

    def commit(self) -> None:
        """Move everything in, flushed to disk. The caller then records the packages in the catalogue."""
        settle([*self._contents.values(), *self._listings.values()])
        folders = set()
        for sha256, path in self._contents.items():
            target = self._store.content_path(sha256)
            if target.parent not in folders:
                folders.add(make_folder(target.parent))
            path.replace(target)
        for sha256, path in self._listings.items():
            target = self._store.listing_path(sha256)
            folders.add(make_folder(target.parent))
            path.replace(target)
        for folder in folders:
            sync_folder(folder)
