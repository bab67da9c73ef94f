"""Connections that send files: the system copies them from the disk to the network, and no byte passes through here.

An application finds `SendFile` in its scope under `SEND_FILE`; it calls it after ``http.response.start`` for the bytes
of a file that belong into the answer there. A client that does not take one slice within `ANSWER_SECONDS` is cut off.

Packages of very many small files are asked for by as many small requests. Those of them that are as plain as can be are
answered here at once, head and body in one piece, without a parser, a task and an application between: `Quick`. The
least doubt about a request, and it goes the whole way.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, BinaryIO

import h11

from courier.channel.http_connections import Doors, LimitedProtocol, unsent_bytes

SEND_FILE = "courier.send_file"
SLICE, FIRST_SLICE = 4 << 20, 128 << 10
"""Bytes sent at a time, after which it is looked whether the client still takes them: at most, and of a slow client."""
ANSWER_SECONDS = 120.0
"""How long a client may take for one slice."""
_QUICK_SECONDS, _SLOW_SECONDS = 1.0, 10.0
"""After a slice that took less than the first comes a longer one, after one of more than the second a shorter."""

SendFile = Callable[[BinaryIO, int, int], Awaitable[None]]
"""Send so many bytes of a file from an offset; raises `ConnectionError` when the client is gone, too slow, or the file
has become shorter."""


QuickAnswer = tuple[Sequence[tuple[bytes, bytes]], bytes]
"""The headers, and the body, of an answer 200."""
Quick = Callable[[bytes, str, str], QuickAnswer | None]
"""Takes the path of a GET as it came, its ``Authorization`` header or an empty text, and the client's address group.

It returns the whole answer at once, or None where the application shall answer. A request comes here only when it has
no header but those of `_PLAIN_NAMES`, when nothing is left to be sent or answered, and nothing came after it."""

_PLAIN_HEAD = re.compile(rb"GET (/[!-~]{1,200}) HTTP/1\.1\r\n((?:[A-Za-z-]{1,40}:[ -~]{0,1000}\r\n){1,20})\r\n")
_PLAIN_NAMES = {b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"connection"}


def plain_request(data: bytes) -> tuple[bytes, bytes] | None:
    """Path and header lines of a GET without anything about it that needs a parser; None for any other bytes."""
    match = _PLAIN_HEAD.fullmatch(data)
    return None if match is None else (match[1], match[2])


def plain_authorization(lines: bytes) -> str | None:
    """The ``Authorization`` of the header lines of a plain request, or an empty text; None where they are not plain."""
    found: dict[bytes, bytes] = {}
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in found or (name not in _PLAIN_NAMES and name != b"authorization"):
            return None
        found[name] = value.strip()
    if not found.get(b"host") or found.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return found.get(b"authorization", b"").decode("ascii")


class FileProtocol(LimitedProtocol):
    """One connection that can send files."""

    def __init__(self, doors: Doors, *, quick: Quick | None = None, **of_uvicorn: Any) -> None:
        super().__init__(doors, **of_uvicorn)
        self._quick = quick
        self._plain_lines, self._authorization = b"", ""
        inner = self.app

        async def with_files(scope: Any, receive: Any, send: Any) -> None:
            scope[SEND_FILE] = self._send_file
            await inner(scope, receive, send)

        self.app = with_files

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        if self._quick is None or not self._answer_quickly(self._quick, data):
            super().data_received(data)

    def _answer_quickly(self, quick: Quick, data: bytes) -> bool:
        asked = plain_request(data)
        if asked is None or not self._is_at_rest():
            return False
        path, lines = asked
        if lines != self._plain_lines:  # a client's are the same in each of its requests
            authorization = plain_authorization(lines)
            if authorization is None:
                return False
            self._plain_lines, self._authorization = lines, authorization
        answer = quick(path, self._authorization, self._group)
        if answer is None:
            return False
        self._unset_keepalive_if_required()
        headers, body = answer
        head = b"".join(b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers))
        self.transport.write(b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (head, body))
        self.server_state.total_requests += 1
        self.begin_waiting()
        return True

    def _is_at_rest(self) -> bool:
        """Whether nothing came, is answered or waits to be sent; and there are not too many others."""
        if self.is_busy or self.transport.is_closing() or unsent_bytes(self.transport):
            return False
        if self.conn.their_state is not h11.IDLE or self.conn.our_state is not h11.IDLE or self.conn.trailing_data[0]:
            return False
        limit = self.limit_concurrency
        return limit is None or max(len(self.connections), len(self.tasks)) < limit

    async def _send_file(self, file: BinaryIO, offset: int, count: int) -> None:
        cycle, length = self.cycle, FIRST_SLICE
        self._judged_elsewhere = True
        try:
            # h11 counts the bytes of the answer without seeing them.
            self.conn.send_with_data_passthrough(h11.Data(data=_Bytes(count)))  # type: ignore[arg-type]
            sent = self._send_at_once(file, offset, count)
            offset, count = offset + sent, count - sent
            while count:
                if cycle.disconnected or self.transport.is_closing():
                    raise ConnectionResetError
                begun = self.loop.time()
                sending = self.loop.sendfile(self.transport, file, offset, min(length, count), fallback=True)
                sent = await asyncio.wait_for(sending, ANSWER_SECONDS)
                if not sent:
                    raise ConnectionAbortedError
                length = _next_slice(length, self.loop.time() - begun)
                offset, count = offset + sent, count - sent
        except (OSError, TimeoutError, RuntimeError, h11.LocalProtocolError) as error:
            # Bytes of the answer are missing, and only the end of the connection can tell the client so.
            cycle.disconnected = True
            self.transport.abort()
            raise ConnectionResetError(str(error)) from None
        finally:
            self._judged_elsewhere = False

    def _send_at_once(self, file: BinaryIO, offset: int, count: int) -> int:
        """Bytes that the system takes without waiting, which for a part of a file is often all of it."""
        if not hasattr(os, "sendfile") or self.transport.get_extra_info("sslcontext") or unsent_bytes(self.transport):
            return 0
        try:
            return os.sendfile(
                self.transport.get_extra_info("socket").fileno(), file.fileno(), offset, min(SLICE, count)
            )
        except BlockingIOError:
            return 0


def _next_slice(length: int, seconds: float) -> int:
    """How many bytes are sent at a time after so many took ``seconds``; a client may be as slow as its line or cap."""
    if seconds < _QUICK_SECONDS:
        return min(2 * length, SLICE)
    return max(length // 2, FIRST_SLICE) if seconds > _SLOW_SECONDS else length


class _Bytes:
    """Stands for bytes that are sent by the system."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count
