"""Where every block of a parity group lies. Pure arithmetic.

A group has k data columns and m parity columns, k + m at most 255. Stripe i (a row) is block i of every column; a
column that is shorter gives *virtual* blocks of zeros, which are stored nowhere and cannot be lost. Any k blocks of
a stripe give back all the others (`formats.parity`).

There are two ways to make the columns:

- `across` volumes: a data column is all blocks of one volume, a parity column is the content of one spare volume;
- `within` one volume: its blocks, in order, are cut in k columns, so that stripe i holds blocks i, i + rows,
  i + 2 rows ... and a long scratch is spread over many stripes.

A parity block is as long as a block. In the last row it is only as long as the longest data block there, rounded up to
whole symbols, so that a small volume has small parity. A parity column is stored as files of at most `FILE_LIMIT` bytes
that hold whole blocks: block n of a parity file is the parity block of one row, and the block map covers it like any
other block.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from formats.blocks import BLOCK, block_count, block_length
from formats.errors import MalformedError
from formats.parity.field import ORDER

MOST_COLUMNS = ORDER
"""The most data and parity columns of one group: one for each element of GF(2^8) except zero."""
SYMBOLS = 8
"""Bytes of eight symbols of the code; the lengths of parity blocks and the block size are multiples of it."""
FILE_LIMIT = 2**32 - 1
"""The most bytes in a parity file (FAT32, ISO 9660 level 1)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a block lies: it is block ``block`` of file number ``file``, ``length`` bytes from byte ``offset``."""

    file: int
    block: int
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """The blocks of files of ``sizes`` bytes, one file after the other; every file starts a new block.

    Raises `MalformedError` for an empty file or a block size below 1.
    """

    sizes: tuple[int, ...]
    block_size: int = BLOCK
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise MalformedError("block size below 1")
        for number, size in enumerate(self.sizes):
            if size < 1:
                raise MalformedError("file without content in a parity group", place=f"sizes[{number}]")
        counts = (block_count(size, self.block_size) for size in self.sizes)
        object.__setattr__(self, "_starts", tuple(accumulate(counts, initial=0)))

    def __len__(self) -> int:
        return self._starts[-1]

    def place(self, index: int) -> Place:
        """Where block ``index`` of the chain lies; `IndexError` beyond its end."""
        if not 0 <= index < len(self):
            raise IndexError(f"no block {index} among {len(self)}")
        file = bisect_right(self._starts, index) - 1
        block = index - self._starts[file]
        length = block_length(self.sizes[file], block, self.block_size)
        return Place(file=file, block=block, offset=block * self.block_size, length=length)

    def index(self, file: int, block: int) -> int:
        """Number in the chain of block ``block`` of file ``file``; `IndexError` where there is none."""
        if not (0 <= file < len(self.sizes) and 0 <= block < self._starts[file + 1] - self._starts[file]):
            raise IndexError(f"no block {block} in file {file}")
        return self._starts[file] + block


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A data column: ``count`` blocks of ``chain`` from block ``first``."""

    chain: Chain
    first: int
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """One parity group, made by `across` or `within`; raises `MalformedError` for one that is not possible.

    Columns are numbered from 0: first the data columns, then the parity columns.
    """

    columns: tuple[Column, ...]
    parity: int
    block_size: int = BLOCK
    rows: int = field(init=False)
    _last: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.columns or self.parity < 1 or len(self.columns) + self.parity > MOST_COLUMNS:
            raise MalformedError(
                f"{len(self.columns)} data and {self.parity} parity columns; at least 1 of each, "
                f"at most {MOST_COLUMNS} together"
            )
        if any(column.chain.block_size != self.block_size for column in self.columns):
            raise MalformedError("columns of different block sizes in one group")
        if self.block_size % SYMBOLS:
            raise MalformedError(f"a block size that is no multiple of {SYMBOLS}")
        rows = max(column.count for column in self.columns)
        if rows < 1:
            raise MalformedError("a parity group without blocks")
        object.__setattr__(self, "rows", rows)
        longest = max(self.length(column, rows - 1) for column in range(self.data))
        object.__setattr__(self, "_last", whole_symbols(longest))

    @property
    def data(self) -> int:
        """Number of data columns, k."""
        return len(self.columns)

    @property
    def total(self) -> int:
        """Number of columns, k + m."""
        return len(self.columns) + self.parity

    def row_length(self, row: int) -> int:
        """Bytes in every parity block of ``row``; shorter data blocks count as filled up with zeros to this length."""
        return self._last if row == self.rows - 1 else self.block_size

    def place(self, column: int, row: int) -> Place | None:
        """Where the block of ``column`` in ``row`` lies among the files of that column; None if it is virtual.

        The files of a data column are those of its chain; those of a parity column are `parity_files`.
        """
        if not (0 <= column < self.total and 0 <= row < self.rows):
            raise IndexError(f"no column {column}, row {row} in a group of {self.total} columns, {self.rows} rows")
        if column >= self.data:
            file, block = divmod(row, self._file_blocks)
            return Place(file=file, block=block, offset=block * self.block_size, length=self.row_length(row))
        span = self.columns[column]
        return span.chain.place(span.first + row) if row < span.count else None

    def length(self, column: int, row: int) -> int:
        """Bytes stored of the block of ``column`` in ``row``; 0 if it is virtual."""
        place = self.place(column, row)
        return place.length if place else 0

    @property
    def _file_blocks(self) -> int:
        return FILE_LIMIT // self.block_size

    @property
    def parity_size(self) -> int:
        """Bytes of one parity column."""
        return (self.rows - 1) * self.block_size + self._last

    @property
    def parity_files(self) -> tuple[int, ...]:
        """Sizes in bytes of the files that one parity column is stored in."""
        piece = self._file_blocks * self.block_size
        full, rest = divmod(self.parity_size, piece)
        return (piece,) * full + ((rest,) if rest else ())

    def parity_row(self, file: int, block: int) -> int:
        """The row whose parity is block ``block`` of a column's file ``file``; `IndexError` where there is none."""
        row = file * self._file_blocks + block
        if not (file >= 0 and 0 <= block < self._file_blocks and row < self.rows):
            raise IndexError(f"no block {block} in parity file {file}")
        return row


