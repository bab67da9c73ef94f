"""The commands are made when they are asked for, and are those that the parser's library would make at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from journey import run

from courier.cli import app
from courier.cli.app import command_tree
from courier.cli.command_tree import tree_of


def described(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Every command and group, in order, with all that its help and the parser are made from."""
    for name, found in group.commands.items():
        parameters = [
            (one.name, one.opts, one.secondary_opts, one.help, one.required, one.metavar, one.default, one.hidden)
            for one in found.params
        ]
        settings = (found.name, found.help, found.epilog, found.short_help, found.context_settings, found.hidden)
        yield (*path, name), type(found), settings, parameters
        if hasattr(found, "commands"):
            yield from described(found, (*path, name))


def test_the_tree_is_the_one_that_typer_makes_at_once() -> None:
    expected = typer.main.get_command(app.app)
    made = tree_of(app.app)
    assert list(described(made)) == list(described(expected))
    assert [one.name for one in made.params] == [one.name for one in expected.params]
    assert (type(made), made.help) == (type(expected), expected.help)


def test_a_command_makes_no_other(monkeypatch: Any) -> None:
    made = []
    single = typer.main.get_command_from_info

    def counted(info: Any, **more: Any) -> Any:
        made.append(info.name)
        return single(info, **more)

    monkeypatch.setattr("typer.main.get_command_from_info", counted)
    command_tree.cache_clear()
    run("parcel", "log", "--help")
    assert made.count("log") == 1
    assert set(made) <= {"log", None}  # None: the options that all commands have
    run("parcel", "log", "--help")
    assert made.count("log") == 1
    made.clear()
    run("--help")
    assert set(made) == {"init", "demo", "status", "dashboard", "doctor", "backup", "restore", "download"}
