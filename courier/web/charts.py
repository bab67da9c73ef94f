"""The geometry of the pictures of the dashboard: a time line, and maps of blocks.

Positions on a time line are percentages of its width, so that it is drawn as wide as its column is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from courier.care.facts import DAY_NS, SECOND_NS
from courier.site.catalog.parcel_pages import SENT, ListedParcel
from formats.records import format_time

LONGEST_NS = 60 * DAY_NS
"""What began earlier is drawn from the left edge: a parcel that was forgotten for years leaves room for the others."""
SHORTEST_NS = DAY_NS // 12
TICKS = 4
"""Times on the axis, at most: they have to fit on a phone."""
_HOUR_NS = 3600 * SECOND_NS
_STEPS = tuple(n * _HOUR_NS for n in (1, 2, 3, 6, 12)) + tuple(n * DAY_NS for n in (1, 2, 4, 7, 14, 28))
EDGE = 4.0
"""Nearer to an edge than so many percent there is no time on the axis: it would be cut."""
MAP_COLUMNS, MAP_ROWS = 48, 4
"""Squares of a map of blocks: each stands for the same number of blocks."""
MAP_CELLS = MAP_COLUMNS * MAP_ROWS


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A part of a row of the time line; ``phase``: made here, on the road, or ended (a mark at that time)."""

    x: float
    width: float
    phase: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A time on the axis."""

    x: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineRow:
    """A parcel on the time line; ``text`` says in words what the bars show."""

    parcel: ListedParcel
    bars: tuple[Bar, ...]
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """Parcels on one scale of time."""

    rows: tuple[TimelineRow, ...]
    ticks: tuple[Tick, ...]


def timeline(parcels: Sequence[ListedParcel], now_ns: int, *, open_states: Iterable[tuple[str, str]]) -> Timeline:
    """The time line of these parcels, in their order. ``open_states``: (side, state) of what has not ended."""
    going_on = frozenset(open_states)
    begin = max(min((one.since_ns for one in parcels), default=now_ns), now_ns - LONGEST_NS)
    begin = min(begin, now_ns - SHORTEST_NS)
    span = now_ns - begin

    def x(ns: int) -> float:
        return round(100 * min(1.0, max(0.0, (ns - begin) / span)), 2)

    rows = []
    for one in parcels:
        end = now_ns if (one.side, one.state) in going_on else one.ended_ns
        points = [("making", one.since_ns, one.shipped_ns or end or one.since_ns)]
        if one.shipped_ns is not None:
            points.append(("road", one.shipped_ns, max(one.shipped_ns, end or one.shipped_ns)))
        bars = [
            Bar(x=x(first), width=round(x(last) - x(first), 2), phase=phase)
            for phase, first, last in points
            if x(last) > x(first)
        ]
        if (one.side, one.state) not in going_on:
            bars.append(Bar(x=x(end or one.shipped_ns or one.since_ns), width=0.0, phase="end"))
        rows.append(TimelineRow(parcel=one, bars=tuple(bars), text=_words(one)))
    return Timeline(rows=tuple(rows), ticks=_ticks(begin, now_ns))


def _words(one: ListedParcel) -> str:
    if one.side != SENT:
        parts = [f"first heard of {format_time(one.since_ns)[:10]}"]
        parts += [f"imported {format_time(one.ended_ns)[:10]}"] if one.ended_ns else []
    else:
        parts = [f"made {format_time(one.since_ns)[:10]}"]
        parts += [f"shipped {format_time(one.shipped_ns)[:10]}"] if one.shipped_ns else []
        parts += [f"confirmed {format_time(one.ended_ns)[:10]}"] if one.ended_ns else []
    return ", ".join(parts)


def _ticks(begin: int, end: int) -> tuple[Tick, ...]:
    span = end - begin
    step = next((one for one in _STEPS if span // one <= TICKS), _STEPS[-1])
    first = -(-begin // step) * step
    found = [Tick(x=round(100 * (at - begin) / span, 2), text=_short(at, step)) for at in range(first, end + 1, step)]
    return tuple(one for one in found if EDGE < one.x < 100 - EDGE)


def _short(ns: int, step: int) -> str:
    text = format_time(ns)
    return text[5:10] if step >= DAY_NS else text[11:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockPicture:
    """A map of blocks as an SVG path for each kind of square, on a grid of `MAP_COLUMNS` columns and ``rows`` rows."""

    rows: int
    paths: tuple[tuple[str, str], ...]


def block_picture(cells: str, kinds: Mapping[str, str]) -> BlockPicture:
    """Draw a line of squares, `MAP_CELLS` at most; ``kinds`` gives the kind of each character."""
    paths: dict[str, list[str]] = {}
    for row in range(-(-len(cells) // MAP_COLUMNS)):
        line = cells[row * MAP_COLUMNS : (row + 1) * MAP_COLUMNS]
        at = 0
        while at < len(line):
            length = 1
            while at + length < len(line) and line[at + length] == line[at]:
                length += 1
            paths.setdefault(kinds[line[at]], []).append(f"M{at} {row}h{length}v1h-{length}z")
            at += length
    return BlockPicture(
        rows=max(1, -(-len(cells) // MAP_COLUMNS)), paths=tuple((kind, "".join(parts)) for kind, parts in paths.items())
    )


def grid_path(rows: int) -> str:
    """The lines between the squares of a map."""
    across = "".join(f"M0 {row}h{MAP_COLUMNS}" for row in range(1, rows))
    return across + "".join(f"M{column} 0v{rows}" for column in range(1, MAP_COLUMNS))


def layout_cells(sizes: Sequence[tuple[str, int]]) -> str:
    """The squares of a volume that is laid out: ``sizes`` are (character, blocks) of its files, in their order."""
    total = sum(blocks for _, blocks in sizes)
    cells = min(MAP_CELLS, total)
    drawn, file, end = [], 0, sizes[0][1] if sizes else 0
    for cell in range(cells):
        middle = (2 * cell + 1) * total // (2 * cells)
        while middle >= end:
            file += 1
            end += sizes[file][1]
        drawn.append(sizes[file][0])
    return "".join(drawn)
