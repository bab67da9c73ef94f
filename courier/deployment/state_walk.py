"""Walking over a computer's files by the rules, and looking beforehand what a capture would take."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from courier.deployment.state_rules import StateRules
from courier.errors import NotFoundError, UsageError
from courier.files import path_text
from courier.packages.offenders import reason
from courier.packages.tree_root import TreeRoot
from formats.documents.state import Why, escape

MOST_NAMED = 1000
"""How many things that are left out are named; all are counted, and all stand in the manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Something that the rules take, or a folder with such (``implied``); or, with ``why``, what cannot be taken.

    ``name``: its path below the top, as the system has it.
    """

    name: str
    info: os.stat_result | None = None
    implied: bool = False
    why: Why | None = None
    reason: str = ""

    @property
    def size(self) -> int:
        """Bytes of a file."""
        return self.info.st_size if self.info is not None and stat.S_ISREG(self.info.st_mode) else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Something that is not captured though the rules name it: ``path`` in the manifest's spelling."""

    path: str
    why: Why
    size: int
    reason: str


@dataclass(kw_only=True, slots=True)
class Tally:
    """Counts of what is taken and what is left out; ``left`` has the first `MOST_NAMED` of what could not be read, and
    then of the rest."""

    files: int = 0
    folders: int = 0
    links: int = 0
    bytes: int = 0
    unread: int = 0
    large: int = 0
    special: int = 0
    _unread: list[LeftOut] = field(default_factory=list)
    _others: list[LeftOut] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    """Patterns of what is taken that nothing matched."""

    def leave(self, one: LeftOut) -> None:
        """Count something that is left out."""
        setattr(self, one.why, getattr(self, one.why) + 1)
        named = self._unread if one.why == "unread" else self._others
        if len(named) < MOST_NAMED:
            named.append(one)

    @property
    def left(self) -> list[LeftOut]:
        """What is left out, what could not be read first."""
        return [*self._unread, *self._others]

    @property
    def taken(self) -> int:
        """Files, folders and links together."""
        return self.files + self.folders + self.links


class Walk:
    """One walk over the files of a folder, in the order of a manifest; ``unmatched`` is known at its end."""

    def __init__(self, root: TreeRoot, rules: StateRules, *, besides: Sequence[Path] = ()) -> None:
        """``besides``: folders of our own that are never entered."""
        self._root = root
        self._rules = rules
        self._besides = {_number(path.stat()) for path in besides if path.exists()}
        self._unmatched = list(rules.include)

    @property
    def unmatched(self) -> list[str]:
        """The patterns that named nothing."""
        return [one.text for one in self._unmatched]

    def __iter__(self) -> Iterator[Found]:
        """Everything taken, and everything that could not be. No recursion: names alone bound the depth."""
        pending: list[Found] = []
        waiting = [self._names("")]
        above = [""]
        if isinstance(waiting[0], Found):
            yield waiting[0]
            return
        while waiting:
            names = waiting[-1]
            if isinstance(names, Found) or not names:
                waiting.pop()
                left = above.pop()
                if pending and pending[-1].name == left:
                    pending.pop()
                continue
            name = f"{above[-1]}/{names.pop()}" if above[-1] else names.pop()
            one = self._look(name)
            if one is None:
                continue
            is_folder = one.info is not None and stat.S_ISDIR(one.info.st_mode)
            if not is_folder or not one.implied:
                yield from pending
                pending.clear()
                yield one
            elif self._rules.enters(name):
                pending.append(one)
            if is_folder and (not one.implied or self._rules.enters(name)):
                below = self._names(name)
                if isinstance(below, Found):
                    yield from pending
                    pending.clear()
                    yield below
                    continue
                waiting.append(below)
                above.append(name)

    def _names(self, folder: str) -> list[str] | Found:
        """The names in a folder, the last first; or that it cannot be read."""
        try:
            return self._root.names(folder)[::-1]
        except OSError as error:
            return Found(name=folder, why="unread", reason=reason(error))

    def _look(self, name: str) -> Found | None:
        """What a name is; None for what the rules pass over."""
        path = rule_path(name)
        taken = self._rules.takes(path)
        if not taken and not self._rules.enters(path):
            return None
        try:
            info = self._root.lstat(name)
        except OSError as error:
            return Found(name=name, why="unread", reason=reason(error)) if taken else None
        is_folder = stat.S_ISDIR(info.st_mode)
        if is_folder and _number(info) in self._besides:
            return None
        if not taken:
            return Found(name=name, info=info, implied=True) if is_folder else None
        self._unmatched = [one for one in self._unmatched if not one.matches(path)]
        if not (is_folder or stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)):
            return Found(name=name, info=info, why="special", reason="a device, socket or pipe")
        if stat.S_ISREG(info.st_mode) and self._rules.is_too_large(info.st_size):
            limit = f"{self._rules.largest:,}"
            return Found(name=name, info=info, why="large", reason=f"larger than {limit} bytes")
        return Found(name=name, info=info)


def _number(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def rule_path(name: str) -> str:
    """A path as the rules compare it: bytes that are not UTF-8 stand as the system's own stand-ins."""
    return name.replace("\\", "/") if os.name == "nt" else name


def left_out(one: Found) -> LeftOut:
    """What a walk could not take, as it is listed. The top itself stands as ``.``."""
    assert one.why is not None
    path = escape(os.fsencode(one.name)) if one.name else "."
    return LeftOut(path=path, why=one.why, size=one.size, reason=one.reason)


def open_root(root: Path) -> TreeRoot:
    """Open the folder that is captured. Raises `NotFoundError` and `UsageError`."""
    if not root.exists():
        raise NotFoundError(f"{path_text(root)} does not exist", hint="check the path")
    if not root.is_dir():
        raise UsageError(f"{path_text(root)} is not a folder", hint="name the folder that the state is below")
    return TreeRoot(root)


def preview(root: Path, rules: StateRules, *, besides: Sequence[Path] = ()) -> Tally:
    """What a capture would take and leave out, without reading a file. Raises `NotFoundError` and `UsageError`.

    ``besides``: folders of our own that are never entered.
    """
    tally = Tally()
    seen: set[tuple[int, int]] = set()
    with open_root(root) as tree:
        walk = Walk(tree, rules, besides=besides)
        for one in walk:
            if one.why is None and one.info is not None:
                _count(tree, one, one.info, seen, tally)
            else:
                tally.leave(left_out(one))
        tally.unmatched = walk.unmatched
    return tally


def _count(tree: TreeRoot, one: Found, info: os.stat_result, seen: set[tuple[int, int]], tally: Tally) -> None:
    if stat.S_ISDIR(info.st_mode):
        tally.folders += not one.implied
    elif stat.S_ISLNK(info.st_mode):
        tally.links += 1
    elif not tree.can_read(one.name):
        reason_text = "it cannot be read (Permission denied)"
        tally.leave(left_out(Found(name=one.name, info=info, why="unread", reason=reason_text)))
    else:
        tally.files += 1
        if info.st_nlink > 1:
            if _number(info) in seen:
                return
            seen.add(_number(info))
        tally.bytes += info.st_size
