"""The geometry of the pictures: everything is within its picture, in order, and stands for what it should."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from courier.care.facts import DAY_NS
from courier.site.catalog.parcel_pages import RECEIVED, SENT, ListedParcel
from courier.web.charts import (
    LONGEST_NS,
    MAP_CELLS,
    MAP_COLUMNS,
    TICKS,
    block_picture,
    layout_cells,
    timeline,
)

NOW = 1_790_000_000 * 10**9
OPEN = ((SENT, "Sent"), (RECEIVED, "Arriving"))


def listed(side: str, state: str, since: int, shipped: int | None = None, ended: int | None = None) -> ListedParcel:
    """A parcel; times are days before now."""
    shipped_ns, ended_ns = (None if days is None else NOW - days * DAY_NS for days in (shipped, ended))
    return ListedParcel(
        side=side,
        parcel="HQ1-000001",
        state=state,
        since_ns=NOW - since * DAY_NS,
        shipped_ns=shipped_ns,
        ended_ns=ended_ns,
    )


def test_bars_show_making_road_and_end() -> None:
    found = timeline(
        [listed(SENT, "Confirmed", 20, 15, 5), listed(SENT, "Sent", 10, 5), listed(RECEIVED, "Arriving", 4, 4)],
        NOW,
        open_states=OPEN,
    )
    ended, sent, arriving = found.rows
    assert [(bar.phase, bar.x, bar.width) for bar in ended.bars] == [
        ("making", 0, 25),
        ("road", 25, 50),
        ("end", 75, 0),
    ]
    assert [(bar.phase, bar.x, bar.width) for bar in sent.bars] == [("making", 50, 25), ("road", 75, 25)]
    assert [(bar.phase, bar.x, bar.width) for bar in arriving.bars] == [("road", 80, 20)]
    assert ended.text.startswith("made 20")
    assert "confirmed" in ended.text


@given(
    st.lists(
        st.tuples(
            st.sampled_from([(SENT, "Sent"), (SENT, "Failed"), (RECEIVED, "Imported"), (RECEIVED, "Arriving")]),
            st.integers(-400, 4000),
            st.none() | st.integers(-400, 4000),
            st.none() | st.integers(-400, 4000),
        ),
        max_size=6,
    )
)
def test_whatever_the_times_are_everything_is_within_the_picture(
    rows: list[tuple[tuple[str, str], int, int, int]],
) -> None:
    found = timeline([listed(*kind, *times) for kind, *times in rows], NOW, open_states=OPEN)
    for row in found.rows:
        for bar in row.bars:
            assert 0 <= bar.x <= 100
            assert 0 <= bar.width <= 100
            assert bar.x + bar.width <= 100.01
    assert len(found.ticks) <= TICKS + 1
    assert [tick.x for tick in found.ticks] == sorted(tick.x for tick in found.ticks)
    assert LONGEST_NS >= 14 * DAY_NS


@given(st.text("#+.", min_size=1, max_size=MAP_CELLS))
def test_a_picture_of_blocks_has_a_square_for_each(cells: str) -> None:
    picture = block_picture(cells, {"#": "here", "+": "some", ".": "none"})
    squares: dict[int, str] = {}
    for kind, path in picture.paths:
        for column, row, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path):
            for at in range(int(width)):
                assert int(column) + at < MAP_COLUMNS
                squares[int(row) * MAP_COLUMNS + int(column) + at] = {"here": "#", "some": "+", "none": "."}[kind]
    assert "".join(squares[at] for at in range(len(cells))) == cells
    assert len(squares) == len(cells)
    assert picture.rows == -(-len(cells) // MAP_COLUMNS)


@given(st.lists(st.tuples(st.sampled_from("ap"), st.integers(1, 4096)), max_size=20))
def test_a_layout_is_drawn_in_the_shares_of_its_files(sizes: list[tuple[str, int]]) -> None:
    cells = layout_cells(sizes)
    total = sum(blocks for _, blocks in sizes)
    assert len(cells) == min(MAP_CELLS, total)
    if total:
        parity = sum(blocks for kind, blocks in sizes if kind == "p")
        assert abs(cells.count("p") - parity * len(cells) / total) <= len(sizes)
