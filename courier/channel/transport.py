"""What every transport does: the interface to a way by which messages reach another site.

A message is a file named by the SHA-256 of its bytes. Transports carry it at least once, in any order; a message that
comes twice does no harm. A transport may lose a message: the sender keeps it until the other site's signed
acknowledgement names it (`formats.documents.acknowledgement`).
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from courier.error_codes import Code
from courier.errors import CourierError, StoppedError, UnreachableError
from courier.site.outbox import PART

MAX_MESSAGE = (64 << 20) + (17 << 10)
"""Bytes of the largest message: an envelope of `formats.envelope.MAX_ENVELOPE`, and what encryption adds to it."""


CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,10})-([0-9]{1,10})/([0-9]{1,10})")
"""The header that says which bytes of a message a part is: first, last, and bytes of the whole."""


class PausedError(UnreachableError):
    """The limits of the address allow no transfer now. Nothing has failed; the message waits."""

    code = Code.PAUSED


class EnoughError(PausedError):
    """One exchange has taken or given what it may with one address. What is left follows with the next exchange."""


class RejectedError(CourierError):
    """The other side answered and does not take this message; other messages may go."""

    exit_code = 3
    code = Code.REJECTED


def check_going_on(stop: threading.Event) -> None:
    """Raise `StoppedError` once ``stop`` is set: every wait of an exchange ends with it."""
    if stop.is_set():
        raise StoppedError("stopped; messages under way are kept", hint="they go with the next: courier channel sync")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A message to deliver: its name, its size in bytes, and a function that reads a piece of it (offset, length)."""

    sha256: str
    size: int
    read: Callable[[int, int], bytes]

    @classmethod
    def of(cls, body: bytes) -> Outgoing:
        """A message whose bytes are in memory."""
        sha256 = hashlib.sha256(body).hexdigest()
        return cls(sha256=sha256, size=len(body), read=lambda offset, length: body[offset : offset + length])


class Pace(Protocol):
    """The pace of a transfer: asked before each piece, so that a change of limits counts while the transfer runs."""

    def block(self) -> int:
        """Wait until the next piece may go, and return its size in bytes, `PART` at most. Raises `PausedError`."""

    def moved(self, count: int) -> None:
        """Note that ``count`` bytes have gone."""


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
        """Deliver a message for site ``to``. Raises `UnreachableError`, `PausedError` or `RejectedError`."""

    def fetch(self, own: str) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of every message that waits for site ``own``.

        Raises `UnreachableError`; and `RefusedError`, once all others were given, where one may not be read.
        """

    def done(self, own: str, sha256: str) -> None:
        """Say that a message for site ``own`` was taken or refused, and need not be kept any longer. Never raises."""

    def close(self) -> None:
        """Close what is open."""
