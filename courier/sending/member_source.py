"""Reading what becomes a member of an archive from the store: counted, and compared with what was added."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from courier.errors import CourierError, DamagedError
from courier.parcel.archive_plan import PlannedMember
from formats.digest import HashingReader


class BuildStoppedError(Exception):
    """The build is being given up; its modules raise it to end their threads, and no other module sees it."""


class MemberSource:
    """The bytes of one member from a stored content: counted, and compared with its SHA-256 if it is a whole content.

    ``crc32``: that of the member, by which a part of a content is compared; None where the caller does it.
    """

    def __init__(self, raw: BinaryIO, member: PlannedMember, crc32: int | None = None) -> None:
        self._raw = raw
        self._member = member
        self._left = member.length
        self._is_whole = member.length == member.content.size
        self._source = HashingReader(raw)
        self._wanted = crc32
        self._crc = 0
        raw.seek(member.offset)

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes; raises `DigestMismatchError` at the end if the content was not the right one."""
        wanted = min(size, self._left)
        if wanted == 0:
            return b""
        content = self._member.content
        if self._is_whole:
            data = self._source.read(wanted)
            self._left -= len(data)
            if not data or self._left == 0:
                self._source.verify(size=content.size, sha256=content.sha256, place=content.path)
            return data
        data = self._raw.read(wanted)
        self._left -= len(data)
        self._crc = zlib.crc32(data, self._crc)
        if not data or (self._left == 0 and self._wanted is not None and self._crc != self._wanted):
            raise bad_content(content.path)
        return data

    def __enter__(self) -> MemberSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()


def bad_content(path: str) -> CourierError:
    """The error for a content of the store that is not what its listing says; ``path`` of a file that has it."""
    return DamagedError(
        f"package store: {path}: the content is not what its listing says",
        hint="courier package verify names what is damaged; remove that package and add it again",
    )
