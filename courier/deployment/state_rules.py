"""Which files of a computer are its user's state: patterns of what is taken and what is not. Pure.

A pattern is a path from the top of the captured folder, with ``/`` between its parts. ``*`` stands for any characters
of one name, ``?`` for one, ``[ab]`` for one of some, and the part ``**`` for any number of folders, also none. What a
pattern names is taken (or left out) with all that is in it. What is excluded stays out, whatever includes it. Names
that begin with a dot are names as any other; case counts.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from courier.errors import UsageError
from courier.media.kinds import parse_size

MAX_PATTERNS = 1000
MAX_RULES = 16 << 20
"""Bytes of the largest file of rules."""
MAX_PATTERN = 4096
"""Characters of the longest pattern."""
_STAR = "\0"
"""Stands for ``*`` while a part is read; no pattern holds a NUL."""
_HINT = "write it as a path from the top of the folder, such as home/*/Documents or **/*.docx"


class Pattern:
    """One pattern; raises `UsageError` for a text that is none."""

    __slots__ = ("_parts", "_whole", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = [None if part == "**" else re.compile(_part(part, text), re.DOTALL) for part in _parts(text)]
        self._whole = re.compile("".join(_pieces(_parts(text), text)), re.DOTALL)

    def matches(self, path: str) -> bool:
        """Whether it names this path, or a folder that the path is in."""
        return self._whole.match(path) is not None

    def may_reach_into(self, folder: str) -> bool:
        """Whether it may name something in this folder."""
        names = folder.split("/") if folder else []
        # Which parts of the pattern may be next, after each name.
        places = set(self._skipping({0}))
        for name in names:
            after = set()
            for at in places:
                if at == len(self._parts):
                    return True  # a folder above is named, and with it all that is in it
                part = self._parts[at]
                if part is None:
                    after.add(at)
                elif part.fullmatch(name):
                    after.add(at + 1)
            places = set(self._skipping(after))
            if not places:
                return False
        return True

    def _skipping(self, places: set[int]) -> Iterator[int]:
        """The places, and those behind a ``**`` that stands for nothing; one at the end stands for something."""
        for place in places:
            at = place
            yield at
            while at < len(self._parts) - 1 and self._parts[at] is None:
                at += 1
                yield at


def _parts(text: str) -> list[str]:
    """The parts of a pattern; several ``**`` in a row are one."""
    if len(text) > MAX_PATTERN:
        raise UsageError(f"a pattern of {len(text):,} characters", hint=f"give {MAX_PATTERN:,} at most")
    if "\\" in text:
        raise UsageError(f"{text!r}: folders are parted by /", hint=_HINT)
    parts = [part for part in text.strip().split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in text:
        raise UsageError(f"{text!r} names nothing in the folder", hint=_HINT)
    return [part for n, part in enumerate(parts) if not (part == "**" and n and parts[n - 1] == "**")]


def _pieces(parts: Sequence[str], text: str) -> Iterator[str]:
    """The regular expression of a whole path that a pattern names, or that is in what it names.

    What stands between two ``**`` is an atomic group: its first place is as good as any later one. Otherwise a path
    that is not named would be tried in more ways than there is time for.
    """
    is_open = False
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        if part == "**":
            if is_open:
                yield ")"
            is_open = "**" in parts[n + 1 :]
            yield ".+" if last else "(?>(?:[^/]+/)*?" if is_open else "(?:[^/]+/)*"
        else:
            yield _part(part, text) + ("(?:/.*)?" if last else "/")
    yield r"\Z"


def _part(part: str, text: str) -> str:
    """The regular expression of one part that is not ``**``. Atomic groups are there as in `_pieces`."""
    found: list[str] = []
    at = 0
    while at < len(part):
        character = part[at]
        at += 1
        if character == "*":
            if not found or found[-1] != _STAR:
                found.append(_STAR)
        elif character == "?":
            found.append("[^/]")
        elif character == "[":
            end = part.find("]", at + (2 if part[at : at + 1] == "!" else 1))
            if end < 0:
                raise UsageError(f"{text!r}: a [ without its ]", hint="write [[] for a bracket itself")
            inside = part[at:end]
            no = inside.startswith("!")
            found.append(f"[{'^/' if no else ''}{_characters(inside[no:], text)}]")
            at = end + 1
        else:
            found.append(re.escape(character))
    first, *others = "".join(found).split(_STAR)
    if not others:
        return first
    *between, last = others
    return "".join([first, *(f"(?>[^/]*?{one})" for one in between), f"[^/]*{last}"])


def _characters(inside: str, text: str) -> str:
    """The inside of a class of characters: single ones, and ranges such as a-z."""
    found = []
    at = 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            first, last = inside[at], inside[at + 2]
            if first > last:
                raise UsageError(f"{text!r}: the range {first}-{last} runs backwards", hint=f"write {last}-{first}")
            found.append(f"{re.escape(first)}-{re.escape(last)}")
            at += 3
        else:
            found.append(re.escape(inside[at]))
            at += 1
    return "".join(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class StateRules:
    """What is captured; ``largest``: files of more bytes are left out, and listed; None for no limit."""

    include: tuple[Pattern, ...]
    exclude: tuple[Pattern, ...] = ()
    largest: int | None = None

    def takes(self, path: str) -> bool:
        """Whether a path is taken: something includes it, and nothing excludes it."""
        return any(one.matches(path) for one in self.include) and not self.excludes(path)

    def excludes(self, path: str) -> bool:
        """Whether a path is excluded, with all that is in it."""
        return any(one.matches(path) for one in self.exclude)

    def enters(self, folder: str) -> bool:
        """Whether something in a folder may be taken."""
        return any(one.may_reach_into(folder) for one in self.include) and not self.excludes(folder)

    def is_too_large(self, size: int) -> bool:
        """Whether a file of so many bytes is left out."""
        return self.largest is not None and size > self.largest


def make_rules(include: Sequence[str], exclude: Sequence[str] = (), largest: int | None = None) -> StateRules:
    """The rules that these patterns make. Raises `UsageError` for a text that is no pattern, and for no pattern."""
    if not include:
        raise UsageError("no rule says what is captured", hint="give --include PATTERN, or a file of rules")
    if len(include) > MAX_PATTERNS or len(exclude) > MAX_PATTERNS:
        raise UsageError("too many patterns", hint=f"give {MAX_PATTERNS:,} of each kind at most")
    if largest is not None and largest < 0:
        raise UsageError("the size of the largest file is less than nothing", hint="give a size such as 2GB")
    return StateRules(include=tuple(map(Pattern, include)), exclude=tuple(map(Pattern, exclude)), largest=largest)


def read_rules(text: str) -> StateRules:
    """The rules in a TOML file with ``include``, ``exclude`` and ``largest``. Raises `UsageError`."""
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and brackets in brackets
        raise UsageError(f"the rules are no TOML: {error}", hint='write lines such as include = ["home/**"]') from None
    if unknown := sorted(set(found) - {"include", "exclude", "largest"}):
        raise UsageError(f"the rules have {unknown[0]!r}", hint="they have include, exclude and largest")
    for name in ("include", "exclude"):
        value = found.get(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise UsageError(f"{name} is not a list of texts", hint=f'write it like {name} = ["home/*/Documents"]')
    largest = found.get("largest")
    if isinstance(largest, str):
        largest = parse_size(largest)
    elif largest is not None and (not isinstance(largest, int) or isinstance(largest, bool)):
        raise UsageError("largest is no size", hint='write it like largest = "2GB"')
    return make_rules(found.get("include", []), found.get("exclude", []), largest)
