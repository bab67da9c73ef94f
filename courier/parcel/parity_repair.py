"""What mends what: given a packing list and the blocks that are bad, which parity gives back which. Pure, no I/O.

Groups over volumes and redundancy on the medium help each other: a stripe that is beyond one may be mended by the
other, and what that gives back counts for the next. `settle` follows this to its end and is used alike by the
drill before shipping, by the repair and by the request that goes to the sender for the rest.
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
    """A block of a parcel, as its block table counts: ``file`` is an index into `PackingList.files`."""

    file: int
    block: int


class Seat(NamedTuple):
    """Where a block sits in parity: index of the group in the packing list, column, row."""

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
        """The block in ``column`` and ``row``; None if it is virtual."""
        place = self.geometry.place(column, row)
        return BlockAt(self.files[column][place.file], place.block) if place else None


class Protection:
    """The parity groups of a parcel, and the seats of every block in them."""

    def __init__(self, packing: PackingList) -> None:
        """Raises `MalformedError` where groups and files of the packing list do not fit together."""
        self._files = packing.files()
        self._archives = len(packing.archives)
        self._block_size = packing.block_size
        self._on: dict[int, list[int]] = defaultdict(list)
        for index, record in enumerate(self._files):
            self._on[record.volume].append(index)
        binder = _Binder(packing)
        self.groups = tuple(binder.bind(group, f"groups[{n}]") for n, group in enumerate(packing.groups))
        self._homes: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for number, group in enumerate(self.groups):
            for column, files in enumerate(group.files):
                if column == 0 or group.record.spares or column >= group.geometry.data:
                    for at, file in enumerate(files):
                        self._homes[file].append((number, column, at))

    def is_archive(self, block: BlockAt) -> bool:
        """Whether the block is content, not parity."""
        return block.file < self._archives

    def data_volumes(self) -> set[int]:
        """The volumes with archives."""
        return {file.volume for file in self._files[: self._archives]}

    def blocks_on(self, volume: int) -> Iterator[BlockAt]:
        """Every block on a volume: what is lost with it."""
        for number in self._on.get(volume, ()):
            for block in range(block_count(self._files[number].size, self._block_size)):
                yield BlockAt(number, block)

    def seats(self, block: BlockAt) -> Iterator[Seat]:
        """Where ``block`` sits: in no group, one, or two; `IndexError` for a block that is not there."""
        for number, column, at in self._homes.get(block.file, ()):
            geometry = self.groups[number].geometry
            if column >= geometry.data:
                yield Seat(number, column, geometry.parity_row(at, block.block))
                continue
            index = geometry.columns[column].chain.index(at, block.block)
            if self.groups[number].record.spares:
                yield Seat(number, column, index)
            else:
                yield Seat(number, *divmod(index, geometry.rows))

    def order(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Groups in the order to try them: on data volumes, then over volumes; and apart, those on spare volumes."""
        kinds: tuple[list[int], list[int], list[int]] = ([], [], [])
        for number, group in enumerate(self.groups):
            kinds[1 if group.record.spares else 0 if group.files[0][0] < self._archives else 2].append(number)
        return (*kinds[0], *kinds[1]), tuple(kinds[2])


class _Binder:
    """Finds the files of each group in a packing list, and refuses what does not fit together."""

    def __init__(self, packing: PackingList) -> None:
        self._files = packing.files()
        self._block_size = packing.block_size
        self._first = len(packing.archives)
        # Content by volume: parity over volumes is itself protected on its medium, never by parity over volumes.
        self._archives: dict[int, list[int]] = defaultdict(list)
        self._content: dict[int, list[int]] = defaultdict(list)
        over_volumes = {number for group in packing.groups if group.spares for number in group.files}
        for index, file in enumerate(self._files):
            if index < self._first:
                self._archives[file.volume].append(index)
            if index < self._first or file.number in over_volumes:
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
                index = self._first + next(numbers, 0) - 1
                if not self._first <= index < len(self._files):
                    raise MalformedError("fewer parity files than the geometry asks", place=f"{place}.files")
                if (self._files[index].size, self._files[index].volume) != (size, carrier):
                    raise MalformedError("a parity file of another size or volume", place=f"{place}.files")
                column.append(index)
            yield tuple(column)
        if next(numbers, None) is not None:
            raise MalformedError("more parity files than the geometry asks", place=f"{place}.files")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing to do: `formats.parity.mend` the ``rows`` of group ``group`` (row -> columns that are bad)."""

    group: int
    rows: Mapping[int, frozenset[int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What parity makes of damage: the ``steps`` in order, and the archive blocks still bad after them.

    ``parity_left``: parity blocks still bad; nothing needs them once no archive block is left.
    """

    steps: tuple[Step, ...]
    left: tuple[BlockAt, ...]
    parity_left: tuple[BlockAt, ...]


