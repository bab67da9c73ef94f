"""What a parcel carries, on its way into the store.

Only what a parcel carries itself counts for it, and for a delta what its sender is told that is held here: that other
content is here, in a package of somebody else's, is nothing that a sender may learn or make use of. So content that is
held already is compared with what comes, byte for byte by
its digests, and only then left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from courier.site.store.block_sums import BlockSums
from courier.site.store.content_store import IncomingContent, Staging, StoredContent
from courier.site.store.key_set import KeySet
from courier.uncached import PIECE, Pieces
from formats.blocks import SideBlockHasher
from formats.codecs import CODECS, STORE
from formats.digest import sha256_hex
from formats.documents.contents import MemberRecord, PackageHeader
from formats.documents.listing import FileEntry
from formats.errors import DigestMismatchError, TooLargeError, UnexpectedError


class CarriedContents:
    """The contents of one parcel, taken in member by member; those that are cut in parts grow archive by archive."""

    def __init__(self, staging: Staging, headers: Sequence[PackageHeader], *, only: bool = False) -> None:
        """``headers``: the packages that are taken, whose listings are staged; ``only``: the parcel has others too."""
        self._staging = staging
        self._headers = headers
        self._growing: dict[str, IncomingContent] = {}
        self._whole = KeySet(_KEY)
        # 32 bytes for each content of more than a block: the others have no block table.
        self._tables = {
            bytes.fromhex(entry.sha256): entry.blocks
            for header in headers
            for entry in staging.staged_entries(header.listing)
            if isinstance(entry, FileEntry) and entry.blocks
        }

        self._wanted = None if not only else {bytes.fromhex(sha256) for sha256 in self._contents()}

    def _contents(self) -> Iterator[str]:
        for header in self._headers:
            for entry in self._staging.staged_entries(header.listing):
                if isinstance(entry, FileEntry) and entry.size:
                    yield entry.sha256

    def wants(self, sha256: str) -> bool:
        """Whether a content belongs to the packages that are taken; where that is the whole parcel, all does."""
        return self._wanted is None or bytes.fromhex(sha256) in self._wanted

    def take(self, source: BinaryIO, member: MemberRecord, place: str) -> None:
        """Take in a member, which is read from ``source``; raises `FormatError`, which names ``place``."""
        if member.offset == 0 and member.sha256 not in self._growing:
            held = self._staging.holds(member.sha256, member.of)
            self._growing[member.sha256] = _HeldContent() if held else self._staging.begin()
        content = self._growing.get(member.sha256)
        if content is None:
            raise UnexpectedError("a part without the part before it", place=place)
        if content.size != member.offset:
            raise UnexpectedError("parts out of order", place=place)
        codec = CODECS[member.coding]
        if codec.as_is and member.length >= PIECE:
            _append_large(content, source, member.length, place)
        else:
            # Solid groups are unpacked by the reader of the archive.
            content.append((STORE if codec.solid else codec).decode(source, member.length, place=place))
        if content.size == member.of:
            del self._growing[member.sha256]
            if not content.finish(member.sha256, self._tables.get(bytes.fromhex(member.sha256), "")):
                raise DigestMismatchError("content differs from its signed SHA-256 or block table", place=place)
            self._whole.add(_key(member.sha256, member.of))

    def take_file(self, path: Path, member: MemberRecord, sums: BlockSums | None, place: str) -> None:
        """Take in a whole content from the file at ``path``, whose bytes were compared with its SHA-256.

        ``sums``: of its blocks; None for a content of one block or less. Raises `FormatError`, which names ``place``.
        """
        blocks = sums.sha256 if sums else ""
        self._check_table(member, blocks, place)
        self._staging.take_file(path, StoredContent(sha256=member.sha256, size=member.of, blocks=blocks), sums)
        self._whole.add(_key(member.sha256, member.of))

    def take_compared(self, member: MemberRecord, sums: BlockSums | None, place: str) -> None:
        """Count a whole content that came, and is held already: both were compared with its SHA-256.

        ``sums`` and ``place`` as for `take_file`.
        """
        self._check_table(member, sums.sha256 if sums else "", place)
        self._whole.add(_key(member.sha256, member.of))

    def take_small(self, data: bytes, member: MemberRecord, place: str) -> None:
        """Take in a whole content that is in memory; raises `FormatError`, which names ``place``."""
        came = self._staging.add_bytes(data)
        if (came.sha256, came.size) != (member.sha256, member.of):
            raise DigestMismatchError("content differs from its signed SHA-256", place=place)
        self._check_table(member, came.blocks, place)
        self._whole.add(_key(member.sha256, member.of))

    def _check_table(self, member: MemberRecord, blocks: str, place: str) -> None:
        if self._tables.get(bytes.fromhex(member.sha256), blocks) != blocks:
            raise DigestMismatchError("content differs from its signed block table", place=place)

    def take_made(self, sha256: str, size: int, pieces: Iterable[bytes], place: str) -> None:
        """Take in a content that is made here, or came beside the parcel; raises `FormatError`, which names ``place``.

        It is compared with its SHA-256 like any other.
        """
        content = _HeldContent() if self._staging.holds(sha256, size) else self._staging.begin()
        try:
            content.append(pieces)
        except BaseException:
            content.abandon()
            raise
        if not content.finish(sha256, self._tables.get(bytes.fromhex(sha256), "")):
            raise DigestMismatchError("content that was made differs from its signed SHA-256", place=place)
        self._whole.add(_key(sha256, size))

    def take_held(self, sha256: str, size: int) -> None:
        """Count a content that the parcel leaves out, because its sender is told that it is held here."""
        if not self._staging.holds(sha256, size):
            raise DigestMismatchError("content that the parcel leaves out is not held here", place=f"content {sha256}")
        self._whole.add(_key(sha256, size))

    def check_complete(self) -> None:
        """Raise `UnexpectedError` unless every content of every listing was carried, with the size it has there."""
        for sha256 in self._growing:
            raise UnexpectedError(f"content {sha256} is cut in parts, and some are missing")
        for header in self._headers:
            for entry in self._staging.staged_entries(header.listing):
                if isinstance(entry, FileEntry) and entry.size and _key(entry.sha256, entry.size) not in self._whole:
                    raise UnexpectedError(
                        "no archive of the parcel holds its content",
                        place=f"{header.package}:{header.version}/{entry.path}",
                    )

    def abandon(self) -> None:
        """Keep nothing of what did not become whole."""
        for content in self._growing.values():
            content.abandon()


def _append_large(content: IncomingContent, source: BinaryIO, length: int, place: str) -> None:
    """Take in a member that is stored as it is; raises as `Codec.decode` does."""
    taken = content.append_from(source, length)
    if taken < length:
        raise DigestMismatchError(f"{taken} bytes where {length} are listed", place=place)
    if source.read(1):
        raise TooLargeError(f"expands to more than the {length} bytes listed", place=place)


class _HeldContent(IncomingContent):
    """Content that the store has already: what comes of it is only compared."""

    def __init__(self) -> None:
        self._digests = SideBlockHasher()

    @property
    def size(self) -> int:
        """See `IncomingContent.size`."""
        return self._digests.count

    def append(self, pieces: Iterable[bytes]) -> None:
        """See `IncomingContent.append`."""
        for data in pieces:
            self._digests.update(data)

    def append_from(self, source: BinaryIO, length: int) -> int:
        """See `IncomingContent.append_from`."""
        return sum(Pieces().pour(source, self._digests.works, length=length))

    def finish(self, sha256: str, blocks: str = "") -> bool:
        """See `IncomingContent.finish`."""
        came = self.stage()
        return came.sha256 == sha256 and blocks in ("", came.blocks)

    def stage(self) -> StoredContent:
        """See `IncomingContent.stage`; there is nothing to stage."""
        sha256, table = self._digests.finish()
        size = self.size
        self.abandon()
        return StoredContent(sha256=sha256, size=size, blocks=sha256_hex(table) if table else "")

    def abandon(self) -> None:
        """See `IncomingContent.abandon`."""
        self._digests.close()


_KEY = 40
"""Bytes of the key of a content: its SHA-256, and its size in 8 bytes."""


def _key(sha256: str, size: int) -> bytes:
    return bytes.fromhex(sha256) + size.to_bytes(8, "big")
