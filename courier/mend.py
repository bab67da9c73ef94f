"""Mending what gathers in a spool from parity: the blocks that could not be read, and whole volumes that were lost.

`courier.mending` says what mends what; this does it. Only blocks that have their signed digest are ever put into the
spool, so nothing here can make wrong content pass.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, cast

from courier.mending import BlockAt, Outcome, Protection, Step, settle
from courier.protecting import FilePool, PooledFile
from courier.spool import Filling, Spool
from formats.parity import mend
from formats.parity_files import ColumnFiles


@dataclass(frozen=True, kw_only=True, slots=True)
class MendReport:
    """What parity gave back: ``mended`` blocks, and the archive blocks ``left`` that are still missing."""

    mended: int
    left: tuple[BlockAt, ...]


def missing_blocks(spool: Spool) -> list[BlockAt]:
    """Every block that is not here, of archives and of parity files."""
    return [
        BlockAt(index, block)
        for index in range(len(spool.packing.files()))
        for block, here in enumerate(spool.have(index))
        if not here
    ]


def prospect(spool: Spool) -> Outcome:
    """What parity could do now, judged without reading anything."""
    return settle(Protection(spool.packing), missing_blocks(spool))


def mend_spool(spool: Spool, *, spares: bool = True) -> MendReport:
    """Give back all that parity can (without ``spares``: each medium's own).

    A block that turns out bad on our own disk is forgotten, and mended too if it can.

    Call it under the spool's lock.
    """
    protection = Protection(spool.packing)
    mended = 0
    while True:
        outcome = settle(protection, missing_blocks(spool), spares=spares)
        done = sum(_step(spool, protection, step) for step in outcome.steps)
        mended += done
        if not done:
            left = tuple(block for block in missing_blocks(spool) if protection.is_archive(block))
            return MendReport(mended=mended, left=left)


def _step(spool: Spool, protection: Protection, step: Step) -> int:
    group = protection.groups[step.group]
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

        result = mend(group.geometry, step.rows, blocks.read, write, check=check)
    for column, row in result.found_bad:
        block = at(column, row)
        spool.drop_block(block.file, block.block)
    return result.blocks
