"""Mending on real files: what is lost within the promise comes back the same; beyond it, the fewest blocks by network.

Blocks are 32 bytes here, so that a thousand volumes are small; the rooms are those of the journey.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_samples import B, packing_of

from courier.parcel.base_contents import BaseContents
from courier.parcel.parity_files import make_parity
from courier.parcel.parity_plan import Redundancy, plan_parity
from courier.parcel.parity_repair import BlockAt, ParcelParity, blocks_to_request, plan_repair
from courier.receiving import mend
from courier.receiving.mend import mend_media, mend_spool, missing_blocks, would_mend_all
from courier.receiving.repair import _fill
from courier.receiving.spool import Spool
from formats.blocks import BlockHasher, BlockTable
from formats.documents.packing import PackingList
from formats.documents.repair import RepairPart, file_blocks

NO_BASES = BaseContents(0, ())


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A parcel as it was built: its packing list, its files' true bytes, its block table."""

    packing: PackingList
    files: tuple[bytes, ...]
    table: BlockTable
    parity: ParcelParity

    def block(self, at: BlockAt) -> bytes:
        return self.files[at.file][at.block * B : (at.block + 1) * B]

    def everything(self) -> list[BlockAt]:
        return [BlockAt(f, b) for f in range(len(self.files)) for b in range(self.table.count(f))]


