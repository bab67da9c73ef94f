"""Parity of a group: making its parity blocks, and giving back lost data blocks from what is left.

Every block has a SHA-256 in a signed block map, so it is known beforehand which blocks are bad (they are erasures), and
what is mended is compared with its digest: wrong parity cannot make wrong content pass. Making parity is mending parity
columns that are all lost, so there is one way through the code, which docs/parity.md specifies.

Threads read and compute pieces of stripes (`formats.parity.stripes`); the caller's thread writes them in order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from formats.blocks import ranges
from formats.errors import UnmendableError, UnreadableError
from formats.parity.layout import Geometry
from formats.parity.stripes import Piece, Read, SolverPool, in_order, loader, stripe_pieces

Write = Callable[[int, int, int, bytes], None]
"""``write(column, row, start, data)`` stores ``data`` as the block's bytes from byte ``start`` on.

Only the thread that called `encode` or `mend` calls it.
"""
Check = Callable[[int, int, bytes | memoryview], bool]
"""``check(column, row, data)`` says whether ``data`` is that block, by its digest in the block map."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What parity can do about lost blocks.

    ``mendable`` are the rows whose data blocks can all be given back. ``beyond`` maps each row of which no lost data
    block can be given back to the number of further good blocks that it needs.
    """

    mendable: tuple[int, ...]
    beyond: Mapping[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mended:
    """What `mend` did.

    ``blocks`` is the number of data blocks written, ``found_bad`` the (column, row) of blocks that turned out bad, and
    ``beyond`` the rows that were left as they were.
    """

    blocks: int
    found_bad: frozenset[tuple[int, int]]
    beyond: tuple[int, ...]


def survey(geometry: Geometry, missing: Mapping[int, Collection[int]]) -> Verdict:
    """What parity can do about ``missing`` (row -> columns whose block is lost), without reading anything.

    Virtual blocks do not count. Rows that lost no data block are in neither part of the verdict.
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
    """Make all parity blocks of a group, with ``threads`` threads.

    The pieces of each column are written in order and without gaps, so that they can be appended and hashed at once.
    Errors of ``read`` pass through.
    """
    sources, columns = range(geometry.data), range(geometry.data, geometry.total)
    solvers = SolverPool(geometry, geometry.rows, threads)

    def work(piece: Piece) -> list[bytes]:
        with solvers.borrow() as solver:
            load = loader(geometry, read, piece)
            return solver.recover(load, sources, columns, columns, piece.length)

    for piece, made in in_order(stripe_pieces(geometry, range(geometry.rows), solvers.step), work, threads):
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
    """Give back the lost data blocks of ``missing`` (row -> columns whose data or parity block is lost).

    Whole blocks are written, row by row, and only those that passed ``check``. A block that turns out unreadable or
    wrong is taken as lost too; where a row then lacks more than parity covers, it is left as it was and named in the
    result. Raises `UnmendableError`, which names the rows, before anything is read or written where ``missing`` alone
    is more than parity covers: leave out the rows that `survey` finds beyond parity.
    """
    verdict = survey(geometry, missing)
    if verdict.beyond:
        raise UnmendableError(f"more blocks lost than parity covers in {_name(verdict.beyond)}")
    lost = {row: {column for column in missing[row] if geometry.length(column, row)} for row in verdict.mendable}
    return _Mending(geometry, read, write, check, threads).run(lost)


class _Mending:
    """One run of `mend`: passes over the rows until each is written, or known to be beyond parity."""

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
        self._solvers = SolverPool(self._geometry, len(lost), self._threads)
        beyond: set[int] = set()
        todo = sorted(lost)
        while todo:
            again: list[int] = []
            done = in_order(stripe_pieces(self._geometry, todo, self._solvers.step), self._decode, self._threads)
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

    def _decode(self, piece: Piece) -> list[bytes] | int:
        """The recovered pieces in the order of their columns, or the number of a column that cannot be read."""

        def read(column: int, row: int, start: int, into: memoryview) -> None:
            try:
                self._read(column, row, start, into)
            except UnreadableError:
                raise _ColumnLostError(column) from None

        lost = sorted(self._lost[piece.row])
        wanted = [column for column in lost if column < self._geometry.data]
        with self._solvers.borrow() as solver:
            try:
                load = loader(self._geometry, read, piece)
                return solver.recover(load, self._known(piece.row), lost, wanted, piece.length)
            except _ColumnLostError as found:
                return found.column

    def _finish(self, row: int, results: Sequence[list[bytes] | int]) -> set[int] | None:
        """Write the recovered blocks of ``row`` if all are right, and return None; otherwise the columns found bad.

        An empty set means that parity was wrong when it was made: every block read has its digest.
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
    """A block of ``column`` could not be read; carries the column out of `Solver.recover`."""

    def __init__(self, column: int) -> None:
        super().__init__(column)
        self.column = column


def _name(rows: Iterable[int]) -> str:
    """Up to eight ranges of rows, for a message of one line."""
    found = ranges(sorted(rows))
    named = [f"{first}" if first == last else f"{first} to {last}" for first, last in found[:8]]
    more = f" and {len(found) - 8} further ranges" if len(found) > 8 else ""
    return f"rows {', '.join(named)}{more}"
