"""What is left of the parity of a parcel, compared with what repair really can do."""

from __future__ import annotations

from pathlib import Path

import pytest
from journey import add, create, make_sites, noise, write_files

from courier.parcel.parity_left import parity_left
from courier.parcel.parity_repair import BlockAt, ParcelParity, plan_repair
from formats.blocks import block_count
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> PackingList:
    """Three volumes of content and one spare, each with parity of its own too."""
    sites = make_sites(tmp_path_factory.mktemp("parity"))
    files = write_files(sites.root / "files", a_bin=noise(14_000_000))
    parcel = create(sites.hq, add(sites.hq, files), capacity="8MB", spare_volumes=1, redundancy="15%")
    path = sites.hq.path / "parcels" / "out" / parcel / "packing-list-1.json"
    return PackingList.parse(parse_envelope(Path(path).read_bytes()).payload)


def have(packing: PackingList, missing: set[BlockAt]) -> dict[int, list[int]]:
    return {
        index: [
            int(BlockAt(index, block) not in missing) for block in range(block_count(file.size, packing.block_size))
        ]
        for index, file in enumerate(packing.files())
    }


def test_of_a_parcel_that_is_whole_all_of_its_parity_is_left(packing: PackingList) -> None:
    groups = parity_left(packing)
    assert {one.used for one in groups} == {0}
    assert any(one.spares and one.left == 1 for one in groups)
    assert any(not one.spares and one.left == one.parity for one in groups)
    assert groups == parity_left(packing, have(packing, set()).__getitem__)


def test_a_volume_that_is_missing_uses_one_column_and_a_second_is_too_much(packing: PackingList) -> None:
    parity = ParcelParity(packing)
    for lost, left in (({1}, 0), ({1, 2}, -1)):
        missing = {block for volume in lost for block in parity.blocks_on(volume)}
        (over,) = [one for one in parity_left(packing, have(packing, missing).__getitem__) if one.spares]
        assert over.left == left
        assert bool(plan_repair(parity, missing).left) == (left < 0)
        alone = [one for one in parity_left(packing, have(packing, missing).__getitem__) if one.volumes == (1,)]
        assert all(one.is_absent for one in alone)


def test_damage_on_one_volume_uses_the_parity_of_that_volume_in_its_worst_stripe(packing: PackingList) -> None:
    parity = ParcelParity(packing)
    number = next(n for n, one in enumerate(packing.groups) if not one.spares and one.volumes == (1,))
    group = parity.groups[number]
    stripe = [block for column in range(group.geometry.total) if (block := group.at(column, 0)) is not None]
    for lost in range(min(len(stripe), group.geometry.parity + 2)):
        missing = set(stripe[:lost])
        found = parity_left(packing, have(packing, missing).__getitem__)[number]
        assert found.left == group.geometry.parity - lost
        assert not found.is_absent
