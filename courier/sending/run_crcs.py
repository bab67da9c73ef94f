"""The CRC-32 of a run of a content, which an archive names before its first byte, without reading the content.

It is put together from those of whole blocks, which were taken when the content was added. Only the blocks in which a
run begins or ends, where a content is cut, are read, and contents of one block.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from courier.parcel.archive_plan import Content, PlannedArchive, PlannedMember
from courier.parcel.patches import Contents
from courier.parcel.recipe_columns import RecipeMember
from courier.sending.member_source import bad_content
from courier.site.store.pack_file import LARGEST
from formats.blocks import BLOCK
from formats.crc32 import SIZE, combined, combined_blocks
from formats.streams import Stream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def run_crc32(contents: Contents, member: PlannedMember) -> int:
    """The CRC-32 of what becomes a member; raises `DamagedError` where a block that is read for it differs."""
    content, at, end = member.content, member.offset, member.offset + member.length
    if content.size <= BLOCK:
        return zlib.crc32(_whole(contents, content)[at:end])
    crcs = contents.block_crcs(content.sha256, content.size)
    crc = 0
    if at % BLOCK:
        head = min(end, at - at % BLOCK + BLOCK)
        crc = zlib.crc32(_part(contents, content, crcs, at, head))
        at = head
    whole = (end - at) // BLOCK * BLOCK
    crc = combined_blocks(crc, crcs[at // BLOCK * SIZE : (at + whole) // BLOCK * SIZE], BLOCK)
    at += whole
    if at == end:
        return crc
    if end == content.size:
        return combined(crc, _crc_of(crcs, at // BLOCK), end - at)
    return zlib.crc32(_part(contents, content, crcs, at, end), crc)


def _crc_of(crcs: bytes, block: int) -> int:
    return int.from_bytes(crcs[block * SIZE : block * SIZE + SIZE], "little")


def _whole(contents: Contents, content: Content) -> bytes:
    """A content of one block, which is compared with its SHA-256."""
    with contents.open_content(content.sha256) as source:
        data = source.read(content.size + 1)
    if hashlib.sha256(data).hexdigest() != content.sha256:
        raise bad_content(content.path)
    return data


def _part(contents: Contents, content: Content, crcs: bytes, begin: int, end: int) -> bytes:
    """The bytes of a content from ``begin`` to before ``end``, in one block, which is compared with its CRC-32."""
    block = begin // BLOCK
    with contents.open_content(content.sha256) as source:
        source.seek(block * BLOCK)
        data = source.read(min(BLOCK, content.size - block * BLOCK))
    if zlib.crc32(data) != _crc_of(crcs, block):
        raise bad_content(content.path)
    return data[begin - block * BLOCK : end - block * BLOCK]


def stored_members(contents: Contents, archive: PlannedArchive) -> Iterator[RecipeMember]:
    """The members of an archive all of whose members are stored as they are.

    For small contents nothing more is done than must be: there may be very many.
    """
    small, crc32 = contents.small, zlib.crc32
    for member in archive.members:
        content, length = member.content, member.length
        data = small(bytes.fromhex(content.sha256)) if length == content.size <= LARGEST else None
        if data is not None and len(data) == length:
            yield RecipeMember(planned=member, size=length, crc32=crc32(data), at=0)
        else:
            yield RecipeMember(planned=member, size=length, crc32=run_crc32(contents, member), at=member.offset)


class ComparedRun(Stream):
    """A stream of a content that is read from a member's begin to its end, and compared with the member's CRC-32.

    That the store still has what was added is proven by it, as the archive is read for its digests: its CRC-32s were
    taken from the very bytes of which the SHA-256 was. Raises `DamagedError` at the end of another run.
    """

    def __init__(self, raw: BinaryIO, member: PlannedMember, crc32: int) -> None:
        self._raw = raw
        self._member = member
        self._wanted = crc32
        self._crc = self._count = 0

    def seekable(self) -> bool:
        """True, as far as to the place that comes next."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to the place that comes next; raises `ValueError` for any other, as the run would not be compared."""
        if whence != io.SEEK_SET or offset != self._member.offset + self._count:
            raise ValueError("a run that is compared is read from its begin to its end")
        return self._raw.seek(offset)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer).cast("B")
        count: int = self._raw.readinto(view)  # type: ignore[attr-defined]  # every binary file has it
        self._crc = zlib.crc32(view[:count], self._crc)
        self._count += count
        if self._count == self._member.length and self._crc != self._wanted:
            raise bad_content(self._member.content.path)
        return count

    def close(self) -> None:
        """Close the content."""
        self._raw.close()
        super().close()
