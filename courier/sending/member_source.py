"""Reading what becomes a member of an archive from the store: counted, and checked where that can be."""

from __future__ import annotations

from typing import BinaryIO

from courier.errors import CourierError, DamagedError
from courier.parcel.archive_plan import PlannedMember
from formats.digest import HashingReader


class BuildStoppedError(Exception):
    """The build is being given up; its modules raise it to end their threads, and no other module sees it."""


class MemberSource:
    """The bytes of one member from a stored content: counted, and checked if it is a whole content."""

    def __init__(self, raw: BinaryIO, member: PlannedMember) -> None:
        self._raw = raw
        self._member = member
        self._left = member.length
        self._source = HashingReader(raw)
        raw.seek(member.offset)

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes; raises `DigestMismatchError` at the end if the content was not the right one."""
        wanted = min(size, self._left)
        if wanted == 0:
            return b""
        data = self._source.read(wanted)
        self._left -= len(data)
        content = self._member.content
        if not data or (self._left == 0 and self._member.length == content.size):
            self._source.verify(size=content.size, sha256=content.sha256, place=content.path)
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
