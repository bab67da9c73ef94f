"""Parity: Reed-Solomon over block columns, through zfec. The columns are `formats.parity_layout`.

Every block has a SHA-256 in a signed block map, so which blocks are bad is known beforehand (erasures), and what is
mended is checked against its digest again: wrong parity cannot make wrong content pass. The code itself is specified
in docs/parity.md, so that it can be read without zfec.

Stripes are worked on in pieces, by threads that read for themselves (zfec lets go of the interpreter lock), and
written by the caller's thread in order; memory is bounded by `MEMORY` however large the columns are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from queue import SimpleQueue
from typing import TypeVar

import zfec

from formats.blocks import ranges
from formats.errors import Unmendable, Unreadable
from formats.parity_layout import Geometry

MEMORY = 96 << 20
"""Bytes of buffers that `encode` and `mend` use; what is mended of one stripe comes on top."""
_PAGE = 4096

Read = Callable[[int, int, int, memoryview], None]
"""``read(column, row, start, into)`` fills ``into`` with the block's bytes from ``start`` on, or raises `Unreadable`.

Called from several threads at once, never for a virtual block nor past a block's end.
"""
Write = Callable[[int, int, int, bytes], None]
"""``write(column, row, start, data)`` puts ``data`` in the block's place from byte ``start`` on.

