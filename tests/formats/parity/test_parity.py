"""Parity mends what it promises to the same bytes, names what is beyond, and never writes anything wrong.

`reference` is the code as docs/parity.md specifies it, in plain Python, symbol by symbol.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.errors import MalformedError, UnmendableError, UnreadableError
from formats.parity import layout as parity_layout
from formats.parity import reed_solomon as parity
from formats.parity import stripes
from formats.parity.column_files import ColumnFiles
from formats.parity.layout import Geometry, across, fills, longest_run, within
from formats.parity.sums import Solver

DOC = Path(__file__).resolve().parents[3] / "docs" / "parity.md"
B = 32


def times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a * (b & 1)
        a = a << 1 ^ 0x11D * (a >> 7)
        b >>= 1
    return product


POWERS = [1]
while len(POWERS) < 255:
    POWERS.append(times(POWERS[-1], 2))
INVERSE = {power: POWERS[-n % 255] for n, power in enumerate(POWERS)}
TILE = 131_072


def bits_of_tiles(data: bytes) -> list[int]:
    """The symbols of a column in a stripe: bit s of a tile's symbols is the s-th eighth of the tile."""
    symbols: list[int] = []
    for start in range(0, len(data), TILE):
        tile = data[start : start + TILE]
        strip = len(tile) // 8
        for at in range(strip * 8):
            symbols.append(sum((tile[s * strip + at // 8] >> at % 8 & 1) << s for s in range(8)))
    return symbols


def tiles_of_bits(symbols: Sequence[int]) -> bytes:
    result = b""
    for start in range(0, len(symbols), TILE):
        tile = symbols[start : start + TILE]
        strip = len(tile) // 8
        made = bytearray(len(tile))
        for at, symbol in enumerate(tile):
            for s in range(8):
                made[s * strip + at // 8] |= (symbol >> s & 1) << at % 8
        result += made
    return result


def reference(known: dict[int, bytes], lost: Sequence[int], length: int) -> list[bytes]:
    """The lost columns, by elimination in the checks; ``known`` are all others of the group."""
    lowest = -((len(lost) - 1) // 2)
    places = {column: column // 3 + 85 * (column % 3) for column in [*known, *lost]}
    checks = [[POWERS[i * places[column] % 255] for column in lost] for i in range(lowest, lowest + len(lost))]
    sums = [[0] * length for _ in lost]
    for column, data in known.items():
        for row, total in enumerate(sums):
            factor = POWERS[(lowest + row) * places[column] % 255]
            for at, value in enumerate(bits_of_tiles(data.ljust(length, b"\0"))):
                total[at] ^= times(value, factor)
    for at in range(len(lost)):
        scale = INVERSE[checks[at][at]]
        checks[at] = [times(scale, value) for value in checks[at]]
        sums[at] = [times(scale, value) for value in sums[at]]
        for row in range(len(lost)):
            factor = checks[row][at]
            if row != at and factor:
                checks[row] = [a ^ times(factor, b) for a, b in zip(checks[row], checks[at], strict=True)]
                sums[row] = [a ^ times(factor, b) for a, b in zip(sums[row], sums[at], strict=True)]
    return [tiles_of_bits(total) for total in sums]


class StoredGroup:
    """A group with its columns in memory, which can be damaged; digests tell its good blocks."""

    def __init__(self, geometry: Geometry, volumes: Sequence[Sequence[bytes]]) -> None:
        self.geometry = geometry
        columns = [[io.BytesIO(data) for data in volume] for volume in volumes]
        if len(columns) == 1:
            columns *= geometry.data
        made = [[io.BytesIO() for _ in geometry.parity_files] for _ in range(geometry.parity)]
        self.files: list[list[io.BytesIO]] = [*columns, *made]
        self.disk = ColumnFiles(geometry, self.files)
        parity.encode(geometry, self.disk.read, self.disk.write)
        self.positions = [
            (column, row)
            for row in range(geometry.rows)
            for column in range(geometry.total)
            if geometry.place(column, row) is not None
        ]
        self.digests = {position: hashlib.sha256(self.block(*position)).digest() for position in self.positions}
        self.before = self.content()

    def content(self) -> list[list[bytes]]:
        return [[file.getvalue() for file in column] for column in self.files[: self.geometry.data]]

    def block(self, column: int, row: int) -> bytes:
        place = self.geometry.place(column, row)
        assert place is not None
        return self.files[column][place.file].getvalue()[place.offset : place.offset + place.length]

    def check(self, column: int, row: int, data: bytes | memoryview) -> bool:
        return hashlib.sha256(data).digest() == self.digests[column, row]

    def damage(self, positions: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
        """Overwrite blocks, and return them as row -> columns."""
        lost: dict[int, set[int]] = {}
        for column, row in positions:
            self.disk.write(column, row, 0, bytes(value ^ 0xA5 for value in self.block(column, row)))
            lost.setdefault(row, set()).add(column)
        return lost

    def mend(self, lost: dict[int, set[int]], *, read: stripes.Read | None = None, threads: int = 2) -> parity.Mended:
        return parity.mend(
            self.geometry, lost, read or self.disk.read, self.disk.write, check=self.check, threads=threads
        )


def content(sizes: Sequence[int], seed: int = 0) -> list[bytes]:
    source = random.Random(seed)
    return [source.randbytes(size) for size in sizes]


def group_across(volumes: Sequence[Sequence[int]], spares: int) -> StoredGroup:
    geometry = across(volumes, parity=spares, block_size=B)
    return StoredGroup(geometry, [content(sizes, seed) for seed, sizes in enumerate(volumes)])


def group_within(sizes: Sequence[int], columns: int, spares: int) -> StoredGroup:
    return StoredGroup(within(sizes, columns=columns, parity=spares, block_size=B), [content(sizes)])


def columns_for(blocks: int, about: int) -> int:
    """The largest possible number of columns up to ``about``."""
    return next(columns for columns in range(min(about, blocks), 0, -1) if fills(blocks, columns))


SIZES = st.lists(st.integers(1, 5 * B), min_size=1, max_size=4)
GROUPS = st.one_of(
    st.tuples(st.lists(SIZES, min_size=1, max_size=8), st.integers(1, 4)).map(lambda given: group_across(*given)),
    st.tuples(SIZES, st.integers(1, 8), st.integers(1, 4)).map(
        lambda given: group_within(given[0], columns_for(sum(-(-size // B) for size in given[0]), given[1]), given[2])
    ),
)


# --- the code is the one that is specified ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "spare"), [(1, 1), (1, 3), (2, 1), (3, 2), (10, 4), (40, 3), (200, 55), (1, 254), (254, 1)]
)
def test_parity_is_the_specified_code_and_any_k_columns_give_it(data: int, spare: int) -> None:
    group = group_across([[5]] * data, spare)
    blocks = {column: group.block(column, 0).ljust(8, b"\0") for column in range(data + spare)}
    parity_columns = range(data, data + spare)
    if spare < 60:
        source = {column: blocks[column] for column in range(data)}
        assert reference(source, parity_columns, 8) == [blocks[column] for column in parity_columns]
    lost = random.Random(data).sample(sorted(blocks), spare)
    group.mend(group.damage((column, 0) for column in lost))
    assert group.content() == group.before


def test_a_block_is_coded_in_tiles_the_last_of_them_short() -> None:
    geometry = across([[TILE + 5000], [TILE + 3], [70]], parity=2, block_size=2 * TILE)
    group = StoredGroup(geometry, [content([geometry.length(column, 0)], column) for column in range(3)])
    assert geometry.row_length(0) == TILE + 5000
    blocks = {column: group.block(column, 0) for column in range(5)}
    for start, length in ((0, 64), (TILE, 5000)):
        if start:
            known = {column: blocks[column][start : start + length] for column in range(3)}
            assert reference(known, [3, 4], length) == [blocks[column][start:] for column in (3, 4)]
    # In a whole tile the strips are 16 KiB apart: symbols 0 to 7 are the first bytes of its eighths.
    first = {column: blocks[column].ljust(TILE, b"\0")[: TILE : TILE // 8] for column in range(5)}
    assert reference({column: first[column] for column in range(3)}, [3, 4], 8) == [first[3], first[4]]


def test_the_example_of_the_documentation() -> None:
    lines = DOC.read_text("utf-8").split("## Example")[1].split("```")[1].strip().splitlines()[1:]
    table = [[bytes.fromhex(text) for text in re.split(" +", line)[1:]] for line in lines]
    volumes = [[b"ABCDEFGHIJKLMNOPQR"], [b"abcdefghi", b"jk"], [b"0123456789:;<=>?@[]^"]]
    geometry = across([[len(data) for data in volume] for volume in volumes], parity=2, block_size=8)
    group = StoredGroup(geometry, volumes)
    assert [[group.block(column, row) for column in range(5)] for row in range(3)] == table
    for row in table:
        known = {column: data.ljust(8, b"\0") for column, data in enumerate(row)}
        for lost in combinations(range(5), 2):
            rest = {column: data for column, data in known.items() if column not in lost}
            assert reference(rest, lost, 8) == [known[column] for column in lost]


# --- what is promised is mended -------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(GROUPS, st.data())
def test_any_loss_within_the_promise_is_mended_to_the_same_bytes(group: StoredGroup, data: st.DataObject) -> None:
    lost = []
    for row in range(group.geometry.rows):
        stored = [position for position in group.positions if position[1] == row]
        lost += data.draw(st.lists(st.sampled_from(stored), max_size=group.geometry.parity, unique=True))
    report = group.mend(group.damage(lost))
    assert group.content() == group.before
    assert report.beyond == ()
    assert report.blocks == sum(column < group.geometry.data for column, _ in lost)


@settings(max_examples=60)
@given(GROUPS, st.data())
def test_what_is_beyond_the_promise_is_named_exactly_and_nothing_is_written(
    group: StoredGroup, data: st.DataObject
) -> None:
    positions = data.draw(st.lists(st.sampled_from(group.positions), unique=True))
    lost = group.damage(positions)
    expected = {
        row: len(columns) - group.geometry.parity
        for row, columns in lost.items()
        if len(columns) > group.geometry.parity and min(columns) < group.geometry.data
    }
    verdict = parity.survey(group.geometry, lost)
    assert verdict.beyond == expected
    damaged = group.content()
    if expected:
        with pytest.raises(UnmendableError):
            group.mend(lost, read=_never)
        assert group.content() == damaged
    group.mend({row: lost[row] for row in verdict.mendable})
    bad = {(column, row) for row in expected for column in lost[row] if column < group.geometry.data}
    good = [position for position in group.positions if position[0] < group.geometry.data and position not in bad]
    assert all(group.check(*position, group.block(*position)) for position in good)
    assert not any(group.check(*position, group.block(*position)) for position in bad)


def _never(column: int, row: int, start: int, into: memoryview) -> None:
    raise AssertionError("nothing may be read")


def test_any_two_of_seven_unequal_volumes_may_be_lost() -> None:
    sizes = [[90, 33], [64], [1], [200, 7, 7], [31]]
    for volumes in combinations(range(7), 2):
        group = group_across(sizes, 2)
        group.mend(group.damage(position for position in group.positions if position[0] in volumes))
        assert group.content() == group.before


def test_a_lost_volume_may_be_declared_with_its_virtual_blocks() -> None:
    group = group_across([[10], [100]], 1)
    group.damage(position for position in group.positions if position[0] == 0)
    assert group.mend({row: {0} for row in range(group.geometry.rows)}).blocks == 1
    assert group.content() == group.before


def physical(geometry: Geometry) -> list[tuple[int, int]]:
    """The blocks of a protected volume in the order in which they lie on it."""
    order = [(column, row) for column in range(geometry.total) for row in range(geometry.rows)]
    return [position for position in order if geometry.place(*position) is not None]


@pytest.mark.parametrize("blocks", [1, 2, 3, 7, 24, 25, 26, 101])
@pytest.mark.parametrize("spare", [1, 2, 5])
def test_the_longest_run_is_mended_wherever_it_lies_and_is_the_longest(blocks: int, spare: int) -> None:
    for columns in (columns for columns in range(1, blocks + 1) if fills(blocks, columns)):
        geometry = within([blocks * B], columns=columns, parity=spare, block_size=B)
        order = physical(geometry)

        def survives(first: int, length: int, order: list[tuple[int, int]] = order) -> bool:
            lost: dict[int, set[int]] = {}
            for column, row in order[first : first + length]:
                lost.setdefault(row, set()).add(column)
            return not parity.survey(geometry, lost).beyond  # noqa: B023 - used within the same turn

        run = longest_run(geometry)
        assert all(survives(first, run) for first in range(len(order)))
        assert not all(survives(first, run + 1) for first in range(len(order)))


# --- what was thought good and is not -------------------------------------------------------------------------------


def test_a_wrong_block_that_nobody_declared_is_found_and_mended_with_the_rest() -> None:
    group = group_within([20 * B + 5], 7, 3)
    group.damage([(2, 1), (4, 1), (7, 0)])
    report = group.mend({1: {2}, 0: {3}})
    assert report.found_bad == {(4, 1), (7, 0)}
    assert (report.blocks, report.beyond) == (3, ())
    assert group.content() == group.before


@pytest.mark.parametrize("threads", [1, 2])
def test_a_block_that_cannot_be_read_counts_as_lost(threads: int) -> None:
    group = group_across([[100], [100], [100]], 2)
    group.damage([(0, 2)])

    def read(column: int, row: int, start: int, into: memoryview) -> None:
        if (column, row) in {(1, 2), (4, 0)}:
            raise UnreadableError("bad sector")
        group.disk.read(column, row, start, into)

    report = group.mend({2: {0}}, read=read, threads=threads)
    assert report.found_bad == {(1, 2)}
    assert group.content() == group.before


def test_what_undeclared_damage_puts_beyond_parity_is_left_as_it_was_and_named() -> None:
    group = group_across([[100], [100], [100]], 1)
    group.damage([(0, 0), (1, 0), (0, 1)])
    damaged = group.content()
    report = group.mend({0: {0}, 1: {0}})
    assert (report.beyond, report.blocks, set(report.found_bad)) == ((0,), 1, {(1, 0)})
    assert [group.block(column, 0) for column in range(3)] == [column[0][:B] for column in damaged]
    assert group.check(0, 1, group.block(0, 1))


def test_parity_made_wrong_and_signed_mends_nothing_and_passes_nothing() -> None:
    group = group_across([[100], [100], [100]], 1)
    group.damage([(3, 0)])
    group.digests[3, 0] = hashlib.sha256(group.block(3, 0)).digest()
    group.damage([(0, 0)])
    damaged = group.content()
    report = group.mend({0: {0}})
    assert (report.beyond, report.blocks, report.found_bad) == ((0,), 0, frozenset())
    assert group.content() == damaged


def test_nothing_is_written_that_fails_its_check() -> None:
    group = group_across([[300], [300]], 1)
    lost = group.damage(position for position in group.positions if position[0] == 0)
    written: list[int] = []
    report = parity.mend(
        group.geometry,
        lost,
        group.disk.read,
        lambda column, row, start, data: written.append(row),
        check=lambda column, row, data: False,
    )
    assert written == []
    assert report.blocks == 0


# --- working in pieces, by threads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_pieces_of_stripes_make_the_same_bytes(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 3 * TILE + 4096
    sizes = [[2 * size, 3], [size + 65_537], [40_000, size]]
    geometry = across(sizes, parity=2, block_size=size)
    whole = StoredGroup(geometry, [content(volume, seed) for seed, volume in enumerate(sizes)])
    monkeypatch.setattr(stripes, "MEMORY", 1)
    order: dict[int, list[tuple[int, int, int]]] = {3: [], 4: []}

    def write(column: int, row: int, start: int, data: bytes) -> None:
        order[column].append((row, start, len(data)))
        assert data == whole.block(column, row)[start : start + len(data)]

    parity.encode(geometry, whole.disk.read, write, threads=threads)
    for pieces in order.values():
        places = [(row * size + start, length) for row, start, length in pieces]
        assert [place for place, _ in places] == [sum(n for _, n in places[:at]) for at in range(len(places))]
        assert sum(length for _, length in places) == geometry.parity_size
        assert max(length for _, length in places) == TILE
    whole.mend(whole.damage(position for position in whole.positions if position[0] in (1, 2)), threads=threads)
    assert whole.content() == whole.before


def test_buffers_stay_within_the_memory_set_for_them() -> None:
    for data, spare in [(1, 1), (10, 1), (40, 4), (120, 12), (232, 23), (1, 254), (128, 127)]:
        geometry = across([[30 << 20]] * data, parity=spare)
        for threads in (1, 2, 8):
            step = stripes.SolverPool(geometry, geometry.rows, threads).step
            memory = step * threads * Solver.memory(spare)
            assert memory <= stripes.MEMORY or step == TILE
            assert step % TILE == 0


def test_writing_stays_on_the_calling_thread() -> None:
    group = group_across([[1000], [1000]], 1)
    threads = set()
    parity.encode(group.geometry, group.disk.read, lambda *_: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


def test_an_archive_that_cannot_be_read_stops_encoding_with_its_error() -> None:
    group = group_across([[1000], [1000]], 1)

    def read(column: int, row: int, start: int, into: memoryview) -> None:
        if row == 3:
            raise UnreadableError("disk error", place="archive")

    with pytest.raises(UnreadableError, match="disk error"):
        parity.encode(group.geometry, read, lambda *_: None)


# --- files ----------------------------------------------------------------------------------------------------------


class Broken(io.BytesIO):
    def readinto(self, buffer: object, /) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("make", [lambda: Broken(b"x" * 40), lambda: io.BytesIO(b"x" * 35)])
def test_files_that_fail_or_end_early_are_unreadable(make: Callable[[], BinaryIO]) -> None:
    geometry = across([[40]], parity=1, block_size=B)
    disk = ColumnFiles(geometry, [[make()], []])
    with pytest.raises(UnreadableError, match="row 1"):
        disk.read(0, 1, 0, memoryview(bytearray(8)))


def test_a_virtual_block_cannot_be_read_or_written() -> None:
    geometry = across([[40], [10]], parity=1, block_size=B)
    disk = ColumnFiles(geometry, [[io.BytesIO()], [io.BytesIO()], []])
    with pytest.raises(IndexError):
        disk.write(1, 1, 0, b"x")


# --- where blocks lie -----------------------------------------------------------------------------------------------


def test_small_volumes_have_small_parity() -> None:
    geometry = within([200_000, 199_000, 180_000], columns=3, parity=1)
    assert geometry.parity_files == (200_000,)
    assert across([[200_000], [90_000]], parity=1).parity_files == (200_000,)
    assert within([3 << 20, 5], columns=2, parity=1).parity_files == (2 << 20,)
    assert across([[(2 << 20) + 5], [(2 << 20) + 9], [1]], parity=1).parity_files == ((2 << 20) + 16,)


def test_parity_columns_are_cut_in_files_that_hold_whole_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = across([[4096 << 20, (4096 << 20) - 5, 9]], parity=1)
    assert geometry.rows == 8193
    assert geometry.parity_files == (4095 << 20, 4095 << 20, (2 << 20) + 16)
    assert max(geometry.parity_files) < 2**32
    for row in (0, 4094, 4095, 8189, 8190, 8192):
        place = geometry.place(1, row)
        assert place is not None
        assert (place.file, place.block, place.length) == (row // 4095, row % 4095, 16 if row == 8192 else 1 << 20)
        assert geometry.parity_row(place.file, place.block) == row
    with pytest.raises(IndexError):
        geometry.parity_row(2, 3)
    with pytest.raises(IndexError):
        geometry.parity_row(0, 4095)
    monkeypatch.setattr(parity_layout, "FILE_LIMIT", 3 * B + 1)
    group = group_across([[10 * B], [9 * B]], 2)
    assert [len(file.getvalue()) for file in group.files[2]] == [3 * B, 3 * B, 3 * B, B]
    group.mend(group.damage(position for position in group.positions if position[0] in (0, 3)))
    assert group.content() == group.before


def test_a_volume_of_one_block_has_a_copy_as_parity() -> None:
    group = group_within([7], 1, 1)
    assert group.files[1][0].getvalue() == group.files[0][0].getvalue().ljust(8, b"\0")


@given(SIZES, st.integers(1, 300))
def test_every_block_of_a_volume_has_one_position(sizes: list[int], about: int) -> None:
    blocks = sum(-(-size // B) for size in sizes)
    geometry = within(sizes, columns=columns_for(blocks, about), parity=1, block_size=B)
    places = [geometry.place(column, row) for column in range(geometry.data) for row in range(geometry.rows)]
    stored = [(place.file, place.block) for place in places if place is not None]
    assert stored == [(file, block) for file, size in enumerate(sizes) for block in range(-(-size // B))]
    chain = geometry.columns[0].chain
    assert [chain.index(*position) for position in stored] == list(range(blocks))


@pytest.mark.parametrize(
    "make",
    [
        lambda: across([], parity=1),
        lambda: across([[5]], parity=0),
        lambda: across([[5]] * 200, parity=56),
        lambda: across([[5, 0]], parity=1),
        lambda: across([[], []], parity=1),
        lambda: across([[5]], parity=1, block_size=0),
        lambda: across([[5]], parity=1, block_size=12),
        lambda: within([], columns=1, parity=1),
        lambda: within([10 << 20], columns=11, parity=1),
        lambda: within([10 << 20], columns=0, parity=1),
        lambda: within([10 << 20], columns=7, parity=1),
        lambda: within([1 << 50], columns=1 << 30, parity=1),
    ],
)
def test_a_geometry_that_cannot_be_is_refused(make: Callable[[], Geometry]) -> None:
    with pytest.raises(MalformedError):
        make()


def test_positions_outside_a_group_do_not_exist() -> None:
    geometry = across([[5]], parity=1)
    for column, row in [(2, 0), (0, 1), (-1, 0), (0, -1)]:
        with pytest.raises(IndexError):
            geometry.place(column, row)
    with pytest.raises(IndexError):
        geometry.columns[0].chain.index(0, 1)
    with pytest.raises(IndexError):
        geometry.columns[0].chain.place(1)
