"""Content on its way into an archive that is written while it is made: no block is given that is not the one added.

Such an archive leaves this computer before anything is signed, and an encrypted file of other content under the same
keys would tell what both are. So each block is compared with its SHA-256 from when the content was added before
anything is done with it. The table of these is itself compared with the listing of the package.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, BinaryIO

from courier.parcel.archive_plan import Content, PlannedMember
from courier.sending.member_source import bad_content
from courier.site.catalog.packages import StoredPackage
from courier.site.store.content_store import ContentStore
from courier.site.store.key_set import KeySet
from formats.blocks import BLOCK, DIGEST
from formats.documents.listing import FileEntry
from formats.streams import Stream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_AHEAD = 4
"""Blocks that are read before the first of them is given, so that they are hashed beside reading and writing."""


class BlockTables:
    """The block tables of the contents of packages, compared with their listings."""

    def __init__(self, store: ContentStore, packages: Iterable[StoredPackage]) -> None:
        """Go through the listings of ``packages``; raises `DamagedError` for one that is missing or differs."""
        self._store = store
        self._large = KeySet(DIGEST)
        self._tables = bytearray()
        for stored in packages:
            for entry in store.entries(stored.listing):
                if isinstance(entry, FileEntry) and entry.blocks and self._large.add(bytes.fromhex(entry.sha256)):
                    self._tables += bytes.fromhex(entry.blocks)

    def table(self, content: Content) -> bytes:
        """The SHA-256 of each block of a content; raises `DamagedError` where it is not that of the listing."""
        digest = bytes.fromhex(content.sha256)
        if content.size <= BLOCK:
            return digest
        table = self._store.block_digests(content.sha256, content.size)
        at = self._large.find(digest) * DIGEST
        if at < 0 or hashlib.sha256(table).digest() != self._tables[at : at + DIGEST]:
            raise bad_content(content.path)
        return table


class VerifiedRun(Stream):
    """A stream of a content that is read from a member's begin to its end, block by block, each compared before.

    ``table`` has the digests of all blocks of the content; ``pool`` takes the hashing. Raises `DamagedError` for a
    block that is not the one added.
    """

    def __init__(self, raw: BinaryIO, member: PlannedMember, table: bytes, pool: Executor) -> None:
        self._raw = raw
        self._member = member
        self._table = table
        self._pool = pool
        self._at = member.offset
        self._end = member.offset + member.length
        self._next = member.offset // BLOCK
        self._waiting: deque[tuple[bytes, Future[bool] | None]] = deque()
        self._good = memoryview(b"")
        raw.seek(self._next * BLOCK)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True, as far as to the place that comes next."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to the place that comes next; raises `ValueError` for any other."""
        if whence != io.SEEK_SET or offset != self._at:
            raise ValueError("a run that is verified is read from its begin to its end")
        return offset

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes, all of them known to be good."""
        view = memoryview(buffer).cast("B")
        done, wanted = 0, min(len(view), self._end - self._at)
        while done < wanted:
            if not self._good:
                skipped = self._at % BLOCK  # where the run begins within a block
                self._good = memoryview(self._good_block())[skipped:]
            piece = self._good[: wanted - done]
            view[done : done + len(piece)] = piece
            self._good = self._good[len(piece) :]
            done += len(piece)
            self._at += len(piece)
        return done

    def _good_block(self) -> bytes:
        while len(self._waiting) < _AHEAD and self._next * BLOCK < self._end:
            data = self._raw.read(min(BLOCK, self._member.content.size - self._next * BLOCK))
            # A thread takes longer to wake than a few kilobytes to hash.
            judged = self._pool.submit(self._is_good, self._next, data) if len(data) == BLOCK else None
            self._waiting.append((data, judged))
            self._next += 1
        number = self._next - len(self._waiting)
        data, judged = self._waiting.popleft()
        if not (self._is_good(number, data) if judged is None else judged.result()):
            raise bad_content(self._member.content.path)
        return data

    def _is_good(self, number: int, data: bytes) -> bool:
        return hashlib.sha256(data).digest() == self._table[number * DIGEST : (number + 1) * DIGEST]

    def close(self) -> None:
        """Close the content."""
        for _, judged in self._waiting:
            if judged is not None:
                judged.cancel()
        self._raw.close()
        super().close()
