"""What a label of a volume says, and how it is drawn: with corners, on a roll, or around the hole of a disc."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from courier.media.kinds import MEDIA
from courier.parcel.paper import Area, Paper, Style
from courier.parcel.sheets import Sheet

_PAD = 2.2
"""Millimetres between the edge of a label and what is on it: printers shift by about one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFace:
    """What stands on one label.

    ``to``: the codes of its destinations, ``to_names`` their names. ``source``: code and name of the sender.
    ``medium``: its kind, in words. ``what``: the packages, in words. ``seal``: the serial number of its seal, or empty,
    so that there is room to write it. ``code``: what the square code says, ``check`` the check value below it.
    """

    parcel: str
    number: int
    of: int
    spare: bool
    copy: int
    edition: int
    to: tuple[str, ...]
    to_names: str
    source: str
    medium: str
    what: str
    care: str
    seal: str
    code: str
    check: str

    @property
    def volume(self) -> str:
        """Which volume it is, in words."""
        return f"Volume {self.number} of {self.of}" + (" · SPARE" if self.spare else "")

    @property
    def destination(self) -> str:
        """Where it goes: the codes first, as names may be cut."""
        names = f" · {self.to_names}" if self.to_names else ""
        return f"TO {', '.join(self.to)}{names}"

    @property
    def typed(self) -> str:
        """What a person types who has no scanner."""
        return f"{self.parcel}  {self.number}  {self.check}"

    @property
    def details(self) -> str:
        """Kind of medium, edition and set, in words."""
        return f"{self.medium} · edition {self.edition}" + (f" · set {self.copy}" if self.copy else "")


def medium_words(kind: str) -> str:
    """A kind of medium, in words."""
    return MEDIA[kind].what if kind in MEDIA else "Drive"


def care_words(kind: str) -> str:
    """How to handle a kind of medium."""
    if kind.startswith("lto"):
        return "HANDLE WITH CARE: magnetic tape. Do not drop. Keep dry, upright, 10 to 35 °C, away from magnets."
    if kind in MEDIA:
        return "HANDLE WITH CARE: optical disc. Hold by the edge. Keep dry, out of sunlight; do not bend."
    return "HANDLE WITH CARE: disk drive. Do not drop or knock. Keep dry, away from magnets."


@dataclass(frozen=True, kw_only=True, slots=True)
class Placing:
    """How a printer is made up for: all moved by ``offset`` (mm, right and down), and enlarged by ``scale``.

    ``calibration``: a page with the borders of all labels and rulers comes first.
    """

    offset: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    calibration: bool = False


def draw_labels(paper: Paper, sheet: Sheet, faces: Iterable[LabelFace], placing: Placing) -> None:
    """Draw labels, as many pages as they take; without any, only the calibration page.

    Raises `RefusedError` for a character that cannot be printed.
    """
    if placing.calibration:
        paper.place(*placing.offset, scale=placing.scale)
        _draw_calibration(paper, sheet)
        paper.undo()
        paper.page_done()
    used = 0
    for n, face in enumerate(faces):
        place = n % sheet.count
        if n and not place:
            paper.page_done()
        x, y = sheet.corner(place)
        paper.place(placing.offset[0], placing.offset[1], scale=placing.scale)
        paper.place(x, y)
        if sheet.hole:
            _draw_round(paper, sheet, face)
        elif sheet.label[1] > sheet.label[0]:
            _draw_upright(paper, sheet, face)
        else:
            _draw_flat(paper, sheet, face)
        paper.undo()
        paper.undo()
        used = n + 1
    if used:
        paper.page_done()


def _draw_flat(paper: Paper, sheet: Sheet, face: LabelFace) -> None:
    """A label that is wider than high: text on the left, the code on the right."""
    width, height = sheet.label
    side = min(height - 2 * _PAD - 2.6, width * 0.38)
    left = width - _PAD - side
    paper.code(face.code, left, _PAD - 1.2, side)
    paper.text(
        face.typed,
        Area(x=left - 1, y=height - _PAD - 2.6, width=side + 1, height=3),
        Style(size=6.5, least=3, essential=True, centred=True, bold=True),
    )
    area = Area(x=_PAD, y=_PAD, width=left - _PAD - 1, height=height - 2 * _PAD)
    _draw_text(paper, face, area, large=height > 45)


def _draw_upright(paper: Paper, sheet: Sheet, face: LabelFace) -> None:
    """A label that is higher than wide: text above, the code below."""
    width, height = sheet.label
    side = 44.0
    top = height - _PAD - 3.2 - side
    paper.code(face.code, (width - side) / 2, top, side)
    paper.text(
        face.typed,
        Area(x=_PAD, y=top + side - 0.4, width=width - 2 * _PAD, height=4),
        Style(size=9, least=5, essential=True, centred=True, bold=True),
    )
    _draw_text(paper, face, Area(x=_PAD, y=_PAD, width=width - 2 * _PAD, height=top - _PAD), large=True)


