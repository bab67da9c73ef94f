"""The room that requested parity takes: on a volume, and in the documents that every volume carries. Pure.

A parcel is planned before its archives are built, and they come out smaller than planned. What is said here holds for
any smaller archives too, however they then fall onto volumes: so that whatever was planned can be built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.error_codes import Code
from courier.errors import NoSpaceError, UsageError
from courier.parcel.archive_plan import place_on_volumes
from courier.parcel.parity_plan import FILL_DEPTH, FILL_PERCENT, SHARE_DEPTH, Cost, Redundancy, column_cost, share_shape
from formats.blocks import BLOCK, block_count
from formats.documents.packing import MAX_VOLUMES
from formats.parity.layout import FILE_LIMIT, MOST_COLUMNS, whole_symbols

_ROUNDING = 258
"""Parity blocks that a share may take on a volume beyond its own, because parity comes in whole rows."""
_LARGE = 1 << 30
"""Bytes of room from which that rounding is less than half of a volume."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityCount:
    """How much parity a packing list has to list: files, groups and blocks."""

    files: int = 0
    groups: int = 0
    blocks: int = 0


def most_volumes(*, archives: int, total: int, room: int) -> int:
    """Most data volumes that first fit makes of ``archives`` of ``total`` bytes together, with any parity.

    Two neighbouring volumes would not fit into one: their archives and the parity over those (at most one and a half
    times as large) fill more than ``room`` bytes, the room of a volume.
    """
    if room < _LARGE:
        return archives
    return min(archives, 8 * (total + archives * 2 * BLOCK) // room + 2)


def most_parity(
    *, archives: int, total: int, volumes: int, capacity: int, spares: int, redundancy: Redundancy
) -> ParityCount:
    """Most parity that a parcel of ``archives`` of ``total`` bytes has on at most so many data ``volumes``.

    ``capacity``: bytes of a medium.
    """
    if not archives or not (spares or redundancy.fill or redundancy.share):
        return ParityCount()
    all_blocks = total // BLOCK + archives
    blocks = min(all_blocks, capacity // BLOCK + archives)
    across = -(-volumes // max(1, MOST_COLUMNS - spares)) if spares else 0
    extra = across * spares
    columns, share, whole_rows = _on_medium(blocks, redundancy)
    # Only so many volumes can have as many blocks as it takes for parity to come in whole rows.
    in_rows = all_blocks // whole_rows if whole_rows else 0
    on_spares = extra * (blocks + share(blocks) + 1 + (_ROUNDING if whole_rows else 0))
    made = share(all_blocks) + volumes + in_rows * _ROUNDING + on_spares
    return ParityCount(
        # A column is one file, and one more for all that a file can hold; no file has less than a block.
        files=min((volumes + extra) * columns + extra + made // (FILE_LIMIT // BLOCK), made),
        groups=across + volumes + extra,
        blocks=made,
    )


def _on_medium(blocks: int, redundancy: Redundancy) -> tuple[int, _Share, int]:
    """(most parity columns on a volume of up to ``blocks``, most parity blocks by blocks, ``whole_rows``).

    ``whole_rows``: the least blocks on a volume for which parity comes in whole rows, at most `_ROUNDING` blocks more
    than the share; 0 where no volume can have so many. Elsewhere it is one block more at most.
    """
    if redundancy.fill:
        most = min(2 * FILL_DEPTH - 1, max(1, blocks * FILL_PERCENT // 100))
        return most, _Share(of=FILL_PERCENT, whole=100), 0
    if not redundancy.share:
        return 0, _Share(of=0, whole=1), 0
    wanted = -(-blocks * redundancy.share // (10_000 - redundancy.share))
    if blocks + wanted <= MOST_COLUMNS:
        return wanted, _Share(of=redundancy.share, whole=10_000 - redundancy.share), 0
    one_stripe = -(-MOST_COLUMNS * redundancy.share // 10_000)
    # Parity of whole rows: up to a quarter of the content more where columns are few.
    more = _Share(of=redundancy.share * 4 + 10_000 - redundancy.share, whole=4 * (10_000 - redundancy.share))
    whole_rows = max(1, MOST_COLUMNS * (10_000 - redundancy.share) // 10_000 - 1)
    return max(SHARE_DEPTH, one_stripe), more, whole_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class _Share:
    """``of`` parity blocks for ``whole`` blocks of content."""

    of: int
    whole: int

    def __call__(self, blocks: int) -> int:
        return -(-blocks * self.of // self.whole)


def share_need(blocks: int, longest: int, redundancy: Redundancy, cost: Cost) -> int:
    """Most bytes of the parity on a volume with ``blocks`` blocks of content, ``longest`` the bytes of the longest.

    0 for ``fill``, which takes what is left. ``cost``: the bytes that a file takes on the medium.
    """
    shape = None if redundancy.fill else share_shape(blocks, redundancy.share)
    if shape is None:
        return 0
    columns, parity = shape
    rows = -(-blocks // columns)
    return parity * (cost(whole_symbols(min(longest, BLOCK))) if rows == 1 else column_cost(rows, cost, BLOCK))


def payload_blocks(capacity: int, redundancy: Redundancy, *, cost: Cost = int, block_size: int = BLOCK) -> int:
    """Most blocks of content on a volume with ``capacity`` bytes for content and parity; any fewer fit as well.

    For a requested share it leaves room for the parity. The last, short block of a file counts as a whole one. With
    spare volumes the data volumes must keep to it too: a parity column has a whole block for every block of content.
    """

    def fits(blocks: int) -> bool:
        shape = None if redundancy.fill else share_shape(blocks, redundancy.share)
        parity = shape[1] * column_cost(-(-blocks // shape[0]), cost, block_size) if shape else 0
        return column_cost(blocks, cost, block_size) + parity <= capacity

    blocks = low = 0
    high = capacity // block_size
    while low <= high:
        middle = (low + high) // 2
        low, high, blocks = (middle + 1, high, middle) if fits(middle) else (low, middle - 1, blocks)
    # Parity grows in steps, so that fewer blocks may need more of it: go down to where all smaller numbers fit too. A
    # shape takes at most 256 blocks more than the least there is, which is within one row of what is wanted.
    unfit = (fewer for fewer in range(max(0, blocks - 1000), blocks) if not fits(fewer))
    return next(unfit, blocks + 1) - 1


def most_blocks(room: int, *, spares: int, redundancy: Redundancy, cost: Cost) -> int | None:
    """Most blocks of content on a volume with ``room`` bytes, so that the requested parity fits; None: not limited."""
    if not spares and not redundancy.share:
        return None
    return max(1, payload_blocks(room, redundancy, cost=cost))


def place_with_parity(sizes: Sequence[int], room: int, *, spares: int, redundancy: Redundancy, cost: Cost) -> list[int]:
    """The volume, from 1, of each archive: the first that has room for it and for the parity asked for.

    ``sizes``: bytes of the archives; ``room``: bytes that a volume has for archives and parity; ``cost``: the bytes
    that a file takes. Raises `NoSpaceError` for an archive that fits on no volume, `UsageError` for too many volumes.
    """
    most = most_blocks(room, spares=spares, redundancy=redundancy, cost=cost)
    if most is None:
        return place_on_volumes([cost(size) for size in sizes], room)
    volumes: list[_Filled] = []
    first_open = 0
    result = []
    for size in sizes:
        at = next((n for n in range(first_open, len(volumes)) if volumes[n].fits(size, room, most)), len(volumes))
        if at == len(volumes):
            volumes.append(_Filled(spares=spares, redundancy=redundancy, cost=cost))
            if not volumes[at].fits(size, room, most):
                raise NoSpaceError(
                    f"a volume is too small for an archive of {size:,} bytes and the parity asked for",
                    hint="choose a larger medium, ask for less redundancy, or take --redundancy fill",
                    code=Code.REDUNDANCY_TOO_LARGE,
                )
        volumes[at].add(size)
        while first_open < len(volumes) and volumes[first_open].blocks >= most:
            first_open += 1
        result.append(at + 1)
    if len(volumes) > MAX_VOLUMES:
        raise UsageError(
            f"that makes {len(volumes)} volumes; a parcel has at most {MAX_VOLUMES}", hint="choose a larger medium"
        )
    return result


class _Filled:
    """A volume that is being filled."""

    def __init__(self, *, spares: int, redundancy: Redundancy, cost: Cost) -> None:
        self.blocks = 0
        self._taken = 0
        self._longest = 0
        self._spares = spares
        self._redundancy = redundancy
        self._cost = cost

    def fits(self, size: int, room: int, most: int) -> bool:
        """Whether an archive of ``size`` bytes fits too: itself, the parity on the medium, and that on a spare."""
        blocks, taken = self.blocks + block_count(size), self._taken + self._cost(size)
        if taken > room or (self._spares and blocks > most):
            return False
        return taken + share_need(blocks, max(self._longest, size), self._redundancy, self._cost) <= room

    def add(self, size: int) -> None:
        """Put an archive of ``size`` bytes there."""
        self.blocks += block_count(size)
        self._taken += self._cost(size)
        self._longest = max(self._longest, size)
