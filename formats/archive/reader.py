"""Reads archives: lists their members and gives the content of each."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import BinaryIO, cast

from formats.archive.header import START_SIZE, Member
from formats.archive.member_streams import Groups, MemberStream, SolidStream, read_at
from formats.archive.parse import parse_header, parse_packed, parse_start, unpack_header
from formats.errors import MalformedError, UnexpectedError, UnreadableError
from formats.names import fold

Listed = tuple[str, int] | tuple[str, int, int]
"""What a member must be: name and size of its content in bytes; ``packed`` of `Member` where it is in a solid group."""


def _packed(member: Member) -> list[int]:
    """What stands in `Listed` after name and size."""
    return [] if member.packed is None else [member.packed]


def _packing(packed: Sequence[int]) -> str:
    if not packed:
        return "stored"
    return f"first of a solid group of {packed[0]} packed bytes" if packed[0] else "further on in a solid group"


class ArchiveReader:
    """An archive in a seekable binary file, which stays open, and is used by nobody else while members are read.

    Opening takes whole archives of plain files with distinct portable names, stored or in solid groups, as our writer
    and 7-Zip's ``-mx0`` and ``-m0=LZMA2`` make them; for all others it raises `MalformedError`, `UnknownFormatError`,
    `TooLargeError`, `IllegalNameError` or `UnexpectedError`, and `UnreadableError` where the medium fails. It does not
    look at content.
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
        self._groups = Groups(source)

    def _exactly(self, offset: int, size: int) -> bytes:
        pieces: list[bytes] = []
        while size:
            data = read_at(self._source, offset, size, place="header")
            if not data:
                raise UnreadableError(f"the archive ends at byte {offset}", place="header")
            pieces.append(data)
            offset += len(data)
            size -= len(data)
        return b"".join(pieces)

    def members(self) -> list[Member]:
        """The members in stored order."""
        return [item.member for item in self._stored]

    def expect(self, members: Sequence[Listed]) -> None:
        """Raise `UnexpectedError` unless the archive holds exactly these members, in this order.

        The place of the error is the first member that is missing, different, or not listed.
        """
        listed = {name for name, *_ in members}
        for (name, size, *packed), item in zip(members, self._stored, strict=False):
            found = item.member
            if (found.name, found.size) == (name, size) and packed == _packed(found):
                continue
            if found.name == name and found.size == size:
                raise UnexpectedError(f"is {_packing(_packed(found))}, listed as {_packing(packed)}", place=name)
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

    def open(self, index_or_name: int | str, *, crc: bool = True, through: BinaryIO | None = None) -> BinaryIO:
        """The content of a member, by its number (from 0) or name, to be read once from its start.

        ``crc``: False for who compares the content with a digest of his own: the CRC-32 is not looked at then, where
        the member is not in a solid group. ``through``: another stream of the same archive, from which the content of
        such a member is read.

        To read one of a solid group, what is before it in the group is unpacked as well; members that are read in
        stored order, each to its end, are unpacked in one pass.

        The read that reaches its end raises `DigestMismatchError` instead of giving the last bytes, if the content does
        not have the CRC-32 of the header: do not rely on what came before until then. Raises `MalformedError`,
        `TooLargeError` and `DigestMismatchError` for a solid group that is damaged, is not as long as its members, or
        goes on after them, `UnreadableError` where the medium fails or has become shorter, `UnexpectedError` for a name
        that the archive does not hold, and IndexError for a number beyond its members.
        """
        if isinstance(index_or_name, str):
            if index_or_name not in self._index:
                raise UnexpectedError("no such member", place=index_or_name)
            index_or_name = self._index[index_or_name]
        stored = self._stored[index_or_name]
        if stored.group is None:
            source = self._source if through is None else through
            return cast(BinaryIO, MemberStream(source, stored, crc=crc))
        return cast(BinaryIO, SolidStream(self._groups, self._source, stored, stored.group))
