"""Connections of the channel's server: how long each may be silent or leave an answer unread, and how many there are.

It is uvicorn's HTTP/1.1 protocol with limits. uvicorn alone would wait for ever for the rest of a head, and for a peer
that never reads its answer; `courier.channel.http_application` has the limit for bodies. A connection serves one
request after another: what is sent before the last answer was read ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Iterator
from typing import Any, Protocol

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from courier.channel.refusal_log import RefusalLog

HEAD_SECONDS = 15.0
"""How long the head of a request may take to come, and a connection may be silent before it."""
ANSWER_SECONDS = 60.0
"""How long a peer may take to read an answer, which has 1 MiB at most; files have `courier.channel.http_files`."""
PER_ADDRESS = 64
"""Connections from one network address at one time: several sites may share one, each uses a few."""
_A_MOMENT = 0.01
_LOGGERS = ("uvicorn", "uvicorn.error", "asyncio")


class Hosted(Protocol):
    """What the server serves, as its connections know it: a name for the log, and where refusals are said."""

    @property
    def site(self) -> str:
        """Of whom the log speaks."""

    @property
    def refusals(self) -> RefusalLog:
        """Where refusals are said."""


def address_group(host: str) -> str:
    """What is counted as one network address: an IPv6 network of 64 bits, which one customer has, is one too."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


class Doors:
    """What all connections of one server share: who is connected, and where refusals are said."""

    def __init__(self, service: Hosted, *, per_address: int | None) -> None:
        """``per_address``: connections that one address may have; None: any number, as all come by one proxy."""
        self.refusals = service.refusals
        self._per_address = per_address
        self._there: dict[str, dict[LimitedProtocol, None]] = {}

    def enter(self, connection: LimitedProtocol, group: str) -> None:
        """Count a new connection. Where its address has too many, the oldest that nothing is done for makes room."""
        others = self._there.setdefault(group, {})
        others[connection] = None
        if self._per_address is not None and len(others) > self._per_address:
            next((one for one in others if not one.is_busy), connection).transport.abort()
            text = f"more than {self._per_address} connections; the oldest idle one was closed"
            self.refusals.of_stranger(group, text)

    def leave(self, connection: LimitedProtocol, group: str) -> None:
        """Count a connection no more."""
        others = self._there.get(group, {})
        others.pop(connection, None)
        if not others:
            self._there.pop(group, None)


class LimitedProtocol(H11Protocol):
    """One connection, with the limits of this module."""

    def __init__(self, doors: Doors, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._doors = doors
        self._group = ""
        self._head_alarm: asyncio.TimerHandle | None = None
        self._waiting_since = 0.0
        self._answer_alarm: asyncio.TimerHandle | None = None
        self._unread_since: float | None = None
        self._judged_elsewhere = False
        """Whether whoever sends the answer sees to it that the peer takes it: a long one is never read to its end."""

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol.connection_made`."""
        super().connection_made(transport)
        self._group = address_group(self.client[0] if self.client else "")
        self._doors.enter(self, self._group)
        self._watch_head()
        self._watch_answer()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        if self.transport.is_closing():
            return
        if unsent_bytes(self.transport):
            # The next request, and the answer to the last one was not read.
            self.transport.abort()
            return
        self._unread_since = None
        super().data_received(data)
        waits = self.cycle is not None and self.conn.their_state is h11.DONE and self.conn.trailing_data[0]
        if waits and not self.cycle.response_started:
            # The next request came with this one, which is answered; the connection ends then. Once an answer has
            # begun its peer may have all of it, before this program learns that the last byte was sent.
            self.cycle.keep_alive = False
        self._watch_head()

    def on_response_complete(self) -> None:
        """See uvicorn: an answer was written."""
        super().on_response_complete()
        self._watch_head()

    def send_400_response(self, msg: str) -> None:
        """See uvicorn: what came is no HTTP request."""
        super().send_400_response(msg)
        self._doors.refusals.of_stranger(self.client[0] if self.client else "", "what came is no HTTP request")

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol.connection_lost`."""
        for alarm in (self._head_alarm, self._answer_alarm):
            if alarm is not None:
                alarm.cancel()
        self._doors.leave(self, self._group)
        super().connection_lost(exc)

    def begin_waiting(self) -> None:
        """Count anew how long the next request may take to come: the last one was answered."""
        # The alarm that is set goes off too early, and is set again then: cheaper than one for each request.
        self._waiting_since = self.loop.time()
        self._watch_head()

    def _watch_head(self) -> None:
        if self.is_busy and self._head_alarm is not None:
            self._head_alarm.cancel()
            self._head_alarm = None
        elif not self.is_busy and self._head_alarm is None:
            # Also the idle time between two requests: uvicorn's own timer ends with the first byte of the next.
            self._waiting_since = self.loop.time()
            self._head_alarm = self.loop.call_later(HEAD_SECONDS, self._head_is_due)

    def _head_is_due(self) -> None:
        left = self._waiting_since + HEAD_SECONDS - self.loop.time()
        if left > _A_MOMENT:
            self._head_alarm = self.loop.call_later(left, self._head_is_due)
        else:
            self.transport.close()

    def _watch_answer(self) -> None:
        """Cut the connection off when an answer has been unread for too long, also one that is closing already."""
        now = self.loop.time()
        if self._judged_elsewhere or not unsent_bytes(self.transport):
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > ANSWER_SECONDS:
            self.transport.abort()
            return
        self._answer_alarm = self.loop.call_later(ANSWER_SECONDS / 8, self._watch_answer)


def unsent_bytes(transport: Any) -> int:
    """Bytes of answers that the system has not taken yet, because the peer does not read them."""
    # Over TLS it is the buffer below that fills up, with what is encrypted already; asyncio does not count that one.
    below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return int((transport if below is None else below).get_write_buffer_size())


@contextlib.contextmanager
def errors_in_log(service: Hosted) -> Iterator[None]:
    """Have what uvicorn and asyncio report meanwhile said in the server's log, in one line each, not as tracebacks.

    That requests end unanswered when the server is stopped is no error.
    """
    handler = _OneLine(service)
    before = []
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        before.append((logger, logger.propagate))
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagates in before:
            logger.removeHandler(handler)
            logger.propagate = propagates


class _OneLine(logging.Handler):
    def __init__(self, service: Hosted) -> None:
        super().__init__(logging.ERROR)
        self._service = service

    def emit(self, record: logging.LogRecord) -> None:
        """Say what went wrong, once an hour."""
        error = record.exc_info[1] if record.exc_info else None
        stopped = isinstance(error, asyncio.CancelledError) or "graceful shutdown exceeded" in record.getMessage()
        if not stopped:
            what = f"{type(error).__name__}: {error}" if error is not None else record.getMessage()
            self._service.refusals.of_site(self._service.site, f"a request failed: {what}")
