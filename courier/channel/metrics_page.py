"""``/metrics`` of the channel's server: for monitoring, which shows a token, and not for other sites."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

KEPT_SECONDS = 10.0
"""Seconds for which metrics are shown again as they were gathered: however often somebody asks, the site has its time
for messages."""
PATH = "/metrics"


class MetricsPage:
    """The page of metrics, and who may read it. Several threads may use it."""

    def __init__(
        self,
        *,
        admits: Callable[[str], bool],
        gather: Callable[[], str],
        content_type: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``admits`` says whether an ``Authorization`` header is that of a reader. ``gather`` makes the page anew.

        ``clock``: seconds, from any beginning.
        """
        self.admits, self.content_type = admits, content_type
        self._gather, self._clock = gather, clock
        self._lock = threading.Lock()
        self._page, self._gathered = "", float("-inf")

    def text(self) -> str:
        """The page, gathered at most `KEPT_SECONDS` ago. Raises what gathering raises."""
        with self._lock:
            if self._clock() - self._gathered > KEPT_SECONDS:
                self._page = self._gather()
                self._gathered = self._clock()
            return self._page
