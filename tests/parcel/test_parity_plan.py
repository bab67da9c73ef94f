"""Parity: the planned parity keeps its promises, fits where it must, and what mends what is followed to its end."""

from __future__ import annotations

import hashlib
import io
import random
import tracemalloc
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from parity_samples import B, geometries, packing_of

from courier.errors import NoSpaceError, RefusedError, UsageError
from courier.parcel.parity_plan import (
    FILL_DEPTH,
    SHARE_DEPTH,
    ParityPlan,
    Redundancy,
    check_waybill,
    parity_blocks,
    plan_parity,
    promise,
    spare_groups,
)
from courier.parcel.parity_repair import BlockAt, Group, ParcelParity, blocks_to_request, is_beyond_repair, plan_repair
from courier.parcel.parity_room import payload_blocks
from formats.blocks import block_count
from formats.documents.packing import PackingList, ParityGroup
from formats.errors import MalformedError
from formats.parity.column_files import ColumnFiles
from formats.parity.layout import MOST_COLUMNS, longest_run, whole_symbols
from formats.parity.reed_solomon import encode, mend

MIB = 1 << 20
NONE = Redundancy()
FILL = Redundancy(fill=True)


def share(text: str) -> Redundancy:
    return Redundancy.parse(text)


def small(volumes: Sequence[Sequence[int]], *, spares: int = 0, redundancy: Redundancy = NONE) -> PackingList:
    plan = plan_parity(volumes, spares=spares, redundancy=redundancy, block_size=B)
    return packing_of(volumes, plan, block_size=B)


# --- the setting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fill", FILL),
        ("none", NONE),
        ("5%", Redundancy(share=500)),
        ("0.5%", Redundancy(share=50)),
        ("2.25%", Redundancy(share=225)),
        ("50%", Redundancy(share=5000)),
    ],
)
def test_redundancy_is_read_and_written(text: str, expected: Redundancy) -> None:
    assert share(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["", "5", "0%", "0.00%", "51%", "100%", "-5%", "5.123%", "all", "٥%", "5% "])
def test_other_redundancy_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        share(text)


# --- spare volumes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("volumes", [1, 2, 3, 9, 100, 251, 252, 253, 254, 255, 256, 300, 1000])
@pytest.mark.parametrize("spares", [1, 4, 100, 254])
def test_every_volume_is_in_one_group_and_every_group_has_its_spares(volumes: int, spares: int) -> None:
    groups = list(spare_groups(volumes, spares)) if volumes * spares < 9_999 // 2 else []
    for data, spare in groups:
        assert len(data) >= 1
        assert len(spare) == spares
        assert len(data) + len(spare) <= MOST_COLUMNS
        assert list(data) == sorted(data)
    if groups:
        everything = sorted(number for data, spare in groups for number in (*data, *spare))
        assert everything == list(range(1, volumes + len(groups) * spares + 1))
        sizes = [len(data) for data, _ in groups]
        assert max(sizes) - min(sizes) <= 1
        assert len(groups) == 1 or volumes > MOST_COLUMNS - spares


def test_volumes_that_travel_together_are_of_different_groups() -> None:
    groups = list(spare_groups(600, 4))
    assert len(groups) == 3
    home = {number: n for n, (data, spare) in enumerate(groups) for number in (*data, *spare)}
    assert all(home[a] != home[b] for a, b in pairwise(range(1, 601)))
    assert all(home[a] != home[b] for a, b in pairwise(range(601, 613)))


@pytest.mark.parametrize("spares", [-1, 255, 1000])
def test_a_number_of_spare_volumes_that_cannot_be_is_refused(spares: int) -> None:
    with pytest.raises(UsageError):
        plan_parity([[5]], spares=spares, redundancy=NONE)


def test_more_volumes_than_a_parcel_has_are_refused() -> None:
    with pytest.raises(UsageError, match="at most"):
        list(spare_groups(1000, 254))


@pytest.mark.parametrize("volumes", [1, 2, 3, 50, 254, 255, 300])
def test_planned_spare_volumes_fit_their_packing_list(volumes: int) -> None:
    sizes = [[3 * MIB + n, 1 + n % 3] for n in range(volumes)]
    plan = plan_parity(sizes, spares=2, redundancy=NONE)
    parity = ParcelParity(packing_of(sizes, plan))
    assert plan.volumes == volumes + 2 * (1 if volumes <= 253 else 2)
    lost = [block for volume in (1, volumes) for block in parity.blocks_on(volume)]
    assert plan_repair(parity, lost).left == ()


