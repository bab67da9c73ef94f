"""The pages of docs/ are true: the command reference is what the commands say, and links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from journey import FIXTURES, make_sites, noise, run, write_files

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for top in ("docs", "fixtures", "tests", "benchmarks") for page in ROOT.glob(f"{top}/**/*.md")),
    ]
)
SOURCES = sorted(path for top in ("courier", "formats") for path in (ROOT / top).rglob("*.py"))
PAGE_PATH = re.compile(r"\bdocs/[\w./-]+\.(?:md|json|py)\b")
SOURCE_PATH = re.compile(r"(?<![\w./-])(?:courier|formats|tests|docs|benchmarks)/(?!bench_NAME)[\w./-]+\.py\b")


def test_the_command_reference_is_what_the_commands_say() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))["make"]()
    paths = [ROOT / "docs" / "commands.md", *(ROOT / "docs" / "commands").glob("*.md")]
    there = {path.relative_to(ROOT / "docs").as_posix(): path.read_text("utf-8") for path in paths}
    assert there == made, "run: python docs/make_commands.py"


def test_the_page_on_architecture_is_what_the_source_imports() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_architecture.py"))["make"]()
    assert (ROOT / "docs" / "architecture.md").read_text("utf-8") == made, "run: python docs/make_architecture.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_source_files_that_a_page_names_exist(page: Path) -> None:
    named = SOURCE_PATH.findall(page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_pages_that_the_source_and_its_messages_name_exist() -> None:
    named = {(path, name) for path in SOURCES for name in PAGE_PATH.findall(path.read_text("utf-8"))}
    assert len(named) > 30
    assert [(path.name, name) for path, name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    lost = []
    for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]+))?\)", text):
        there = page.parent / target if target else page
        if not there.exists() or (anchor and anchor not in _anchors(there.read_text("utf-8"))):
            lost.append(f"{target}#{anchor}")
    assert lost == []


def _anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as they are made from their text."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_tutorial_is_what_the_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed as it stands, one command after the other; but for keys, times and sizes every line is the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "share").mkdir()
    shutil.copy(FIXTURES / "boot.wim", tmp_path)
    typed = 0
    for command, printed in _console((ROOT / "docs" / "tutorial.md").read_text("utf-8")):
        words = shlex.split(command.replace("/srv", str(tmp_path)), comments=True)
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
            continue
        assert words[0] == "courier"
        # The page answers the one question that the tutorial is asked.
        yes = ["--yes"] if words[1:3] == ["parcel", "write"] else []
        ran = run(*words[1:], *yes)
        said = _common(f"{ran.out}\n{ran.err}".replace(str(tmp_path), "/srv"))
        assert said == _common(printed), command
        typed += 1
    assert typed > 15


ROUND_TRIP = "round trip under load 0.0 ms, 0.0 ms at worst"


def test_the_page_on_the_planning_guide_is_what_the_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed as it stands: but for figures, each line of the page is printed, in its order; ``...`` leaves lines out."""
    sites = make_sites(tmp_path)
    sites.sync(*sites.homes, sites.hq)
    write_files(tmp_path / "image", system_img=noise(4 << 20, 1))
    write_files(tmp_path / "boot", vmlinuz=noise(50_000, 2), initrd_img=noise(90_000, 3))
    write_files(tmp_path / "old" / "home" / "ann", letter_txt=b"Dear Bert")
    (tmp_path / "loader.efi").write_bytes(b"MZ" + noise(20_000, 4))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURIER_HOME", str(sites.hq.path))
    page = (ROOT / "docs" / "planning-guide.md").read_text("utf-8")
    for kind, name in (("toml", "new.toml"), ("csv", "computers.csv")):
        (block,) = re.findall(rf"```{kind}\n(.*?)```", page, flags=re.DOTALL)
        (tmp_path / name).write_text(block)

    typed = set()
    for command, printed in _console(page):
        words = shlex.split(command.replace("/srv", str(tmp_path)))
        ran = run(*words[1:], code=3 if "\ncourier: " in printed else 0)
        text = f"{ran.out}\n{ran.err}".replace(str(tmp_path), "/srv")
        # A folder in memory may be done before a round trip is taken: that is a figure of the machine too.
        text = text.replace("it was over before a round trip could be taken; give a larger --size", ROUND_TRIP)
        said = iter(_without_figures(text))
        for line in _without_figures(printed):
            assert line == "..." or line in said, f"{command}\n{line}\n{ran.out}{ran.err}"
        typed.add(" ".join(words[:3]))
    table = page.partition("## ")[0]
    named = set(re.findall(r"`(courier \w+ \w+)[^`]*`", table))
    assert named - typed == set()


def _without_figures(text: str) -> list[str]:
    text = re.sub(r"\d[\d.,:]*( ?([kMGT]?B|[kMG]?bit|bytes)(/s)?\b)?", "#", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _console(page: str) -> Iterator[tuple[str, str]]:
    """Each command of a page, and what the page says that it prints."""
    for block in re.findall(r"```console\n(.*?)```", page, flags=re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield command, printed


def _common(text: str) -> list[str]:
    """The lines, in any order, without what differs each time (messages come in any order, so that states pass in
    several ways); nobody answers questions in a test.
    """
    for what in (
        r"[0-9a-f]{4}( [0-9a-f]{4}){15}",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ",
        r"\d+\.\d kB",
        r"\d+%",
        r"\(\w+ to \w+\)",
    ):
        text = re.sub(what, "#", text)
    lines = (" ".join(line.split()).removesuffix(" #") for line in text.splitlines())
    return sorted(line for line in lines if line and not line.startswith("Write them?"))


def test_the_page_on_deployment_has_every_key_of_a_sequence_and_every_code_of_a_finding() -> None:
    from courier.deployment import sequence_file

    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    kinds = sequence_file.STEP_TYPES
    fields = [one for kind in kinds.values() for one in kind.fields]
    keys = {one.name for one in [*fields, *sequence_file._PARTS, *sequence_file._WHEN, *sequence_file._COMMON]}
    missing = {key for key in {*keys, *kinds} if f"`{key}`" not in page and f"`{key} =" not in page}
    assert missing - {"part"} == set()
    sources = [
        (ROOT / "courier" / "deployment" / f"{name}.py").read_text("utf-8")
        for name in ("checks", "content_checks", "image_checks", "sequence_file")
    ]
    found = {code for text in sources for code in re.findall(r'\(\s*"([a-z]+(?:-[a-z0-9]+)+)",', text)}
    codes = {code for code in found if code not in kinds}
    assert len(codes) > 25
    assert {code for code in codes if f"`{code}`" not in page} == set()
