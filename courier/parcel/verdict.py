"""The verdict of a verification on a medium or a parcel, and checking files block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.errors import CourierError, DamagedError
from courier.site.clock import now
from courier.site.trust import Trust
from courier.text import dashed
from formats.blocks import BlockTable, ranges
from formats.documents import packing as packing_doc
from formats.documents.packing import PackingList
from formats.errors import FormatError
from formats.records import format_time


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What verification found of one medium or parcel.

    ``number`` and ``of``: the volume, 0 for a parcel. ``bytes``: how many there were to check. ``problems`` is empty
    when all is well. ``reasons`` say what the verdict rests on, ``notes`` what is worth knowing although the content is
    good. ``errors``: those of the problems that are no damage of content, each with what to do about it.
    ``incomplete``: more of a parcel that arrives is to come.
    """

    what: str
    parcel: str
    number: int
    of: int
    bytes: int
    damaged_blocks: int
    problems: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    errors: tuple[CourierError, ...] = ()
    incomplete: bool = False


def signed_by(packing: PackingList) -> str:
    """Who signed a packing list, for whom and when, for people."""
    made = f"{format_time(packing.created_ns)[:16].replace('T', ' ')}Z"
    return f"signed by {packing.source} for {', '.join(packing.destinations)}, {made}, with a key valid then"


def builds_on(packing: PackingList) -> list[str]:
    """That a parcel is a delta, and on which versions, for people; nothing of any other parcel."""
    return [f"a delta on {packing.based_on}: of use only where that is held"] if packing.bases else []


def spans_text(spans: Sequence[tuple[int, int]]) -> str:
    """Ranges of block numbers, first and last of each, for people: ``blocks 1-3, 7``. The first eight are named."""
    shown = dashed(spans[:8])
    more = f" and {len(spans) - 8} more ranges" if len(spans) > 8 else ""
    one = len(spans) == 1 and spans[0][0] == spans[0][1]
    return f"block{'' if one else 's'} {shown}{more}"


def check_files(
    packing: PackingList,
    table: BlockTable,
    pending: Sequence[bytearray],
    open_file: Callable[[int], BinaryIO],
    progress: Callable[[int], None],
) -> tuple[list[str], list[CourierError], int]:
    """Read the blocks of a parcel's files that are here, and compare them with the block table.

    ``pending``: for each file a byte a block, 1 where it is here. Returns what is wrong, in words; errors that have a
    remedy of their own; and the number of damaged blocks. ``progress`` is called with the bytes of each block.
    """
    problems: list[str] = []
    errors: dict[str, CourierError] = {}
    damaged = 0
    for index in range(len(packing.files())):
        if not any(pending[index]):
            continue
        try:
            with open_file(index) as source:
                bad = [*table.bad_blocks(source, index, pending[index], progress)]
        except OSError as error:
            problems.append(f"{packing.path(index)}: {error.strerror}")
        except FormatError as error:
            problems.append(f"{packing.path(index)}: {error.message}")
        except CourierError as error:
            # One key that cannot be read keeps every file from being read; it is said once.
            if errors.setdefault(error.code, error).message != error.message:
                problems.append(f"{packing.path(index)}: {error.message}")
        else:
            problems += [f"{packing.path(index)}: {spans_text(ranges(bad))} damaged"] if bad else []
            damaged += len(bad)
    return problems, [*errors.values()], damaged


def untrusted_packing_list(trust: Trust, path: Path) -> list[CourierError]:
    """Why the signed packing list at ``path`` is not to be trusted; empty when it is."""
    try:
        trust.verify(path.read_bytes(), packing_doc.KIND, now_ns=now(), where=path.name, on_medium=True)
    except CourierError as error:
        return [error]
    return []


def spoilt(parcel: str, hint: str) -> DamagedError:
    """The error for content of a parcel that has changed on our own disk; ``hint``: what to do about it."""
    return DamagedError(f"{parcel} is not good on this computer's disk", hint=f"{hint}; and check the disk")
