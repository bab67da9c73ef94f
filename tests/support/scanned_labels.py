"""Printed pages as a scanner and an eye have them: PDF to pictures, the codes in them, and the words."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stock import stock_tool


def scan(pdf: Path, count: int = 1) -> list[str]:
    """What a scanner reads from all pages of a PDF, one text a code, sorted.

    Of a page with many codes the reader misses one now and then, whatever they say: as a person would, the pages are
    scanned again, finer, while there are fewer than ``count``.
    """
    found: set[str] = set()
    for dpi in (150, 200, 250, 300):
        found |= _scan(pdf, dpi)
        if len(found) >= count:
            break
    return sorted(found)


def _scan(pdf: Path, dpi: int) -> set[str]:
    tool, reader = stock_tool("pdftoppm"), stock_tool("zbarimg")
    subprocess.run([tool, "-r", str(dpi), "-gray", "-png", pdf, pdf.with_suffix("")], check=True, capture_output=True)
    pages = sorted(pdf.parent.glob(f"{pdf.stem}-*.png"))
    done = subprocess.run(
        [reader, "--nodbus", "-q", "--raw", "-Sdisable", "-Sqrcode.enable", *pages],
        check=False,
        capture_output=True,
        text=True,
    )
    for page in pages:
        page.unlink()
    return set(done.stdout.split())


def words(pdf: Path) -> str:
    """The text of a PDF, lines joined by spaces."""
    done = subprocess.run([stock_tool("pdftotext"), "-layout", pdf, "-"], check=True, capture_output=True, text=True)
    return " ".join(done.stdout.split())
