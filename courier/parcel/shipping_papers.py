"""The papers that go with a set of media: the waybill for the courier, and the packing note for the desk it goes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from courier.parcel.paper import Area, Paper, Style
from courier.text import harmless, listed, plural
from formats.records import format_time

_LEFT, _TOP = 15.0, 15.0
_HEAD = Style(size=8, least=5, bold=True)
_CELL = Style(size=8, least=5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Consignment:
    """A set of media of a parcel, as it goes to ``to`` (codes and names).

    ``spares``: the numbers of spare volumes, None where that is not known here. ``medium``: kind of the media in words,
    empty where that is not known here. ``seals``: serial numbers by volume. ``shipped_ns``: when it was marked sent
    (UTC), None if it was not.
    """

    parcel: str
    copy: int
    source: str
    to: tuple[str, ...]
    volumes: int
    spares: frozenset[int] | None
    medium: str
    what: tuple[str, ...]
    care: str
    priority: str
    carrier: str
    tracking: str
    seals: Mapping[int, str]
    shipped_ns: int | None
    packing_list: str


HANDS = (
    ("packed", "Media packed, complete and labelled"),
    ("sealed", "Seals put on, numbers as above"),
    ("handed-over", "Handed over to the carrier"),
    ("handed-over", "Handed on, on the way"),
    ("handed-over", "Handed on, on the way"),
    ("received", "Received at the destination"),
    ("seal-checked", "Seals compared: numbers, intact or broken"),
)
"""The events of the custody ledger that a person on the way signs for, in their order."""


def draw_waybills(
    paper: Paper, page: tuple[float, float], shipments: Sequence[tuple[Consignment, Sequence[str]]]
) -> None:
    """Draw a page for each shipment; with each come the entries of its ledger in words."""
    for one, entries in shipments:
        _draw_waybill(paper, page, one, entries)
        paper.page_done()


def _draw_waybill(paper: Paper, page: tuple[float, float], one: Consignment, entries: Sequence[str]) -> None:
    width = page[0] - 2 * _LEFT
    y = _heading(paper, "WAYBILL", one, width)
    y = _facts(
        paper,
        width,
        y,
        (
            ("From", one.source),
            ("To", "; ".join(one.to)),
            ("Carrier", f"{one.carrier or '________________'}, tracking: {one.tracking or '________________'}"),
            ("Pieces", _pieces(one)),
            ("What it is", "; ".join(one.what) or "OS images"),
            ("Handling", one.care),
            ("Seals", _seals(one)),
        ),
    )
    y = paper.text(
        "Custody: whoever gives and whoever takes the media signs a line; each is an entry of the custody ledger.",
        Area(x=_LEFT, y=y + 2, width=width, height=5),
        _HEAD,
    ) + (y + 3)
    y = _signatures(paper, width, y)
    y += 3
    if entries:
        y += paper.text("Entered in the ledger so far:", Area(x=_LEFT, y=y, width=width, height=5), _HEAD)
        for text in entries:
            if y > page[1] - 18:
                break
            y += paper.text(text, Area(x=_LEFT, y=y, width=width, height=4), Style(size=7, least=5))
    _foot(paper, page, f"courier parcel custody add {one.parcel} --event EVENT takes a signed line into the ledger.")


def _signatures(paper: Paper, width: float, y: float) -> float:
    columns = (26.0, 52.0, 36.0, 26.0, width - 140.0)
    heads = ("Event", "What", "Name", "Date, time (UTC)", "Signature")
    height = 10.5
    for row in (heads, *((event, what, "", "", "") for event, what in HANDS)):
        x, tall = _LEFT, 6.0 if row is heads else height
        for text, wide in zip(row, columns, strict=True):
            paper.box(Area(x=x, y=y, width=wide, height=tall))
            style = _HEAD if row is heads else Style(size=8, least=5, lines=2)
            if text:
                paper.text(text, Area(x=x + 1, y=y + 1, width=wide - 2, height=tall - 1), style)
            x += wide
        y += tall
    return y


def draw_packing_note(paper: Paper, page: tuple[float, float], notes: Sequence[Consignment]) -> None:
    """Draw the packing note of each set: a line for each volume, on as many pages as they take."""
    width, tall = page[0] - 2 * _LEFT, 6.2
    columns = (26.0, 26.0, width - 132.0, 24.0, 28.0, 28.0)
    heads = ("Volume", "Kind", "Seal, by the sender", "Arrived", "Seal intact", "Remark")
    for one in notes:
        y = _heading(paper, "PACKING NOTE", one, width)
        y = _facts(
            paper,
            width,
            y,
            (
                ("From", one.source),
                ("To", "; ".join(one.to)),
                ("Carrier", f"{one.carrier or '-'}, tracking: {one.tracking or '-'}"),
                ("Pieces", _pieces(one)),
                ("What it is", "; ".join(one.what) or "OS images"),
                ("Packing list", one.packing_list),
                (
                    "At the desk",
                    "Scan each label: courier parcel intake --scan. Then read the media: courier parcel "
                    "receive MEDIUM. A seal that is broken or has another number: keep the box as it is, and tell the "
                    f"sender, {one.source[:3]}, before it is opened.",
                ),
            ),
        )
        y += 3
        y = _row(paper, columns, heads, y, tall, _HEAD)
        for number in range(1, one.volumes + 1):
            if y + tall > page[1] - 20:
                _foot(paper, page, f"{one.parcel}: goes on on the next page")
                paper.page_done()
                y = _row(paper, columns, heads, _TOP, tall, _HEAD)
            kind = "" if one.spares is None else "spare" if number in one.spares else "content"
            cells = (f"{number} of {one.volumes}", kind, one.seals.get(number, ""), "", "", "")
            y = _row(paper, columns, cells, y, tall, _CELL)
        _foot(paper, page, f"{one.parcel}: {plural(one.volumes, 'volume')}, end of the list.   Name, date, signature:")
        paper.page_done()


def _row(paper: Paper, columns: Sequence[float], cells: Sequence[str], y: float, tall: float, style: Style) -> float:
    x = _LEFT
    for text, wide in zip(cells, columns, strict=True):
        paper.box(Area(x=x, y=y, width=wide, height=tall))
        if text:
            paper.text(text, Area(x=x + 1, y=y + 1.2, width=wide - 2, height=tall - 1), style)
        x += wide
    return y + tall


def _heading(paper: Paper, title: str, one: Consignment, width: float) -> float:
    paper.text(title, Area(x=_LEFT, y=_TOP, width=width / 2, height=9), Style(size=20, essential=True, bold=True))
    text = one.parcel + (f", set {one.copy}" if one.copy else "")
    paper.text(
        text,
        Area(x=_LEFT + width / 2, y=_TOP + 1, width=width / 2, height=8),
        Style(size=16, essential=True, bold=True),
    )
    when = f"Marked as sent {format_time(one.shipped_ns)[:16]}Z" if one.shipped_ns else "Not marked as sent yet"
    priority = f"Priority {one.priority}" if one.priority else ""
    paper.text(
        f"{when}.  {priority}", Area(x=_LEFT, y=_TOP + 10, width=width, height=5), Style(size=8, least=6, lines=1)
    )
    return _TOP + 16


def _facts(paper: Paper, width: float, y: float, facts: Sequence[tuple[str, str]]) -> float:
    """Draw facts, one below the other, each with its name; return where they end."""
    for name, text in facts:
        paper.rule(_LEFT, y - 0.6, width, points=0.25)
        paper.text(name, Area(x=_LEFT, y=y, width=24, height=5), Style(size=9, least=6, bold=True))
        style = Style(size=9, least=5.5, lines=5)
        y += max(4.2, paper.text(text, Area(x=_LEFT + 26, y=y, width=width - 26, height=20), style)) + 1.4
    paper.rule(_LEFT, y - 0.6, width, points=0.25)
    return y


def _pieces(one: Consignment) -> str:
    spare = f", {len(one.spares)} of them spare ({listed(sorted(one.spares))})" if one.spares else ""
    return f"{plural(one.volumes, 'volume')}{spare}" + (f": {one.medium}" if one.medium else "")


def _seals(one: Consignment) -> str:
    if not one.seals:
        return "none named yet: ____________________________________________"
    shown = [f"{number}={harmless(serial, 60)}" for number, serial in sorted(one.seals.items())]
    text = ", ".join(shown[:60])
    return text + (f", and {len(shown) - 60} more: see the packing note" if len(shown) > 60 else "")


def _foot(paper: Paper, page: tuple[float, float], text: str) -> None:
    paper.text(text, Area(x=_LEFT, y=page[1] - 15, width=page[0] - 2 * _LEFT, height=5), Style(size=7, least=5))
