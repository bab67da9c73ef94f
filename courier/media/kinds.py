"""Kinds of media: their usable bytes, how fast a typical drive writes them, and sizes as operators type them."""

from __future__ import annotations

import re

from courier.errors import UsageError

MEDIA = {
    "cd74": 681_984_000,
    "cd80": 737_280_000,
    "dvd5": 4_700_372_992,
    "dvd9": 8_543_666_176,
    "bd25": 25_025_314_816,
    "bd50": 50_050_629_632,
    "bd100": 100_103_356_416,
    "lto5": 1_500_000_000_000,
    "lto6": 2_500_000_000_000,
    "lto7": 6_000_000_000_000,
    "lto8": 12_000_000_000_000,
    "lto9": 18_000_000_000_000,
}
"""Usable bytes by kind of medium."""


TYPICAL_SPEED = {
    "cd": 24 * 153_600,
    "dvd": 8 * 1_385_000,
    "bd": 6 * 4_496_000,
    "lto5": 140_000_000,
    "lto6": 160_000_000,
    "lto7": 300_000_000,
    "lto8": 360_000_000,
    "lto9": 400_000_000,
    "drive": 150_000_000,
}
"""Bytes a second at which a typical drive writes a kind of medium: discs at 24x, 8x and 6x of their single speed, tapes
at their native rates (LTO program figures), a drive as a hard disk behind USB 3."""


LEAST_CAPACITY = 1000
"""Bytes of the smallest capacity that is taken for one: of fewer the unit was forgotten."""


MOST_CAPACITY = 10**18
"""Bytes of the largest capacity that is taken for one."""


DRIVE = "drive"
"""The kind of a medium that is given by its capacity."""


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of ``64GB``, ``700MiB``, ``1.5TB`` or ``1000``; raises `UsageError`."""
    match = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([a-zA-Z]*)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise UsageError(f"{text[:60]!r} is not a size", hint="write it like 64GB, 700MiB or 1.5TB")
    whole, _, fraction = match[1].partition(".")
    size = int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    if size > MOST_CAPACITY:
        raise UsageError(
            f"{text[:60]!r} is more than any disk or medium holds", hint="write it like 64GB, 700MiB or 1.5TB"
        )
    return size


def medium_capacity(kind: str | None, capacity: str | None) -> tuple[str, int]:
    """(kind, usable bytes) of what the operator named; raises `UsageError`."""
    if kind is not None and capacity is not None:
        raise UsageError("--media and --capacity exclude each other", hint="give one of them")
    if capacity is not None:
        size = parse_size(capacity)
        if not LEAST_CAPACITY <= size <= MOST_CAPACITY:
            raise UsageError(
                f"--capacity {capacity}: no medium has {size:,} bytes", hint="write it like 64GB, 700MiB or 1.5TB"
            )
        return DRIVE, size
    if kind is None:
        raise UsageError(
            "no medium given", hint="--media dvd5 (or cd74, bd25, lto8, ...), or --capacity 64GB for a drive"
        )
    if kind.lower() not in MEDIA:
        raise UsageError(
            f"no medium is called {kind!r}", hint=f"kinds: {', '.join(MEDIA)}; or --capacity 64GB for a drive"
        )
    return kind.lower(), MEDIA[kind.lower()]


def media_kinds(names: list[str]) -> tuple[str, ...]:
    """Kinds of media, named by the operator; ``any`` alone stands for none in particular. Raises `UsageError`."""
    kinds = {name.lower() for name in names}
    if kinds == {"any"}:
        return ()
    unknown = sorted(kinds - {*MEDIA, DRIVE})
    if unknown:
        raise UsageError(f"no medium is called {unknown[0]!r}", hint=f"kinds: {', '.join((*MEDIA, DRIVE))}; or any")
    return tuple(sorted(kinds))


def writing_seconds(kind: str, size: int) -> int:
    """Seconds to write ``size`` bytes on media of a kind and read them back, at a typical drive's speed."""
    speed = TYPICAL_SPEED.get(kind) or TYPICAL_SPEED[kind.rstrip("0123456789")]
    return -(-2 * size // speed)
