"""The stripes of a parity group, cut in pieces that threads work on in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

from formats.parity.layout import Geometry
from formats.parity.sums import TILE, Load, Solver

MEMORY = 112 << 20
"""Bytes of buffers that `encode` and `mend` use, or a tile of each column where that is more.

The blocks of the row that is being mended come on top.
"""

Read = Callable[[int, int, int, memoryview], None]
"""``read(column, row, start, into)`` fills ``into`` with the block's bytes from byte ``start`` on.

It raises `UnreadableError` where it cannot. Several threads call it at once, never for a virtual block or past the end
of a block.
"""
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """``length`` bytes of the stripe ``row``, from byte ``start`` of every block."""

    row: int
    start: int
    length: int


class SolverPool:
    """One `Solver` for each thread, and ``step``: the bytes of the pieces that stripes are cut into for them."""

    def __init__(self, geometry: Geometry, rows: int, threads: int) -> None:
        # A few stripes are cut into smaller pieces, so that every thread gets some.
        most = min(MEMORY // (threads * Solver.memory(geometry.parity)), rows * geometry.block_size // (2 * threads))
        self.step = max(most // TILE, 1) * TILE
        size = min(self.step, geometry.row_length(0))
        self._idle: SimpleQueue[Solver] = SimpleQueue()
        for _ in range(threads):
            self._idle.put(Solver(size, geometry.parity))

    @contextmanager
    def borrow(self) -> Iterator[Solver]:
        """A solver that no other thread uses during the ``with`` block."""
        solver = self._idle.get()
        try:
            yield solver
        finally:
            self._idle.put(solver)


def stripe_pieces(geometry: Geometry, rows: Iterable[int], step: int) -> Iterator[Piece]:
    """The stripes of ``rows`` in pieces of at most ``step`` bytes: whole tiles, and a short last tile by itself."""
    for row in rows:
        whole = geometry.row_length(row)
        tiles = whole // TILE * TILE
        for start in range(0, tiles, step):
            yield Piece(row=row, start=start, length=min(step, tiles - start))
        if whole > tiles:
            yield Piece(row=row, start=tiles, length=whole - tiles)


def loader(geometry: Geometry, read: Read, piece: Piece) -> Load:
    """What reads a column's part of ``piece``: it fills short blocks up with zeros, and skips virtual blocks."""

    def load(column: int, into: memoryview) -> bool:
        stored = min(geometry.length(column, piece.row) - piece.start, piece.length)
        if stored <= 0:
            return False
        read(column, piece.row, piece.start, into[:stored])
        if stored < piece.length:
            into[stored:] = bytes(piece.length - stored)
        return True

    return load


def in_order(tasks: Iterable[_Task], work: Callable[[_Task], _Result], threads: int) -> Iterator[tuple[_Task, _Result]]:
    """Every task with the result of ``work`` on it, in the order of the tasks, worked on by ``threads`` threads.

    At most two tasks a thread are under way or wait for the caller. With one thread, the caller's own does all.
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
