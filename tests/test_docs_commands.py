"""Every command that a page names is a real one with real options, and what stands in a block of code can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from courier.cli.app import command_tree
from courier.cli.command import common_options
from courier.cli.console import Console

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(courier [^`]+)`")
FORMAT = re.compile(r"courier [\w ]+/\d+")
"""Not a command: the name of a format with its version."""
TYPED = re.compile(r"^\s*(?:\$ )?(courier .*)$")
"""A line of a block that is typed; ``courier: ...`` is what is printed."""
END = re.compile(r"\s(?:&&|\|\||[|;>]|>>)(?:\s|$)")
"""Where the command ends and the shell goes on."""
TOP = {"--help", "--version", "--install-completion", "--show-completion"}
ANY = {"COMMAND", "GROUP"}
COMMON = {name for option in common_options() for name in option.opts}
WITHOUT_VALUE = {name for option in common_options() if option.is_flag for name in option.opts} | TOP


def typed(page: str) -> Iterator[str]:
    """Each command line in the blocks of a page, put together where it goes on in the next line."""
    for _, language, block in BLOCK.findall(page):
        if language in ("", "sh", "console", "text"):
            for line in block.replace("\\\n", " ").splitlines():
                if found := TYPED.match(line):
                    yield found[1]


def named(page: str) -> Iterator[str]:
    """Each command that is named within the text of a page."""
    for found in INLINE.finditer(BLOCK.sub("", page)):
        line = " ".join(found[1].split())
        if not FORMAT.fullmatch(line):
            yield line


def split(line: str) -> list[str]:
    """The words of the command, without ``courier`` and without what the shell does after it.

    Raises `ValueError` for a line that no shell takes.
    """
    words = shlex.shlex(END.split(line, maxsplit=1)[0], posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.escape = ""  # a backslash is one of a Windows path
    return list(words)[1:]


def lead(words: list[str]) -> tuple[Any, list[str]]:
    """(command or group, the words after its name). Raises `LookupError` where there is no such command."""
    found: Any = command_tree()
    rest = list(words)
    while rest and hasattr(found, "commands"):
        word = rest[0]
        if word.startswith("-"):
            if word not in COMMON | TOP:
                raise LookupError(f"no option {word} before a command")
            rest = rest[1 if word in WITHOUT_VALUE else 2 :]
        elif word in ANY or word == "...":
            return None, rest
        elif word in found.commands:
            found, rest = found.commands[word], rest[1:]
        else:
            raise LookupError(f"no command {word}")
    return found, rest


def fault_of_named(line: str) -> str | None:
    """What is wrong with a command within a text: it may leave options and arguments out."""
    try:
        command, rest = lead(split(line))
    except (LookupError, ValueError) as error:
        return f"{line}: {error}"
    if command is None or hasattr(command, "commands"):
        return None
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | TOP
    given = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
    return next((f"{line}: no option {word}" for word in given if word not in known), None)


def fault_of_typed(line: str) -> str | None:
    """What is wrong with a line that a reader types: all of it must be as the parser wants it."""
    if " ... " in f"{line} ":
        return fault_of_named(line)
    try:
        command, rest = lead(split(line))
        if command is not None and not hasattr(command, "commands") and "--help" not in rest:
            command.make_context(command.name, rest, obj=Console())
    except Exception as error:
        return f"{line}: {error}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_a_page_are_real_and_have_real_options(page: Path) -> None:
    text = page.read_text("utf-8")
    faults = [*map(fault_of_typed, typed(text)), *map(fault_of_named, named(text))]
    assert [fault for fault in faults if fault] == []


def test_pages_with_commands_are_found_and_faults_of_each_kind_are_seen() -> None:
    texts = [page.read_text("utf-8") for page in PAGES]
    assert sum(len(list(typed(text))) for text in texts) > 300
    assert sum(len(list(named(text))) for text in texts) > 300
    assert fault_of_named("courier parcel wrote HQ1-000042")
    assert fault_of_named("courier parcel write HQ1-000042 --lay-out iso")
    assert fault_of_named("courier --site HQ1 parcel list")
    assert fault_of_typed("courier parcel write HQ1-000042 --out discs")  # the layout is required
    assert fault_of_typed('courier package add win11 --name "Windows')
    assert fault_of_typed("courier site show")
    assert not fault_of_typed("courier --home /srv/HQ1 parcel list --json | jq .  # as a script reads it")
    assert not fault_of_named("courier parcel write ... --burn /dev/sr0")
