"""How much parity a parcel carries and what that survives: pure judgement, no I/O. The layout is docs/parity.md.

Volumes are numbered through: data volumes 1 to V, then the spare volumes.

- **Spare volumes.** ``spares`` = M is a promise: lose any M volumes of the parcel, import all the same. One group of
  Reed-Solomon holds 255 columns, so more than 255 - M data volumes make several groups. On media of one size a spare
  volume has room for one group's parity column only, so that each group has M spare volumes of its own: G groups have
  G * M together. Data volume n belongs to group (n - 1) mod G, and so do spare volumes in their order: volumes that
  travel together are spread over the groups, and up to M *of each group* may be lost.
- **Redundancy on the medium.** A group over the volume's own blocks. An asked share is kept to the letter: any run of
  lost blocks of that share of the medium, parity included, is mended; on a volume of up to 255 blocks, so is any loss
  of that share, however scattered. ``fill`` takes what the medium has left, up to a tenth of the content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

from courier.error_codes import Code
from courier.errors import NoSpaceError, RefusedError, UsageError
from courier.text import listed
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
"""Most parity that ``fill`` makes, in percent of the content's blocks; one block at least."""
FILL_DEPTH = 4
"""Most parity columns of ``fill`` on a volume too large for one stripe: encoding time grows with their number."""
ASKED_DEPTH = 12
"""Most parity columns of an asked share there: whoever asks for it wants scattered damage mended, too."""

