"""Packing lists with parity, as the tests of its plan and of mending share them."""

from __future__ import annotations

from collections.abc import Sequence

from courier.parcel.parity_plan import ParityPlan
from courier.parcel.parity_repair import ParcelParity
from formats.blocks import block_count
from formats.documents.packing import FileRecord, PackingList, TableRef
from formats.parity.layout import Geometry

B = 32
MIB = 1 << 20


def packing_of(volumes: Sequence[Sequence[int]], plan: ParityPlan, *, block_size: int = MIB) -> PackingList:
    """A packing list with that content and protection; archives are numbered over the volumes in turn."""
    placed = [(size, volume) for volume, sizes in enumerate(volumes, 1) for size in sizes]
    archives = tuple(
        FileRecord(number=number, size=size, sha256="0" * 64, volume=volume)
        for number, (size, volume) in enumerate(placed, 1)
    )
    made = tuple(
        FileRecord(number=file.number, size=file.size, sha256="0" * 64, volume=file.volume) for file in plan.files
    )
    blocks = sum(block_count(file.size, block_size) for file in archives + made)
    return PackingList(
        parcel="HQ1-000042",
        source="HQ1",
        destinations=("BR1",),
        created_ns=0,
        priority="medium",
        edition=1,
        media="drive",
        capacity=1 << 40,
        volumes=plan.volumes,
        encrypted=False,
        block_size=block_size,
        archives=archives,
        parity=made,
        groups=plan.groups,
        contents=TableRef(size=1, sha256="0" * 64),
        blocks=TableRef(size=blocks * 32, sha256="0" * 64),
    )


def geometries(volumes: Sequence[Sequence[int]], plan: ParityPlan) -> list[Geometry]:
    """The geometry of each group of a plan, as whoever reads its packing list has it."""
    return [group.geometry for group in ParcelParity(packing_of(volumes, plan)).groups]