class _State:
    """Bad blocks, seen from every group: row -> bad columns, as the bits of a number: a lost tape has millions."""

    def __init__(self, protection: Protection, bad: Iterable[BlockAt]) -> None:
        self.protection = protection
        self.bad = set(bad)
        self.rows: list[dict[int, int]] = [{} for _ in protection.groups]
        for block in self.bad:
            for group, column, row in protection.seats(block):
                rows = self.rows[group]
                rows[row] = rows.get(row, 0) | 1 << column
        self.archives = sum(map(protection.is_archive, self.bad))

    def forget(self, block: BlockAt) -> None:
        """Count ``block`` as good from now on."""
        self.bad.remove(block)
        self.archives -= self.protection.is_archive(block)
        for group, column, row in self.protection.seats(block):
            rows = self.rows[group]
            rows[row] &= ~(1 << column)
            if not rows[row]:
                del rows[row]

    def mend(self, number: int) -> Step | None:
        """Mend what group ``number`` can of its rows; None where that is nothing."""
        group, bad = self.protection.groups[number], self.rows[number]
        data, parity = group.geometry.data, group.geometry.parity
        of_data = (1 << data) - 1
        # Rows in which the same columns are bad share one set of them.
        same: dict[int, frozenset[int]] = {}
        rows: dict[int, frozenset[int]] = {}
        for row in sorted(bad):
            bits = bad[row]
            if bits & of_data and bits.bit_count() <= parity:
                rows[row] = same.setdefault(bits, frozenset(_columns(bits)))
        for row, columns in rows.items():
            for column in columns:
                block = group.at(column, row)
                if column < data and block is not None:
                    self.forget(block)
        return Step(group=number, rows=rows) if rows else None


def _columns(bits: int) -> Iterator[int]:
    """The columns of a row's bits, ascending."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def is_beyond(protection: Protection, absent: Collection[int]) -> bool:
    """Whether parity surely gives back less than all while of the ``absent`` volumes no block is here.

    Told by counting volumes, so that nobody looks at the blocks of a thousand that are still on their way; where it
    says no, `settle` knows. Sure, because a volume that is absent has a bad block in the first row of its group, and
    its own redundancy is as absent.
    """
    lost, alone = set(absent), protection.data_volumes()
    for group in protection.groups:
        if group.record.spares:
            data = set(group.record.volumes)
            if lost & data and len(lost & {*data, *group.record.spares}) > group.geometry.parity:
                return True
            alone -= data
    return bool(lost & alone)


def settle(protection: Protection, bad: Iterable[BlockAt], *, spares: bool = True) -> Outcome:
    """Follow what parity gives back of the ``bad`` blocks until it gives no more.

    Without ``spares`` only from the redundancy on the data volumes, each of which needs its own medium and no other.

    Redundancy on the data volumes goes first, as it needs only its own medium, then the spare volumes; the redundancy
    on those is used only where all else is stuck. Nothing is done for parity's own sake.
    """
    state = _State(protection, bad)
    steps: list[Step] = []
    near, far = protection.order()
    if not spares:
        near, far = tuple(number for number in near if not protection.groups[number].record.spares), ()
    while state.archives:
        done = [step for number in near if (step := state.mend(number))]
        done = done or [step for number in far if (step := state.mend(number))]
        if not done:
            break
        steps += done
    return Outcome(
        steps=tuple(steps),
        left=tuple(block for block in sorted(state.bad) if protection.is_archive(block)),
        parity_left=tuple(block for block in sorted(state.bad) if not protection.is_archive(block)),
    )


def least_request(protection: Protection, bad: Iterable[BlockAt]) -> tuple[BlockAt, ...]:
    """Archive blocks to ask the sender for so that, with them, parity mends all the rest of ``bad``.

    Of a stripe that is beyond parity by n blocks, n are asked for, not all. As many parity blocks would do as well,
    never fewer, so that only blocks of archives are ever asked for. Where groups over volumes and redundancy on the
    medium both could be completed, the kind that needs fewer blocks is.
    """
    outcome = settle(protection, bad)
    state = _State(protection, (*outcome.left, *outcome.parity_left))
    over_volumes = _completing(state, outcome.left, spares=True)
    on_media = _completing(state, outcome.left, spares=False)
    return tuple(sorted(on_media if len(on_media) < len(over_volumes) else over_volumes))


def _completing(state: _State, left: Collection[BlockAt], *, spares: bool) -> set[BlockAt]:
    """The blocks that complete every row of one kind of group, and all of ``left`` that is in no such group."""
    uncovered = set(left)
    asked: set[BlockAt] = set()
    for group, rows in zip(state.protection.groups, state.rows, strict=True):
        if bool(group.record.spares) != spares:
            continue
        for row, columns in rows.items():
            lost = [b for column in _columns(columns) if (b := group.at(column, row)) in uncovered and b]
            uncovered.difference_update(lost)
            asked.update(lost[: columns.bit_count() - group.geometry.parity])
    return asked | uncovered
