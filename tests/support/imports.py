"""The modules of the source and what each imports, for the tests of the house and for docs/make_architecture.py."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One source file: its dotted name, whether it is a package's ``__init__``, its syntax tree and lines."""

    name: str
    is_package: bool
    tree: ast.Module
    lines: int = 0


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
            text = path.read_text("utf-8")
            found[name] = Module(name=name, is_package=is_package, tree=ast.parse(text), lines=text.count("\n"))
    return found


MODULES = _modules()


def imports(module: Module) -> Iterator[Import]:
    """Everything ``module`` imports, wherever in the file; ``from formats import iso`` names ``formats.iso``."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name=alias.name, line=node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.name.split(".") + [""] * module.is_package
                base = ".".join([*parents[: -node.level], *filter(None, [base])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield Import(name=whole if whole in MODULES else base, line=node.lineno)