def test_any_m_volumes_may_be_lost_and_no_more_of_one_group() -> None:
    parity = ParcelParity(small([[100, 40], [90], [33], [1]], spares=2))
    for lost in combinations(range(1, 7), 2):
        assert plan_repair(parity, [b for volume in lost for b in parity.blocks_on(volume)]).left == ()
    plan = plan_repair(parity, [b for volume in (1, 2, 3) for b in parity.blocks_on(volume)])
    assert plan.steps[0].stripes.keys() == {2, 3, 4, 5}
    assert set(plan.left) == {BlockAt(file, row) for file in (0, 2, 3) for row in (0, 1)} - {BlockAt(0, 2)}


# --- redundancy on the medium ---------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.integers(1, 300_000), st.integers(1, 5000))
@example(blocks=298_636, hundredths=4802)
def test_an_asked_share_of_the_medium_is_mended_wherever_it_lies(blocks: int, hundredths: int) -> None:
    volumes = [[blocks * MIB]]
    plan = plan_parity(volumes, redundancy=Redundancy(share=hundredths))
    (geometry,) = geometries(volumes, plan)
    wanted = parity_blocks(blocks, hundredths)
    assert wanted * 10_000 >= (blocks + wanted) * hundredths
    assert longest_run(geometry) >= wanted
    assert geometry.total <= MOST_COLUMNS
    assert geometry.rows > 1 or geometry.parity == wanted
    assert geometry.rows == 1 or blocks + wanted > MOST_COLUMNS
    assert sum(file.size for file in plan.files) == geometry.parity * geometry.parity_size
    # Not much more than asked. Parity comes in whole columns, `SHARE_DEPTH` of them at most: a share just above that of
    # 12 columns beside 13 of content is rounded up to that of 12 beside 12, by a twelfth, and none is by more. The 300
    # blocks are what the choice of more columns may cost (256) and what the rounding of rows adds. Below what one of
    # 255 columns makes there is nothing.
    assert geometry.parity * geometry.rows <= max(wanted + wanted // SHARE_DEPTH + 300, -(-blocks // 254) + 300)


@settings(max_examples=200)
@given(st.lists(st.integers(1, 200 * MIB), min_size=1, max_size=6), st.integers(0, 100 * MIB), st.integers(0, 99_999))
def test_fill_takes_what_is_left_and_no_more_than_a_tenth(sizes: list[int], room: int, extra: int) -> None:
    plan = plan_parity([sizes], redundancy=FILL, room=[room], cost=lambda size: size + extra)
    assert sum(file.size + extra for file in plan.files) <= room
    blocks = sum(block_count(size) for size in sizes)
    made = geometries([sizes], plan)
    for geometry in made:
        assert geometry.parity * geometry.rows <= max(1, blocks // 10)
        assert geometry.parity <= FILL_DEPTH or geometry.rows == 1
    if not made:
        # Nothing only where one column of parity had no room.
        rows = -(-blocks // 254)
        assert room < (rows * (MIB + extra) if rows > 1 else whole_symbols(min(max(sizes), MIB)) + extra)


def test_fill_uses_nearly_all_the_room_it_may() -> None:
    for blocks, room in [(500, 30 * MIB), (4000, 100 * MIB), (24_000, 5000 * MIB), (640, 3 * MIB)]:
        volumes = [[blocks * MIB]]
        (geometry,) = geometries(volumes, plan_parity(volumes, redundancy=FILL, room=[room]))
        made = geometry.parity * geometry.rows
        assert made >= 0.85 * min(blocks // 10, room // MIB)


def test_without_a_limit_fill_makes_a_tenth() -> None:
    volumes = [[1000 * MIB]]
    (geometry,) = geometries(volumes, plan_parity(volumes, redundancy=FILL))
    assert (geometry.data, geometry.rows, geometry.parity) == (40, 25, 4)


def test_small_volumes_get_one_stripe() -> None:
    plan = plan_parity([[200_000, 199_000, 5]], redundancy=share("5%"))
    assert [file.size for file in plan.files] == [200_000]
    volumes = [[229 * MIB]]
    (geometry,) = geometries(volumes, plan_parity(volumes, redundancy=share("10%")))
    assert (geometry.rows, geometry.parity) == (1, 26)


def test_none_makes_none() -> None:
    assert plan_parity([[5], [7]], redundancy=NONE) == ParityPlan(volumes=2, files=(), groups=())


def test_what_was_asked_for_and_does_not_fit_is_refused() -> None:
    with pytest.raises(NoSpaceError, match="volume 2"):
        plan_parity([[5], [100 * MIB]], redundancy=share("5%"), room=[1 * MIB, 5 * MIB])
    with pytest.raises(NoSpaceError, match="spare volume 3"):
        plan_parity([[5], [100 * MIB]], spares=1, redundancy=NONE, spare_room=99 * MIB)


def test_spare_volumes_have_redundancy_of_their_own() -> None:
    sizes = [[10 * B], [9 * B]]
    plan = plan_parity(sizes, spares=1, redundancy=share("10%"), block_size=B)
    assert [(group.volumes, group.spares) for group in plan.groups] == [
        ((1, 2), (3,)),
        ((1,), ()),
        ((2,), ()),
        ((3,), ()),
    ]
    assert [file.number for file in plan.files] == list(range(1, len(plan.files) + 1))
    ParcelParity(packing_of(sizes, plan, block_size=B))


@pytest.mark.parametrize("text", ["none", "fill", "0.3%", "1%", "5%", "7.5%", "50%"])
@pytest.mark.parametrize("capacity", [0, 5, 10 * MIB, 300 * MIB, 4_700_372_992, 25_025_314_816])
def test_a_volume_filled_up_to_its_limit_has_room_for_its_parity(text: str, capacity: int) -> None:
    setting = share(text)

    def cost(size: int) -> int:
        return -(-size // 2048) * 2048 + 100

    limit = payload_blocks(capacity, setting, cost=cost)
    if capacity > 20 * MIB:
        assert limit * MIB >= capacity * (0.97 if setting.share <= 750 else 0.45) * (1 - setting.share / 10_000)
    for blocks in {limit, limit - 1, limit // 2, 1} - {0, -1}:
        if blocks > limit:
            continue
        pieces = [4095 * MIB] * (blocks // 4095) + ([blocks % 4095 * MIB] if blocks % 4095 else [])
        room = capacity - sum(map(cost, pieces))
        assert room >= 0
        plan_parity([pieces], redundancy=setting, room=[room], cost=cost)


# --- waybills -------------------------------------------------------------------------------------------------------


def test_a_waybill_may_carry_as_many_volumes_as_parity_covers() -> None:
    groups = plan_parity([[5]] * 9, spares=2, redundancy=FILL).groups
    for waybill in [[1, 2], [9, 10], [10, 11], []]:
        check_waybill(groups, waybill)
    with pytest.raises(RefusedError, match="1 to 3 travel") as refused:
        check_waybill(groups, [3, 1, 2])
    assert "6 waybills" in refused.value.hint
    with pytest.raises(RefusedError, match="7, 10 to 11"):
        check_waybill(groups, [7, 10, 11])


def test_volumes_of_several_groups_are_counted_each_with_its_own() -> None:
    groups = plan_parity([[5]] * 300, spares=2, redundancy=NONE).groups
    check_waybill(groups, [1, 2, 3, 4])
    with pytest.raises(RefusedError, match="1, 3, 5 travel"):
        check_waybill(groups, [1, 3, 5])


def test_without_spare_volumes_no_volume_may_be_lost() -> None:
    with pytest.raises(RefusedError, match="no spare volumes"):
        check_waybill(plan_parity([[5 * MIB]], redundancy=FILL).groups, [1])


def test_what_a_group_survives_is_said_in_a_sentence() -> None:
    volumes = [[5 * MIB], [600 * MIB]]
    plan = plan_parity(volumes, spares=1, redundancy=share("5%"))
    sentences = [promise(group, shape) for group, shape in zip(plan.groups, geometries(volumes, plan), strict=True)]
    assert sentences[0] == "any 1 of the 3 volumes 1 to 2 and spare 3 may be lost"
    assert sentences[1] == "on volume 1 any 1 of its blocks may be lost, or 1 in a row (1.0 MiB)"
    assert sentences[2] == (
        "on volume 2 any 11 of its blocks in each of 3 stripes may be lost, or 33 in a row (33.0 MiB)"
    )


# --- what mends what ------------------------------------------------------------------------------------------------

SIZES = st.lists(st.integers(1, 6 * B), min_size=1, max_size=3)
PARCELS = st.builds(
    small,
    st.lists(SIZES, min_size=1, max_size=6),
    spares=st.integers(0, 3),
    redundancy=st.sampled_from([NONE, FILL, share("20%"), share("50%")]),
)


def everything(packing: PackingList) -> list[BlockAt]:
    parity = ParcelParity(packing)
    return [block for volume in range(1, packing.volumes + 1) for block in parity.blocks_on(volume)]


@settings(max_examples=150)
@given(PARCELS)
def test_every_block_is_where_its_positions_say(packing: PackingList) -> None:
    parity = ParcelParity(packing)
    positions = [(position, block) for block in everything(packing) for position in parity.positions(block)]
    for position, block in positions:
        assert parity.groups[position.group].at(position.column, position.row) == block
    stored = sum(
        group.geometry.place(column, row) is not None
        for group in parity.groups
        for column in range(group.geometry.total)
        for row in range(group.geometry.rows)
    )
    assert len({position for position, _ in positions}) == len(positions) == stored


class Parcel:
    """A parcel of real bytes, its parity made as the packing list says; what is bad is overwritten."""

    def __init__(self, packing: PackingList) -> None:
        source = random.Random(7)
        self.packing = packing
        self.parity = ParcelParity(packing)
        archives = len(packing.archives)
        self.files = [
            io.BytesIO(source.randbytes(file.size) if n < archives else b"") for n, file in enumerate(packing.files())
        ]
        for group in self.parity.groups:
            disk = self.disk(group)
            encode(group.geometry, disk.read, disk.write)
        self.digests = {block: hashlib.sha256(self.read(block)).digest() for block in everything(packing)}
        self.before = [file.getvalue() for file in self.files[:archives]]

    def disk(self, group: Group) -> ColumnFiles:
        return ColumnFiles(group.geometry, [[self.files[n] for n in column] for column in group.files])

    def read(self, block: BlockAt) -> bytes:
        return self.files[block.file].getvalue()[block.block * B : (block.block + 1) * B]

    def check(self, group: Group, column: int, row: int, data: bytes | memoryview) -> bool:
        block = group.at(column, row)
        return block is not None and hashlib.sha256(data).digest() == self.digests[block]

    def spoil(self, blocks: Iterable[BlockAt]) -> None:
        for block in blocks:
            self.files[block.file].seek(block.block * B)
            self.files[block.file].write(bytes(len(self.read(block))))

    def mend(self, bad: Iterable[BlockAt]) -> tuple[BlockAt, ...]:
        plan = plan_repair(self.parity, bad)
        for step in plan.steps:
            group = self.parity.groups[step.group]
            disk = self.disk(group)

            report = mend(group.geometry, step.stripes, disk.read, disk.write, check=partial(self.check, group))
            assert report.beyond == ()
            assert report.found_bad == frozenset()
        return plan.left

    def content(self) -> list[bytes]:
        return [file.getvalue() for file in self.files[: len(self.before)]]


@settings(max_examples=150)
@given(PARCELS, st.data())
def test_what_is_said_to_be_mended_is_and_the_rest_is_named_and_least(
    packing: PackingList, data: st.DataObject
) -> None:
    parcel = Parcel(packing)
    volumes = data.draw(st.sets(st.integers(1, packing.volumes), max_size=2))
    bad = {block for volume in volumes for block in parcel.parity.blocks_on(volume)}
    bad |= set(data.draw(st.lists(st.sampled_from(everything(packing)), max_size=12)))
    whole = {block: parcel.read(block) for block in bad}
    parcel.spoil(bad)
    left = parcel.mend(bad)
    wrong = {block for block in bad if hashlib.sha256(parcel.read(block)).digest() != parcel.digests[block]}
    assert {block for block in wrong if parcel.parity.is_archive(block)} <= set(left)
    assert left or parcel.content() == parcel.before

    asked = blocks_to_request(parcel.parity, bad)
    assert set(asked) <= set(left)
    assert bool(asked) == bool(left)
    for block in asked:
        parcel.files[block.file].seek(block.block * B)
        parcel.files[block.file].write(whole[block])
    assert parcel.mend(wrong - set(asked)) == ()
    assert parcel.content() == parcel.before


@settings(max_examples=150)
@given(PARCELS, st.data())
def test_absent_volumes_that_are_counted_as_beyond_are_and_the_others_are_judged_by_block(
    packing: PackingList, data: st.DataObject
) -> None:
    parity = ParcelParity(packing)
    absent = data.draw(st.sets(st.integers(1, packing.volumes)))
    bad = {block for volume in absent for block in parity.blocks_on(volume)}
    left = plan_repair(parity, bad).left
    beyond = is_beyond_repair(parity, absent)
    assert left or not beyond
    # Damage on the others makes it no better.
    bad |= set(data.draw(st.lists(st.sampled_from(everything(packing)), max_size=12)))
    assert plan_repair(parity, bad).left or not beyond
    # Of volumes with the same number of blocks none is short where another is not: there the count is the whole truth.
    if len({sum(1 for _ in parity.blocks_on(volume)) for volume in parity.data_volumes()}) == 1:
        assert beyond == bool(left)


def test_a_lost_tape_takes_little_memory_to_judge() -> None:
    blocks = 30_000
    parity = ParcelParity(small([[blocks * B]] * 2, spares=1, redundancy=share("5%")))
    lost = list(parity.blocks_on(1))
    tracemalloc.start()
    try:
        assert plan_repair(parity, lost).left == ()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / blocks < 350


def test_redundancy_on_the_media_and_spare_volumes_help_each_other() -> None:
    packing = small([[8 * B], [8 * B], [8 * B]], spares=1, redundancy=share("20%"))
    parity = ParcelParity(packing)
    assert [group.geometry.parity for group in parity.groups] == [1, 2, 2, 2, 2]
    # Three bad blocks are beyond each volume's own two columns; two of their stripes are beyond the one spare volume.
    bad = [BlockAt(file, row) for file, row in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]]
    plan = plan_repair(parity, bad)
    assert plan.left == ()
    assert [(step.group, set(step.stripes)) for step in plan.steps] == [(0, {0, 3}), (1, {0}), (2, {0})]
    # The two blocks of the spare volume that this takes are bad: its own redundancy gives them back first.
    plan = plan_repair(parity, [*bad, BlockAt(3, 0), BlockAt(3, 3)])
    assert plan.left == ()
    assert [step.group for step in plan.steps] == [4, 0, 1, 2]


def test_of_a_stripe_beyond_parity_only_the_excess_is_asked_for() -> None:
    packing = small([[10 * B]] * 5, spares=2)
    parity = ParcelParity(packing)
    bad = [block for volume in (1, 2, 3) for block in parity.blocks_on(volume)]
    assert len(plan_repair(parity, bad).left) == 30
    assert len(blocks_to_request(parity, bad)) == 10


def test_parity_is_not_mended_for_its_own_sake() -> None:
    parity = ParcelParity(small([[10 * B]] * 3, spares=1, redundancy=share("20%")))
    plan = plan_repair(parity, [BlockAt(3, 0), BlockAt(3, 5)])
    assert (plan.steps, plan.left, len(plan.parity_left)) == ((), (), 2)


# --- packing lists that do not fit ----------------------------------------------------------------------------------


def _group(group: ParityGroup, **changes: object) -> ParityGroup:
    values = {name: getattr(group, name) for name in ("volumes", "spares", "columns", "parity", "files")}
    return ParityGroup(**(values | changes))


@pytest.mark.parametrize(
    "change",
    [
        {"files": (2, 1)},
        {"files": (1,)},
        {"files": (1, 2, 3)},
        {"files": ()},
        {"files": (0, 1)},
        {"volumes": (1, 3)},
        {"volumes": (2, 9)},
        {"spares": (4, 3)},
    ],
)
def test_groups_that_do_not_fit_their_files_are_refused(change: dict[str, object]) -> None:
    sizes = [[10 * B, 7], [9 * B]]
    plan = plan_parity(sizes, spares=2, redundancy=NONE, block_size=B)
    (group,) = plan.groups
    broken = ParityPlan(volumes=plan.volumes, files=plan.files, groups=(_group(group, **change),))
    with pytest.raises(MalformedError, match=r"groups\[0\]"):
        ParcelParity(packing_of(sizes, broken, block_size=B))


@pytest.mark.parametrize("columns", [7, 11, 200])
def test_columns_that_the_blocks_do_not_fill_are_refused(columns: int) -> None:
    plan = plan_parity([[10 * B]], redundancy=share("10%"), block_size=B)
    broken = ParityPlan(volumes=1, files=plan.files, groups=(_group(plan.groups[0], columns=columns),))
    with pytest.raises(MalformedError, match=r"groups\[0\]"):
        ParcelParity(packing_of([[10 * B]], broken, block_size=B))
