"""The variables of a computer, the conditions of steps, and which package a step then uses. Pure.

Names of variables are compared without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import translate

from courier.deployment.sequence import Condition, PackageUse, Sequence, Step

COMPUTER_NAME = "ComputerName"
"""A variable that every computer has: its name."""


class Variables(Mapping[str, str]):
    """The variables of one computer, found by name without regard to case."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values = {name.casefold(): value for name, value in pairs}

    def __getitem__(self, name: str) -> str:
        return self._values[name.casefold()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def variables_of(sequence: Sequence, name: str, own: Mapping[str, str]) -> Variables:
    """The variables of the computer called ``name``: the sequence's, over them its own, and `COMPUTER_NAME`.

    ``name`` may be empty on stand-alone media, which serve any computer.
    """
    named = [(COMPUTER_NAME, name)] if name else []
    return Variables([*sequence.variables.items(), *own.items(), *named])


def holds(condition: Condition, variables: Variables) -> bool:
    """Whether a condition holds for a computer with these variables."""
    value = variables.get(condition.variable)
    if condition.exists is not None:
        return (value is not None) == condition.exists
    if condition.is_not:
        return value is None or value.casefold() not in {one.casefold() for one in condition.is_not}
    if value is None:
        return False
    if condition.matches:
        return re.fullmatch(translate(condition.matches.casefold()), value.casefold()) is not None
    return value.casefold() in {one.casefold() for one in condition.is_one_of}


def runs(step: Step, variables: Variables) -> bool:
    """Whether a step runs on a computer with these variables: all its conditions hold."""
    return all(holds(condition, variables) for condition in step.conditions)


def package_of(use: PackageUse, variables: Variables) -> str:
    """The package that a step uses, ``HQ100001`` or ``HQ100001:3``; empty where its variable is not set."""
    if use.variable:
        return variables.get(use.variable, "").strip().upper()
    return use.package if use.version is None else f"{use.package}:{use.version}"
