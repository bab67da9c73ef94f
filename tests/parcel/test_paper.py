"""Pages in PDF: every label is on its sheet, texts fit or shrink, and what cannot be printed is named."""

from __future__ import annotations

import struct
import sys
from importlib import resources
from pathlib import Path

import pytest
from scanned_labels import scan, words

from courier.errors import NotFoundError, RefusedError, UsageError
from courier.parcel.label_page import LabelFace, Placing, draw_labels
from courier.parcel.paper import Area, Paper, Style, write_paper
from courier.parcel.sheets import SHEETS, Sheet

PAGE = (100.0, 100.0)
WHOLE = Area(x=10, y=10, width=80, height=80)


def page(out: Path, text: str, style: Style, *, area: Area = WHOLE, font: Path | None = None) -> str:
    """The words of a page on which a text was fitted into an area."""

    def draw(paper: Paper) -> None:
        paper.text(text, area, style)
        paper.page_done()

    write_paper(out, PAGE, "Test", draw, font=font)
    return words(out)


def face(number: int, **changes: object) -> LabelFace:
    values = {
        "parcel": "HQ1-000042",
        "number": number,
        "of": 9_999,
        "spare": True,
        "copy": 12,
        "edition": 999,
        "to": tuple(f"B{n:02d}" for n in range(20)),
        "to_names": "Ein langer Name " * 60,
        "source": "HQ1 " + "Donaudampfschifffahrtsgesellschaftskapitän" * 20,
        "medium": "Blu-ray disc with three layers",
        "what": "HQ100001:1 Image; " * 50,
        "care": "HANDLE WITH CARE",
        "seal": "S" * 200,
        "code": f"CP1{number:04d}" + "ABCDEFGHIJ" * 28,
        "check": "WWWWWW",
    }
    return LabelFace(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS.keys())
def test_labels_lie_on_the_page_and_not_on_each_other(sheet: Sheet) -> None:
    corners = [sheet.corner(place) for place in range(sheet.count)]
    width, height = sheet.label
    assert all(x >= 0 and y >= 0 for x, y in corners)
    assert all(x + width <= sheet.page[0] + 0.01 and y + height <= sheet.page[1] + 0.01 for x, y in corners)
    assert sheet.columns == 1 or sheet.pitch[0] >= width
    assert sheet.rows == 1 or sheet.pitch[1] >= height
    # As far from the right as from the left, so that a sheet can be put in either way.
    assert corners[0][0] == pytest.approx(sheet.page[0] - corners[-1][0] - width, abs=0.3)


@pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS.keys())
def test_long_names_do_not_push_out_what_identifies_a_label(sheet: Sheet, tmp_path: Path) -> None:
    out = tmp_path / "labels.pdf"
    write_paper(out, sheet.page, "Test", lambda paper: draw_labels(paper, sheet, [face(9_999)], Placing()))
    assert scan(out) == [face(9_999).code]
    text = words(out)
    for wanted in ("HQ1-000042", "Volume 9999 of 9999", "SPARE", "B19", "FROM HQ1", "edition 999", "WWWWWW", "CARE"):
        assert wanted in text


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    sheet = SHEETS["roll-62mm"]

    def draw(paper: Paper) -> None:
        draw_labels(paper, sheet, [face(1), face(2)], Placing())

    for name in ("one.pdf", "two.pdf"):
        write_paper(tmp_path / name, sheet.page, "Test", draw)
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()


def test_only_a_text_that_is_not_essential_is_cut(tmp_path: Path) -> None:
    out, long = tmp_path / "page.pdf", "".join(f"x{n:03d}" for n in range(40))
    assert page(out, long, Style(size=12, least=2, essential=True)) == long
    assert page(out, long, Style(size=12, least=10)).endswith("…")
    assert page(out, long, Style(size=12, least=10, lines=9)).replace(" ", "") == long


def test_latin_greek_and_cyrillic_are_printed(tmp_path: Path) -> None:
    text = "Ångström žluťoučký kůň Κέρκυρα Москва Ђорђе"
    assert page(tmp_path / "page.pdf", text, Style(size=9, lines=3)) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [("東京", "U+"), ("שלום", "from the right"), ("नमस्ते", "letters that join"), ("مرحبا", "from the right")],
)
def test_what_cannot_be_printed_is_refused_by_name(text: str, named: str, tmp_path: Path) -> None:
    out = tmp_path / "page.pdf"
    out.write_bytes(b"the one before")
    with pytest.raises(RefusedError, match=r"U\+[0-9A-F]{4}") as caught:
        page(out, text, Style(size=9))
    assert named in caught.value.message
    assert "--codes-only" in caught.value.hint
    assert out.read_bytes() == b"the one before"
    assert [path.name for path in tmp_path.iterdir()] == ["page.pdf"]


def test_another_font_serves_other_scripts(tmp_path: Path) -> None:
    font = _with_one_glyph(tmp_path / "other.ttf", ord("東"))
    assert page(tmp_path / "page.pdf", "Site 東", Style(size=9), font=font) == "Site 東"


OURS = resources.files("courier.parcel").joinpath("fonts/DejaVuSansCondensed.ttf").read_bytes()


@pytest.mark.parametrize("content", [None, b"", b"OTTO" + bytes(200), b"no font at all", OURS[:300], OURS[:20_000]])
def test_what_is_no_font_is_refused(content: bytes | None, tmp_path: Path) -> None:
    font = tmp_path / "font.otf"
    if content is not None:
        font.write_bytes(content)
    with pytest.raises((UsageError, NotFoundError), match="font"):
        page(tmp_path / "page.pdf", "x", Style(size=9), font=font)
    assert not (tmp_path / "page.pdf").exists()


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    with pytest.raises(NotFoundError) as caught:
        page(tmp_path / "page.pdf", "x", Style(size=9))
    assert (caught.value.code, caught.value.hint) == ("extra-missing", "pip install 'courier-parcels[paper]'")


def _with_one_glyph(out: Path, code: int) -> Path:
    """Our own font, whose table of characters has the letter A under another code as well."""
    data = bytearray(OURS)
    for encoding in ("ascii", "utf-16-be"):
        # The library takes fonts of one name for the same.
        data = data.replace("DejaVu".encode(encoding), "Others".encode(encoding))
    tables = {data[at : at + 4].decode(): at for at in range(12, 12 + 16 * struct.unpack(">H", data[4:6])[0], 16)}
    # A table of format 12 with one group, at the end of the file.
    glyph = 36
    group = struct.pack(">HHIIIIII", 12, 0, 28, 0, 1, code, code, glyph)
    table = struct.pack(">HHHHI", 0, 1, 3, 10, 12) + group
    where = len(data)
    data += table + bytes(-len(table) % 4)
    at = tables["cmap"]
    data[at + 8 : at + 16] = struct.pack(">II", where, len(table))
    out.write_bytes(data)
    return out
