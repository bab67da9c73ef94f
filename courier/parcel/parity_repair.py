"""Which bad blocks the parity of a parcel can give back, and which blocks must be requested for the rest.

A *stripe* is one row of a parity group: the blocks in that row of all its columns (docs/parity.md).

Groups over volumes and groups on a single medium help each other: a stripe that one group cannot repair may be
repaired by the other, and a block that was given back counts as good in the next step. `plan_repair` repeats this until
nothing more can be repaired. The drill before shipping, the repair of an arriving parcel and the repair request to the
sender all use it. Pure: no input or output.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from formats.blocks import block_count
from formats.documents.packing import PackingList, ParityGroup
from formats.errors import MalformedError
from formats.parity.layout import Geometry, across, within


class BlockAt(NamedTuple):
    """A block of a parcel as the block table counts: ``file`` is an index into `PackingList.files`."""

    file: int
    block: int


class Position(NamedTuple):
    """The position of a block in a parity group: index of the group in the packing list, column and row."""

    group: int
    column: int
    row: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A parity group bound to the files of its parcel: ``files[column]`` are indexes into `PackingList.files`."""

    record: ParityGroup
    geometry: Geometry
    files: tuple[tuple[int, ...], ...]

    def at(self, column: int, row: int) -> BlockAt | None:
        """The block at ``column`` and ``row``; None if the position is virtual."""
        place = self.geometry.place(column, row)
        return BlockAt(self.files[column][place.file], place.block) if place else None


