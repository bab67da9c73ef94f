"""The kinds of media that volumes are written to, and sizes as operators type them.

`MEDIA` is the one table of kinds: options, their help and the table in docs/commands.md come from it. A new kind of
medium is one more line there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from courier.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaKind:
    """A kind of medium, as an operator names it with ``--media``."""

    name: str
    what: str
    """What it is, for people."""
    usable_bytes: int
    speed: int
    """Bytes a second at which a typical drive writes it."""
    layouts: tuple[str, ...]
    """The layouts of volumes that it is meant for; every kind takes any of them."""


_CD, _DVD, _BD = 24 * 153_600, 8 * 1_385_000, 6 * 4_496_000
"""Bytes a second of a CD at 24 times single speed, of a DVD at 8 times, of a Blu-ray disc at 6 times."""


def _disc(name: str, what: str, usable_bytes: int, speed: int) -> MediaKind:
    return MediaKind(name=name, what=what, usable_bytes=usable_bytes, speed=speed, layouts=("iso", "folder"))


def _tape(generation: int, usable_bytes: int, speed: int) -> MediaKind:
    """An LTO tape without compression, at its native speed (figures of the LTO program)."""
    what = f"LTO-{generation} tape"
    return MediaKind(name=f"lto{generation}", what=what, usable_bytes=usable_bytes, speed=speed, layouts=("tape",))


MEDIA: Mapping[str, MediaKind] = {
    kind.name: kind
    for kind in (
        _disc("cd74", "CD of 74 minutes", 681_984_000, _CD),
        _disc("cd80", "CD of 80 minutes", 737_280_000, _CD),
        _disc("dvd5", "DVD with one layer", 4_700_372_992, _DVD),
        _disc("dvd9", "DVD with two layers", 8_543_666_176, _DVD),
        _disc("bd25", "Blu-ray disc with one layer", 25_025_314_816, _BD),
        _disc("bd50", "Blu-ray disc with two layers", 50_050_629_632, _BD),
        _disc("bd100", "Blu-ray disc with three layers", 100_103_356_416, _BD),
        _tape(5, 1_500_000_000_000, 140_000_000),
        _tape(6, 2_500_000_000_000, 160_000_000),
        _tape(7, 6_000_000_000_000, 300_000_000),
        _tape(8, 12_000_000_000_000, 360_000_000),
        _tape(9, 18_000_000_000_000, 400_000_000),
    )
}
"""The kinds of media by name, smallest first in each family."""

DRIVE = "drive"
"""Kind of a medium that is given by its capacity (``--capacity``), such as a USB disk."""
DRIVE_SPEED = 150_000_000
"""Bytes a second at which a typical hard disk behind USB 3 writes."""
DRIVE_LAYOUTS = ("folder", "iso", "tape")
"""The layouts that a drive is meant for."""

MIN_CAPACITY = 1000
"""Smallest capacity that is accepted, in bytes: with a smaller one the unit was forgotten."""
MAX_CAPACITY = 10**18
"""Largest capacity that is accepted, in bytes."""

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_SIZE_HINT = "write it like 64GB, 700MiB or 1.5TB"


def usual_layout(kind: str) -> str:
    """The layout that a kind of medium, or a drive, is meant for before others."""
    return (MEDIA[kind].layouts if kind in MEDIA else DRIVE_LAYOUTS)[0]


def kinds_text() -> str:
    """The names of all kinds, for a help text or hint."""
    return ", ".join(MEDIA)


def parse_size(text: str) -> int:
    """The number of bytes in a text like ``64GB``, ``700MiB``, ``1.5TB`` or ``1000``. Raises `UsageError`."""
    match = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([a-zA-Z]*)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise UsageError(f"{text[:60]!r} is not a size", hint=_SIZE_HINT)
    whole, _, fraction = match[1].partition(".")
    size = int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    if size > MAX_CAPACITY:
        raise UsageError(f"{text[:60]!r} is more than any disk or medium holds", hint=_SIZE_HINT)
    return size


def medium_capacity(kind: str | None, capacity: str | None) -> tuple[str, int]:
    """(kind, usable bytes) of ``--media`` or ``--capacity``, of which one must be given. Raises `UsageError`."""
    if kind is not None and capacity is not None:
        raise UsageError("--media and --capacity cannot be given together", hint="give one of them")
    if capacity is not None:
        size = parse_size(capacity)
        if not MIN_CAPACITY <= size <= MAX_CAPACITY:
            raise UsageError(f"--capacity {capacity}: {size:,} bytes is not the size of a medium", hint=_SIZE_HINT)
        return DRIVE, size
    if kind is None:
        hint = "give a kind such as --media dvd5, bd25 or lto8, or --capacity 64GB for a drive"
        raise UsageError("no medium is given", hint=hint)
    if kind.lower() not in MEDIA:
        hint = f"the kinds are {kinds_text()}; for a drive give --capacity 64GB"
        raise UsageError(f"there is no kind of medium called {kind!r}", hint=hint)
    return kind.lower(), MEDIA[kind.lower()].usable_bytes


def media_kinds(names: list[str]) -> tuple[str, ...]:
    """Kinds of media that a site reads, as the operator named them; ``()`` for ``any``. Raises `UsageError`."""
    kinds = {name.lower() for name in names}
    if kinds == {"any"}:
        return ()
    unknown = sorted(kinds - {*MEDIA, DRIVE})
    if unknown:
        hint = f"the kinds are {kinds_text()}, {DRIVE} and any"
        raise UsageError(f"there is no kind of medium called {unknown[0]!r}", hint=hint)
    return tuple(sorted(kinds))


def writing_seconds(kind: str, size: int) -> int:
    """Seconds that a typical drive takes to write ``size`` bytes on media of a kind and to read them back."""
    speed = MEDIA[kind].speed if kind in MEDIA else DRIVE_SPEED
    return -(-2 * size // speed)
