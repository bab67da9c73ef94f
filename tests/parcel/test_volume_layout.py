"""Layouts: no volume is ever over its capacity, and media are filled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journey import (
    SMALL,
)

from courier.errors import NoSpaceError
from courier.media import volume_files as volume
from courier.media.kinds import MEDIA
from courier.media.reading import FolderMedium
from courier.parcel.parity_plan import Redundancy
from courier.parcel.volume_layout import (
    FixedSizes,
    LayoutRequest,
    archive_cost,
    lay_out,
    room_for_archives,
    volume_files,
)
from formats.documents.packing import TableRef

FIXED = FixedSizes(card=1200, script=27_000, contents=20_000)


def head_for(capacity: int, *, spares: int = 0, redundancy: str = "none") -> LayoutRequest:
    return LayoutRequest(
        parcel="HQ1-000001",
        source="HQ1",
        name="Headquarters",
        destinations=("BR1",),
        created_ns=1_700_000_000_000_000_000,
        priority="medium",
        edition=1,
        media="drive",
        capacity=capacity,
        encrypted=True,
        spares=spares,
        redundancy=Redundancy.parse(redundancy),
    )


@given(
    capacity=st.integers(1_000_000, 60_000_000),
    sizes=st.lists(st.integers(1, 20_000_000), min_size=1, max_size=40),
    redundancy=st.sampled_from(["none", "fill", "5%"]),
    spares=st.integers(0, 2),
)
def test_no_volume_is_ever_over_its_capacity(capacity: int, sizes: list[int], redundancy: str, spares: int) -> None:
    head = head_for(capacity, spares=spares, redundancy=redundancy)
    archives = [(size, f"{n:064x}") for n, size in enumerate(sizes)]
    try:
        laid_out = lay_out(head, archives, contents=TableRef(size=20_000, sha256="0" * 64), fixed=FIXED)
    except NoSpaceError:
        # Refused rather than overfilled; but never what plainly fits.
        room = room_for_archives(head, len(sizes), sum(sizes), FIXED)
        assert spares or redundancy == "5%" or max(archive_cost(size, capacity) for size in sizes) > room - 40_000
        return
    packing = laid_out.packing
    placed = [file.number for n in range(1, packing.volumes + 1) for file in packing.archives if file.volume == n]
    assert sorted(placed) == list(range(1, len(sizes) + 1))
    for number in range(1, packing.volumes + 1):
        files = volume_files(packing, number, FIXED, name="Headquarters", listing=len(packing.payload()) * 4 // 3 + 600)
        assert volume.medium_size(files, capacity) <= capacity


@pytest.mark.parametrize("kind", sorted(MEDIA))
def test_every_kind_of_medium_is_filled_and_never_over(kind: str) -> None:
    capacity = MEDIA[kind].usable_bytes
    head = head_for(capacity, redundancy="fill")
    size = min(4_000_000_000, capacity // 4)
    archives = [(size, f"{n:064x}") for n in range(9)]
    packing = lay_out(head, archives, contents=TableRef(size=20_000, sha256="0" * 64), fixed=FIXED).packing
    for number in range(1, packing.volumes + 1):
        assert packing.volume_bytes(number) < capacity
    assert packing.volumes == -(-9 // ((capacity - 3_000_000) // size))


def test_the_largest_media_take_parcels_of_many_thousand_archives() -> None:
    head = head_for(MEDIA["lto9"].usable_bytes, redundancy="none")
    archives = [(4_000_000_000, f"{n:064x}") for n in range(9000)]
    packing = lay_out(head, archives, contents=TableRef(size=20_000, sha256="0" * 64), fixed=FIXED).packing
    assert packing.volumes == 3
    assert FolderMedium.layout == "folder"
    assert SMALL


@pytest.mark.parametrize("redundancy", ["none", "fill"])
def test_smaller_archives_need_no_more_volumes_than_were_planned(redundancy: str) -> None:
    # First fit needs a volume more where the second archive is smaller.
    most = [4, 7, 2, 6, 5, 4, 3, 4, 5]
    built = [4, 6, 2, 6, 5, 4, 3, 4, 5]
    unit, contents = 1 << 20, TableRef(size=20_000, sha256="0" * 64)
    head = head_for(11 * unit - 100_000, redundancy=redundancy)

    def archives(sizes: list[int]) -> list[tuple[int, str]]:
        return [(size * unit, f"{n:064x}") for n, size in enumerate(sizes)]

    planned = lay_out(head, archives(most), contents=contents, fixed=FIXED).packing
    assert lay_out(head, archives(built), contents=contents, fixed=FIXED).packing.volumes > planned.volumes
    layout = lay_out(head, archives(built), contents=contents, fixed=FIXED, planned=planned)
    assert layout.packing.volumes == planned.volumes
    assert all(space.bytes <= head.capacity for space in layout.spaces)
