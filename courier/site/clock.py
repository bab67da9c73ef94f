"""The clock: the one place that asks for the present time."""

from __future__ import annotations

import time

from courier.error_codes import Code
from courier.errors import RefusedError

_LAST_NS = 7_258_118_400 * 10**9
"""The year 2200. From 2262 on, no catalogue and no file system has a number for a time in nanoseconds."""


def now() -> int:
    """The present time in nanoseconds since 1970 (UTC).

    Raises `RefusedError` for a clock that is before 1970 or after 2200: nothing may be dated by it.
    """
    moment = time.time_ns()
    if not 0 <= moment < _LAST_NS:
        when = "before 1970" if moment < 0 else "after 2200"
        raise RefusedError(
            f"this computer's clock says that it is {when}",
            hint="set this computer's clock right, then give the command again",
            code=Code.CLOCK,
        )
    return moment
