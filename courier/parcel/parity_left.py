"""How much of the parity of a parcel is left: what may still be lost once that is mended which is lost now. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from courier.parcel.parity_repair import BlockAt, Group, ParcelParity
from formats.documents.packing import PackingList


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityLeft:
    """The parity of one group: of its ``columns`` ``parity`` are parity, and ``used`` are not here.

    With ``spares`` a column is a volume; without, it is a part of the one volume of the group. A column of which any
    block is missing in the worst stripe counts as used, as if all stripes were damaged in the same place. Where more is
    missing than parity makes up for, ``used`` is the least that it can be.
    """

    volumes: tuple[int, ...]
    spares: tuple[int, ...]
    columns: int
    parity: int
    used: int

    @property
    def is_absent(self) -> bool:
        """Whether it is one volume of which nothing can be told: at least one of its files is not here at all."""
        return not self.spares and self.used == self.columns

    @property
    def left(self) -> int:
        """Columns that may be lost besides; below 0: so many are lost too many."""
        return self.parity - self.used


def parity_left(packing: PackingList, have: Callable[[int], Sequence[int]] | None = None) -> tuple[ParityLeft, ...]:
    """The parity of every group. ``have`` gives the map of a file (1: here) by its index; None: all is here.

    Raises `MalformedError` if the groups and the files of the packing list do not fit together.
    """
    parity = ParcelParity(packing)
    return tuple(
        ParityLeft(
            volumes=group.record.volumes,
            spares=group.record.spares,
            columns=group.geometry.total,
            parity=group.geometry.parity,
            used=0 if have is None else _used(parity, number, group, have),
        )
        for number, group in enumerate(parity.groups)
    )


def _used(parity: ParcelParity, number: int, group: Group, have: Callable[[int], Sequence[int]]) -> int:
    """The columns with missing blocks in the worst case: whole volumes, or those of one stripe on the one volume."""
    if group.record.spares:
        return sum(any(not all(have(index)) for index in column) for column in group.files)
    haves = {index: have(index) for column in group.files for index in column}
    if any(not any(here) for here in haves.values()):
        # Nothing of a file is here: its volume has not come, or nothing of that could be read.
        return group.geometry.total
    gaps = [(index, block) for index, here in haves.items() for block, good in enumerate(here) if not good]
    if len(gaps) > group.geometry.rows * group.geometry.parity:
        return -(-len(gaps) // group.geometry.rows)  # more than parity has, whichever stripes they are in
    stripes = Counter(
        at.row for index, block in gaps for at in parity.positions(BlockAt(index, block)) if at.group == number
    )
    return max(stripes.values(), default=0)
