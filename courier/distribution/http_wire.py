"""The bytes of HTTP/1.1 on one connection, for a client that asks for many files (RFC 9112).

Why not `http.client`: it reads answers only one by one, and its parser of headers takes longer than all else that is
done for a small file. Here requests go out ahead of the answers, and bodies are read into buffers of the caller.
Whatever an answer holds, at most `HEAD` bytes of it are kept, and it must go on: see `Patience`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from dataclasses import dataclass

from courier.distribution.source import ClosedError, Patience, SourceFaultError
from courier.text import harmless

BUFFER = 256 << 10
"""Bytes that are read ahead."""
HEAD = 32 << 10
"""Bytes of the longest head of an answer."""
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?")
_NUMBER = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?")
_INTERIM = 8
_TRAILERS = 100
_NO_BODY = (204, 304)


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The head of an answer. ``length``: bytes of the body, None where only its end tells. ``last``: the server closes
    the connection after it."""

    status: int
    headers: dict[str, str]
    length: int | None
    chunked: bool
    last: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a server is; ``context``: for https, else None."""

    host: str
    port: int
    context: ssl.SSLContext | None


class Wire:
    """A connection. After an error of any method it is of no more use than to be closed."""

    def __init__(self, address: Address, patience: Patience) -> None:
        """Raises `SourceFaultError`."""
        self._patience = patience
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._begin = self._end = 0
        self._left: int | None = 0
        """Bytes of the body, or of its chunk, that are still to be read; None: until the server closes."""
        self._chunked = self._after_chunk = False
        self._in_body = False
        """Whether bytes of a body are awaited, of whatever form: it has to go on. A head has a time of its own."""
        self._waited = 0.0
        self._came = 0
        self.answers = 0
        """Whole answers so far."""
        with contextlib.ExitStack() as stack:
            try:
                wire: socket.socket = socket.create_connection((address.host, address.port), timeout=patience.connect)
                stack.callback(wire.close)
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if address.context is not None:
                    wire = address.context.wrap_socket(wire, server_hostname=address.host)
            except ssl.SSLCertVerificationError as error:
                raise SourceFaultError(f"its certificate is not good: {error.verify_message}") from None
            except OSError as error:
                raise SourceFaultError(f"it does not answer ({_words(error)})") from None
            except ValueError as error:  # a name of a computer that cannot be looked up, or is in no certificate
                raise SourceFaultError(f"its address is none ({error})") from None
            stack.pop_all()
        self._socket = wire

    def close(self) -> None:
        """Close the connection; a thread that waits for it goes on with an error."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send requests."""
        try:
            self._socket.settimeout(self._patience.answer)
            self._socket.sendall(data)
        except OSError as error:
            raise ClosedError(f"the connection broke ({_words(error)})") from None

    def head(self) -> Head:
        """Read the head of the next answer; the body of the one before must be read."""
        for _ in range(_INTERIM):
            head = _parse(self._head_text())
            if head.status >= 200:
                empty = head.status in _NO_BODY
                self._left = 0 if empty or head.chunked else head.length
                self._chunked, self._after_chunk = head.chunked and not empty, False
                self._in_body = True
                return head
        raise SourceFaultError("it sends only interim answers")

    def _head_text(self) -> str:
        self._in_body = False
        if self._begin == self._end:
            self._begin = self._end = 0
        searched, until = self._begin, time.monotonic() + self._patience.answer
        while (at := self._buffer.find(b"\r\n\r\n", searched, self._end)) < 0:
            if self._end - self._begin > HEAD:
                raise SourceFaultError(f"its answer has a head of more than {HEAD:,} bytes")
            searched = max(self._begin, self._end - 3)
            if self._end == BUFFER:
                searched -= self._begin
                self._compact()
            if not self._receive_ahead(within=until - time.monotonic()):
                raise ClosedError("it closed the connection without an answer")
        text = self._buffer[self._begin : at].decode("latin-1")
        self._begin = at + 4
        return text

    def _compact(self) -> None:
        kept = self._end - self._begin
        self._buffer[:kept] = self._buffer[self._begin : self._end]
        self._begin, self._end = 0, kept

    def read_some(self, view: memoryview) -> int:
        """Read bytes of the body into ``view``, and return how many; 0 at its end."""
        if self._chunked and not self._left and not self._next_chunk():
            return 0
        if self._left == 0:
            return 0
        most = len(view) if self._left is None else min(len(view), self._left)
        ahead = self._end - self._begin
        if ahead:
            count = min(ahead, most)
            view[:count] = self._view[self._begin : self._begin + count]
            self._begin += count
        else:
            count = self._receive(view[:most], within=self._patience.stall)
            if not count and self._left is not None:
                raise SourceFaultError("its answer is shorter than it said")
        if self._left is not None:
            self._left -= count
        return count

    def read_into(self, view: memoryview) -> None:
        """Fill ``view`` with the next bytes of the body."""
        filled, size = 0, len(view)
        while filled < size:
            count = self.read_some(view[filled:])
            if not count:
                raise SourceFaultError("its answer is shorter than it should be")
            filled += count

    def end_body(self, most: int = 0) -> None:
        """Read what is left of the body, at most ``most`` bytes, and throw it away. Raises where there is more."""
        scrap = memoryview(bytearray(min(most, 64 << 10) + 1))
        left = most
        while count := self.read_some(scrap):
            left -= count
            if left < 0:
                raise SourceFaultError("its answer is longer than it should be")
        self.answers += 1

    def _next_chunk(self) -> bool:
        """Read the line before a chunk; False at the end of the body."""
        line = self._line()
        if not line and self._after_chunk:
            line = self._line()
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise SourceFaultError("its answer is not in the form of HTTP")
        self._left = int(match[1], 16)
        self._after_chunk = True
        if self._left:
            return True
        self._chunked = False
        for _ in range(_TRAILERS):
            if not self._line():
                return False
        raise SourceFaultError("its answer does not end")

    def _line(self) -> bytes:
        if self._begin == self._end:
            self._begin = self._end = 0
        while (at := self._buffer.find(b"\r\n", self._begin, self._end)) < 0:
            if self._end - self._begin > HEAD:
                raise SourceFaultError("its answer is not in the form of HTTP")
            if self._end == BUFFER:
                self._compact()
            if not self._receive_ahead(within=self._patience.stall):
                raise SourceFaultError("its answer is shorter than it said")
        line = bytes(self._buffer[self._begin : at])
        self._begin = at + 2
        return line

    def _receive_ahead(self, *, within: float) -> int:
        """Receive bytes into the read-ahead buffer, and return how many; 0 where the server closed."""
        if within <= 0:
            raise SourceFaultError(f"it did not answer within {self._patience.answer:g} s")
        count = self._receive(self._view[self._end :], within=within)
        self._end += count
        return count

    def _receive(self, view: memoryview, *, within: float) -> int:
        begun = time.monotonic()
        try:
            self._socket.settimeout(within)
            count = self._socket.recv_into(view)
        except TimeoutError:
            raise SourceFaultError(f"it sent nothing for {within:.1f} s") from None
        except OSError as error:
            raise SourceFaultError(f"the connection broke ({_words(error)})") from None
        self._waited += time.monotonic() - begun
        self._came += count
        if self._waited > self._patience.span:
            if self._came < self._patience.least and self._in_body:
                raise SourceFaultError(f"it sent only {self._came:,} bytes in {self._waited:.0f} s")
            self._waited, self._came = 0.0, 0
        return count


