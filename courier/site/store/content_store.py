"""The content store of a site as its users see it: what every implementation promises. No path leaks from it.

Content is a file's bytes, known by their SHA-256 and kept once, however many packages hold it. A listing names the
files of one package version; it is known by the SHA-256 of its own bytes. A package exists when the catalogue says so;
the store only keeps what packages are made of. `tests/site/store/test_content_store.py` runs over every implementation.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from courier.site.store.block_sums import BlockSums
from formats.documents.listing import Entry, FileEntry, ListingSummary
from formats.records import Many

BATCH = 10_000
"""Contents that are looked at together: so many are put into the order of the packs."""
MISSING = "content is missing"
"""What is wrong with content that the store does not have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something wrong with stored content: which file of the package, its SHA-256, and what."""

    path: str
    sha256: str
    problem: str


class StoredContent(Many, frozen=True, kw_only=True):
    """One content of the store: its SHA-256, its bytes, and the SHA-256 of its block table.

    The table has the SHA-256 (32 bytes) of each block of 1 MiB; the last block may be shorter. ``blocks`` is empty for
    a content of one block or less, whose table would be its own SHA-256.
    """

    sha256: str
    size: int
    blocks: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What a collection did: bytes freed on the disk, and bytes of deleted content that still take room there.

    What is pending goes once more is deleted from the same place.
    """

    freed: int
    pending: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSpace:
    """Bytes free where the store keeps content, and how many of them it leaves free."""

    free: int
    reserve: int


class ContentStore(Protocol):
    """The content and the listings of all packages of a site. Several threads and processes may read at once."""

    def has(self, sha256: str, size: int) -> bool:
        """Whether this content is stored with ``size`` bytes. Its bytes are not read."""

    def lacking(self, contents: Iterable[tuple[str, int]]) -> Iterator[str]:
        """Yield those of many contents, each its SHA-256 and its bytes, for which `has` is false, in any order."""
        return (sha256 for sha256, size in contents if not self.has(sha256, size))

    def has_listing(self, sha256: str) -> bool:
        """Whether this listing is stored. Its bytes are not read."""

    def open_content(self, sha256: str) -> BinaryIO:
        """Open content for reading; the file can be sought in. Raises `DamagedError` when it is missing.

        What is read is not compared with the SHA-256: the caller does that.
        """

    def small_content(self, digest: bytes) -> bytes | None:
        """The bytes of a content by its SHA-256 (32 bytes), compared with it, where it is kept with many others.

        None where it is not, is missing or differs: `open_content` then tells. Contents that are asked for one after
        the other as they were added take one read for many.
        """
        return None

    def block_digests(self, sha256: str, size: int) -> bytes:
        """The block table of a content of ``size`` bytes: the SHA-256 (32 bytes) of each block of 1 MiB.

        That of a content of one block or less is its own SHA-256. What is returned is not compared with anything: the
        caller knows the SHA-256 of the table. A table that is missing is made anew from the content, which is read
        and compared with its SHA-256 for it. Raises `DamagedError` when the content is missing, or when the table is
        and the content differs.
        """

    def block_crcs(self, sha256: str, size: int) -> bytes:
        """The CRC-32 (4 bytes, little-endian) of each block of 1 MiB of a content of more than one block.

        They were taken when the content was, and are not compared with anything: the caller compares what it reads.
        Those that are missing are made anew, and errors raised, as by `block_digests`.
        """

    def entries(self, listing: ListingSummary) -> Iterator[Entry]:
        """The entries of a listing in path order, compared with its summary.

        Raises `DamagedError` when the listing is missing or differs.
        """

    def rows(self, listing: ListingSummary) -> Iterator[tuple[Entry, bytes]]:
        """The entries as `entries` gives them, each with its line of the listing and the newline."""

    def contents(self) -> Iterator[StoredContent]:
        """Every content in the store, in the order of the SHA-256. Raises `DamagedError` as `block_digests` does."""

    def verify(
        self,
        listing: ListingSummary,
        progress: Callable[[int], None] = lambda _: None,
        chosen: Callable[[str], bool] = lambda _: True,
    ) -> Iterator[Finding]:
        """Read the content of a package again and yield what is missing, cannot be read, or differs, in path order.

        ``chosen`` says by its SHA-256 whether a content is read; of others it is only seen whether they are there.
        ``progress`` is told the bytes as they are read. Raises `DamagedError` when the listing is missing or differs.
        """
        every = (entry for entry in self.entries(listing) if isinstance(entry, FileEntry) and entry.size)
        while batch := list(islice(every, BATCH)):
            read = [entry for entry in batch if chosen(entry.sha256)]
            others = [entry for entry in batch if not chosen(entry.sha256)]
            bad = dict.fromkeys(self.lacking((entry.sha256, entry.size) for entry in others), MISSING)
            progress(sum(entry.size for entry in others))
            bad |= self.problems([(entry.sha256, entry.size) for entry in read], progress)
            for entry in batch:
                if problem := bad.get(entry.sha256):
                    yield Finding(path=entry.path, sha256=entry.sha256, problem=problem)

    def problems(
        self, contents: Sequence[tuple[str, int]], progress: Callable[[int], None] = lambda _: None
    ) -> dict[str, str]:
        """Read contents again, each its SHA-256 and its bytes; return what is wrong with those that are not good.

        ``progress`` is told the bytes of all of them as they are read. Call it with as many as memory may hold.
        """

    def is_good(self, sha256: str) -> bool:
        """Read content again: whether it is there, can be read, and has its SHA-256."""

    def quarantine(self, *contents: str) -> None:
        """Take damaged contents, by their SHA-256, out of use, so that adding or receiving them again puts them right.

        Does nothing for a content that is missing, or that is good when it is read again. The damaged bytes are kept
        until the next `collect`. Call it under `lock`.
        """

    def quarantine_listing(self, listing: ListingSummary) -> None:
        """Take a listing that differs from its summary out of use, as `quarantine` does with content, under `lock`."""

    def cross_check(self, *, mend: bool) -> int:
        """How many contents stand in what is told of the packs and not in the packs, or the other way round.

        All packs are read for it. With ``mend`` what is told of them is made anew where it is wrong. Call it under
        `lock`.
        """

    def quarantined(self) -> list[str]:
        """SHA-256 of the contents and listings in quarantine of which the store has no good copy again."""

    def stage(self) -> Staging:
        """Begin to take in content and listings; use it as a context manager, under `lock`."""

    def collect(self, keep: Iterable[ListingSummary], pinned: Iterable[bytes] = ()) -> Collected:
        """Delete the listings and the content that nothing needs; return the bytes that this freed.

        ``keep``: the listings of every package in the catalogue; with the content of their files they stay.
        ``pinned``: SHA-256 digests (32 bytes) of further content that stays. What was quarantined, and what killed
        commands left behind, is deleted too. Raises `DamagedError`, with nothing deleted, when one of the listings is
        missing or differs. Call it under `lock`.
        """

    def lock(self) -> AbstractContextManager[None]:
        """Hold the store's lock: one writer at a time. Raises `BusyError` at once when another command holds it."""

    def space(self) -> StoreSpace:
        """How much more content there is room for."""

    def require_space(self, needed: int, *, purpose: str) -> None:
        """Raise `NoSpaceError` unless there is room for ``needed`` bytes more and the reserve.

        ``purpose`` begins the message: "adding the package".
        """

    def naming_space(self, needed: Callable[[], int], *, purpose: str) -> AbstractContextManager[None]:
        """Raise `NoSpaceError`, with the bytes ``needed`` and those free, where the store fills up in the block."""


