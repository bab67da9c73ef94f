"""The gzip stream of contents. Long runs of lines are compressed apart, so that each is compressed once for all uses.

What is compressed apart (the lines of a long listing, of an archive with many members) refers to nothing before it: its
bytes follow from its lines alone, and stand in the stream of any contents. A reader sees one gzip stream (RFC 1952).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import BinaryIO

_LEVEL, _STRATEGY = 4, zlib.Z_FILTERED
"""They decide the bytes. Half of a line is a digest, which does not shrink: the strategy does not look for the short
repetitions there that only chance makes, and takes a tenth less room and time."""
_HEADER = b"\x1f\x8b\x08\0" + bytes(4) + b"\0\xff"
"""A gzip header without time, name and system: the same contents make the same bytes."""
_BUFFER = 1 << 16
"""Bytes of lines that are compressed together, and of compressed ones that are copied together."""
_UNPACKED = 1 << 20
"""Bytes that are unpacked at once, at most."""


def _deflate() -> zlib._Compress:
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, _STRATEGY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run of ``lines`` lines that was compressed apart: its ``size`` bytes from ``at`` of the file it is kept in."""

    at: int
    size: int
    lines: int


class LineStream:
    """Compresses lines into one gzip stream, whose bytes are given to ``emit`` piece by piece."""

    def __init__(self, emit: Callable[[bytes], object]) -> None:
        self._emit = emit
        self._deflate = _deflate()
        self._waiting: list[bytes] = []
        self._waiting_size = self._crc = self._length = 0
        emit(_HEADER)

    def put(self, data: bytes) -> None:
        """Take the next line or lines."""
        self._waiting.append(data)
        self._waiting_size += len(data)
        if self._waiting_size >= _BUFFER:
            self._pack()

    def _pack(self) -> None:
        self._emit(self._deflate.compress(self._counted(b"".join(self._waiting))))
        self._waiting, self._waiting_size = [], 0

    def _counted(self, data: bytes) -> bytes:
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)
        return data

    def apart(self, lines: Iterable[bytes], keep: BinaryIO | None = None) -> Run:
        """Take lines that are compressed apart; the bytes are written to the file ``keep`` too, where it stands."""
        self._break()
        deflate, count, begin, size = _deflate(), 0, 0 if keep is None else keep.tell(), 0
        for data, of in _together(lines):
            count += of
            size += self._given(deflate.compress(self._counted(data)), keep)
        size += self._given(deflate.flush(zlib.Z_FULL_FLUSH), keep)
        return Run(at=begin, size=size, lines=count)

    def _break(self) -> None:
        """Let what follows begin with a byte, and refer to nothing before it."""
        self._pack()
        self._emit(self._deflate.flush(zlib.Z_FULL_FLUSH))

    def _given(self, packed: bytes, keep: BinaryIO | None) -> int:
        self._emit(packed)
        if keep is not None:
            keep.write(packed)
        return len(packed)

    def again(self, run: Run, kept: BinaryIO) -> None:
        """Take a run that was compressed apart before, from the file ``kept``."""
        self._break()
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        for packed in _pieces(kept, run):
            self._emit(packed)
            left = packed
            while left:
                self._counted(inflate.decompress(left, _UNPACKED))
                left = inflate.unconsumed_tail

    def finish(self) -> None:
        """End the stream."""
        self._pack()
        self._emit(self._deflate.flush())
        self._emit(struct.pack("<2I", self._crc, self._length & 0xFFFF_FFFF))

    def copy(self, emit: Callable[[bytes], object]) -> LineStream:
        """Another stream that has taken the same so far, and gives its bytes to ``emit`` from here on."""
        self._pack()
        other = copy(self)
        other._deflate, other._waiting, other._emit = self._deflate.copy(), [], emit
        return other


def _together(lines: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Lines joined to pieces that are worth compressing, and how many each has."""
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _BUFFER:
            yield b"".join(waiting), len(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting), len(waiting)


def _pieces(kept: BinaryIO, run: Run) -> Iterator[bytes]:
    kept.seek(run.at)
    left = run.size
    while left:
        piece = kept.read(min(_BUFFER, left))
        if not piece:
            raise EOFError("what was compressed apart is not there any more")
        left -= len(piece)
        yield piece
