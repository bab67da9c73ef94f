"""Hole maps: one spelling for each set of holes, and none that a file cannot have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listing_trees import hole_maps

from formats.errors import FormatError, MalformedError, TooLargeError
from formats.holes import BLOCK, MAX_HOLES, HoleMap, check_holes, data_runs, hole_bytes, hole_map, hole_runs


@given(hole_maps())
def test_holes_and_data_are_the_whole_file_without_overlap(made: tuple[HoleMap, int]) -> None:
    holes, size = made
    check_holes(holes, size)
    assert hole_map(hole_runs(holes)) == holes
    assert hole_bytes(holes) == sum(length for _, length in hole_runs(holes))
    runs = sorted([*hole_runs(holes), *data_runs(holes, size)])
    at = 0
    for offset, length in runs:
        assert offset == at
        assert length > 0
        at += length
    assert at == size


@pytest.mark.parametrize(
    ("holes", "size"),
    [
        ((), 0),
        ((), 5),
        ((0, 1), 1),
        ((0, BLOCK), BLOCK),
        ((0, BLOCK), BLOCK + 1),
        ((BLOCK, 1), BLOCK + 1),
        ((0, BLOCK, BLOCK, BLOCK), 4 * BLOCK),
        ((0, BLOCK) + (BLOCK, BLOCK) * (MAX_HOLES - 1), 2 * MAX_HOLES * BLOCK),
    ],
)
def test_what_a_file_can_have_is_a_map(holes: HoleMap, size: int) -> None:
    check_holes(holes, size)


@pytest.mark.parametrize(
    ("holes", "size", "place"),
    [
        ((0,), BLOCK, "holes"),
        ((BLOCK, BLOCK, BLOCK), 3 * BLOCK, "holes"),
        ((0, 0), BLOCK, "holes[1]"),
        ((0, 1), 0, "holes[1]"),
        ((0, 1), 2, "holes[1]"),
        ((1, BLOCK), 1 + BLOCK, "holes[0]"),
        ((BLOCK + 512, BLOCK), 1 << 20, "holes[0]"),
        ((0, BLOCK, 0, BLOCK), 2 * BLOCK, "holes[2]"),
        ((0, BLOCK + 1, BLOCK, BLOCK), 1 << 20, "holes[1]"),
        ((0, BLOCK, BLOCK, 0), 2 * BLOCK, "holes[3]"),
        ((0, BLOCK, BLOCK, 2 * BLOCK), 4 * BLOCK - 1, "holes[3]"),
        ((1 << 62, 1 << 62), 1 << 62, "holes[1]"),
    ],
)
def test_what_no_file_can_have_is_refused_by_its_place(holes: HoleMap, size: int, place: str) -> None:
    with pytest.raises(MalformedError) as caught:
        check_holes(holes, size)
    assert caught.value.place == place


def test_more_holes_than_a_map_has_are_refused() -> None:
    with pytest.raises(TooLargeError):
        check_holes((BLOCK, BLOCK) * (MAX_HOLES + 1), 1 << 62)


@given(st.lists(st.sampled_from([0, 1, BLOCK - 1, BLOCK, 2 * BLOCK, 1 << 62]), max_size=6), st.integers(0, 1 << 20))
def test_whatever_passes_has_whole_blocks_apart_from_each_other(holes: list[int], size: int) -> None:
    try:
        check_holes(holes, size)
    except FormatError:
        return
    end = -1
    for offset, length in hole_runs(holes):
        assert offset % BLOCK == 0
        assert length > 0
        assert offset > end
        end = offset + length
        assert length % BLOCK == 0 or end == size
    assert end <= size
