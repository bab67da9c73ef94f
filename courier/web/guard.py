"""What stands before every page: which requests are answered at all, and what is said with every answer.

It refuses what is no reading, what came under another computer's name, and whoever shows no session. It is plain ASGI,
so that no way past it can be added by a route.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from courier.web.entry import Entry

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refusal = Callable[[int], App]
"""Makes the page for a status: 403, 405 or 421."""

ENTER = "/enter"
"""Where a token is exchanged for a session."""
STATIC = "/static/"
"""Files that hold nothing of a site."""
READING = ("GET", "HEAD")
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What every answer says: a browser loads and runs nothing but our own files, and tells no other site where it was."""


def own_names() -> frozenset[str]:
    """The names of this computer by which a browser may ask for the dashboard, besides numbers."""
    return frozenset({"localhost", socket.gethostname().lower()})


def is_named_right(host: str, names: Collection[str]) -> bool:
    """Whether a ``Host`` header names this computer: by a number, or by one of ``names``.

    A page of an attacker can have its own name resolved to this computer (DNS rebinding), and read ours from then on as
    if it were its own; it cannot have its name become a number.
    """
    name = host.strip().lower()
    if name.startswith("["):
        name, closed, _ = name[1:].partition("]")
        if not closed:
            return False
    else:
        name = name.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.rstrip(".") in names
    return True


class Guard:
    """The application behind all that this module says."""

    def __init__(self, app: App, entry: Entry, refusal: Refusal, *, names: Collection[str]) -> None:
        """``names``: see `is_named_right`."""
        self._app, self._entry, self._refusal = app, entry, refusal
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in HEADERS}
                theirs = [(name, value) for name, value in message["headers"] if name.lower() not in ours]
                message = {**message, "headers": [*theirs, *HEADERS]}
            await send(message)

        await self._judged(scope)(scope, receive, guarded)

    def _judged(self, scope: Scope) -> App:
        """The application that answers a request."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not is_named_right(hosts[0], self._names):
            return self._refusal(421)
        if scope["method"] not in READING:
            return self._refusal(405)
        path = scope["path"]
        if path == ENTER or path.startswith(STATIC) or self._entry.is_open(session_of(scope, self._entry.cookie)):
            return self._app
        return self._refusal(403)


def session_of(scope: Scope, cookie: str) -> str:
    """The session that a request shows, or an empty text."""
    # By hand: where another program of this computer has put anything odd into the line, the standard library reads
    # nothing of it.
    for name, value in scope["headers"]:
        if name == b"cookie":
            for part in value.decode("latin-1").split(";"):
                word, _, text = part.strip().partition("=")
                if word == cookie:
                    return str(text)
    return ""
