"""The stream of server-sent events by which a page learns that something changed; it says nothing else.

A browser opens one for a page that is looked at. It ends when the browser goes away, when it does not take what is
sent, and when the dashboard ends. Whoever gets none asks for `/changes` from time to time instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from courier.site.clock import now
from courier.web.guard import Receive, Scope, Send
from courier.web.watch import Watch
from formats.records import format_time

STREAMS = 32
"""Streams at one time; further pages poll."""
LOOK_SECONDS = 0.5
BEAT_SECONDS = 10.0
"""So often a stream says that the dashboard is alive, so that a page notices when it is not."""
SEND_SECONDS = 10.0
"""How long a browser may take to make room for an event."""


def news(watch: Watch) -> str:
    """What a page has to know, as JSON: the mark of the present state, and when that was asked for (UTC)."""
    return json.dumps({"mark": watch.seen().mark, "at": f"{format_time(now())[:19]}Z"})


class EventStreams:
    """The ASGI application of the streams."""

    def __init__(self, watch: Watch, *, send_seconds: float = SEND_SECONDS) -> None:
        self._watch, self._send_seconds = watch, send_seconds
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream until it ends."""
        if self.open >= STREAMS:
            await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"60")]})
            await send({"type": "http.response.body", "body": b""})
            return
        self.open += 1
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await self._serve(gone, send)
        except (TimeoutError, OSError):
            pass  # a browser that takes nothing more: it opens another stream when it wants to
        finally:
            self.open -= 1
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _serve(self, gone: asyncio.Future[None], send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        await self._say(send, {"type": "http.response.start", "status": 200, "headers": headers})
        mark, silent = "", BEAT_SECONDS
        while not gone.done() and not self._watch.ended:
            found = self._watch.seen().mark
            if found != mark or silent >= BEAT_SECONDS:
                event = "change" if found != mark else "beat"
                body = f"event: {event}\ndata: {news(self._watch)}\n\n".encode()
                await self._say(send, {"type": "http.response.body", "body": body, "more_body": True})
                mark, silent = found, 0.0
            await asyncio.wait({gone}, timeout=LOOK_SECONDS)
            silent += LOOK_SECONDS
        await self._say(send, {"type": "http.response.body", "body": b""})

    async def _say(self, send: Send, message: dict[str, Any]) -> None:
        await asyncio.wait_for(send(message), self._send_seconds)


async def _gone(receive: Receive) -> None:
    """Wait until the browser has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
