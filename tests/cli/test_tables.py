"""Tables for people: whole words on a terminal of 80 columns, one line a row in a file."""

from __future__ import annotations

import pytest
from journey import FIXTURES, Sites, add, make_sites, run, sent

from courier.cli.console import Console
from courier.errors import RefusedError

NAME = "Windows 11 Enterprise 24H2 with the drivers of all our branch offices, and a very-long-word-in-its-name too"


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """Two sites; a parcel of which the receiver has one volume."""
    sites = make_sites(tmp_path_factory.mktemp("tables"))
    package = add(sites.hq, FIXTURES / "boot.wim", name=NAME)
    _, volumes = sent(sites.hq, package, out=sites.root / "media", compress="none", redundancy="none")
    sites.sync()
    sites.br("parcel", "receive", volumes[0])
    return sites


COMMANDS = (
    *(("package", "list"), ("parcel", "list"), ("parcel", "show", "HQ1-000001"), ("site", "list")),
    *(("channel", "status"), ("channel", "status", "--verbose"), ("channel", "address", "list")),
    *(("parcel", "log", "HQ1-000001"), ("parcel", "limits")),
)


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_narrow_terminal_breaks_no_word(
    sites: Sites, command: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for home in sites.homes:
        wide = run(*command, "--home", home.path).out
        with monkeypatch.context() as patch:
            patch.setattr("courier.cli.console._is_terminal", lambda _: True)
            patch.setenv("COLUMNS", str(columns))
            narrow = run(*command, "--home", home.path).out
        assert sorted(narrow.split()) == sorted(wide.split())
        # A path is one word, however long.
        tables = set(narrow.splitlines()) - set(wide.splitlines())
        assert [line for line in narrow.splitlines() if len(line) > columns and "/" not in line] == []
        if command == ("package", "list") and home == sites.hq:
            assert tables


def test_a_table_in_a_file_has_one_line_a_row(sites: Sites) -> None:
    lines = run("package", "list", "--home", sites.hq.path).out.splitlines()
    assert len(lines) == 2
    assert NAME in lines[1]


def test_a_table_shows_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table(("N", "TEXT"), [(7, "[bold]x[/bold] :smile:"), (10, "two\nlines\x1b[31m")])
    assert capsys.readouterr().out == (" N  TEXT\n 7  [bold]x[/bold] :smile:\n10  two\\nlines\\x1b[31m\n")


def test_columns_of_wide_characters_stay_in_line(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table(("NAME", "SIZE"), [("\u540d\u524d", "1 GB"), ("name", "2 GB")])
    assert capsys.readouterr().out == "NAME  SIZE\n\u540d\u524d  1 GB\nname  2 GB\n"


def test_sentences_are_broken_between_words_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = "  HQ1-000042: " + "word " * 30 + "/a/path/" + "x" * 100 + " end"
    Console().say(sentence)
    assert capsys.readouterr().out == f"{sentence}\n"
    monkeypatch.setattr("courier.cli.console._is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "80")
    Console().say(sentence)
    Console().warn(sentence, hint=sentence.strip())
    Console().error(RefusedError(sentence.strip(), hint=sentence.strip()))
    shown = capsys.readouterr()
    lines = (shown.out + shown.err).splitlines()
    assert [line for line in lines if len(line) > 80] == [f"    /a/path/{'x' * 100}"] * 3 + [
        f"  /a/path/{'x' * 100}",
        f"    /a/path/{'x' * 100}",
    ]
    assert " ".join(shown.out.split()) == " ".join(sentence.split())


def test_a_table_wraps_between_words_and_counts_columns_not_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("courier.cli.console._terminal_width", lambda: 16)
    Console().table(("NAME", "TEXT"), [("日本", "one two  three four"), ("a", "b")])
    assert capsys.readouterr().out == "NAME  TEXT\n日本  one two\n      three four\na     b\n"