class ParcelParity:
    """The parity groups of a parcel, and the positions of every block in them."""

    def __init__(self, packing: PackingList) -> None:
        """Raises `MalformedError` if the groups and the files of the packing list do not fit together."""
        self._files = packing.files()
        self._archives = len(packing.archives)
        self._block_size = packing.block_size
        self._on_volume: dict[int, list[int]] = defaultdict(list)
        for index, record in enumerate(self._files):
            self._on_volume[record.volume].append(index)
        binder = _Binder(packing)
        self.groups = tuple(binder.bind(group, f"groups[{n}]") for n, group in enumerate(packing.groups))
        # File -> (group, column, place of the file in that column).
        self._columns: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for number, group in enumerate(self.groups):
            for column, files in enumerate(group.files):
                if column == 0 or group.record.spares or column >= group.geometry.data:
                    for at, file in enumerate(files):
                        self._columns[file].append((number, column, at))

    def is_archive(self, block: BlockAt) -> bool:
        """Whether the block belongs to an archive, not to a parity file."""
        return block.file < self._archives

    def data_volumes(self) -> set[int]:
        """The numbers of the volumes that carry archives."""
        return {file.volume for file in self._files[: self._archives]}

    def blocks_on(self, volume: int) -> Iterator[BlockAt]:
        """Every block on a volume: all that is lost with it."""
        for number in self._on_volume.get(volume, ()):
            for block in range(block_count(self._files[number].size, self._block_size)):
                yield BlockAt(number, block)

    def positions(self, block: BlockAt) -> Iterator[Position]:
        """The positions of ``block``: none, one or two. Raises `IndexError` for a block that does not exist."""
        for number, column, at in self._columns.get(block.file, ()):
            geometry = self.groups[number].geometry
            if column >= geometry.data:
                yield Position(number, column, geometry.parity_row(at, block.block))
                continue
            index = geometry.columns[column].chain.index(at, block.block)
            if self.groups[number].record.spares:
                yield Position(number, column, index)
            else:
                yield Position(number, *divmod(index, geometry.rows))

    def order(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Indexes of the groups in the order to use them: (first, only when nothing else helps).

        First the groups on single data volumes, then those over volumes; the groups on spare volumes are the second
        part.
        """
        on_data: list[int] = []
        over_volumes: list[int] = []
        on_spares: list[int] = []
        for number, group in enumerate(self.groups):
            if group.record.spares:
                over_volumes.append(number)
            elif group.files[0][0] < self._archives:
                on_data.append(number)
            else:
                on_spares.append(number)
        return (*on_data, *over_volumes), tuple(on_spares)


class _Binder:
    """Finds the files of each group in a packing list, and refuses groups that do not fit."""

    def __init__(self, packing: PackingList) -> None:
        self._files = packing.files()
        self._block_size = packing.block_size
        self._first_parity = len(packing.archives)
        # The parity over volumes is in turn content of the group on its own medium; never the other way round.
        self._archives: dict[int, list[int]] = defaultdict(list)
        self._content: dict[int, list[int]] = defaultdict(list)
        over_volumes = {number for group in packing.groups if group.spares for number in group.files}
        for index, file in enumerate(self._files):
            if index < self._first_parity:
                self._archives[file.volume].append(index)
            if index < self._first_parity or file.number in over_volumes:
                self._content[file.volume].append(index)

    def bind(self, group: ParityGroup, place: str) -> Group:
        """The group with its files; raises `MalformedError` at ``place``."""
        held = self._archives if group.spares else self._content
        members = [tuple(held.get(volume, ())) for volume in group.volumes]
        if not all(members):
            raise MalformedError("a volume without content in a parity group", place=f"{place}.volumes")
        sizes = [[self._files[index].size for index in member] for member in members]
        try:
            if group.spares:
                geometry = across(sizes, parity=group.parity, block_size=self._block_size)
            else:
                geometry = within(sizes[0], columns=group.columns, parity=group.parity, block_size=self._block_size)
                members *= group.columns
        except MalformedError as error:
            raise MalformedError(error.message, place=place) from None
        return Group(record=group, geometry=geometry, files=(*members, *self._parity(group, geometry, place)))

    def _parity(self, group: ParityGroup, geometry: Geometry, place: str) -> Iterator[tuple[int, ...]]:
        numbers = iter(group.files)
        for carrier in group.spares or group.volumes * group.parity:
            column = []
            for size in geometry.parity_files:
                index = self._first_parity + next(numbers, 0) - 1
                if not self._first_parity <= index < len(self._files):
                    raise MalformedError("fewer parity files than the geometry needs", place=f"{place}.files")
                if (self._files[index].size, self._files[index].volume) != (size, carrier):
                    raise MalformedError("a parity file of another size or volume", place=f"{place}.files")
                column.append(index)
            yield tuple(column)
        if next(numbers, None) is not None:
            raise MalformedError("more parity files than the geometry needs", place=f"{place}.files")


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairStep:
    """One step of a repair: `formats.parity.mend` the ``stripes`` (row -> bad columns) of group number ``group``."""

    group: int
    stripes: Mapping[int, frozenset[int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairPlan:
    """How parity repairs given damage: the ``steps`` in order, and the archive blocks ``left`` bad after them.

    ``parity_left``: parity blocks still bad; they do not matter once no archive block is left.
    """

    steps: tuple[RepairStep, ...]
    left: tuple[BlockAt, ...]
    parity_left: tuple[BlockAt, ...]


class _Damage:
    """The bad blocks as each group sees them: row -> bad columns, as bits of a number to save memory.

    A lost tape has millions of bad blocks.
    """

    def __init__(self, parity: ParcelParity, bad: Iterable[BlockAt]) -> None:
        self.parity = parity
        self.bad = set(bad)
        self.stripes: list[dict[int, int]] = [{} for _ in parity.groups]
        for block in self.bad:
            for group, column, row in parity.positions(block):
                stripes = self.stripes[group]
                stripes[row] = stripes.get(row, 0) | 1 << column
        self.archive_blocks = sum(map(parity.is_archive, self.bad))

    def repair(self, number: int) -> RepairStep | None:
        """Repair every stripe that group ``number`` can; None if it can repair none."""
        group, bad = self.parity.groups[number], self.stripes[number]
        data, parity = group.geometry.data, group.geometry.parity
        data_columns = (1 << data) - 1
        # Stripes with the same bad columns share one set of them.
        same: dict[int, frozenset[int]] = {}
        stripes: dict[int, frozenset[int]] = {}
        for row in sorted(bad):
            bits = bad[row]
            if bits & data_columns and bits.bit_count() <= parity:
                stripes[row] = same.setdefault(bits, frozenset(_columns(bits)))
        for row, columns in stripes.items():
            for column in columns:
                block = group.at(column, row)
                if column < data and block is not None:
                    self._now_good(block)
        return RepairStep(group=number, stripes=stripes) if stripes else None

    def _now_good(self, block: BlockAt) -> None:
        self.bad.remove(block)
        self.archive_blocks -= self.parity.is_archive(block)
        for group, column, row in self.parity.positions(block):
            stripes = self.stripes[group]
            stripes[row] &= ~(1 << column)
            if not stripes[row]:
                del stripes[row]


def _columns(bits: int) -> Iterator[int]:
    """The columns whose bits are set, in ascending order."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def is_beyond_repair(parity: ParcelParity, absent: Collection[int]) -> bool:
    """Whether parity certainly cannot repair everything while no block of the ``absent`` volumes is here.

    It only counts volumes, so that the blocks of a thousand volumes still on their way are not examined one by one. If
    it says False, `plan_repair` gives the exact answer. True is certain: an absent volume has a bad block in the first
    stripe of its group, and the parity on the volume itself is absent with it.
    """
    lost, uncovered = set(absent), parity.data_volumes()
    for group in parity.groups:
        if group.record.spares:
            data = set(group.record.volumes)
            if lost & data and len(lost & {*data, *group.record.spares}) > group.geometry.parity:
                return True
            uncovered -= data
    return bool(lost & uncovered)


def plan_repair(parity: ParcelParity, bad: Iterable[BlockAt], *, spares: bool = True) -> RepairPlan:
    """Plan the repair of the ``bad`` blocks from parity, as far as it goes.

    Without ``spares`` only the parity on the data volumes themselves is used, each of which needs no other medium.

    The parity on the data volumes comes first, because it needs only one medium, then the spare volumes. The parity on
    the spare volumes is used only where nothing else helps. Parity blocks are never repaired for their own sake.
    """
    damage = _Damage(parity, bad)
    steps: list[RepairStep] = []
    first, last = parity.order()
    if not spares:
        first, last = tuple(number for number in first if not parity.groups[number].record.spares), ()
    while damage.archive_blocks:
        done = [step for number in first if (step := damage.repair(number))]
        done = done or [step for number in last if (step := damage.repair(number))]
        if not done:
            break
        steps += done
    return RepairPlan(
        steps=tuple(steps),
        left=tuple(block for block in sorted(damage.bad) if parity.is_archive(block)),
        parity_left=tuple(block for block in sorted(damage.bad) if not parity.is_archive(block)),
    )


def blocks_to_request(parity: ParcelParity, bad: Iterable[BlockAt]) -> tuple[BlockAt, ...]:
    """The fewest archive blocks to request from the sender so that parity can repair all the other ``bad`` blocks.

    Of a stripe with n bad blocks too many, n are requested. Parity blocks would serve as well but never better, so only
    archive blocks are requested. Where either kind of group (over volumes, on one medium) could be completed, the kind
    that needs fewer blocks is.
    """
    plan = plan_repair(parity, bad)
    damage = _Damage(parity, (*plan.left, *plan.parity_left))
    over_volumes = _completing(damage, plan.left, spares=True)
    on_media = _completing(damage, plan.left, spares=False)
    return tuple(sorted(on_media if len(on_media) < len(over_volumes) else over_volumes))


def _completing(damage: _Damage, left: Collection[BlockAt], *, spares: bool) -> set[BlockAt]:
    """The blocks that make every stripe of one kind of group repairable, and those of ``left`` in no such group."""
    uncovered = set(left)
    requested: set[BlockAt] = set()
    for group, stripes in zip(damage.parity.groups, damage.stripes, strict=True):
        if bool(group.record.spares) != spares:
            continue
        for row, columns in stripes.items():
            lost = [b for column in _columns(columns) if (b := group.at(column, row)) in uncovered and b]
            uncovered.difference_update(lost)
            requested.update(lost[: columns.bit_count() - group.geometry.parity])
    return requested | uncovered
