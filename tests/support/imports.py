"""The modules of the source and what each imports, for the tests of the house and for docs/make_architecture.py.

A module is parsed when its syntax is asked for, and once: every process of the tests loads this, few ask.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One source file: its dotted name, whether it is a package's ``__init__``, its text and its syntax tree."""

    name: str
    is_package: bool
    text: str

    @property
    def tree(self) -> ast.Module:
        """The syntax of the file."""
        return _parsed(self.text)

    @property
    def lines(self) -> int:
        """How many lines the file has."""
        return self.text.count("\n")


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One module that a line imports; ``name`` is dotted and absolute."""

    name: str
    line: int


def _modules() -> dict[str, Module]:
    found = {}
    for package in ("formats", "courier"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found[name] = Module(name=name, is_package=is_package, text=path.read_text("utf-8"))
    return found


MODULES = _modules()


@cache
def imports(module: Module) -> tuple[Import, ...]:
    """Everything ``module`` imports, wherever in the file; ``from formats import iso`` names ``formats.iso``."""
    found: list[Import] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [Import(name=alias.name, line=node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.name.split(".") + [""] * module.is_package
                base = ".".join([*parents[: -node.level], *filter(None, [base])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.append(Import(name=whole if whole in MODULES else base, line=node.lineno))
    return tuple(found)
