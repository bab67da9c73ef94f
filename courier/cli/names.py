"""IDs and codes on the command line: they may be typed in lower case, and the shell completes them.

What an argument or option takes is known by what the help calls it: ``CODE``, ``PARCEL``, ``ID[:VERSION]`` and so on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from courier.site.known_names import known_names

_CODE, _PARCEL = r"[A-Za-z0-9]{3}", r"[A-Za-z0-9]{3}-[0-9]{6}"
_PACKAGE = r"[A-Za-z0-9]{3}[0-9A-Fa-f]{5}(:[0-9]+)?"
_SHAPES = {
    "CODE": _CODE,
    "PREFIX": r"[A-Za-z0-9]{1,3}|[A-Za-z0-9]{3}[0-9A-Fa-f]{1,5}",
    "PARCEL": _PARCEL,
    "PARCEL|MEDIUM": _PARCEL,
    "ID": _PACKAGE,
    "ID:VERSION": _PACKAGE,
    "ID[:VERSION]": _PACKAGE,
}
"""The names that are written in capitals, as regular expressions, by what the help calls them."""


def _called(parameter: Any) -> str:
    """What the help calls the value of a parameter, without the signs that it may be left out or repeated."""
    name: str = parameter.metavar or ""
    name = name.removesuffix("...")
    return name[1:-1].removesuffix("...") if name.startswith("[") else name


def in_capitals(parameter: Any, value: Any) -> Any:
    """``value`` of a parameter, with IDs and codes in capitals. A path that is there stays as it is."""
    shape = _SHAPES.get(_called(parameter))
    if shape is None:
        return value
    if isinstance(value, list | tuple):
        return type(value)(in_capitals(parameter, one) for one in value)
    if isinstance(value, str) and re.fullmatch(shape, value):
        return value.upper()
    if isinstance(value, Path) and re.fullmatch(shape, str(value)) and not value.exists():
        return Path(str(value).upper())
    return value


def completion_of(parameter: Any) -> Callable[[Any, list[str], str], Iterable[tuple[str, str]]] | None:
    """What the shell offers for a parameter, as (value, what it is); None where the file system is to be offered."""
    offers = _OFFERS.get(_called(parameter))
    if offers is None:
        return None

    def complete(context: Any, _words: list[str], begun: str) -> list[tuple[str, str]]:
        # The shell replaces what was typed by what is offered: so it may be in lower case.
        return [(name, text) for name, text in offers(context, begun) if name.upper().startswith(begun.upper())]

    return complete


def _names(what: str) -> Callable[[Any, str], list[tuple[str, str]]]:
    def offer(context: Any, _begun: str) -> list[tuple[str, str]]:
        from courier.site.settings import find_home

        return known_names(find_home(getattr(context.obj, "home", None)), what)

    return offer


def _packages(context: Any, begun: str) -> list[tuple[str, str]]:
    return _names("version" if ":" in begun else "package")(context, begun)


def _kinds(_context: Any, _begun: str) -> list[tuple[str, str]]:
    from courier.media.kinds import MEDIA

    return [(kind.name, kind.what) for kind in MEDIA.values()]


def _layouts(_context: Any, _begun: str) -> list[tuple[str, str]]:
    return [("iso", "disc image"), ("tape", "tape drive, or a folder for each reel"), ("folder", "folder on a drive")]


_OFFERS: dict[str, Callable[[Any, str], list[tuple[str, str]]]] = {
    "CODE": _names("site"),
    "PARCEL": _names("parcel"),
    "MESSAGE": _names("letter"),
    "PREFIX": _packages,
    "ID": _packages,
    "ID:VERSION": _names("version"),
    "ID[:VERSION]": _packages,
    "KIND": _kinds,
    "LAYOUT": _layouts,
}
