"""What a transport does, whatever it is made of.

A message is a file named by the SHA-256 of its bytes. Transports carry it at least once, in any order; one that comes
twice does no harm. A transport may lose what it took: the sender keeps a message until the other site's signed
acknowledgement names it (`formats.documents.acknowledgement`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from courier.error_codes import Code
from courier.errors import CourierError, UnreachableError
from courier.site.outbox import PART

MAX_MESSAGE = (64 << 20) + (17 << 10)
"""Bytes of the largest message: an envelope of `formats.envelope.MAX_ENVELOPE`, and what sealing adds to it."""


class PausedError(UnreachableError):
    """The address's own limits allow no transfer now; nothing has failed, the message waits."""

    code = Code.PAUSED


class RejectedError(CourierError):
    """The other side answered, and will not have this message; other messages may go."""

    exit_code = 3
    code = Code.REJECTED


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A message to hand over: its name, size in bytes, and a way to read any piece of it (offset, length)."""

    sha256: str
    size: int
    read: Callable[[int, int], bytes]

    @classmethod
    def of(cls, body: bytes) -> Outgoing:
        """A message whose bytes are at hand."""
        sha256 = hashlib.sha256(body).hexdigest()
        return cls(sha256=sha256, size=len(body), read=lambda offset, length: body[offset : offset + length])


class Pace(Protocol):
    """The limits of an address, asked piece by piece, so that a change counts while a transfer runs."""

    def block(self) -> int:
        """Bytes of the next piece, `PART` at most, after waiting until it may go. Raises `PausedError`."""

    def moved(self, count: int) -> None:
        """So many bytes have gone."""


class Unlimited:
    """No limits."""

    def block(self) -> int:
        """See `Pace.block`."""
        return PART

    def moved(self, count: int) -> None:
        """See `Pace.moved`."""


class Transport(Protocol):
    """A way to another site. Messages are named by the SHA-256 of their bytes; delivering one twice does no harm."""

    def deliver(self, to: str, message: Outgoing) -> None:
        """Hand a message over for site ``to``. Raises `UnreachableError` (`PausedError`), or `RejectedError`."""

    def fetch(self, own: str) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of every message that waits for site ``own``. Raises `UnreachableError`."""

    def done(self, own: str, sha256: str) -> None:
        """The message was taken or refused for good: it need not be kept any longer. Never raises."""

    def close(self) -> None:
        """Give connections back."""
