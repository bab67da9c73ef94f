"""The sheets that labels are printed on, in millimetres, and where each label of a sheet lies.

A new sheet is one more line in `SHEETS`. Figures are those of the trade: L7163 and its equals on A4, 5163 on letter,
endless tape of 62 mm, and two round labels of 118 mm on A4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """A sheet of labels; all lengths in millimetres, measured from the top left corner of the page.

    ``page`` and ``label``: width and height. ``first``: the corner of the first label. ``pitch``: from one label to the
    next, to the right and down. ``columns`` and ``rows``: how many. ``hole``: the diameter of the hole of a round
    label; 0 for a label with corners.
    """

    name: str
    what: str
    page: tuple[float, float]
    label: tuple[float, float]
    first: tuple[float, float]
    pitch: tuple[float, float]
    columns: int
    rows: int
    hole: float = 0.0

    @property
    def count(self) -> int:
        """Labels on a page."""
        return self.columns * self.rows

    def corner(self, place: int) -> tuple[float, float]:
        """The top left corner of a label on its page; places are counted from 0, along the rows."""
        row, column = divmod(place, self.columns)
        return self.first[0] + column * self.pitch[0], self.first[1] + row * self.pitch[1]


A4, LETTER = (210.0, 297.0), (215.9, 279.4)
SHEETS: Mapping[str, Sheet] = {
    sheet.name: sheet
    for sheet in (
        Sheet(
            name="a4-2x7",
            what="A4, 14 labels of 99.1 x 38.1 mm (L7163)",
            page=A4,
            label=(99.1, 38.1),
            first=(4.65, 15.15),
            pitch=(101.6, 38.1),
            columns=2,
            rows=7,
        ),
        Sheet(
            name="letter-5163",
            what="letter, 10 labels of 4 x 2 inches (5163)",
            page=LETTER,
            label=(101.6, 50.8),
            first=(3.97, 12.7),
            pitch=(106.36, 50.8),
            columns=2,
            rows=5,
        ),
        Sheet(
            name="roll-62mm",
            what="a roll of 62 mm, labels of 62 x 100 mm",
            page=(62.0, 100.0),
            label=(62.0, 100.0),
            first=(0.0, 0.0),
            pitch=(62.0, 100.0),
            columns=1,
            rows=1,
        ),
        Sheet(
            name="disc-118mm",
            what="A4, two round labels of 118 mm for discs",
            page=A4,
            label=(118.0, 118.0),
            first=(46.0, 21.5),
            pitch=(118.0, 136.0),
            columns=1,
            rows=2,
            hole=41.0,
        ),
    )
}
"""The sheets by name."""
