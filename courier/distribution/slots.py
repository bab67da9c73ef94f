"""How many transfers a point has at one time, and who is next: fair between clients.

A client has at most half of the transfers. Where all are taken, or a client has its share, a request waits a moment;
when one ends, the client that has the fewest is next. Who is not let in is told when to come again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

WAIT_SECONDS = 2.0
"""How long a request waits for its turn before it is told to come again."""
RETRY_SECONDS = 5
"""When a client is told to come again."""


@dataclass(kw_only=True)
class Slots:
    """The transfers of a point; ``limit`` at one time. For one event loop."""

    limit: int
    wait_seconds: float = WAIT_SECONDS
    _active: Counter[str] = field(default_factory=Counter)
    _waiting: list[tuple[str, asyncio.Future[None]]] = field(default_factory=list)

    @property
    def share(self) -> int:
        """Transfers that one client may have at one time."""
        return max(1, self.limit // 2)

    async def enter(self, client: str) -> HTTPStatus:
        """Wait for a transfer: 200 when it may begin, and `leave` has to come; 429 or 503 when it may not.

        429: this client has its share. 503: all transfers are taken.
        """
        if self.is_free_for(client):
            self._active[client] += 1
            return HTTPStatus.OK
        if len(self._waiting) >= 8 * self.limit:
            return HTTPStatus.SERVICE_UNAVAILABLE
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((client, turn))
        self._next()
        try:
            await asyncio.wait_for(asyncio.shield(turn), self.wait_seconds)
        except TimeoutError:
            if turn.done():
                return HTTPStatus.OK
            self._waiting.remove((client, turn))
            turn.cancel()
            has_share = self._active[client] >= self.share
            return HTTPStatus.TOO_MANY_REQUESTS if has_share else HTTPStatus.SERVICE_UNAVAILABLE
        except asyncio.CancelledError:
            if turn.done():
                self.leave(client)
            else:
                self._waiting.remove((client, turn))
            raise
        return HTTPStatus.OK

    def is_free_for(self, client: str) -> bool:
        """Whether a transfer of this client may begin now, and nobody waits for one."""
        return not self._waiting and self._may(client)

    def leave(self, client: str) -> None:
        """End a transfer."""
        self._active[client] -= 1
        if self._active[client] <= 0:
            del self._active[client]
        self._next()

    def _may(self, client: str) -> bool:
        return self._active.total() < self.limit and self._active[client] < self.share

    def _next(self) -> None:
        """Let in who may come in now, the client with the fewest transfers first, then who waits the longest."""
        while able := [one for one in self._waiting if self._may(one[0])]:
            chosen = min(able, key=lambda one: self._active[one[0]])
            self._waiting.remove(chosen)
            self._active[chosen[0]] += 1
            chosen[1].set_result(None)
