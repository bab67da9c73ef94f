"""Archives: complete 7z files under 4 GiB whose members are stored as they are (method COPY), plain files only.

Bytes are written and parsed here, not by py7zr: its writer stamps the present time and packs the header, so that size
and bytes cannot be known beforehand, and 1.1.4 takes 2.8 GB for the header of a 1,279-byte file. Tests use it as judge.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import BinaryIO, cast

from formats.archive.header import (
    ARCHIVE_LIMIT,
    MAX_MEMBERS,
    START_SIZE,
    ArchiveGauge,
    Member,
    Stored,
    check_clashes,
    header_bytes,
    start_header,
)
from formats.archive.parse import parse_header, parse_packed, parse_start, unpack_header
from formats.digest import CHUNK
from formats.errors import DigestMismatchError, MalformedError, TooLargeError, UnexpectedError, UnreadableError
from formats.names import check_member, fold


def archive_size(members: Iterable[Member]) -> int:
    """Bytes of the archive of these members, one or more: exact, and computed without their content.

    Nothing is checked; more than `ARCHIVE_LIMIT` says that they do not go in one archive.
    """
    gauge = ArchiveGauge()
    for member in members:
        gauge.add(member)
    return gauge.size


def _copy(source: BinaryIO, out: BinaryIO, member: Member) -> int:
    """Copy a member's content, which must be as long as it says; return its CRC-32."""
    crc = 0
    left = member.size
    while left:
        data = source.read(min(CHUNK, left))
        if not data:
            raise DigestMismatchError(f"content ends {left} bytes before its {member.size}", place=member.name)
        crc = zlib.crc32(data, crc)
        out.write(data)
        left -= len(data)
    if source.read(1):
        raise DigestMismatchError(f"content goes on after its {member.size} bytes", place=member.name)
    return crc


def write_archive(out: BinaryIO, members: Iterable[tuple[Member, Callable[[], BinaryIO]]]) -> int:
    """Write the archive of ``members`` to ``out``; return its size in bytes, which is their `archive_size`.

    Each member comes with what opens its content, which is read in pieces of `CHUNK` bytes and closed. The same
    members give the same bytes. ``out`` is empty, seekable and buffered; it is left at its end, not flushed. Its first
    32 bytes are zeros, so that it is no archive, until all the rest is written.

    Raises `DigestMismatchError` where content is not as long as its member says, `TooLargeError` past `ARCHIVE_LIMIT`
    or `MAX_MEMBERS` (before the member is opened), `IllegalNameError`, and `MalformedError` for a member without
    content, no member at all, or, when all are written, names that clash (`check_clashes`). What opening, reading or
    writing raises passes through.
    """
    out.write(bytes(START_SIZE))
    gauge = ArchiveGauge()
    stored: list[Stored] = []
    offset = START_SIZE
    for member, opener in members:
        check_member(member.name)
        if member.size < 1:
            raise MalformedError("a member without content", place=member.name)
        gauge.add(member)
        if len(stored) == MAX_MEMBERS:
            raise TooLargeError(f"more than {MAX_MEMBERS} members", place=member.name)
        if gauge.size > ARCHIVE_LIMIT:
            raise TooLargeError(f"the archive would be over {ARCHIVE_LIMIT} bytes", place=member.name)
        with closing(opener()) as source:
            crc = _copy(source, out, member)
        stored.append(Stored(member=member, offset=offset, crc32=crc))
        offset += member.size
    if not stored:
        raise MalformedError("an archive without members")
    check_clashes([item.member.name for item in stored])
    header = header_bytes(stored)
    out.write(header)
    out.seek(0)
    out.write(start_header(header, data=offset - START_SIZE))
    size = offset + len(header)
    out.seek(size)
    return size


def _read(source: BinaryIO, offset: int, size: int, *, place: str) -> bytes:
    """Up to ``size`` bytes from ``offset``; raises `UnreadableError` where the medium fails."""
    try:
        source.seek(offset)
        return source.read(size)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error), place=place) from error


