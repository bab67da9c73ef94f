"""Mending a spool from parity: blocks that could not be read, and whole volumes that were lost.

`courier.parcel.parity_repair` decides what can be mended from what; this module does it. Only blocks that have their
signed digest are ever written into the spool, so that no wrong content can pass.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, cast

from courier.parcel.parity_files import FilePool, PooledFile
from courier.parcel.parity_repair import BlockAt, Group, ParcelParity, RepairStep, is_beyond_repair, plan_repair
from courier.receiving.spool import Filling, Spool
from formats.parity.column_files import ColumnFiles

ROWS_AT_ONCE = 16384
"""So many stripes are mended at once, so that what is done is kept and little memory is needed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MendReport:
    """What was mended from parity: the number of blocks, and the archive blocks ``left`` that are still missing."""

    mended: int
    left: tuple[BlockAt, ...]


def missing_blocks(spool: Spool, *, beside: Collection[int] = ()) -> list[BlockAt]:
    """Every block of archives and parity files that is not here, except those of the volumes ``beside``."""
    return [
        BlockAt(index, block)
        for index, file in enumerate(spool.packing.files())
        if file.volume not in beside
        for block, here in enumerate(spool.have(index))
        if not here
    ]


def absent_volumes(spool: Spool) -> set[int]:
    """The volumes of which no block is here."""
    files = spool.packing.files()
    return {file.volume for file in files} - {file.volume for at, file in enumerate(files) if any(spool.have(at))}


def would_mend_all(spool: Spool) -> bool:
    """Whether everything that is missing could be mended from parity now; no block is read for that."""
    parity = ParcelParity(spool.packing)
    return not is_beyond_repair(parity, absent_volumes(spool)) and not plan_repair(parity, missing_blocks(spool)).left


def mend_spool(spool: Spool) -> MendReport:
    """Mend all that parity allows. Call it alone with the spool.

    A block that turns out to be bad on our own disk is forgotten, and mended too if that is possible.
    """
    mended = _mend(spool, spares=True)
    left = tuple(at for at in missing_blocks(spool) if at.file < len(spool.packing.archives))
    return MendReport(mended=mended, left=left)


def mend_media(spool: Spool) -> int:
    """As `mend_spool`, but from each medium's own parity alone; return the number of blocks mended."""
    return _mend(spool, spares=False)


def _mend(spool: Spool, *, spares: bool) -> int:
    parity = ParcelParity(spool.packing)
    # Without spare volumes nothing can mend a volume of which nothing is here, and a thousand may be to come.
    absent = set() if spares else absent_volumes(spool)
    mended = 0
    while True:
        plan = plan_repair(parity, missing_blocks(spool, beside=absent), spares=spares)
        done = sum(_step(spool, parity, step) for step in plan.steps)
        mended += done
        if not done:
            return mended


def _step(spool: Spool, parity: ParcelParity, step: RepairStep) -> int:
    rows = list(step.stripes)
    pieces = (rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE))
    return sum(_rows(spool, parity.groups[step.group], {row: step.stripes[row] for row in piece}) for piece in pieces)


def _rows(spool: Spool, group: Group, rows: Mapping[int, frozenset[int]]) -> int:
    from formats.parity.reed_solomon import mend

    with ExitStack() as stack:
        pool = stack.enter_context(FilePool(lambda index: cast(BinaryIO, spool.path(index).open("rb", buffering=0))))
        opened: dict[int, BinaryIO] = {}
        for index in {index for column in group.files for index in column}:
            opened[index] = cast(BinaryIO, PooledFile(pool, index))
        fillings: dict[int, Filling] = {}
        blocks = ColumnFiles(group.geometry, [[opened[index] for index in column] for column in group.files])

        def at(column: int, row: int) -> BlockAt:
            block = group.at(column, row)
            if block is None:
                raise IndexError(f"virtual block: column {column}, row {row}")
            return block

        def check(column: int, row: int, data: bytes | memoryview) -> bool:
            block = at(column, row)
            return spool.table.is_good(block.file, block.block, data)

        def write(column: int, row: int, _start: int, data: bytes) -> None:
            block = at(column, row)
            if block.file not in fillings:
                fillings[block.file] = stack.enter_context(spool.filling(block.file))
            fillings[block.file].write(block.block, data)

        result = mend(group.geometry, rows, blocks.read, write, check=check)
    for column, row in result.found_bad:
        block = at(column, row)
        spool.drop_block(block.file, block.block)
    return result.blocks