def _draw_text(paper: Paper, face: LabelFace, area: Area, *, large: bool) -> None:
    """The text of a label with corners: what identifies it first, then whatever there is room for."""
    factor = 1.15 if large else 0.95
    foot = 4.0 * factor
    y, end = area.y, area.y + area.height - foot
    y += paper.text(
        face.parcel, Area(x=area.x, y=y, width=area.width, height=6), Style(size=12 * factor, essential=True, bold=True)
    )
    y += paper.text(
        face.volume, Area(x=area.x, y=y, width=area.width, height=6), Style(size=11 * factor, essential=True, bold=True)
    )
    y += 0.3
    for text, style in (
        (face.destination, Style(size=8 * factor, least=5, lines=2, bold=True)),
        (f"FROM {face.source}", Style(size=7 * factor, least=5, lines=2)),
        (face.details, Style(size=6.5 * factor, least=4.5, essential=True)),
    ):
        y += paper.text(text, Area(x=area.x, y=y, width=area.width, height=6.6 * factor), style)
    rest = max(0.0, end - y)
    care = min(rest * 0.5, 5.4 * factor)
    paper.text(
        face.what,
        Area(x=area.x, y=y, width=area.width, height=rest - care),
        Style(size=6.5 * factor, least=4.5, lines=6),
    )
    paper.text(
        face.care, Area(x=area.x, y=end - care, width=area.width, height=care), Style(size=6 * factor, least=4, lines=3)
    )
    _draw_seal(paper, face, Area(x=area.x, y=end + 0.3, width=area.width, height=foot - 0.3))


def _draw_seal(paper: Paper, face: LabelFace, area: Area) -> None:
    paper.box(area)
    inner = Area(x=area.x + 1, y=area.y + 0.5, width=area.width - 2, height=area.height - 0.5)
    paper.text(f"Seal No. {face.seal}", inner, Style(size=8, least=4, essential=True, bold=bool(face.seal)))


def _draw_round(paper: Paper, sheet: Sheet, face: LabelFace) -> None:
    """A round label: text above the hole, seal and care beside it, the code below."""
    middle = sheet.label[0] / 2
    edge, hole = middle, sheet.hole / 2
    y = middle - edge + 5.5
    for text, style in (
        (face.parcel, Style(size=13, essential=True, bold=True, centred=True)),
        (face.volume, Style(size=11, essential=True, bold=True, centred=True)),
        (face.destination, Style(size=8.5, least=5, lines=2, bold=True, centred=True)),
        (f"FROM {face.source}", Style(size=7.5, least=5, lines=2, centred=True)),
        (face.details, Style(size=7, least=4.5, essential=True, centred=True)),
        (face.what, Style(size=6.5, least=4.5, lines=3, centred=True)),
    ):
        # The width of the label at the upper edge of the line, a little within the circle.
        half = ((edge - 2) ** 2 - (middle - y) ** 2) ** 0.5
        room = middle - hole - 1 - y
        y += paper.text(text, Area(x=middle - half, y=y, width=2 * half, height=min(8.0, room)), style)
    beside = edge - hole - 7
    left = Area(x=middle - edge + 5, y=middle - 5, width=beside, height=11)
    paper.box(left)
    paper.text(
        f"Seal No. {face.seal}",
        Area(x=left.x + 1, y=left.y + 1, width=beside - 2, height=9),
        Style(size=8, least=4, lines=3, essential=True),
    )
    paper.text(
        face.care,
        Area(x=middle + hole + 2, y=middle - 9, width=beside, height=20),
        Style(size=6.5, least=4, lines=8, centred=True),
    )
    side = 30.0
    paper.code(face.code, middle - side / 2, middle + hole, side)
    paper.text(
        face.typed,
        Area(x=middle - 17, y=middle + hole + side - 0.6, width=34, height=3.6),
        Style(size=8, least=5, essential=True, bold=True, centred=True),
    )


def _draw_calibration(paper: Paper, sheet: Sheet) -> None:
    """The borders of all labels, with rulers that tell the offset and scale that a printer needs."""
    for place in range(sheet.count):
        x, y = sheet.corner(place)
        width, height = sheet.label
        if sheet.hole:
            paper.circle(x + width / 2, y + height / 2, width)
            paper.circle(x + width / 2, y + height / 2, sheet.hole)
        else:
            paper.box(Area(x=x, y=y, width=width, height=height))
    x, y = sheet.corner(0)
    width = sheet.label[0]
    length = 100.0 if width > 100 else 50.0
    left, top = x + (width - length) / 2, y + sheet.label[1] * (0.2 if sheet.hole else 0.3)
    paper.rule(left, top, length)
    for n in range(int(length / 10) + 1):
        paper.box(Area(x=left + 10 * n, y=top - 1.5, width=0, height=3))
    paper.text(
        f"{sheet.name}: this line is {length:.0f} mm long. Lay the page on a sheet of labels, against the light. "
        "Is the line longer or shorter: --scale is what it should be, divided by what it is. Are the borders beside "
        "the labels: --offset X,Y moves them by X mm to the right and Y mm down.",
        Area(x=left, y=top + 3, width=length, height=22),
        Style(size=7, least=4, lines=8),
    )