def _parse(text: str) -> Head:
    first, *lines = text.split("\r\n")
    match = _STATUS.fullmatch(first)
    if match is None:
        raise SourceFaultError(f"its answer is not in the form of HTTP: {harmless(first, 60)}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise SourceFaultError("its answer is not in the form of HTTP")
        name, value = name.lower(), value.strip()
        if name == "content-length" and headers.get(name, value) != value:
            raise SourceFaultError("its answer has two lengths")
        headers[name] = value
    coding = headers.get("transfer-encoding", "").lower()
    if coding not in ("", "chunked"):
        raise SourceFaultError(f"its answer is coded as {harmless(coding, 40)}, which was not asked for")
    packed = headers.get("content-encoding", "identity").lower()
    if packed not in ("", "identity"):
        raise SourceFaultError(f"its answer is packed as {harmless(packed, 40)}, which was not asked for")
    length = headers.get("content-length")
    if length is not None and not _NUMBER.fullmatch(length):
        raise SourceFaultError("its answer has a length that is no number")
    kept = "close" not in headers.get("connection", "keep-alive" if match[1] == "1" else "close").lower()
    unknown = length is None and not coding
    return Head(
        status=int(match[2]),
        headers=headers,
        length=None if coding or length is None else int(length),
        chunked=bool(coding),
        last=not kept or unknown,
    )


def _words(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
