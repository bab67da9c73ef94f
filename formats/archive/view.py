"""Composes an archive while it is read; of stored members with the bytes that `formats.archive.write_archive` makes.

An archive adds 32 bytes before the content of its members, and a header after it. Where the content, its sizes and its
CRC-32s are known, the archive need not be written to be read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from formats.archive.header import START_SIZE, Member, Stored, check_clashes, header_bytes, start_header
from formats.errors import MalformedError, UnreadableError
from formats.streams import View


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A member, the CRC-32 of its content, and where that is: from byte ``offset`` of what ``open`` gives.

    For the first member of a solid group it is the stream of the whole group that is there; the others have nothing.
    ``open`` gives a new seekable stream every time.
    """

    member: Member
    crc32: int
    open: Callable[[], BinaryIO]
    offset: int = 0


class ArchiveView(View):
    """The archive of ``spans``, readable and seekable; one thread at a time may use it.

    The content is not checked, so compare the archive with its digest. Raises `MalformedError` where there is no
    member, or names clash, and ValueError for a member that goes on with a solid group where there is none. Reading
    raises `UnreadableError` where content ends early, and what reading the content raises.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        if not spans:
            raise MalformedError("an archive without members")
        check_clashes([span.member.name for span in spans])
        self._spans = spans
        self._starts = []
        at = START_SIZE
        for span in spans:
            self._starts.append(at)
            at += span.member.taken
        stored = [
            Stored(member=span.member, offset=start, crc32=span.crc32)
            for span, start in zip(spans, self._starts, strict=True)
        ]
        self._end = at
        self._header = header_bytes(stored)
        self._start = start_header(self._header, data=at - START_SIZE)
        super().__init__(at + len(self._header))
        self._open: tuple[int, BinaryIO] | None = None

    def _fill(self, into: memoryview) -> int:
        at = self._position
        if at < START_SIZE:
            return _copy(self._start[at:], into)
        if at >= self._end:
            return _copy(self._header[at - self._end :], into)
        number = bisect_right(self._starts, at) - 1
        span, within = self._spans[number], at - self._starts[number]
        source = self._content(number)
        source.seek(span.offset + within)
        count: int = source.readinto(into[: span.member.taken - within])  # type: ignore[attr-defined]
        if not count:
            raise UnreadableError(f"content ends {span.member.taken - within} bytes early", place=span.member.name)
        return count

    def _content(self, number: int) -> BinaryIO:
        """The content of a member; the last one used stays open."""
        if self._open is None or self._open[0] != number:
            self._release()
            self._open = number, self._spans[number].open()
        return self._open[1]

    def _release(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        """Close the content that is open."""
        self._release()
        super().close()


def _copy(data: bytes, into: memoryview) -> int:
    count = min(len(data), len(into))
    into[:count] = data[:count]
    return count
