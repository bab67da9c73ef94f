"""The clock: the present moment, asked in one place."""

from __future__ import annotations

import time


def now() -> int:
    """The present moment, nanoseconds since 1970 (UTC)."""
    return time.time_ns()