Called from the thread that called `encode` or `mend`, and no other.
"""
Check = Callable[[int, int, bytes | memoryview], bool]
"""``check(column, row, data)``: whether ``data`` is that block, by its digest in the block map."""

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What parity can do about lost blocks.

    ``mendable``: rows of which it gives back every data block. ``beyond``: row -> how many more good blocks that row
    would need; none of such a row's lost data blocks can be had from this group.
    """

    mendable: tuple[int, ...]
    beyond: Mapping[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mended:
    """What `mend` did: data blocks written, (column, row) found bad on the way, rows it had to leave as they were."""

    blocks: int
    found_bad: frozenset[tuple[int, int]]
    beyond: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    row: int
    start: int
    length: int


def survey(geometry: Geometry, missing: Mapping[int, Collection[int]]) -> Verdict:
    """Judge ``missing`` (row -> columns whose block is lost) without reading anything.

    Virtual blocks in it do not count. Rows that lost no data block appear nowhere: nothing needs doing.
    """
    mendable: list[int] = []
    beyond: dict[int, int] = {}
    for row in sorted(missing):
        lost = [column for column in set(missing[row]) if geometry.place(column, row) is not None]
        if any(column < geometry.data for column in lost):
            if len(lost) > geometry.parity:
                beyond[row] = len(lost) - geometry.parity
            else:
                mendable.append(row)
    return Verdict(mendable=tuple(mendable), beyond=beyond)


def encode(
    geometry: Geometry,
    read: Read,
    write: Write,
    *,
    wanted: Sequence[int] | None = None,
    threads: int = 2,
) -> None:
    """Make the parity columns, all of them or the ``wanted`` ones (column numbers from k to k + m - 1).

    Per column the pieces are written in order and without gaps, so that they can be appended and hashed as they
    come. Errors of ``read`` pass through.
    """
    columns = list(range(geometry.data, geometry.total)) if wanted is None else list(wanted)
    encoder = zfec.Encoder(geometry.data, geometry.total)
    sources = list(range(geometry.data))
    buffers = _Buffers(geometry, threads)

    def work(piece: _Piece) -> list[bytes]:
        with buffers.borrow() as buffer:
            return list(encoder.encode(_load(geometry, read, sources, piece, buffer), columns))

    for piece, made in _in_order(_pieces(geometry, range(geometry.rows), buffers.step), work, threads):
        for column, data in zip(columns, made, strict=True):
            write(column, piece.row, piece.start, data)


def mend(
    geometry: Geometry,
    missing: Mapping[int, Collection[int]],
    read: Read,
    write: Write,
    *,
    check: Check,
    threads: int = 2,
) -> Mended:
    """Give back the lost data blocks of ``missing`` (row -> columns whose block is lost, data and parity).

    Whole blocks are written, row by row, and only what passed ``check``. Raises `Unmendable`, naming the rows, before
    anything is read or written when more is lost than parity covers: leave out what `survey` finds beyond. A block
    that turns out unreadable, or wrong although it was thought good, is taken as lost as well; a row that this puts
    beyond parity is left as it was and named in the result.
    """
    verdict = survey(geometry, missing)
    if verdict.beyond:
        raise Unmendable(f"more blocks lost than parity covers in {_name(verdict.beyond)}")
    lost = {row: {column for column in missing[row] if geometry.length(column, row)} for row in verdict.mendable}
    return _Mending(geometry, read, write, check, threads).run(lost)


class _Mending:
    """One run of `mend`: rounds over the rows, until each is written or known to be beyond parity."""

    def __init__(self, geometry: Geometry, read: Read, write: Write, check: Check, threads: int) -> None:
        self._geometry = geometry
        self._read = read
        self._write = write
        self._check = check
        self._threads = threads
        self._decoder = zfec.Decoder(geometry.data, geometry.total)
        self._buffers = _Buffers(geometry, threads)
        self._lost: dict[int, set[int]] = {}
        self._found: set[tuple[int, int]] = set()
        self._blocks = 0

    def run(self, lost: dict[int, set[int]]) -> Mended:
        self._lost = lost
        beyond: set[int] = set()
        todo = sorted(lost)
        while todo:
            again: list[int] = []
            done = _in_order(_pieces(self._geometry, todo, self._buffers.step), self._decode, self._threads)
            for row, group in groupby(done, key=lambda pair: pair[0].row):
                bad = self._finish(row, [result for _, result in group])
                if bad is None:
                    continue
                self._found |= {(column, row) for column in bad}
                self._lost[row] |= bad
                if bad and len(self._lost[row]) <= self._geometry.parity:
                    again.append(row)
                else:
                    beyond.add(row)
            todo = again
        return Mended(blocks=self._blocks, found_bad=frozenset(self._found), beyond=tuple(sorted(beyond)))

    def _sources(self, row: int) -> list[int]:
        """The k columns to decode ``row`` from: good data columns in their own places, parity in the gaps."""
        lost, data = self._lost[row], self._geometry.data
        parity = (column for column in range(data, self._geometry.total) if column not in lost)
        return [next(parity) if column in lost else column for column in range(data)]

    def _decode(self, piece: _Piece) -> list[bytes] | int:
        """The recovered pieces in the order of their columns, or the number of a column that cannot be read."""

        def read(column: int, row: int, start: int, into: memoryview) -> None:
            try:
                self._read(column, row, start, into)
            except Unreadable:
                raise _ColumnLost(column) from None

        sources = self._sources(piece.row)
        with self._buffers.borrow() as buffer:
            try:
                views = _load(self._geometry, read, sources, piece, buffer)
            except _ColumnLost as lost:
                return lost.column
            # zfec reorders the very lists it is given: both are made for this call.
            decoded = self._decoder.decode(views, list(sources))
            return [decoded[column] for column, source in enumerate(sources) if source != column]

    def _finish(self, row: int, results: Sequence[list[bytes] | int]) -> set[int] | None:
        """Write what was recovered of ``row`` if all of it is right, and return None; else the columns found bad.

        An empty set says that the parity was wrong when it was made: its blocks have the digests they should have.
        """
        unreadable = {result for result in results if isinstance(result, int)}
        if unreadable:
            return unreadable
        pieces = [result for result in results if not isinstance(result, int)]
        columns = [column for column in range(self._geometry.data) if column in self._lost[row]]
        blocks = {
            column: b"".join([piece[at] for piece in pieces])[: self._geometry.length(column, row)]
            for at, column in enumerate(columns)
        }
        if not all(self._check(column, row, data) for column, data in blocks.items()):
            return {column for column in self._sources(row) if not self._is_good(column, row)}
        for column, data in blocks.items():
            self._write(column, row, 0, data)
        self._blocks += len(blocks)
        return None

    def _is_good(self, column: int, row: int) -> bool:
        length = self._geometry.length(column, row)
        if not length:
            return True
        data = memoryview(bytearray(length))
        try:
            self._read(column, row, 0, data)
        except Unreadable:
            return False
        return self._check(column, row, data)


class _ColumnLost(Exception):
    """A block of ``column`` could not be read; takes its number out of a reading loop."""

    def __init__(self, column: int) -> None:
        super().__init__(column)
        self.column = column


def _name(rows: Iterable[int]) -> str:
    """Up to eight ranges of rows, for an error's one line."""
    found = ranges(sorted(rows))
    named = [f"{first}" if first == last else f"{first} to {last}" for first, last in found[:8]]
    more = f" and {len(found) - 8} further ranges" if len(found) > 8 else ""
    return f"rows {', '.join(named)}{more}"


class _Buffers:
    """One buffer a thread, for the k pieces it works on, and the ``step`` (bytes) that stripes are cut in for them."""

    def __init__(self, geometry: Geometry, threads: int) -> None:
        # While a thread works on one piece, the m blocks it made of the piece before may still wait to be written.
        share = MEMORY // (threads * (geometry.data + 2 * geometry.parity))
        self.step = min(geometry.row_length(0), max(share // _PAGE, 1) * _PAGE)
        self._idle: SimpleQueue[memoryview] = SimpleQueue()
        for _ in range(threads):
            self._idle.put(memoryview(bytearray(geometry.data * self.step)))

    @contextmanager
    def borrow(self) -> Iterator[memoryview]:
        """A buffer for the time of a ``with``."""
        buffer = self._idle.get()
        try:
            yield buffer
        finally:
            self._idle.put(buffer)


def _pieces(geometry: Geometry, rows: Iterable[int], step: int) -> Iterator[_Piece]:
    for row in rows:
        whole = geometry.row_length(row)
        for start in range(0, whole, step):
            yield _Piece(row, start, min(step, whole - start))


def _load(
    geometry: Geometry, read: Read, sources: Sequence[int], piece: _Piece, buffer: memoryview
) -> list[memoryview]:
    """The pieces of the ``sources`` columns, in ``buffer``: short and virtual blocks filled up with zeros."""
    views = []
    for slot, column in enumerate(sources):
        view = buffer[slot * piece.length : (slot + 1) * piece.length]
        stored = max(0, min(geometry.length(column, piece.row) - piece.start, piece.length))
        if stored:
            read(column, piece.row, piece.start, view[:stored])
        if stored < piece.length:
            view[stored:] = bytes(piece.length - stored)
        views.append(view)
    return views


def _in_order(
    tasks: Iterable[_Task], work: Callable[[_Task], _Result], threads: int
) -> Iterator[tuple[_Task, _Result]]:
    """``work`` on every task by ``threads`` threads; results in the order of the tasks, few of them in advance."""
    waiting: deque[tuple[_Task, Future[_Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="parity") as pool:
        try:
            for task in tasks:
                if len(waiting) == 2 * threads:
                    first, result = waiting.popleft()
                    yield first, result.result()
                waiting.append((task, pool.submit(work, task)))
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:
            for _, result in waiting:
                result.cancel()
