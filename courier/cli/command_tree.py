"""The commands as the argument parser has them, each made when it is asked for.

There are about a hundred commands, and to make them all takes longer than most of them run. A process needs one of
them, the groups above it, and for the help of a group the commands in it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import typer


class Commands(Mapping[str, Any]):
    """The commands of a group by name, in the order of their help. Each is made once, when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Any]]) -> None:
        """``makers`` make the command of each name."""
        self._makers = makers
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The command or group of that name. Raises `KeyError`."""
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def tree_of(app: typer.Typer) -> Any:
    """The whole tree of a command line: a group whose `Commands` are made when they are asked for.

    ``app`` needs a callback, which has the options of the command line itself.
    """
    top = typer.main.get_command(_without_commands(app))
    return _filled(top, app)


def _without_commands(app: typer.Typer) -> typer.Typer:
    bare = copy.copy(app)
    bare.registered_commands, bare.registered_groups = [], []
    return bare


def _filled(made: Any, app: typer.Typer) -> Any:
    made.commands = Commands(_makers(app))
    return made


def _makers(app: typer.Typer) -> dict[str, Callable[[], Any]]:
    """How the commands of a group are made, by name; those of a nameless group stand among them."""
    makers: dict[str, Callable[[], Any]] = {}
    for command in app.registered_commands:
        assert command.name
        makers[command.name] = partial(_command, app, command)
    for inner in app.registered_groups:
        assert inner.typer_instance is not None
        if isinstance(inner.name, str):
            makers[inner.name] = partial(_group, inner.typer_instance, inner.name)
        else:
            makers |= _makers(inner.typer_instance)
    return makers


def _command(app: typer.Typer, command: Any) -> Any:
    alone = typer.Typer(add_completion=False, rich_markup_mode=app.rich_markup_mode)
    alone.registered_commands = [command]
    return typer.main.get_command(alone)


def _group(app: typer.Typer, name: str) -> Any:
    made = typer.main.get_group(_without_commands(app))
    made.name = name
    return _filled(made, app)
