"""What the help says is plain and true: examples that can be typed, names in place of types, tables from one source."""

from __future__ import annotations

import re
import shlex

import pytest
from journey import run
from test_options import commands

from courier.cli.app import command_tree
from courier.cli.command import described
from courier.cli.console import Console
from courier.media.kinds import MEDIA

COMMANDS = list(commands())
EXAMPLES = [example for _, command in COMMANDS for example in command.epilog.splitlines()]


def test_every_command_has_an_example_of_its_own() -> None:
    for path, command in COMMANDS:
        examples = command.epilog.splitlines()
        assert examples, path
        assert all(example.startswith(f"courier {' '.join(path)}") for example in examples)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_command_line_that_the_parser_accepts(example: str) -> None:
    name, *words = shlex.split(example)
    assert name == "courier"
    group = command_tree()
    while hasattr(group, "commands"):
        group = group.commands[words.pop(0)]
    with group.make_context(group.name, words, obj=Console()) as context:
        assert context.params.keys() <= {parameter.name for parameter in group.params}


def test_help_prints_the_examples_and_names_no_type() -> None:
    for path, command in COMMANDS:
        shown = run(*path, "--help").out
        assert f"\nExamples:\n  {command.epilog.splitlines()[0]}\n" in shown
        assert not re.search(r"<\w+|\b(TEXT|INTEGER|PATH|FLOAT)\b(?!\.)", shown), path


def test_every_option_that_takes_a_value_says_what_and_has_a_help_text() -> None:
    for path, command in COMMANDS:
        for parameter in command.params:
            name, text = described(parameter)
            assert parameter.help, (path, name)
            assert parameter.metavar or parameter.is_flag, (path, name)
            assert text[0].isupper() or text.startswith("on-arrival"), (path, name)


def test_the_summary_of_a_command_fits_into_the_list_of_its_group() -> None:
    for path in sorted({path[:-1] for path, _ in COMMANDS}):
        listed = run(*path, "--help").out.partition("\nCommands:\n")[2]
        assert listed
        assert "..." not in listed, listed


def test_the_kinds_of_media_are_named_by_the_help_of_every_command_that_takes_one() -> None:
    for path in (("parcel", "create"), ("parcel", "write"), ("site", "policy")):
        shown = " ".join(run(*path, "--help").out.split())
        assert ", ".join(MEDIA) in shown
