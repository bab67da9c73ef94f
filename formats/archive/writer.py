"""Writes archives, and says beforehand how large they will be."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import BinaryIO

from formats.archive.gauge import ArchiveGauge
from formats.archive.header import (
    ARCHIVE_LIMIT,
    MAX_MEMBERS,
    START_SIZE,
    Member,
    Stored,
    check_clashes,
    header_bytes,
    start_header,
)
from formats.digest import CHUNK
from formats.errors import DigestMismatchError, MalformedError, TooLargeError
from formats.names import check_member


def archive_size(members: Iterable[Member]) -> int:
    """Exact bytes of the archive of these members, one or more, computed without their content.

    Nothing is checked. More than `ARCHIVE_LIMIT` means that they do not fit into one archive.
    """
    gauge = ArchiveGauge()
    for member in members:
        gauge.add(member)
    return gauge.size


def _copy(source: BinaryIO, out: BinaryIO, member: Member) -> int:
    """Copy the content of a member, which must be exactly ``member.size`` bytes; return its CRC-32."""
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
    """Write the archive of stored ``members`` to ``out``; return its size in bytes, which is their `archive_size`.

    Each member comes with a function that opens its content, which is read in pieces of `CHUNK` bytes and closed. The
    same members give the same bytes. ``out`` is empty, seekable and buffered; it is left at its end, not flushed. Its
    first 32 bytes stay zeros, so that it is not an archive, until all the rest is written.

    Raises `DigestMismatchError` where content is shorter or longer than its member says, `TooLargeError` past
    `ARCHIVE_LIMIT` or `MAX_MEMBERS` (before the member is opened), `IllegalNameError`, and `MalformedError` for a
    member without content or in a solid group, for no member at all and, after all are written, for names that clash
    (`check_clashes`). Errors of opening, reading and writing pass through.
    """
    out.write(bytes(START_SIZE))
    gauge = ArchiveGauge()
    stored: list[Stored] = []
    offset = START_SIZE
    for member, opener in members:
        check_member(member.name)
        if member.size < 1:
            raise MalformedError("a member without content", place=member.name)
        if member.packed is not None:
            raise MalformedError("a solid group is put together by ArchiveView", place=member.name)
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
