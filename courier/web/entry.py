"""Who is let in: a token that is good once, in the address that the command prints, and the session it is changed into.

The token stands in the browser's history and may be seen on a screen, so that it is worth nothing once it was used.
The session is a cookie that scripts cannot read and that other pages' requests do not carry.
"""

from __future__ import annotations

import secrets
import threading
from enum import Enum, auto
from hmac import compare_digest

TOKEN_BYTES = 32


class Admission(Enum):
    """What a token is worth."""

    ADMITTED = auto()
    USED = auto()
    """It was the right one, and it was used already."""
    WRONG = auto()


class Entry:
    """The one token and the one session of a running dashboard; several threads may use it."""

    def __init__(self, cookie: str = "courier") -> None:
        """``cookie``: the name of that of the session. A browser has the same cookies for every port of a computer."""
        self.cookie = cookie
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.session = secrets.token_urlsafe(TOKEN_BYTES)
        self._lock = threading.Lock()
        self._used = False

    def admit(self, token: str) -> Admission:
        """Take a token in exchange for `session`, which only then is good."""
        if not compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
            return Admission.WRONG
        with self._lock:
            if self._used:
                return Admission.USED
            self._used = True
            return Admission.ADMITTED

    def is_open(self, session: str) -> bool:
        """Whether a session is the one that was given out."""
        return self._used and compare_digest(session.encode("utf-8", "replace"), self.session.encode())
