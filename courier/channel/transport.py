"""What a transport does, whatever it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

MAX_MESSAGE = 256 << 20
"""Bytes of the largest message that is taken in."""


class Transport(Protocol):
    """A way to another site. Messages are named by the SHA-256 of their bytes; delivering one twice does no harm."""

    def deliver(self, to: str, sha256: str, body: bytes) -> None:
        """Hand a message over for site ``to``. Raises `Unreachable`; what was handed over will not be lost."""

    def fetch(self, own: str) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of every message that waits for site ``own``. Raises `Unreachable`."""

    def done(self, own: str, sha256: str) -> None:
        """The message was taken or refused for good: it need not be kept any longer."""
