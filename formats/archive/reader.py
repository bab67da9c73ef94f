"""Reads archives: lists their members and gives the content of each."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Sequence
from typing import BinaryIO, cast

from formats.archive.header import START_SIZE, Member, Stored
from formats.archive.parse import parse_header, parse_packed, parse_start, unpack_header
from formats.digest import CHUNK
from formats.errors import DigestMismatchError, MalformedError, UnexpectedError, UnreadableError
from formats.names import fold


def _read(source: BinaryIO, offset: int, size: int, *, place: str) -> bytes:
    """Up to ``size`` bytes from ``offset``; raises `UnreadableError` where the medium fails."""
    try:
        source.seek(offset)
        return source.read(size)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error), place=place) from error


class _MemberStream(io.RawIOBase):
    """The content of one member; the read that reaches its end raises `DigestMismatchError` if its CRC-32 differs."""

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
    """An archive in a seekable binary file, which stays open, and is used by nobody else while members are read.

    Opening takes whole archives of stored plain files with distinct portable names, as `write_archive` and 7-Zip's
    ``-mx0`` make them; for all others it raises `MalformedError`, `UnknownFormatError`, `TooLargeError`,
    `IllegalNameError` or `UnexpectedError`, and `UnreadableError` where the medium fails. It does not look at content.
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

        The place of the error is the first member that is missing, different, or not listed.
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
        """The content of a member, by its number (from 0) or name, to be read once from its start.

        The read that reaches its end raises `DigestMismatchError` instead of giving the last bytes, if the content does
        not have the CRC-32 of the header: do not rely on what came before until then. Raises `UnreadableError` where
        the medium fails or has become shorter, `UnexpectedError` for a name that the archive does not hold, and
        IndexError for a number beyond its members.
        """
        if isinstance(index_or_name, str):
            if index_or_name not in self._index:
                raise UnexpectedError("no such member", place=index_or_name)
            index_or_name = self._index[index_or_name]
        return cast(BinaryIO, _MemberStream(self._source, self._stored[index_or_name]))
