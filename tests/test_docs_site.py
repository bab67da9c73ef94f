"""The site of the docs: whole, without anything from elsewhere, every page two clicks away; and the manual pages."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from stock import stock_tool

from courier.error_codes import EXIT_CODES, Code

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TREE = re.compile(r"```\{toctree\}\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+\.md)")
OUTSIDE = re.compile(r"(?:https?:)?//")


def build(builder: str, out: Path, *more: str) -> Path:
    """Make the docs; a warning is an error. Without Sphinx (the extra ``docs``) the test is skipped."""
    pytest.importorskip("furo")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", builder, *more, str(DOCS), str(out)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (made.returncode, made.stderr) == (0, "")
    return out


class Loaded(HTMLParser):
    """What a page loads by itself, its links, and whether anything of it needs a script to be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.add(given.get("href") or "")
        elif tag == "link":
            # Links of the kinds index, search, next and so on are read by people, not loaded.
            if set((given.get("rel") or "").split()) & {"stylesheet", "icon", "preload", "modulepreload", "manifest"}:
                self.loads.append(given.get("href") or "")
        else:
            self.loads += [given[name] or "" for name in ("src", "srcset", "data", "poster") if name in given]
            self.loads += [given["xlink:href"] or ""] if "xlink:href" in given else []
        self.loads += re.findall(r"url\(([^)]*)\)", given.get("style") or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def loaded_by(page: Path) -> Loaded:
    """Read a page."""
    found = Loaded()
    found.feed(page.read_text("utf-8"))
    return found


def test_what_a_page_loads_is_told_from_what_it_links_to(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<link rel="stylesheet" href="https://a.example/x.css"><link rel="next" href="https://a.example/next">'
        '<script src="//b.example/x.js"></script><img src="c.png"><a href="https://d.example/">d</a>'
        '<div style="background: url(https://e.example/e.png)"></div>'
    )
    outside = [one for one in loaded_by(page).loads if OUTSIDE.match(one)]
    assert outside == ["https://a.example/x.css", "//b.example/x.js", "https://e.example/e.png"]


@pytest.mark.slow
def test_the_site_is_made_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    stock_tool("dot")
    site = build("html", tmp_path / "html")
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 90
    for page in pages:
        found = loaded_by(page)
        assert any(one.partition("?")[0].endswith("furo.css") for one in found.loads)
        for one in found.loads:
            assert not OUTSIDE.match(one), (page.name, one)
            assert one.startswith("data:") or (page.parent / one.partition("?")[0]).exists(), (page.name, one)
    for kind in ("*.css", "*.svg"):
        for path in site.rglob(kind):
            text = path.read_text("utf-8")
            assert not re.search(r"@import|url\(\s*[\"']?(?:https?:)?//", text), path.name
    # Search is done from a file beside the pages; the text and the way to every page need no script.
    assert "Search.setIndex(" in (site / "searchindex.js").read_text("utf-8")
    start = loaded_by(site / "index.html")
    assert {"tutorial.html", "tasks/first-setup.html", "commands/parcel.html"} <= start.links
    assert "Find a task" in start.text
    # Diagrams are drawn where they stand, in the colours of the page.
    states = (site / "states.html").read_text("utf-8")
    assert states.count('<div class="diagram"><svg') == 4
    assert 'stroke="currentColor"' in states
    assert 'fill="black"' not in states


@pytest.mark.slow
def test_manual_pages_are_made_and_format_without_a_warning(tmp_path: Path) -> None:
    man = stock_tool("man")
    pages = build("man", tmp_path / "man")
    names = ["courier", *(f"courier-{name}" for name in sorted(command_pages()))]
    assert sorted(path.stem for path in pages.glob("*.1")) == sorted(names)
    # All in one process, one after the other.
    command = [man, "--warnings", "-E", "UTF-8", "-l", *(str(pages / f"{name}.1") for name in names)]
    terminal = {"MANWIDTH": "80", "LC_ALL": "C.UTF-8", "PATH": os.defpath}
    shown = subprocess.run(command, env=terminal, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    text = shown.stdout
    assert re.findall(r"^NAME\n +(courier[\w-]*)\s+-\s", text, flags=re.MULTILINE) == names
    assert "<>" not in text  # a link that leads nowhere in a terminal
    assert "\nPARCEL SHIP\n" in text
    assert re.search(r"^ +--survive-waybill$", text, flags=re.MULTILINE)


def command_pages() -> dict[str, str]:
    """What each page of docs/commands is about, by its name."""
    made: dict[str, str] = runpy.run_path(str(DOCS / "make_commands.py"))["abouts"]()
    return made


def ways_from(page: Path) -> set[Path]:
    """The pages to which links and lists of pages lead from one."""
    text = page.read_text("utf-8")
    found = {(page.parent / target).resolve() for target in LINK.findall(text)}
    for block in TREE.findall(text):
        for line in block.splitlines():
            if line and not line.startswith(":"):
                beside = [path for path in DOCS.rglob("*.md") if path.is_relative_to(page.parent)]
                found |= {path for path in beside if fnmatch(path.relative_to(page.parent).as_posix(), f"{line}.md")}
    return found


def test_every_page_is_two_clicks_from_the_start_page_and_every_task_one() -> None:
    start = DOCS / "index.md"
    one = ways_from(start)
    two = one.union(*(ways_from(page) for page in one if page.is_relative_to(DOCS)))
    assert set((DOCS / "tasks").glob("*.md")) - {DOCS / "tasks" / "index.md"} <= one
    assert set(DOCS.rglob("*.md")) - two == {start}


def test_the_page_on_exit_codes_is_made_from_them() -> None:
    given: dict[str, Any] = runpy.run_path(str(DOCS / "make_exit_codes.py"))
    page = (DOCS / "tasks" / "exit-codes.md").read_text("utf-8")
    assert page == given["make"](), "run: python docs/make_exit_codes.py"
    assert given["ADVICE"].keys() == EXIT_CODES.keys()
    raised = given["raised"]()
    assert raised.keys() <= EXIT_CODES.keys()
    assert len(set().union(*raised.values())) > 0.9 * len(Code)
    assert Code.NO_SPACE in raised[5]
    assert Code.BAD_SIGNATURE in raised[3]  # one of `formats`, which `explain` turns


def test_codes_in_the_tables_of_symptoms_are_codes_of_errors() -> None:
    page = (DOCS / "tasks" / "symptoms.md").read_text("utf-8")
    first_cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    codes = {code for cell in first_cells for code in re.findall(r"`([a-z]+(?:-[a-z]+)*)`", cell)}
    assert len(codes) > 40
    assert codes - set(Code) == set()


def test_a_diagram_is_read_line_by_line_and_a_line_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS))
    from extensions.diagrams import DiagramError, to_dot

    drawn = to_dot('flowchart LR\n a["one<br>two"] --> b{"three"} --> c\n b -- no --> a\n c -. "may be" .-> a\n')
    assert '"a" [label="one\\ntwo" shape=box]' in drawn
    assert '"b" -> "c" [label=""]' in drawn
    assert '"b" -> "a" [label="no"]' in drawn
    assert '"c" -> "a" [label="may be" style=dashed]' in drawn
    assert '"Sent" -> "Built" [label="laid-out"]' in to_dot("stateDiagram-v2\n    Sent --> Built: laid-out\n")
    with pytest.raises(DiagramError, match="cannot read: a ==> b"):
        to_dot("flowchart TD\n a ==> b")
    with pytest.raises(DiagramError, match="not a diagram"):
        to_dot("gantt\n a")
