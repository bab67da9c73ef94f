"""The clock: the one place that asks for the present time."""

from __future__ import annotations

import time


def now() -> int:
    """The present time in nanoseconds since 1970 (UTC)."""
    return time.time_ns()
