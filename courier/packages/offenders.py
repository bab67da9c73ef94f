"""What stands in the way of adding files: every offending path, named together in one error."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.files import path_text
from courier.text import one_line

MOST_NAMED = 1000
"""Paths that are named in one error at most; the others are counted."""
CHANGED = "it changed while it was read"
_HINT = "see to it that all can be read (as root, if need be) and nothing writes to it, then add it again"

Refuse = Callable[[Path, str], None]
"""What is called with each path that cannot be added, and why."""


class Offenders:
    """Everything that cannot be added, so that one error names it all."""

    def __init__(self) -> None:
        self._named: list[str] = []
        self._count = 0
        self._codes: set[Code | None] = set()
        self._hints: set[str] = set()

    def add(self, path: Path, problem: str, *, code: Code | None = None, hint: str = "") -> None:
        """Note a path and what is wrong with it; ``code`` and ``hint`` where they are not those of an unreadable file.

        A hint is printed where it fits all the paths.
        """
        self._count += 1
        self._codes.add(code)
        self._hints.add(hint)
        if len(self._named) < MOST_NAMED:
            self._named.append(said(path, problem))

    def check(self) -> None:
        """Raise `RefusedError` when there are any."""
        if not self._count:
            return
        more = f"; and {self._count - len(self._named):,} more" if self._count > len(self._named) else ""
        code = next(iter(self._codes)) if len(self._codes) == 1 else None
        hint = next(iter(self._hints)) if len(self._hints) == 1 else ""
        raise RefusedError("; ".join(self._named) + more, hint=hint or _HINT, code=code)


def refuse_one(path: Path, problem: str) -> None:
    """Raise `RefusedError` for one path."""
    raise RefusedError(said(path, problem), hint=_HINT)


def said(path: Path, problem: str) -> str:
    """A path and what is wrong with it, harmless on a terminal."""
    return f"{one_line(path_text(path))}: {problem}"


def reason(error: OSError) -> str:
    """Why a file could not be read, for people."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "it vanished while it was read"
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):  # by now it is a link, a folder or a socket
        return CHANGED
    return f"it cannot be read ({error.strerror or error})"
