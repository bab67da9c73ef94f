"""Parity: Reed-Solomon over block columns. The columns are `formats.parity.layout`, the code `formats.parity.field`.

Every block has a SHA-256 in a signed block map, so which blocks are bad is known beforehand (erasures), and what is
mended is checked against its digest again: wrong parity cannot make wrong content pass. The code itself is specified
in docs/parity.md. Making parity is giving back parity columns of which all are lost: there is one way through the
code.

Stripes are worked on in pieces, by threads that read for themselves (long operations let go of the interpreter lock),
and written by the caller's thread in order; memory is bounded by `MEMORY` however large the columns are.
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

from formats.blocks import ranges
from formats.errors import UnmendableError, UnreadableError
from formats.parity.layout import Geometry
from formats.parity.sums import TILE, Workshop

MEMORY = 112 << 20
"""Bytes of buffers that `encode` and `mend` use, or a tile of each column; what is mended of a stripe comes on top."""

Read = Callable[[int, int, int, memoryview], None]
"""``read(column, row, start, into)`` fills ``into`` with the block's bytes from ``start`` on, or raises
`UnreadableError`.

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
    threads: int = 2,
) -> None:
    """Make the parity columns.

    Per column the pieces are written in order and without gaps, so that they can be appended and hashed as they
    come. Errors of ``read`` pass through.
    """
    sources, columns = range(geometry.data), range(geometry.data, geometry.total)
    bench = _Bench(geometry, geometry.rows, threads)

    def work(piece: _Piece) -> list[bytes]:
        with bench.borrow() as workshop:
            load = _loader(geometry, read, piece)
            return workshop.recover(load, sources, columns, columns, piece.length)

    for piece, made in _in_order(_pieces(geometry, range(geometry.rows), bench.step), work, threads):
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

    Whole blocks are written, row by row, and only what passed ``check``. Raises `UnmendableError`, naming the rows,
    before anything is read or written when more is lost than parity covers: leave out what `survey` finds beyond. A
    block that turns out unreadable, or wrong although it was thought good, is taken as lost as well; a row that this
    puts beyond parity is left as it was and named in the result.
    """
    verdict = survey(geometry, missing)
    if verdict.beyond:
        raise UnmendableError(f"more blocks lost than parity covers in {_name(verdict.beyond)}")
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
        self._lost: dict[int, set[int]] = {}
        self._found: set[tuple[int, int]] = set()
        self._blocks = 0

    def run(self, lost: dict[int, set[int]]) -> Mended:
        self._lost = lost
        self._bench = _Bench(self._geometry, len(lost), self._threads)
        beyond: set[int] = set()
        todo = sorted(lost)
        while todo:
            again: list[int] = []
            done = _in_order(_pieces(self._geometry, todo, self._bench.step), self._decode, self._threads)
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

    def _known(self, row: int) -> list[int]:
        lost = self._lost[row]
        return [column for column in range(self._geometry.total) if column not in lost]

    def _decode(self, piece: _Piece) -> list[bytes] | int:
        """The recovered pieces in the order of their columns, or the number of a column that cannot be read."""

        def read(column: int, row: int, start: int, into: memoryview) -> None:
            try:
                self._read(column, row, start, into)
            except UnreadableError:
                raise _ColumnLostError(column) from None

        lost = sorted(self._lost[piece.row])
        wanted = [column for column in lost if column < self._geometry.data]
        with self._bench.borrow() as workshop:
            try:
                load = _loader(self._geometry, read, piece)
                return workshop.recover(load, self._known(piece.row), lost, wanted, piece.length)
            except _ColumnLostError as found:
                return found.column

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
            return {column for column in self._known(row) if not self._is_good(column, row)}
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
        except UnreadableError:
            return False
        return self._check(column, row, data)


class _ColumnLostError(Exception):
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


class _Bench:
    """One `Workshop` a thread, and the ``step`` (bytes) that stripes are cut in for them."""

    def __init__(self, geometry: Geometry, rows: int, threads: int) -> None:
        # Few stripes are cut finer, so that every thread has its part.
        most = min(MEMORY // (threads * Workshop.memory(geometry.parity)), rows * geometry.block_size // (2 * threads))
        self.step = max(most // TILE, 1) * TILE
        size = min(self.step, geometry.row_length(0))
        self._idle: SimpleQueue[Workshop] = SimpleQueue()
        for _ in range(threads):
            self._idle.put(Workshop(size, geometry.parity))

    @contextmanager
    def borrow(self) -> Iterator[Workshop]:
        """A workshop for the time of a ``with``."""
        workshop = self._idle.get()
        try:
            yield workshop
        finally:
            self._idle.put(workshop)


def _pieces(geometry: Geometry, rows: Iterable[int], step: int) -> Iterator[_Piece]:
    """Stripes in pieces of whole tiles, a short tile by itself."""
    for row in rows:
        whole = geometry.row_length(row)
        tiles = whole // TILE * TILE
        for start in range(0, tiles, step):
            yield _Piece(row, start, min(step, tiles - start))
        if whole > tiles:
            yield _Piece(row, tiles, whole - tiles)


def _loader(geometry: Geometry, read: Read, piece: _Piece) -> Callable[[int, memoryview], bool]:
    """Reads a column's part of ``piece``: short blocks are filled up with zeros, virtual ones are not there."""

    def load(column: int, into: memoryview) -> bool:
        stored = min(geometry.length(column, piece.row) - piece.start, piece.length)
        if stored <= 0:
            return False
        read(column, piece.row, piece.start, into[:stored])
        if stored < piece.length:
            into[stored:] = bytes(piece.length - stored)
        return True

    return load


def _in_order(
    tasks: Iterable[_Task], work: Callable[[_Task], _Result], threads: int
) -> Iterator[tuple[_Task, _Result]]:
    """``work`` on every task by ``threads`` threads; results in the order of the tasks, few of them in advance.

    One thread is the caller's own.
    """
    if threads == 1:
        for task in tasks:
            yield task, work(task)
        return
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
