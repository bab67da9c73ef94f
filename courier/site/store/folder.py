"""The content store in a folder of the site home.

    content/ab/HEX   a content of more than 64 KiB; see `large_contents`
    blocks/ab/HEX    its block table
    packs/           the smaller contents, many to a file; see `packs`
    listings/HEX     a listing
    damaged/HEX      content in quarantine
    lock             the lock file

New content is written into a temporary folder, flushed to the disk, and moved in once all of it is there.
"""

from __future__ import annotations

import contextlib
import heapq
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from courier.errors import DamagedError
from courier.files import (
    RESERVE,
    TEMP,
    delete_files,
    free_space,
    locked,
    make_folder,
    naming_space,
    require_space,
    sweep,
)
from courier.site.store.block_sums import BlockSums, needs_table
from courier.site.store.content_store import BATCH, Collected, ContentStore, Staging, StoredContent, StoreSpace
from courier.site.store.digest_set import DigestSet
from courier.site.store.large_contents import ADD_AGAIN, DAMAGED, LargeContents, named_by_digest
from courier.site.store.pack_file import LARGEST, new_name
from courier.site.store.packs import Packs
from courier.site.store.staging import LISTINGS, FolderStaging
from formats.documents.listing import Entry, FileEntry, ListingSummary, read_listing_rows
from formats.errors import FormatError


