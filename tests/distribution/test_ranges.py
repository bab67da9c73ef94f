"""The ``Range`` header: every form of RFC 9110 section 14.2, and nothing that it says takes memory or time."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from courier.distribution.ranges import MAX_RANGES, parse_ranges

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-999", [(0, 1000)]),
        ("bytes=500-", [(500, 1000)]),
        ("bytes=-1", [(999, 1000)]),
        ("bytes=-5000", [(0, 1000)]),
        ("bytes=990-5000", [(990, 1000)]),
        ("Bytes = 1-2", [(1, 3)]),
        ("bytes=1-2, 5-6 ,\t-3", [(1, 3), (5, 7), (997, 1000)]),
        ("bytes=,1-2,,", [(1, 3)]),
        ("bytes=2000-,1-2", [(1, 3)]),
        ("bytes=0-0,-1", [(0, 1), (999, 1000)]),
        # Nothing of it is there: 416.
        ("bytes=1000-", []),
        ("bytes=1000-2000,3000-", []),
        ("bytes=-0", []),
        # Another unit, or not of the form: the whole file.
        ("lines=1-2", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=5-4", None),
        ("bytes=1-2,5-4", None),
        ("bytes=1-2;3-4", None),
        ("bytes=+1-2", None),
        ("bytes=1--2", None),
        ("bytes=٣-٤", None),
        ("bytes=0x1-0x2", None),
        ("bytes=1 - 2", None),
        ("", None),
        ("bytes=" + "9" * 30 + "-", None),
        # Too many, or overlapping too much: refused.
        ("bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(MAX_RANGES)), [(2 * n, 2 * n + 1) for n in range(32)]),
        ("bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(MAX_RANGES + 1)), []),
        ("bytes=0-,0-,0-", [(0, 1000)] * 3),
        ("bytes=0-,0-,0-,0-", []),
        ("bytes=" + "0-," * 5000, []),
    ],
)
def test_each_form(header: str, expected: list[tuple[int, int]] | None) -> None:
    found = parse_ranges(header, SIZE)
    assert (found if found is None else list(found)) == expected


def test_of_an_empty_file_no_part_is_there() -> None:
    assert parse_ranges("bytes=0-", 0) == ()
    assert parse_ranges("bytes=-1", 0) == ()


@given(st.text(max_size=200), st.integers(0, 10**12))
@example("bytes=0-,1-,2-,3-", 10)
def test_any_text_gives_parts_of_the_file_or_none(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        found = parse_ranges(text, size)
        assert len(found or ()) <= MAX_RANGES
        assert all(0 <= begin < end <= size for begin, end in found or ())


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 50)), min_size=1, max_size=10), st.integers(1, 1500))
def test_what_is_there_of_well_formed_ranges_is_given_in_their_order(asked: list[tuple[int, int]], size: int) -> None:
    found = parse_ranges("bytes=" + ",".join(f"{begin}-{begin + more}" for begin, more in asked), size)
    there = [(begin, min(size, begin + more + 1)) for begin, more in asked if begin < size]
    assert found is not None
    assert list(found) in (there, [])
    overlapping = len(set().union(*(range(a, b) for a, b in there))) < sum(b - a for a, b in there)
    assert overlapping or list(found) == there
