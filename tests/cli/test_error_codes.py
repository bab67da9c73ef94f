"""Codes of errors: each has a meaning, each is used, and each kind of error has an exit code of the table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.cli import app
from courier.error_codes import EXIT_CODES, RESTART, Code
from courier.errors import CourierError
from formats.errors import FormatError
from formats.tape import drive

ROOT = Path(__file__).resolve().parents[2]
assert app
assert drive


def kinds(base: type[Exception]) -> Iterator[type[Exception]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


def named() -> set[str]:
    """The members of `Code` that the sources name."""
    found = set()
    for folder in ("courier", "formats"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                match node:
                    case ast.Attribute(value=ast.Name(id="Code"), attr=name):
                        found.add(name)
    return found


def format_codes() -> set[str]:
    return {kind.code for kind in kinds(FormatError) if issubclass(kind, FormatError)}


@pytest.mark.parametrize("code", Code)
def test_a_code_means_something_in_one_plain_sentence(code: Code) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert re.fullmatch(r"[A-Z].{10,}\.", code.meaning)


def test_every_code_of_a_format_error_is_in_the_enumeration() -> None:
    assert format_codes() <= set(Code)


def test_every_code_that_the_sources_name_is_in_the_enumeration_and_none_is_unused() -> None:
    used = {Code[name] for name in named()} | {Code(code) for code in format_codes()}
    assert used == set(Code)


def test_every_error_has_an_exit_code_of_the_table() -> None:
    exits = {kind.exit_code for kind in kinds(CourierError) if issubclass(kind, CourierError)}
    assert exits == set(EXIT_CODES) - {0, RESTART}  # neither of them is an error