class FolderStore(ContentStore):
    """The content store of a site, in ``folder``, which need not exist yet.

    ``packed``: bytes of the largest content that is packed; a folder keeps the same one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        packed: int = LARGEST,
        elsewhere: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        check_held: Callable[[], None] = lambda: None,
    ) -> None:
        """``elsewhere`` holds the store at the other computers that see the folder, while its lock is held here.

        ``check_held`` raises `BusyError` where it was lost to one of them.
        """
        self._folder = folder
        self._elsewhere, self._check_held = elsewhere, check_held
        self._packed = packed
        self._packs = Packs(folder / "packs")
        self._large = LargeContents(folder)

    def has(self, sha256: str, size: int) -> bool:
        """See `ContentStore.has`."""
        if size <= self._packed:
            return self._packs.length(bytes.fromhex(sha256)) == size
        return self._large.size(sha256) == size

    def lacking(self, contents: Iterable[tuple[str, int]]) -> Iterator[str]:
        """See `ContentStore.lacking`."""
        every = iter(contents)
        while batch := list(islice(every, BATCH)):
            small = {bytes.fromhex(sha256): size for sha256, size in batch if size <= self._packed}
            held = self._packs.lengths(small)
            yield from (digest.hex() for digest, size in small.items() if held.get(digest) != size)
            yield from (sha256 for sha256, size in batch if size > self._packed and not self.has(sha256, size))

    def has_listing(self, sha256: str) -> bool:
        """See `ContentStore.has_listing`."""
        return self._listing(sha256).exists()

    def open_content(self, sha256: str) -> BinaryIO:
        """See `ContentStore.open_content`."""
        digest = bytes.fromhex(sha256)
        data = self._packs.read_already(digest)
        if data is not None:
            return io.BytesIO(data)
        try:
            return self._large.open(sha256)
        except FileNotFoundError:
            data = self._packs.read(digest)
        if data is None:
            raise _missing(f"content {sha256}")
        return io.BytesIO(data)

    def small_content(self, digest: bytes) -> bytes | None:
        """See `ContentStore.small_content`."""
        return self._packs.good(digest)

    def block_digests(self, sha256: str, size: int) -> bytes:
        """See `ContentStore.block_digests`."""
        return self._sums(sha256, size).digests if needs_table(size) else self._only_block(sha256, size)

    def _only_block(self, sha256: str, size: int) -> bytes:
        if not self.has(sha256, size):
            raise _missing(f"content {sha256}")
        return bytes.fromhex(sha256)

    def block_crcs(self, sha256: str, size: int) -> bytes:
        """See `ContentStore.block_crcs`."""
        return self._sums(sha256, size).crcs

    def _sums(self, sha256: str, size: int) -> BlockSums:
        if not self.has(sha256, size):
            raise _missing(f"content {sha256}")
        return self._large.sums(sha256, size)

    def entries(self, listing: ListingSummary) -> Iterator[Entry]:
        """See `ContentStore.entries`."""
        return (entry for entry, _ in self.rows(listing))

    def rows(self, listing: ListingSummary) -> Iterator[tuple[Entry, bytes]]:
        """See `ContentStore.rows`."""
        try:
            with self._listing(listing.sha256).open("rb") as source:
                yield from read_listing_rows(source, expected=listing)
        except FileNotFoundError:
            raise _missing(f"listing {listing.sha256}") from None
        except FormatError as error:
            raise DamagedError(f"package store: listing {listing.sha256}: {error}", hint=ADD_AGAIN) from None

    def contents(self) -> Iterator[StoredContent]:
        """See `ContentStore.contents`."""
        small = ((digest.hex(), size) for digest, size in self._packs.contents())
        for sha256, size in heapq.merge(small, self._large.contents()):
            blocks = self._large.sums(sha256, size).sha256 if needs_table(size) else ""
            yield StoredContent(sha256=sha256, size=size, blocks=blocks)

    def problems(
        self, contents: Sequence[tuple[str, int]], progress: Callable[[int], None] = lambda _: None
    ) -> dict[str, str]:
        """See `ContentStore.problems`."""
        small = {bytes.fromhex(sha256) for sha256, size in contents if size <= self._packed}
        found = {digest.hex(): problem for digest, problem in self._packs.problems(small).items()}
        read = set[str]()
        for sha256, size in contents:
            if size <= self._packed or sha256 in read:
                progress(size)
            elif problem := self._large.problem(sha256, progress):
                found[sha256] = problem
            read.add(sha256)
        return found

    def is_good(self, sha256: str) -> bool:
        """See `ContentStore.is_good`."""
        if self._large.size(sha256) is not None:
            return not self._large.problem(sha256)
        return not self._packs.problem(bytes.fromhex(sha256))

    def quarantine(self, *contents: str) -> None:
        """See `ContentStore.quarantine`."""
        # Whoever found it damaged did not hold the lock: it may have been put right since.
        for sha256 in contents:
            if self._large.problem(sha256):
                self._large.quarantine(sha256)
        damaged = self._packs.problems(bytes.fromhex(sha256) for sha256 in contents)
        self._packs.forget(damaged, lambda digest, data: self._large.keep_damaged(digest.hex(), data))

    def quarantine_listing(self, listing: ListingSummary) -> None:
        """See `ContentStore.quarantine_listing`."""
        path = self._listing(listing.sha256)
        try:
            for _ in self.entries(listing):
                pass
        except DamagedError:
            if path.exists():
                path.replace(make_folder(self._folder / DAMAGED) / path.name)

    def cross_check(self, *, mend: bool) -> int:
        """See `ContentStore.cross_check`."""
        return self._packs.cross_check(mend=mend)

    def quarantined(self) -> list[str]:
        """See `ContentStore.quarantined`."""
        names = [path.name for path in named_by_digest(self._folder / DAMAGED)]
        return [name for name in names if not self._has_again(name)]

    def _has_again(self, sha256: str) -> bool:
        is_packed = self._packs.length(bytes.fromhex(sha256)) is not None
        return is_packed or self._large.size(sha256) is not None or self.has_listing(sha256)

    def stage(self) -> Staging:
        """See `ContentStore.stage`."""
        return FolderStaging(self, self._folder, self._packs, self._large, self._packed, self._check_held)

    def collect(self, keep: Iterable[ListingSummary], pinned: Iterable[bytes] = ()) -> Collected:
        """See `ContentStore.collect`."""
        kept = list(keep)
        sweep(self._folder)
        if not self._folder.is_dir():
            return Collected(freed=0, pending=0)
        with DigestSet(self._folder / f"{TEMP}{new_name()}") as needed:
            for listing in kept:
                entries = (entry for entry in self.entries(listing) if isinstance(entry, FileEntry) and entry.size)
                needed.update(bytes.fromhex(entry.sha256) for entry in entries)
            needed.update(pinned)
            listings = {listing.sha256 for listing in kept}
            # Another, who had the store meanwhile, may need what was not needed when this began.
            self._check_held()
            freed = delete_files(path for path in named_by_digest(self._folder / LISTINGS) if path.name not in listings)
            self._check_held()
            freed += self._large.collect(needed)
            self._check_held()
            packed = self._packs.collect(needed)
        return Collected(freed=freed + packed.freed, pending=packed.pending)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """See `ContentStore.lock`."""
        with locked(self._folder / "lock"), self._elsewhere():
            yield

    def space(self) -> StoreSpace:
        """See `ContentStore.space`."""
        return StoreSpace(free=free_space(self._folder), reserve=RESERVE)

    def require_space(self, needed: int, *, purpose: str) -> None:
        """See `ContentStore.require_space`."""
        require_space(self._folder, needed, purpose=purpose)

    def naming_space(self, needed: Callable[[], int], *, purpose: str) -> AbstractContextManager[None]:
        """See `ContentStore.naming_space`."""
        return naming_space(self._folder, needed, purpose=purpose)

    def _listing(self, sha256: str) -> Path:
        return self._folder / LISTINGS / sha256


def _missing(what: str) -> DamagedError:
    return DamagedError(f"package store: {what} is missing", hint=ADD_AGAIN)
