"""What the server says of the requests that it refuses: each thing once an hour, and of strangers not too much."""

from __future__ import annotations

from collections.abc import Callable

from courier.channel.schedule import SECOND_NS
from courier.text import harmless

HOUR_NS = 3600 * SECOND_NS
STRANGER_LINES = 100
"""Lines in an hour about requests that come from nobody known: whoever makes up names does not fill our log."""
MAX_REMEMBERED = 1000
"""Lines that are remembered, so that they are not said again."""
MAX_ADDRESS = 60
MAX_TEXT = 300
"""Characters of an address, and of what is said of a stranger's request."""


class RefusalLog:
    """Says a line once an hour. Safe to use from several threads: at worst a line is said twice."""

    def __init__(self, say: Callable[[str], None], *, now: Callable[[], int]) -> None:
        """``now`` gives nanoseconds since 1970."""
        self._say, self._now = say, now
        self._said: dict[tuple[str, str], int] = {}
        self._said_of_strangers: dict[tuple[str, str], int] = {}

    def of_site(self, site: str, text: str) -> None:
        """Say something of a known site's request."""
        self._once(self._said, site, text)

    def of_stranger(self, address: str, text: str) -> None:
        """Say something that anyone may bring about, from network address ``address``, which may be made up too."""
        address, text = harmless(address, MAX_ADDRESS), harmless(text, MAX_TEXT)
        now_ns = self._now()
        said = self._said_of_strangers
        if len(said) >= STRANGER_LINES:
            said = {line: at_ns for line, at_ns in said.items() if abs(now_ns - at_ns) < HOUR_NS}
            self._said_of_strangers = said
        if len(said) < STRANGER_LINES:
            self._once(said, address, text)

    def _once(self, said: dict[tuple[str, str], int], who: str, text: str) -> None:
        now_ns = self._now()
        if (who, text) in said and abs(now_ns - said[who, text]) < HOUR_NS:
            return
        if len(said) >= MAX_REMEMBERED:
            said.pop(next(iter(said)))
        said[who, text] = now_ns
        self._say(f"{who}: {text}" if who and who not in text else text)