class Files:
    """The files of a parcel as they lie in a folder."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def open(self, index: int) -> BinaryIO:
        return cast(BinaryIO, self._paths[index].open("rb", buffering=0))

    def parity_path(self, index: int) -> Path:
        return self._paths[index]


def build(
    volumes: Sequence[Sequence[int]], *, spares: int = 0, redundancy: str = "none", wrong: Iterable[int] = ()
) -> Whole:
    """A parcel of random archives of these sizes; ``wrong``: parity files whose bytes (and digests) are made wrong."""
    plan = plan_parity(volumes, spares=spares, redundancy=Redundancy.parse(redundancy), block_size=B)
    packing = packing_of(volumes, plan, block_size=B)
    chance = random.Random(repr(volumes))
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / str(n) for n in range(len(packing.files()))]
        for path, file in zip(paths, packing.archives, strict=False):
            path.write_bytes(chance.randbytes(file.size))
        make_parity(packing, Files(paths))
        files = [path.read_bytes() for path in paths]
    for number in wrong:
        index = len(packing.archives) + number
        files[index] = bytes(byte ^ 0xFF for byte in files[index])
    digests = []
    for data in files:
        hasher = BlockHasher(B)
        hasher.update(data)
        digests.append(hasher.finish()[1])
    table = BlockTable(b"".join(digests), [len(data) for data in files], B)
    return Whole(packing=packing, files=tuple(files), table=table, parity=ParcelParity(packing))


@contextmanager
def spool_without(whole: Whole, bad: Iterable[BlockAt]) -> Iterator[Spool]:
    """A spool that holds all of a parcel but ``bad``."""
    lost = set(bad)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "archives").mkdir()
        spool = Spool(Path(name), whole.packing, whole.table, digest="")
        for index, data in enumerate(whole.files):
            have = bytearray(BlockAt(index, block) not in lost for block in range(whole.table.count(index)))
            if any(have):
                # As `Spool.filling` leaves it, without waiting for the disk a thousand times.
                spool.path(index).write_bytes(
                    b"".join(
                        data[n * B : (n + 1) * B] if here else bytes(len(data[n * B : (n + 1) * B]))
                        for n, here in enumerate(have)
                    )
                )
                spool.path(index).with_name(f"{spool.path(index).name}.have").write_bytes(have)
        assert set(missing_blocks(spool)) == lost
        yield spool


def nothing_wrong(whole: Whole, spool: Spool) -> None:
    """Whatever counts as here has its true bytes."""
    for index, data in enumerate(whole.files):
        have = spool.have(index)
        found = spool.path(index).read_bytes() if any(have) else b""
        for block, here in enumerate(have):
            if here:
                assert found[block * B : (block + 1) * B] == data[block * B : (block + 1) * B]


def whole_again(whole: Whole, spool: Spool) -> None:
    """Every archive is the same to the byte."""
    assert spool.complete
    for index in range(len(whole.packing.archives)):
        assert spool.path(index).read_bytes() == whole.files[index]


def answer(whole: Whole, spool: Spool, wanted: Iterable[BlockAt]) -> None:
    """The sender's answer to a request for ``wanted``, taken in in two parts, the second one first and twice."""
    asked = sorted(wanted)
    for some in (asked[len(asked) // 2 :], asked[: len(asked) // 2], asked[len(asked) // 2 :]):
        if not some:
            continue
        part = RepairPart(
            parcel=whole.packing.parcel,
            build=whole.packing.build,
            source="HQ1",
            site="BR1",
            issued_ns=0,
            request="0" * 64,
            part=1,
            of=1,
            files=file_blocks((at.file + 1, at.block) for at in some),
            data=b"".join(map(whole.block, some)),
        )
        parsed = RepairPart.parse(part.payload())
        assert _fill(spool, NO_BASES, parsed)[1] == 0


def lost_with(whole: Whole, volumes: Iterable[int]) -> set[BlockAt]:
    return {block for volume in volumes for block in whole.parity.blocks_on(volume)}


def by_network(whole: Whole, spool: Spool) -> int:
    """Mend; ask for the least; take the answer; mend again: it must be whole. Returns the blocks asked for."""
    before = missing_blocks(spool)
    expected = plan_repair(whole.parity, before).left
    assert mend_spool(spool).left == expected
    nothing_wrong(whole, spool)
    asked = blocks_to_request(whole.parity, missing_blocks(spool))
    assert bool(asked) == bool(expected)
    assert set(asked) <= set(expected)
    answer(whole, spool, asked)
    assert mend_spool(spool).left == ()
    whole_again(whole, spool)
    return len(asked)


SHAPES = st.lists(st.lists(st.integers(1, 5 * B), min_size=1, max_size=3), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.data(), SHAPES, st.integers(1, 3), st.sampled_from(["none", "10%", "fill"]))
def test_any_volumes_within_the_promise_and_no_more_come_back_from_parity(
    data: st.DataObject, shape: list[list[int]], spares: int, redundancy: str
) -> None:
    whole = build(shape, spares=spares, redundancy=redundancy)
    lost = data.draw(st.sets(st.integers(1, whole.packing.volumes), max_size=spares))
    with spool_without(whole, lost_with(whole, lost)) as spool:
        assert mend_spool(spool).left == ()
        whole_again(whole, spool)


@settings(max_examples=60, deadline=None)
@given(st.data(), SHAPES, st.sampled_from(["5%", "20%", "fill"]))
def test_bad_blocks_within_the_promise_of_each_medium_come_back_from_itself(
    data: st.DataObject, shape: list[list[int]], redundancy: str
) -> None:
    whole = build(shape, redundancy=redundancy)
    bad: set[BlockAt] = set()
    for group in whole.parity.groups:
        for row in range(group.geometry.rows):
            blocks = [at for c in range(group.geometry.total) if (at := group.at(c, row)) is not None]
            bad |= data.draw(st.sets(st.sampled_from(blocks), max_size=group.geometry.parity))
    with spool_without(whole, bad) as spool:
        assert mend_spool(spool).left == ()
        whole_again(whole, spool)


@settings(max_examples=80, deadline=None)
@given(st.data(), SHAPES, st.integers(0, 2), st.sampled_from(["none", "5%", "fill"]))
def test_any_damage_at_all_is_mended_named_or_asked_for_and_nothing_wrong_is_taken(
    data: st.DataObject, shape: list[list[int]], spares: int, redundancy: str
) -> None:
    whole = build(shape, spares=spares, redundancy=redundancy)
    lost = data.draw(st.sets(st.integers(1, whole.packing.volumes)))
    bad = lost_with(whole, lost) | data.draw(st.sets(st.sampled_from(whole.everything())))
    with spool_without(whole, bad) as spool:
        by_network(whole, spool)


@settings(max_examples=40, deadline=None)
@given(st.data(), SHAPES, st.sampled_from(["none", "20%"]))
def test_wrong_parity_signed_as_right_mends_nothing_wrong(
    data: st.DataObject, shape: list[list[int]], redundancy: str
) -> None:
    plan = plan_parity(shape, spares=2, redundancy=Redundancy.parse(redundancy), block_size=B)
    wrong = data.draw(st.sets(st.integers(0, len(plan.files) - 1), min_size=1))
    whole = build(shape, spares=2, redundancy=redundancy, wrong=wrong)
    lost = data.draw(st.sets(st.integers(1, whole.packing.volumes), max_size=2))
    with spool_without(whole, lost_with(whole, lost)) as spool:
        left = mend_spool(spool).left
        nothing_wrong(whole, spool)
        answer(whole, spool, left)
        whole_again(whole, spool)


@pytest.mark.parametrize(("volumes", "spares"), [(1, 1), (1, 4), (2, 1), (2, 3), (300, 4), (1000, 1)])
def test_sets_of_every_size_survive_what_they_promise_and_are_mended_by_network_beyond(
    volumes: int, spares: int
) -> None:
    # The last archive is shorter than the others, as it usually is.
    whole = build([[2 * B + 5]] * (volumes - 1) + [[7]], spares=spares)
    groups = whole.parity.groups
    assert all(len(group.record.spares) == spares for group in groups)
    chance = random.Random(volumes)
    within = [n for g in groups for n in chance.sample([*g.record.volumes, *g.record.spares], spares)]
    with spool_without(whole, lost_with(whole, within)) as spool:
        assert mend_spool(spool).left == ()
        whole_again(whole, spool)
    group = groups[0]
    beyond = [*group.record.volumes, *group.record.spares][: spares + 1]
    with spool_without(whole, lost_with(whole, beyond)) as spool:
        asked = by_network(whole, spool)
    rows = group.geometry.rows if volumes > 1 else 1
    assert asked <= rows if volumes > spares else asked


def test_wrong_blocks_of_an_answer_are_counted_and_not_taken() -> None:
    whole = build([[3 * B], [3 * B]])
    with spool_without(whole, [BlockAt(0, 1), BlockAt(1, 0)]) as spool:
        part = RepairPart(
            parcel="HQ1-000042",
            build=whole.packing.build,
            source="HQ1",
            site="BR1",
            issued_ns=0,
            request="0" * 64,
            part=1,
            of=1,
            files=file_blocks([(1, 1), (2, 0)]),
            data=bytes(B) + whole.block(BlockAt(1, 0)),
        )
        assert _fill(spool, NO_BASES, part) == (1, 1)
        assert missing_blocks(spool) == [BlockAt(0, 1)]
        nothing_wrong(whole, spool)


def test_volumes_on_their_way_are_counted_and_not_looked_at_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build([[20 * B, 9 * B]] * 12, spares=2, redundancy="10%")
    here = {1, 2}
    bad = lost_with(whole, set(range(1, whole.packing.volumes + 1)) - here) | {BlockAt(0, 3)}
    judged: list[int] = []

    def counting(parity: ParcelParity, blocks: Iterable[BlockAt], **options: bool) -> object:
        some = list(blocks)
        judged.append(len(some))
        return plan_repair(parity, some, **options)

    monkeypatch.setattr(mend, "plan_repair", counting)
    with spool_without(whole, bad) as spool:
        assert not would_mend_all(spool)
        assert judged == []
        assert mend_media(spool) == 1
        assert judged == [1, 0]
        nothing_wrong(whole, spool)
    # With as many as may stay away, each block counts.
    with spool_without(whole, lost_with(whole, {3, 14})) as spool:
        assert would_mend_all(spool)
        assert judged[-1] > 1


def test_a_long_loss_is_mended_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build([[50 * B]] * 3, spares=1)
    monkeypatch.setattr(mend, "ROWS_AT_ONCE", 7)
    with spool_without(whole, lost_with(whole, {2})) as spool:
        report = mend_spool(spool)
        assert (report.mended, report.left) == (50, ())
        whole_again(whole, spool)