class Staging(Protocol):
    """New content and listings on their way into a store: invisible to its readers until `commit`.

    When the block ends without `commit`, for whatever reason, nothing of it stays. A kill leaves the store as it was
    before, or with content that no package needs yet, which `ContentStore.collect` deletes.
    """

    def __enter__(self) -> Staging:
        """Make room for what comes; delete what a killed command staged."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give up what was not committed."""

    def add(
        self,
        source: BinaryIO,
        progress: Callable[[int], None] = lambda _: None,
        name_too: Callable[[Path], bool] | None = None,
    ) -> StoredContent:
        """Take in one content from a file, to its end, and return what it is.

        Content that is stored already, and good, is not kept twice. ``progress`` is told the bytes of each piece.
        ``name_too``: gives the file itself one more name, and says whether it could: a store on the same file system
        then keeps that, and copies nothing. It is called once all of the file is read; what it raises ends the adding.
        """

    def add_bytes(self, data: bytes, progress: Callable[[int], None] = lambda _: None) -> StoredContent:
        """Take in one content that is in memory, as `add` does."""
        return self.add(io.BytesIO(data), progress)

    def begin(self) -> IncomingContent:
        """Begin to take in one content that comes in parts. Several may be under way at once."""

    def side_folder(self) -> Path:
        """A folder in which other processes may write files for `take_file`; it goes with the staging."""

    def take_file(self, path: Path, content: StoredContent, sums: BlockSums | None) -> None:
        """Stage the file at ``path`` as the content that it is; it is moved, or deleted where the content is held.

        Who wrote it compared its bytes with their SHA-256 and took the ``sums`` of its blocks; None for a content of
        one block or less. ``path`` is in the `side_folder`, and on stable storage.
        """

    def has(self, sha256: str, size: int) -> bool:
        """Whether content is staged or stored with ``size`` bytes. Empty content always is; it is not kept."""

    def holds(self, sha256: str, size: int) -> bool:
        """Whether good content is staged or stored. Stored content is read again, once, before it counts."""

    def add_listing(self, entries: Iterable[Entry]) -> ListingSummary:
        """Take in a listing; return its summary. Raises `FormatError` when its entries are not in path order, or too
        many.
        """

    def staged_entries(self, listing: ListingSummary) -> Iterator[Entry]:
        """The entries of a listing that was staged here."""

    def commit(self) -> None:
        """Move everything into the store, on stable storage. The caller then records the packages in the catalogue."""


class IncomingContent(Protocol):
    """One content on its way into a `Staging`. It is hashed as it is written, so it need not be read again."""

    @property
    def size(self) -> int:
        """Bytes taken in so far."""

    def append(self, pieces: Iterable[bytes]) -> None:
        """Take in the next part."""

    def append_from(self, source: BinaryIO, length: int) -> int:
        """Take in the next part, a large one of ``length`` bytes, from where ``source`` is; return how many came.

        Fewer come where the source ends. It is read, hashed and written at one time.
        """

    def finish(self, sha256: str, blocks: str = "") -> bool:
        """Stage the content if it has this SHA-256, and its block table the SHA-256 ``blocks`` where that is given.

        Otherwise return False and keep nothing of it.
        """

    def stage(self) -> StoredContent:
        """Stage the content, whatever it is, and return what it is."""

    def abandon(self) -> None:
        """Keep nothing of it."""
