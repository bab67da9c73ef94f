"""Pages in PDF: texts in millimetres that shrink and wrap, codes, and lines; the same input gives the same bytes.

The fonts are embedded: DejaVu Sans Condensed, which is part of this package and has Latin, Greek and Cyrillic, and one
that the operator names for other scripts. A character that neither has is refused, as are scripts that are written
from the right or whose letters join: they would be printed wrong.

Both libraries are an extra (``paper``), and only this module knows them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from courier.files import atomic_file, sweep_beside

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

MM = 72 / 25.4
"""Points of PDF in a millimetre."""
PLAIN, BOLD, OTHER = "CourierPaper", "CourierPaperBold", "CourierPaperOther"
_FILES = {PLAIN: "DejaVuSansCondensed.ttf", BOLD: "DejaVuSansCondensed-Bold.ttf"}
_QUIET = 4
"""Modules of white around a code (ISO/IEC 18004)."""
_JOINED = (
    *("ARABIC", "SYRIAC", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA"),
    *("MALAYALAM", "SINHALA", "KHMER", "MYANMAR", "TIBETAN", "MONGOLIAN"),
)
"""Scripts whose letters change with their neighbours."""
SCRIPTS_HINT = "name a font that has it: --font FILE.ttf; or print no names beside codes and IDs: --codes-only"


def require_paper() -> None:
    """Raise `NotFoundError` unless the extra that printing needs is installed."""
    try:
        import reportlab
        import segno  # noqa: F401
    except ImportError:
        raise NotFoundError(
            "labels, waybills and packing notes need the extra 'paper', which is not installed",
            hint="pip install 'courier-parcels[paper]'",
            code=Code.EXTRA_MISSING,
        ) from None
    assert reportlab


@dataclass(frozen=True, kw_only=True, slots=True)
class Area:
    """A rectangle on a page, in millimetres from the top left corner of what is drawn."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """How a text is fitted into its area: ``size`` in points at best, ``least`` at worst, ``lines`` at most.

    ``essential``: if it does not fit even so, it gets smaller still; else it is cut, and ends in three dots.
    """

    size: float
    least: float = 5.0
    lines: int = 1
    bold: bool = False
    essential: bool = False
    centred: bool = False


class Paper:
    """A document that is being drawn. Its origin is the top left corner, and lengths are in millimetres."""

    def __init__(self, canvas: Canvas, page: tuple[float, float], *, font: Path | None) -> None:
        self._canvas = canvas
        self._height = page[1]
        self._fonts = _load_fonts(font)
        self._checked: set[str] = set()
        self._fits: dict[tuple[str, float, float, Style], tuple[float, list[str]]] = {}

    def place(self, x: float, y: float, *, scale: float = 1.0) -> None:
        """Move the origin, and enlarge or shrink what is drawn from here on, until `undo`."""
        self._canvas.saveState()
        self._canvas.translate(x * MM, (self._height - y) * MM)
        self._canvas.scale(scale, scale)
        self._canvas.translate(0, -self._height * MM)

    def undo(self) -> None:
        """Undo the last `place`."""
        self._canvas.restoreState()

    def page_done(self) -> None:
        """End the page."""
        self._canvas.showPage()

    def text(self, text: str, area: Area, style: Style) -> float:
        """Draw a text in an area, from its top; return the height that it took, in millimetres.

        Raises `RefusedError` for a character that cannot be printed.
        """
        text = unicodedata.normalize("NFC", " ".join(text.split()))
        self._check(text)
        # The labels of a parcel have most of their texts in common.
        known = text, area.width, area.height, style
        if known not in self._fits:
            self._fits[known] = self._fitted(text, area, style)
        size, lines = self._fits[known]
        height = size * 1.18 / MM
        for n, line in enumerate(lines):
            x = area.x + (area.width - self._width(line, size, style) / MM) / 2 if style.centred else area.x
            self._line(line, x, area.y + n * height + size * 0.93 / MM, size, style)
        return len(lines) * height

    def rule(self, x: float, y: float, width: float, *, points: float = 0.5) -> None:
        """Draw a line to the right."""
        self._canvas.setLineWidth(points)
        self._canvas.line(x * MM, self._up(y), (x + width) * MM, self._up(y))

    def box(self, area: Area, *, points: float = 0.5) -> None:
        """Draw the border of an area."""
        self._canvas.setLineWidth(points)
        self._canvas.rect(area.x * MM, self._up(area.y + area.height), area.width * MM, area.height * MM)

    def circle(self, x: float, y: float, diameter: float) -> None:
        """Draw a circle around a point."""
        self._canvas.setLineWidth(0.5)
        self._canvas.circle(x * MM, self._up(y), diameter / 2 * MM)

    def code(self, text: str, x: float, y: float, side: float) -> None:
        """Draw a QR code of a text (letters in upper case and digits), quiet zone included, in a square.

        Never a Micro QR code, which telephones cannot read; error correction M or better.
        """
        rows = _code_rows(text)
        step = side / (len(rows) + 2 * _QUIET)
        path = self._canvas.beginPath()
        for n, row in enumerate(rows):
            top = self._up(y + (_QUIET + n + 1) * step)
            for first, last in row:
                path.rect((x + (_QUIET + first) * step) * MM, top, (last - first) * step * MM, step * MM)
        self._canvas.drawPath(path, stroke=0, fill=1)

    def _up(self, y: float) -> float:
        return (self._height - y) * MM

    def _check(self, text: str) -> None:
        for character in set(text) - self._checked:
            name = unicodedata.name(character, "a character without a name")
            where = f"U+{ord(character):04X} ({name}) in {text[:60]!r}"
            if unicodedata.bidirectional(character) in ("R", "AL") or name.startswith(_JOINED):
                raise RefusedError(
                    f"{where}: writing from the right, or with letters that join, cannot be printed",
                    hint="print no names beside codes and IDs: --codes-only",
                    code=Code.NOT_PRINTABLE,
                )
            if not any(ord(character) in font for _, font in self._fonts):
                raise RefusedError(f"no font here has {where}", hint=SCRIPTS_HINT, code=Code.NOT_PRINTABLE)
            self._checked.add(character)

    def _runs(self, text: str, style: Style) -> list[tuple[str, str]]:
        """The text in pieces of one font each."""
        chosen = BOLD if style.bold else PLAIN
        order = [chosen, *(name for name, _ in self._fonts if name != chosen)]
        have = dict(self._fonts)
        runs: list[tuple[str, str]] = []
        for character in text:
            name = next((name for name in order if ord(character) in have[name]), chosen)
            if runs and runs[-1][0] == name:
                runs[-1] = name, runs[-1][1] + character
            else:
                runs.append((name, character))
        return runs

    def _width(self, text: str, size: float, style: Style) -> float:
        pieces = self._runs(text, style)
        return float(sum(self._canvas.stringWidth(piece, name, size) for name, piece in pieces))

    def _line(self, text: str, x: float, y: float, size: float, style: Style) -> None:
        at = x * MM
        for name, piece in self._runs(text, style):
            self._canvas.setFont(name, size)
            self._canvas.drawString(at, self._up(y), piece)
            at += self._canvas.stringWidth(piece, name, size)

    def _fitted(self, text: str, area: Area, style: Style) -> tuple[float, list[str]]:
        """The size at which a text fits, and its lines."""
        size = style.size
        while True:
            fits = max(1, min(style.lines, int(area.height * MM / (size * 1.18) + 0.01)))
            lines = self._wrapped(text, area.width * MM, size, style)
            if len(lines) <= fits:
                return size, lines
            if size <= style.least and (not style.essential or size <= 2):
                return size, [*lines[: fits - 1], self._cut(lines[fits - 1], area.width * MM, size, style)]
            size = round(size - 0.5, 1)

    def _wrapped(self, text: str, width: float, size: float, style: Style) -> list[str]:
        lines, line = [], ""
        for word in text.split():
            longer = f"{line} {word}" if line else word
            if self._width(longer, size, style) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            line = word
            while style.lines > 1 and len(line) > 1 and self._width(line, size, style) > width:
                keep = self._fitting(line, width, size, style)
                lines.append(line[:keep])
                line = line[keep:]
        lines.append(line)
        # A single line is not broken: it gets smaller.
        if style.lines == 1:
            whole = " ".join(text.split())
            return [whole] if self._width(whole, size, style) <= width else [whole, ""]
        return lines

    def _fitting(self, text: str, width: float, size: float, style: Style) -> int:
        """How many characters of a word fit in a line, at least one."""
        low, high = 1, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self._width(text[:middle], size, style) <= width:
                low = middle
            else:
                high = middle - 1
        return low

    def _cut(self, text: str, width: float, size: float, style: Style) -> str:
        keep = self._fitting(text, width - self._width("…", size, style), size, style)
        return f"{text[:keep].rstrip()}…"


def write_paper(
    out: Path, page: tuple[float, float], title: str, draw: Callable[[Paper], None], *, font: Path | None = None
) -> None:
    """Write a PDF of pages of ``page`` (width and height in millimetres), drawn by ``draw``, whole or not at all.

    ``font``: a TrueType font for scripts that ours lacks. Raises `NotFoundError` without the extra, and what ``draw``
    and `Paper` raise.
    """
    require_paper()
    from reportlab.pdfgen.canvas import Canvas

    sweep_beside(out)
    with atomic_file(out) as file:
        canvas = Canvas(file, pagesize=(page[0] * MM, page[1] * MM), invariant=1, pageCompression=1)
        canvas.setTitle(title)
        canvas.setAuthor("courier")
        draw(Paper(canvas, page, font=font))
        canvas.save()


def _load_fonts(font: Path | None) -> list[tuple[str, Any]]:
    """(name, glyphs by code point) of the fonts, each known to the library from here on."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    fonts = []
    for name, file in _FILES.items():
        if name not in pdfmetrics.getRegisteredFontNames():
            with resources.as_file(resources.files("courier.parcel") / "fonts" / file) as path:
                pdfmetrics.registerFont(TTFont(name, str(path)))
        fonts.append((name, pdfmetrics.getFont(name).face.charToGlyph))
    if font is not None:
        if not font.is_file():
            raise NotFoundError(f"{font} is no file", hint="give a TrueType font: --font FILE.ttf")
        try:
            pdfmetrics.registerFont(TTFont(OTHER, str(font)))
        except Exception as error:  # of a damaged font the library raises whatever comes up
            raise UsageError(
                f"{font} cannot be used as a font: {error}",
                hint="give a TrueType font (.ttf or .ttc); PostScript outlines, as in most .otf, cannot be embedded",
            ) from None
        fonts.append((OTHER, pdfmetrics.getFont(OTHER).face.charToGlyph))
    return fonts


@lru_cache(maxsize=4)
def _code_rows(text: str) -> Sequence[Sequence[tuple[int, int]]]:
    """Per row of a QR code, where its dark runs begin and end, in modules."""
    import segno

    rows = []
    for line in segno.make_qr(text, error="m", boost_error=False).matrix:
        runs: list[tuple[int, int]] = []
        for n, dark in enumerate(line):
            if dark and runs and runs[-1][1] == n:
                runs[-1] = runs[-1][0], n + 1
            elif dark:
                runs.append((n, n + 1))
        rows.append(runs)
    return rows
