"""A plan as one page of HTML that stands alone: its charts are inline SVG, and it has no script and no outside link."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from courier.planning.quantities import rate_text, share_text, span_text
from courier.planning.send import DestinationPlan, SendPlan
from courier.text import plural, size_text
from formats.records import format_time

WIDTH, HEIGHT = 720, 260
"""Of a chart, in the units of its picture."""
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 12, 36
"""Margins of the chart of the break-even."""
BAR_LEFT, BAR_WIDTH = 90, 520


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A part of a bar: where it begins and how wide it is, in units of the picture, and what it stands for."""

    x: float
    width: float
    leg: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A bar: its name, its parts, and the text at its end."""

    name: str
    segments: tuple[Segment, ...]
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """The times of both ways by size: points of the two lines, marks on the axes, and where the content's size is."""

    network: tuple[str, ...]
    """Each part of the line as the points of a polyline: it is broken where the network never ends."""
    courier: str
    sizes: tuple[Tick, ...]
    spans: tuple[Tick, ...]
    here: float | None


def send_page(plan: SendPlan) -> str:
    """The page of a plan of ``courier plan send``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("courier.planning"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"span": span_text, "size": size_text, "rate": rate_text, "share": share_text, "when": _when}
    template = environment.get_template("send.html.j2")
    return template.render(
        plan=plan,
        bars={one.code: bars_of(one) for one in plan.destinations},
        charts={one.code: chart_of(one, plan.content.bytes) for one in plan.destinations},
        plural=plural,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
    )


def _when(ns: int | None) -> str:
    return "never" if ns is None else f"{format_time(ns)[:16].replace('T', ' ')} UTC"


def bars_of(plan: DestinationPlan) -> tuple[Bar, ...]:
    """The bars of both ways, on one scale; the courier's has a part for each leg."""
    longest = max(plan.legs.total, plan.network_seconds or 0, 1)
    scale = BAR_WIDTH / longest
    network: tuple[Segment, ...] = ()
    if plan.network_seconds is not None:
        took = span_text(plan.network_seconds)
        network = (Segment(x=BAR_LEFT, width=plan.network_seconds * scale, leg="network", text=f"network: {took}"),)
    legs, at = [], float(BAR_LEFT)
    for name, seconds in plan.legs.named():
        text = f"{name}: {span_text(seconds)}"
        legs.append(Segment(x=at, width=seconds * scale, leg=name.replace(" ", "-"), text=text))
        at += seconds * scale
    known = "not known" if plan.network is None else span_text(plan.network_seconds)
    return (
        Bar(name="network", segments=network, text=known),
        Bar(name="courier", segments=tuple(legs), text=span_text(plan.legs.total)),
    )


def chart_of(plan: DestinationPlan, size: int) -> Chart | None:
    """The chart of the break-even, both axes logarithmic; None where the line is not known."""
    points = plan.curve
    if plan.network is None or len(points) < 2:
        return None
    seconds = [s for point in points for s in (point.network, point.courier) if s is not None]
    across = _Scale(points[0].size, points[-1].size, LEFT, WIDTH - RIGHT)
    up = _Scale(max(1, min(seconds)), max(seconds), HEIGHT - BOTTOM, TOP)
    runs: list[list[str]] = [[]]
    for point in points:
        if point.network is None:
            runs.append([])
        else:
            runs[-1].append(f"{across(point.size):.1f},{up(point.network):.1f}")
    return Chart(
        network=tuple(" ".join(run) for run in runs if run),
        courier=" ".join(f"{across(point.size):.1f},{up(point.courier):.1f}" for point in points),
        sizes=tuple(Tick(at=across(value), text=size_text(value)) for value in across.ticks()),
        spans=tuple(Tick(at=up(value), text=span_text(value)) for value in up.marks(_SPANS)),
        here=across(size) if size else None,
    )


_SPANS = (1, 60, 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600, 365 * 24 * 3600)


class _Scale:
    """A logarithmic scale from values to places in the picture."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self._low, self._high = low, max(high, low * 2)
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        share = math.log(max(value, self._low) / self._low) / math.log(self._high / self._low)
        return self._begin + (self._end - self._begin) * min(1.0, share)

    def ticks(self) -> list[int]:
        """Powers of ten within the scale; every second where there are more than eight."""
        first, last = math.ceil(math.log10(self._low)), math.floor(math.log10(self._high))
        step = 1 if last - first < 8 else 2
        return [10**power for power in range(first, last + 1, step)]

    def marks(self, values: Sequence[int]) -> list[int]:
        """Those of ``values`` that are within the scale."""
        return [value for value in values if self._low <= value <= self._high]
