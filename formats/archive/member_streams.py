"""The content of the members of an archive, stored and in solid groups, as streams that check their CRC-32."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from formats.archive.header import Group, Stored
from formats.codecs import LZMA2
from formats.digest import CHUNK
from formats.errors import DigestMismatchError, FormatError, UnreadableError
from formats.streams import Stream


def read_at(source: BinaryIO, offset: int, size: int, *, place: str) -> bytes:
    """Up to ``size`` bytes from ``offset``; raises `UnreadableError` where the medium fails."""
    try:
        source.seek(offset)
        return source.read(size)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error), place=place) from error


class MemberStream(Stream):
    """The content of one member; the read that reaches its end raises `DigestMismatchError` if its CRC-32 differs.

    ``crc``: whether it is looked at; who compares the content with a stronger digest learns nothing from it.
    """

    def __init__(self, source: BinaryIO, stored: Stored, *, crc: bool = True) -> None:
        self._source = source
        self._stored = stored
        self._at = 0
        self._crc: int | None = 0 if crc else None

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Up to ``size`` bytes, fewer wherever it likes, none at the end alone."""
        if size is None or size < 0:
            return self.readall()
        if self.closed:
            raise ValueError("read of a closed member")
        member = self._stored.member
        left = member.size - self._at
        size = min(size, left)
        if size == 0:
            return b""
        data = self._next(size)
        self._count(data, left)
        return data

    def _count(self, data: bytes | memoryview, left: int) -> None:
        """Go on after the next bytes, of ``left`` to the end."""
        if self._crc is not None:
            crc = zlib.crc32(data, self._crc)
            if len(data) == left and crc != self._stored.crc32:
                name = self._stored.member.name
                raise DigestMismatchError("does not have the CRC-32 of the archive's header", place=name)
            self._crc = crc
        self._at += len(data)

    def _next(self, size: int) -> bytes:
        """The next bytes, one or more, and at most ``size``."""
        # Other members of the same archive may be read in between.
        member = self._stored.member
        data = read_at(self._source, self._stored.offset + self._at, size, place=member.name)
        if not data:
            raise self._ends_early()
        return data

    def readall(self) -> bytes:
        """All that is left."""
        return b"".join(iter(lambda: self.read(CHUNK), b""))

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into the beginning of ``buffer``; return how many bytes."""
        if self.closed:
            raise ValueError("read of a closed member")
        left = self._stored.member.size - self._at
        view = memoryview(buffer)[:left]
        if not view:
            return 0
        count = self._next_into(view)
        self._count(view[:count], left)
        return count

    def _next_into(self, view: memoryview) -> int:
        """Put the next bytes, one or more, at the beginning of ``view``; return how many."""
        member = self._stored.member
        try:
            self._source.seek(self._stored.offset + self._at)
            count: int = self._source.readinto(view)  # type: ignore[attr-defined]  # every binary file has it
        except OSError as error:
            raise UnreadableError(error.strerror or str(error), place=member.name) from error
        if not count:
            raise self._ends_early()
        return count

    def _ends_early(self) -> UnreadableError:
        member = self._stored.member
        left = member.size - self._at
        return UnreadableError(f"the archive ends {left} bytes before the member's end", place=member.name)


class _Packed(Stream):
    """The packed bytes of a solid group, in any pieces."""

    def __init__(self, source: BinaryIO, group: Group) -> None:
        self._source = source
        self._group = group
        self._at = 0

    def read(self, size: int | None = -1) -> bytes:
        left = self._group.packed - self._at
        size = left if size is None or size < 0 else min(size, left)
        if not size:
            return b""
        # Other members of the same archive may be read in between.
        data = read_at(self._source, self._group.offset + self._at, size, place="")
        if not data:
            raise UnreadableError(f"the archive ends {left} bytes before the solid group's end")
        self._at += len(data)
        return data


class _Unpacking:
    """A solid group while it is unpacked; ``at`` is how many bytes of its content were read."""

    def __init__(self, source: BinaryIO, group: Group) -> None:
        self.group = group
        self.at = 0
        self._pieces: Iterator[bytes] = LZMA2.unpack(
            _Packed(source, group), group.size, properties=group.properties, place=""
        )
        self._pending = b""

    def read(self, size: int) -> bytes:
        """The next bytes, one or more, and at most ``size``.

        The read that reaches the end of the group raises `FormatError` instead where its stream goes on, or is damaged.
        """
        while not self._pending:
            self._pending = next(self._pieces)
        data, self._pending = self._pending[:size], self._pending[size:]
        self.at += len(data)
        if self.at == self.group.size:
            # Its last pieces are empty, or are refused.
            for _ in self._pieces:
                pass
        return data


class Groups:
    """Unpacks the solid groups of an archive; members that are read one after the other share one unpacking."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._idle: _Unpacking | None = None

    def unpacking(self, group: Group, offset: int) -> _Unpacking:
        """A group that is unpacked up to byte ``offset`` of its content, and used by nobody else."""
        found, self._idle = self._idle, None
        if found is None or found.group != group or found.at > offset:
            found = _Unpacking(self._source, group)
        while found.at < offset:
            found.read(offset - found.at)
        return found

    def give_back(self, unpacking: _Unpacking) -> None:
        """Take an unpacking for the next member; raises nothing."""
        self._idle = unpacking


class SolidStream(MemberStream):
    """The content of a member of a solid group; raises what `LZMA2.unpack` raises, in the name of the member."""

    def __init__(self, groups: Groups, source: BinaryIO, stored: Stored, group: Group) -> None:
        super().__init__(source, stored)
        self._groups = groups
        self._group = group
        self._unpacking: _Unpacking | None = None

    def _next_into(self, view: memoryview) -> int:
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        offset = self._stored.offset + self._at
        try:
            if self._unpacking is None:
                self._unpacking = self._groups.unpacking(self._group, offset)
            data = self._unpacking.read(size)
        except FormatError as error:
            self._unpacking = None  # who reads on is told again
            raise type(error)(error.message, place=self._stored.member.name) from error.__cause__
        if self._unpacking.at == self._stored.offset + self._stored.member.size:
            self._groups.give_back(self._unpacking)
            self._unpacking = None
        return data