class _MemberStream(io.RawIOBase):
    """The content of one member; the read that reaches its end raises `DigestMismatchError` if it was not the right
    one."""

    def __init__(self, source: BinaryIO, stored: Stored) -> None:
        self._source = source
        self._stored = stored
        self._at = 0
        self._crc = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return self.readall()
        if self.closed:
            raise ValueError("read of a closed member")
        member = self._stored.member
        left = member.size - self._at
        size = min(size, left)
        if size == 0:
            return b""
        # Other members of the same archive may be read in between.
        data = _read(self._source, self._stored.offset + self._at, size, place=member.name)
        if not data:
            raise UnreadableError(f"the archive ends {left} bytes before the member's end", place=member.name)
        crc = zlib.crc32(data, self._crc)
        if len(data) == left and crc != self._stored.crc32:
            raise DigestMismatchError("does not have the CRC-32 of the archive's header", place=member.name)
        self._crc = crc
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(CHUNK), b""))

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class ArchiveReader:
    """An archive in a seekable binary file, which stays open and is no one else's while members are read.

    Raises, on opening: `MalformedError`, `UnknownFormatError`, `TooLargeError`, `IllegalNameError` or
    `UnexpectedError`, for anything but whole archives of stored plain files with distinct portable names, as
    `write_archive` or 7-Zip's ``-mx0`` makes them; `UnreadableError` where the medium fails. The content is not looked
    at before it is read.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        size = source.seek(0, os.SEEK_END)
        start = parse_start(self._exactly(0, min(size, START_SIZE)), size=size)
        header = self._exactly(start.offset, start.size)
        if zlib.crc32(header) != start.crc32:
            raise MalformedError("does not have its CRC-32", place="header")
        end = start.offset
        packed = parse_packed(header, start=start)
        if packed is not None:
            end = packed.offset
            header = unpack_header(self._exactly(packed.offset, packed.size), packed)
        self._stored = parse_header(header, end=end)
        self._index = {item.member.name: n for n, item in enumerate(self._stored)}

    def _exactly(self, offset: int, size: int) -> bytes:
        pieces: list[bytes] = []
        while size:
            data = _read(self._source, offset, size, place="header")
            if not data:
                raise UnreadableError(f"the archive ends at byte {offset}", place="header")
            pieces.append(data)
            offset += len(data)
            size -= len(data)
        return b"".join(pieces)

    def members(self) -> list[Member]:
        """The members in stored order."""
        return [item.member for item in self._stored]

    def expect(self, members: Sequence[tuple[str, int]]) -> None:
        """Raise `UnexpectedError` unless the archive holds exactly these names and sizes (bytes), in this order.

        The error's place is the first member that is more, missing or other.
        """
        listed = {name for name, _ in members}
        for (name, size), item in zip(members, self._stored, strict=False):
            found = item.member
            if found.name == name and found.size == size:
                continue
            if found.name == name:
                raise UnexpectedError(f"has {found.size} bytes, {size} are listed", place=name)
            if fold(found.name) == fold(name):
                raise UnexpectedError(f"listed as {name!r}: other case or Unicode form", place=found.name)
            if found.name not in listed:
                raise UnexpectedError("not listed", place=found.name)
            if name not in self._index:
                raise UnexpectedError("listed but missing", place=name)
            raise UnexpectedError("in another place than listed", place=found.name)
        if len(self._stored) > len(members):
            raise UnexpectedError("not listed", place=self._stored[len(members)].member.name)
        if len(members) > len(self._stored):
            raise UnexpectedError("listed but missing", place=members[len(self._stored)][0])

    def open(self, index_or_name: int | str) -> BinaryIO:
        """The content of a member, by its place (from 0) or name, to be read once from its start.

        The read that reaches its end raises `DigestMismatchError` in place of the last bytes if the whole does not have
        the CRC-32 of the header, so what came before must not be relied on until then. Raises `UnreadableError` where
        the medium fails or has become shorter, `UnexpectedError` for a name that the archive does not hold, IndexError
        for a number beyond its members.
        """
        if isinstance(index_or_name, str):
            if index_or_name not in self._index:
                raise UnexpectedError("no such member", place=index_or_name)
            index_or_name = self._index[index_or_name]
        return cast(BinaryIO, _MemberStream(self._source, self._stored[index_or_name]))