def across(volumes: Sequence[Sequence[int]], *, parity: int, block_size: int = BLOCK) -> Geometry:
    """The group whose data columns are whole volumes; ``volumes[c]`` are the sizes in bytes of a volume's files."""
    chains = [Chain(sizes=tuple(sizes), block_size=block_size) for sizes in volumes]
    columns = tuple(Column(chain=chain, first=0, count=len(chain)) for chain in chains)
    return Geometry(columns=columns, parity=parity, block_size=block_size)


def within(sizes: Sequence[int], *, columns: int, parity: int, block_size: int = BLOCK) -> Geometry:
    """The group within one volume that has files of ``sizes`` bytes: N blocks in ``columns`` columns.

    Each column has ceil(N / columns) blocks; only the last may have fewer. Raises `MalformedError` where the blocks do
    not fill so many columns, so that there is one way to describe a group.
    """
    chain = Chain(sizes=tuple(sizes), block_size=block_size)
    if not 1 <= columns <= min(len(chain), MOST_COLUMNS) or not fills(len(chain), columns):
        raise MalformedError(f"{len(chain)} blocks do not make {columns} columns")
    rows = -(-len(chain) // columns)
    spans = (
        Column(chain=chain, first=first, count=min(rows, len(chain) - first)) for first in range(0, len(chain), rows)
    )
    return Geometry(columns=tuple(spans), parity=parity, block_size=block_size)


def whole_symbols(length: int) -> int:
    """``length`` bytes rounded up to whole symbols."""
    return -(-length // SYMBOLS) * SYMBOLS


def fills(count: int, columns: int) -> bool:
    """Whether ``count`` blocks, in columns of ceil(count / columns) blocks, fill exactly ``columns`` columns."""
    rows = -(-count // columns)
    return -(-count // rows) == columns


def longest_run(geometry: Geometry) -> int:
    """The most consecutive lost blocks that a group `within` a volume mends, wherever they lie.

    The blocks of a volume are those of its files in order, then those of the parity columns. The same stripe comes
    again after ``rows`` blocks, except where the last data column, which may lack d blocks, meets the parity: a run
    across that place may be d blocks shorter.
    """
    return (geometry.parity - 1) * geometry.rows + geometry.columns[-1].count
