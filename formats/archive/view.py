"""Composes an archive while it is read; of stored members with the bytes that `formats.archive.write_archive` makes.

An archive adds 32 bytes before the content of its members, and a header after it. Where the content, its sizes and its
CRC-32s are known, the archive need not be written to be read.
"""

from __future__ import annotations

import io
import threading
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import BinaryIO

from formats.archive.header import START_SIZE, Columns, Member, Stored, check_clashes, columns_of, start_header
from formats.errors import MalformedError, UnreadableError
from formats.records import Many
from formats.streams import View


class Span(Many, frozen=True, kw_only=True):
    """A member, the CRC-32 of its content, and where that is: from byte ``offset`` of what ``open`` gives.

    For the first member of a solid group it is the stream of the whole group that is there; the others have nothing.
    ``open`` is given the number of the member in the archive, from 0, and gives a new seekable stream every time.
    """

    member: Member
    crc32: int
    open: Callable[[int], BinaryIO]
    offset: int = 0


def _not_at_once(_number: int) -> None:
    """No member is had other than by opening it."""


class ArchiveView(View):
    """The archive of ``spans``, readable and seekable; one thread at a time may use it.

    The content is not checked, so compare the archive with its digest. Raises `MalformedError` where there is no
    member, or names clash, and ValueError for a member that goes on with a solid group where there is none. Reading
    raises `UnreadableError` where content ends early, and what reading the content raises.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        check_clashes([span.member.name for span in spans])
        openers = [span.open for span in spans]
        self._lay_out(
            columns_of([Stored(member=span.member, offset=0, crc32=span.crc32) for span in spans]),
            offsets=[span.offset for span in spans],
            openers=openers[:1] if all(one is openers[0] for one in openers) else openers,
            at_once=_not_at_once,
        )

    @classmethod
    def of_columns(
        cls,
        columns: Columns,
        *,
        offsets: Sequence[int],
        opener: Callable[[int], BinaryIO],
        at_once: Callable[[int], bytes | None] = _not_at_once,
    ) -> ArchiveView:
        """The archive of members whose names do not clash, which is not looked at again.

        ``offsets`` and ``opener`` are as in `Span`. ``at_once``: the bytes of a member at offset 0 where they can be
        had without opening it, in little time and memory; else None.
        """
        view = cls.__new__(cls)
        view._lay_out(columns, offsets=offsets, openers=[opener], at_once=at_once)
        return view

    def _lay_out(
        self,
        columns: Columns,
        *,
        offsets: Sequence[int],
        openers: Sequence[Callable[[int], BinaryIO]],
        at_once: Callable[[int], bytes | None],
    ) -> None:
        if not columns.names:
            raise MalformedError("an archive without members")
        header = columns.header()
        # Parity has a few hundred archives open at once: of each member only this is kept.
        self._starts = array("Q", accumulate(columns.taken, initial=START_SIZE))
        self._end = self._starts[-1]
        self._offsets = array("Q", offsets) if any(offsets) else None
        self._openers = openers
        self._at_once = at_once
        self._packed_names = zlib.compress("\0".join(columns.names).encode(), 1)
        self._packed_header = zlib.compress(header, 1)
        self._start = start_header(header, data=self._end - START_SIZE)
        super().__init__(self._end + len(header))
        self._open: tuple[int, BinaryIO] | None = None

    def _fill(self, into: memoryview) -> int:
        at = self._position
        if at < START_SIZE:
            return _copy(self._start[at:], into)
        if at >= self._end:
            return _copy(_unpacked(self._packed_header)[at - self._end :], into)
        number = bisect_right(self._starts, at) - 1
        is_open = self._open is not None and self._open[0] == number
        if at == self._starts[number] and not is_open and (count := self._fill_at_once(number, into)):
            return count
        left = self._starts[number + 1] - at
        source = self._content(number)
        source.seek((self._offsets[number] if self._offsets else 0) + at - self._starts[number])
        count = int(source.readinto(into[:left]))  # type: ignore[attr-defined]
        if not count:
            name = zlib.decompress(self._packed_names).decode().split("\0")[number]
            raise UnreadableError(f"content ends {left} bytes early", place=name)
        return count

    def _fill_at_once(self, number: int, into: memoryview) -> int:
        """Put as many whole members as there is room for at the beginning of ``into``, from ``number`` on.

        Returns their bytes. The first that has no room is opened, and read on from there.
        """
        starts, at_once, count = self._starts, self._at_once, 0
        room, last = len(into), len(starts) - 1
        while number < last and count < room and (data := at_once(number)) is not None:
            size = len(data)
            if size != starts[number + 1] - starts[number]:
                break
            if count + size > room:
                self._release()
                self._open = number, io.BytesIO(data)
                break
            into[count : count + size] = data
            count += size
            number += 1
        return count

    def _content(self, number: int) -> BinaryIO:
        """The content of a member; the last one used stays open."""
        if self._open is None or self._open[0] != number:
            self._release()
            self._open = number, self._openers[min(number, len(self._openers) - 1)](number)
        return self._open[1]

    def _release(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        """Close the content that is open."""
        self._release()
        super().close()


class _LastHeader(threading.local):
    """The header that a thread unpacked last: one with many members has a megabyte, and is read piece by piece."""

    packed = b""
    header = b""


_LAST_HEADER = _LastHeader()


def _unpacked(packed: bytes) -> bytes:
    last = _LAST_HEADER
    if last.packed is not packed:
        last.packed, last.header = packed, zlib.decompress(packed)
    return last.header


def _copy(data: bytes, into: memoryview) -> int:
    count = min(len(data), len(into))
    into[:count] = data[:count]
    return count