Cost = Callable[[int], int]
"""Bytes that a file of so many bytes takes on the medium."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Redundancy:
    """The ``--redundancy`` setting: ``fill``, or a ``share`` of the medium in 1/10,000; 0 is ``none``."""

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
class PlannedFile:
    """A parity file to be made: ``number`` from 1 through the parcel, ``size`` in bytes, and its volume."""

    number: int
    size: int
    volume: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityPlan:
    """All parity of a parcel: ``volumes`` with the spare ones, the parity files, the groups and their geometries.

    The groups over volumes come first: the parity on a spare volume may itself be protected there.
    """

    volumes: int
    files: tuple[PlannedFile, ...]
    groups: tuple[ParityGroup, ...]
    geometries: tuple[Geometry, ...]


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
    """Plan the parity of data volumes whose archives have the sizes (bytes) in ``volumes``.

    ``room``: bytes each data volume has left; ``spare_room``: bytes a spare volume has for parity files; None where
    nothing limits it. ``cost`` says what a file takes of them. Raises `UsageError` for a number of spare volumes that
    cannot be, `NoSpaceError` where what was asked for does not fit (`fill` always fits).
    """
    numbers = count(1)
    groups: list[tuple[ParityGroup, Geometry]] = []
    files: list[PlannedFile] = []
    content = {number: (tuple(sizes), room[number - 1] if room else None) for number, sizes in enumerate(volumes, 1)}

    def add(members: tuple[int, ...], spare: tuple[int, ...], geometry: Geometry) -> None:
        made = [
            PlannedFile(number=next(numbers), size=size, volume=volume)
            for volume in spare or members * geometry.parity
            for size in geometry.parity_files
        ]
        record = ParityGroup(
            volumes=members,
            spares=spare,
            columns=geometry.data,
            parity=geometry.parity,
            files=tuple(file.number for file in made),
        )
        groups.append((record, geometry))
        files.extend(made)

    for members, spare in spare_groups(len(volumes), spares):
        geometry = across([volumes[number - 1] for number in members], parity=spares, block_size=block_size)
        left = None if spare_room is None else spare_room - sum(cost(size) for size in geometry.parity_files)
        if left is not None and left < 0:
            raise NoSpaceError(
                f"spare volume {spare[0]} is {-left:,} bytes short of room for its parity",
                hint="leave more room on the data volumes, or choose a larger medium",
                code=Code.SPARE_TOO_SMALL,
            )
        add(members, spare, geometry)
        content |= dict.fromkeys(spare, (geometry.parity_files, left))
    for number, (sizes, left) in content.items():
        inner = _own(number, sizes, redundancy, room=left, cost=cost, block_size=block_size)
        if inner is not None:
            add((number,), (), inner)
    return ParityPlan(
        volumes=len(content),
        files=tuple(files),
        groups=tuple(record for record, _ in groups),
        geometries=tuple(geometry for _, geometry in groups),
    )


def spare_groups(volumes: int, spares: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(data volumes, spare volumes) of each group, in the order of its columns; raises `UsageError` beyond the
    limits."""
    if not 0 <= spares < MOST_COLUMNS:
        raise UsageError(f"{spares} spare volumes are not possible", hint=f"give 0 to {MOST_COLUMNS - 1}")
    if not spares or not volumes:
        return
    groups = -(-volumes // (MOST_COLUMNS - spares))
    total = volumes + groups * spares
    if total > MAX_VOLUMES:
        raise UsageError(
            f"that makes {total} volumes; a parcel has at most {MAX_VOLUMES}", hint="ask for fewer spare ones"
        )
    for first in range(groups):
        data = range(first + 1, volumes + 1, groups)
        yield tuple(data), tuple(range(volumes + first + 1, total + 1, groups))


def _own(
    volume: int, sizes: tuple[int, ...], redundancy: Redundancy, *, room: int | None, cost: Cost, block_size: int
) -> Geometry | None:
    """The geometry of a volume's own redundancy, or None for none."""
    blocks = sum(block_count(size, block_size) for size in sizes)
    if not blocks:
        return None
    if redundancy.fill:
        shape = _fill_shape(blocks, whole_symbols(min(max(sizes), block_size)), room, cost, block_size)
    else:
        shape = _asked_shape(blocks, redundancy.share)
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


def _asked_shape(blocks: int, share: int) -> tuple[int, int] | None:
    """(k, m) that mend any run of ``share``: one stripe of all blocks, which mends any loss of it, where that goes.

    Else, of the shapes that take little more than the least room, the one with most parity columns.
    """
    wanted = parity_blocks(blocks, share)
    if not wanted:
        return None
    if blocks + wanted <= MOST_COLUMNS:
        return blocks, wanted
    shapes = []
    for columns in filter(partial(fills, blocks), range(1, min(MOST_COLUMNS, blocks))):
        rows = -(-blocks // columns)
        # What a run across the seam between content and parity is shorter by (`longest_run`) is made up for.
        parity = -(-(wanted + columns * rows - blocks) // rows)
        if parity <= ASKED_DEPTH and columns + parity <= MOST_COLUMNS:
            shapes.append((parity * rows, parity, columns))
    least = min(shapes)[0]
    most = least + min(2 + wanted // 16, 256)
    parity, columns = max(shape[1:] for shape in shapes if shape[0] <= most)
    return columns, parity


def _fill_shape(blocks: int, longest: int, room: int | None, cost: Cost, block_size: int) -> tuple[int, int] | None:
    """(k, m) of at most `FILL_PERCENT`, in ``room`` bytes; ``longest``: bytes of the longest block."""
    most = max(1, blocks * FILL_PERCENT // 100)
    for parity in range(most if most < 2 * FILL_DEPTH else FILL_DEPTH, 0, -1):
        rows = most // parity
        if room is not None:
            rows = min(rows, max(1, room // (parity * block_size)))
            while rows > 1 and parity * _column_cost(rows, cost, block_size) > room:
                rows -= 1
            if rows == 1 and parity * cost(longest) > room:
                continue
        columns = -(-blocks // rows)
        if columns + parity <= MOST_COLUMNS:
            return columns, parity
    return None


def _column_cost(rows: int, cost: Cost, block_size: int) -> int:
    piece = FILE_LIMIT // block_size
    full, rest = divmod(rows, piece)
    return full * cost(piece * block_size) + (cost(rest * block_size) if rest else 0)


def payload_blocks(capacity: int, redundancy: Redundancy, *, cost: Cost = int, block_size: int = BLOCK) -> int:
    """Blocks of content that a volume with ``capacity`` bytes for content and parity may hold, or any number below.

    For an asked share it leaves room for the parity; a file counts with its last, short block as a whole one. With
    spare volumes, data volumes must keep to it too: a parity column has a whole block for every block of content.
    """

    def fits(blocks: int) -> bool:
        shape = None if redundancy.fill else _asked_shape(blocks, redundancy.share)
        parity = shape[1] * _column_cost(-(-blocks // shape[0]), cost, block_size) if shape else 0
        return _column_cost(blocks, cost, block_size) + parity <= capacity

    blocks = low = 0
    high = capacity // block_size
    while low <= high:
        middle = (low + high) // 2
        low, high, blocks = (middle + 1, high, middle) if fits(middle) else (low, middle - 1, blocks)
    # Parity grows in steps, so that fewer blocks may need more of it: go down to where all below fit, too. A shape
    # takes at most 256 blocks more than the least there is, and that is within a row of what is wanted.
    unfit = (fewer for fewer in range(max(0, blocks - 1000), blocks) if not fits(fewer))
    return next(unfit, blocks + 1) - 1


def check_waybill(groups: Sequence[ParityGroup], waybill: Collection[int]) -> None:
    """Raise `RefusedError` unless the whole ``waybill`` (volume numbers) may be lost and everything still be
    imported."""
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
                f"volumes {listed(lost)} travel on one waybill; their group survives the loss of {group.parity}",
                hint=f"divide the volumes over {fewest} waybills or more; or create it anew with more --spare-volumes",
                code=Code.WAYBILL_NOT_COVERED,
            )
    if carried - covered:
        raise RefusedError(
            f"volumes {listed(sorted(carried - covered))} have no spare volumes that could stand in for them",
            hint="create the parcel anew with as many --spare-volumes as travel on one waybill",
            code=Code.WAYBILL_NOT_COVERED,
        )


def promise(group: ParityGroup, geometry: Geometry) -> str:
    """What a group survives, in one sentence."""
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
