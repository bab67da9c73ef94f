"""What is wrong with a site's home, as `courier doctor` says it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Area(StrEnum):
    """What was looked at."""

    RIGHTS = "rights"
    KEYS = "keys"
    CATALOGUE = "catalogue"
    STORE = "store"
    LOCKS = "locks"
    CLOCK = "clock"
    SPACE = "space"
    TOOLS = "tools"
    CHANNEL = "channel"
    WATCH = "watch"
    LEFTOVERS = "leftovers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ailment:
    """Something that is wrong. ``what``: in one sentence; ``means``: what comes of it; ``remedy``: what helps.

    ``mendable``: `courier doctor --mend` puts it right without any loss. ``mended``: it has done so. ``afterwards``:
    what a person still has to think of then.
    """

    area: Area
    what: str
    means: str
    remedy: str
    afterwards: str = ""
    mendable: bool = False
    mended: bool = False
