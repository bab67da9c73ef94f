"""How much parity a parcel carries, and what losses it survives. docs/parity.md describes the layout.

Volumes are numbered consecutively: data volumes 1 to V, then the spare volumes.

- **Spare volumes.** ``spares`` = M is a promise: any M volumes of the parcel may be lost, and it can still be imported.
  One Reed-Solomon group holds 255 columns, so more than 255 - M data volumes make several groups. On media of one size
  a spare volume has room for the parity column of one group only, so each group has M spare volumes of its own: G
  groups have G * M together. Data volume n belongs to group (n - 1) mod G, and so do the spare volumes in their order:
  volumes that travel together are spread over the groups, and up to M *of each group* may be lost.
- **Redundancy on the medium.** A parity group over the blocks of one volume. A requested share is kept exactly: any run
  of lost blocks of that share of the medium, parity included, can be repaired; on a volume of up to 255 blocks so can
  any loss of that share, however scattered. ``fill`` uses what the medium has left, up to a tenth of the content.

A *stripe* is one row of a group: the blocks in that row of all its columns. Pure: no input or output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from courier.error_codes import Code
from courier.errors import NoSpaceError, RefusedError, UsageError
from courier.text import listed, volumes
from formats.blocks import BLOCK, block_count
from formats.documents.packing import MAX_VOLUMES, ParityGroup
from formats.parity.layout import (
    FILE_LIMIT,
    MOST_COLUMNS,
    Geometry,
    across,
    fills,
    longest_run,
    whole_symbols,
    within,
)

FILL_PERCENT = 10
"""Most parity that ``fill`` makes, in percent of the content's blocks; at least one block."""
FILL_DEPTH = 4
"""Most parity columns of ``fill`` on a volume too large for one stripe: encoding time grows with their number."""
SHARE_DEPTH = 12
"""Most parity columns of a requested share on such a volume: more of them repair more scattered damage."""

Cost = Callable[[int], int]
"""The bytes that a file takes on the medium, by its size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Redundancy:
    """The ``--redundancy`` setting: ``fill``, or a ``share`` of the medium in 1/10,000 (0: none)."""

    fill: bool = False
    share: int = 0

    @classmethod
    def parse(cls, text: str) -> Redundancy:
        """Read ``fill``, ``none``, ``5%`` or ``2.25%``; raises `UsageError` for anything else, and above 50%."""
        if text == "fill":
            return cls(fill=True)
        if text == "none":
            return cls()
        match = re.fullmatch(r"([0-9]{1,2})(?:\.([0-9]{1,2}))?%", text)
        share = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else 0
        if not 0 < share <= 5000:
            raise UsageError(f"{text!r} is not a redundancy", hint="give fill, none, or a share up to 50%, such as 5%")
        return cls(share=share)

    def __str__(self) -> str:
        if self.fill:
            return "fill"
        return f"{self.share / 100:g}%" if self.share else "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedParityFile:
    """A parity file to be made: its ``number`` in the parcel from 1, ``size`` in bytes, and its volume."""

    number: int
    size: int
    volume: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityPlan:
    """All parity of a parcel: the number of ``volumes``, spare ones included, parity files and groups.

    The groups over volumes come first: the parity on a spare volume may in turn be covered by a group there.
    """

    volumes: int
    files: tuple[PlannedParityFile, ...]
    groups: tuple[ParityGroup, ...]


def plan_parity(
    volumes: Sequence[Sequence[int]],
    *,
    spares: int = 0,
    redundancy: Redundancy,
    room: Sequence[int] | None = None,
    spare_room: int | None = None,
    cost: Cost = int,
    block_size: int = BLOCK,
) -> ParityPlan:
    """Plan the parity of data volumes; ``volumes`` has the sizes in bytes of the archives on each.

    ``room``: bytes each data volume has left. ``spare_room``: bytes that a spare volume has for parity files. None:
    not limited. ``cost``: the bytes of these that a file takes. Raises `UsageError` for an impossible number of spare
    volumes, `NoSpaceError` if what was requested does not fit (``fill`` always does).
    """
    draft = _Draft()
    content: dict[int, tuple[tuple[int, ...], int | None]] = {
        number: (tuple(sizes), room[number - 1] if room else None) for number, sizes in enumerate(volumes, 1)
    }
    for members, carriers in spare_groups(len(volumes), spares):
        geometry = across([volumes[number - 1] for number in members], parity=spares, block_size=block_size)
        left = None if spare_room is None else spare_room - sum(cost(size) for size in geometry.parity_files)
        if left is not None and left < 0:
            raise NoSpaceError(
                f"spare volume {carriers[0]} is {-left:,} bytes short of room for its parity",
                hint="leave more room on the data volumes, or choose a larger medium",
                code=Code.SPARE_TOO_SMALL,
            )
        draft.add(members, carriers, geometry)
        content |= dict.fromkeys(carriers, (geometry.parity_files, left))
    for number, (sizes, left) in content.items():
        on_medium = _on_medium(number, sizes, redundancy, room=left, cost=cost, block_size=block_size)
        if on_medium is not None:
            draft.add((number,), (), on_medium)
    return ParityPlan(volumes=len(content), files=tuple(draft.files), groups=tuple(draft.groups))


class _Draft:
    """The groups and parity files of a plan in the making, numbered in the order in which they are added."""

    def __init__(self) -> None:
        self.files: list[PlannedParityFile] = []
        self.groups: list[ParityGroup] = []

    def add(self, members: tuple[int, ...], carriers: tuple[int, ...], geometry: Geometry) -> None:
        """Add a group over the volumes ``members``; ``carriers`` are its spare volumes, none if it is on one medium."""
        places = [(on, size) for on in carriers or members * geometry.parity for size in geometry.parity_files]
        made = [
            PlannedParityFile(number=number, size=size, volume=on)
            for number, (on, size) in enumerate(places, len(self.files) + 1)
        ]
        self.groups.append(
            ParityGroup(
                volumes=members,
                spares=carriers,
                columns=geometry.data,
                parity=geometry.parity,
                files=tuple(file.number for file in made),
            )
        )
        self.files += made


def spare_groups(volumes: int, spares: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(data volumes, spare volumes) of each group over volumes, in the order of its columns.

    Raises `UsageError` beyond the limits.
    """
    if not 0 <= spares < MOST_COLUMNS:
        raise UsageError(f"{spares} spare volumes are not possible", hint=f"give 0 to {MOST_COLUMNS - 1}")
    if not spares or not volumes:
        return
    groups = -(-volumes // (MOST_COLUMNS - spares))
    total = volumes + groups * spares
    if total > MAX_VOLUMES:
        raise UsageError(
            f"that makes {total} volumes; a parcel has at most {MAX_VOLUMES}", hint="ask for fewer spare volumes"
        )
    for first in range(groups):
        data = range(first + 1, volumes + 1, groups)
        yield tuple(data), tuple(range(volumes + first + 1, total + 1, groups))


def _on_medium(
    volume: int, sizes: tuple[int, ...], redundancy: Redundancy, *, room: int | None, cost: Cost, block_size: int
) -> Geometry | None:
    """The geometry of the group on a single volume; None if it has none."""
    blocks = sum(block_count(size, block_size) for size in sizes)
    if not blocks:
        return None
    if redundancy.fill:
        shape = _fill_shape(blocks, whole_symbols(min(max(sizes), block_size)), room, cost, block_size)
    else:
        shape = share_shape(blocks, redundancy.share)
    if shape is None:
        return None
    geometry = within(sizes, columns=shape[0], parity=shape[1], block_size=block_size)
    need = geometry.parity * sum(cost(size) for size in geometry.parity_files)
    if room is not None and need > room:
        raise NoSpaceError(
            f"volume {volume} is {need - room:,} bytes short of room for {redundancy} redundancy",
            hint="put less on a volume, ask for less redundancy, or take --redundancy fill",
            code=Code.REDUNDANCY_TOO_LARGE,
        )
    return geometry


def parity_blocks(blocks: int, share: int) -> int:
    """Parity blocks that are ``share`` (in 1/10,000) of content and parity together, rounded up."""
    return -(-blocks * share // (10_000 - share))


@lru_cache(1 << 12)
def share_shape(blocks: int, share: int) -> tuple[int, int] | None:
    """(data columns, parity columns) that repair any run of ``share`` of the medium; None for no parity.

    If possible that is one stripe of all blocks, which repairs any loss of that share. Else, of the shapes that take
    little more than the least room, the one with most parity columns.
    """
    wanted = parity_blocks(blocks, share)
    if not wanted:
        return None
    if blocks + wanted <= MOST_COLUMNS:
        return blocks, wanted
    shapes = []
    for columns in filter(partial(fills, blocks), range(1, min(MOST_COLUMNS, blocks))):
        rows = -(-blocks // columns)
        # A run across the border of content and parity is shorter (`longest_run`): more parity makes up for that.
        parity = -(-(wanted + columns * rows - blocks) // rows)
        if parity <= SHARE_DEPTH and columns + parity <= MOST_COLUMNS:
            shapes.append((parity * rows, parity, columns))
    least = min(shapes)[0]
    most = least + min(2 + wanted // 16, 256)
    parity, columns = max(shape[1:] for shape in shapes if shape[0] <= most)
    return columns, parity


def _fill_shape(blocks: int, longest: int, room: int | None, cost: Cost, block_size: int) -> tuple[int, int] | None:
    """(data columns, parity columns) of at most `FILL_PERCENT` parity in ``room`` bytes (None: not limited).

    ``longest``: bytes of the longest block. None if not even one parity block has room.
    """
    most = max(1, blocks * FILL_PERCENT // 100)
    for parity in range(most if most < 2 * FILL_DEPTH else FILL_DEPTH, 0, -1):
        rows = most // parity
        if room is not None:
            rows = min(rows, max(1, room // (parity * block_size)))
            while rows > 1 and parity * column_cost(rows, cost, block_size) > room:
                rows -= 1
            if rows == 1 and parity * cost(longest) > room:
                continue
        columns = -(-blocks // rows)
        if columns + parity <= MOST_COLUMNS:
            return columns, parity
    return None


def column_cost(rows: int, cost: Cost, block_size: int) -> int:
    """Bytes that a column of ``rows`` whole blocks takes on the medium, in its files."""
    piece = FILE_LIMIT // block_size
    full, rest = divmod(rows, piece)
    return full * cost(piece * block_size) + (cost(rest * block_size) if rest else 0)


def check_waybill(groups: Sequence[ParityGroup], waybill: Collection[int]) -> None:
    """Raise `RefusedError` unless all volumes of ``waybill`` (numbers) may be lost and everything still be imported."""
    carried = set(waybill)
    covered: set[int] = set()
    for group in groups:
        if not group.spares:
            continue
        covered |= {*group.volumes, *group.spares}
        lost = sorted(carried & {*group.volumes, *group.spares})
        if len(lost) > group.parity and carried & set(group.volumes):
            fewest = max(-(-(g.columns + g.parity) // g.parity) for g in groups if g.spares)
            raise RefusedError(
                f"{volumes(lost)} travel on one waybill; their group survives the loss of {group.parity}",
                hint=f"divide the volumes over {fewest} waybills or more; or create it anew with more --spare-volumes",
                code=Code.WAYBILL_NOT_COVERED,
            )
    if carried - covered:
        raise RefusedError(
            f"there are no spare volumes that could replace {volumes(carried - covered)}",
            hint="create the parcel anew with as many --spare-volumes as travel on one waybill",
            code=Code.WAYBILL_NOT_COVERED,
        )


def promise(group: ParityGroup, geometry: Geometry) -> str:
    """What losses a group survives, in one sentence."""
    if group.spares:
        total = group.columns + group.parity
        return (
            f"any {group.parity} of the {total} volumes {listed(group.volumes)} "
            f"and spare {listed(group.spares)} may be lost"
        )
    run = longest_run(geometry)
    scattered = f"any {group.parity} of its blocks" + (
        f" in each of {geometry.rows} stripes" if geometry.rows > 1 else ""
    )
    return (
        f"on volume {group.volumes[0]} {scattered} may be lost, "
        f"or {run:,} in a row ({run * geometry.block_size / (1 << 20):,.1f} MiB)"
    )
