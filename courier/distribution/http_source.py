"""A web server as a source of a download: ours, nginx, or any other, with parts of files or without.

What proxies the environment names is ignored: points are near, and their bytes are checked whoever carries them.
Redirects within the server are followed, to another one they are refused. A token is shown to the server it is for
alone, and over plain HTTP only to this computer.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import ssl
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from courier import __version__
from courier.distribution.http_wire import Address, Head, Wire
from courier.distribution.source import (
    ClosedError,
    DeniedError,
    GoneError,
    Patience,
    SourceBusyError,
    SourceFaultError,
    WrongBytesError,
)
from courier.distribution.web_address import PORTS, parse_web_address
from courier.errors import UsageError
from courier.files import read_private
from courier.text import harmless

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,200}")
_AHEAD = 48
"""Requests that are sent before their answers came, at most. The server's buffers take them while it answers."""
_FEW_ANSWERS = 16
"""A server that closes a connection after so few answers, while more were asked for, is asked one by one."""
_ERROR_BODY = 64 << 10
"""Bytes of the body of an error that are read, so that the connection goes on."""
_REDIRECTS = 3


@dataclass(kw_only=True, slots=True)
class Manners:
    """What was learnt of a server by the connections to it."""

    takes_ahead: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSource:
    """A server and the path below which it has the point. ``token``: shown to it, empty for none."""

    name: str
    address: Address
    prefix: str
    patience: Patience
    token: str = ""
    manners: Manners = field(default_factory=Manners)

    def link(self) -> HttpLink:
        """See `Source.link`."""
        return HttpLink(self)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return "https" if self.address.context else "http", self.address.host, self.address.port


def http_source(url: str, *, patience: Patience, token: str = "", ca_file: Path | None = None) -> HttpSource:
    """The source at a URL, ``http://`` or ``https://``. ``ca_file``: certificates that are trusted beside none other.

    Raises `UsageError`.
    """
    found = parse_web_address(url)
    if token and found.scheme == "http" and not _is_here(found.host):
        raise UsageError(
            f"{url}: over plain HTTP anyone on the way could read the token",
            hint="use the https address of the point",
        )
    context = None
    if found.scheme == "https":
        try:
            context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        except ssl.SSLError as error:
            raise UsageError(f"{ca_file}: {error.reason or error}", hint="it holds certificates in PEM") from None
    address = Address(host=found.host, port=found.port, context=context)
    prefix = quote(found.path, safe="/%~!$&'()*+,;=:@")
    return HttpSource(name=url, address=address, prefix=prefix, patience=patience, token=token)


def read_token(path: Path) -> str:
    """The token in a file: the last word of its only line. Raises `UsageError`, `RefusedError` where others read it."""
    lines = [line.partition("#")[0].split() for line in read_private(path).decode("utf-8", "replace").splitlines()]
    words = [line for line in lines if line]
    if len(words) != 1 or not _TOKEN.fullmatch(words[0][-1]):
        raise UsageError(f"{path} does not hold one token", hint="one line: TOKEN, or NAME TOKEN, as the point has it")
    return words[0][-1]


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HttpPart:
    """See `courier.distribution.source.Part`."""

    def __init__(self, wire: Wire, begin: int, end: int) -> None:
        self._wire = wire
        self.begin, self.end = begin, end

    def read_into(self, view: memoryview) -> None:
        """See `Part.read_into`."""
        self._wire.read_into(view)


class HttpLink:
    """See `courier.distribution.source.Link`: one connection to a server, opened when it is needed."""

    def __init__(self, source: HttpSource) -> None:
        self._source = source
        self._wire: Wire | None = None
        self._last = False
        self._usable = True
        """Whether another request may go over the connection: the answer before was read to its end."""
        self._etags: dict[str, str] = {}
        scheme, host, port = source.origin
        named = f"[{host}]" if ":" in host else host
        if port != PORTS[scheme]:
            named += f":{port}"
        token = f"Authorization: Bearer {source.token}\r\n" if source.token else ""
        self._rest = (
            f"Host: {named}\r\nUser-Agent: courier/{__version__}\r\nAccept-Encoding: identity\r\n{token}".encode()
        )
        self._base = source.prefix.encode()
        self._body = bytearray()

    def close(self) -> None:
        """See `Link.close`."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def fetch(self, path: str, most: int) -> Iterator[memoryview]:
        """See `Link.fetch`."""
        self._ask(path)
        piece = memoryview(bytearray(min(most + 1, 256 << 10)))
        left = most + 1
        while left and (count := self._now.read_some(piece[:left])):
            left -= count
            yield piece[:count]
        if left:
            self._done()

    def part(self, path: str, size: int, begin: int, end: int) -> HttpPart:
        """See `Link.part`."""
        more = b""
        if (begin, end) != (0, size):
            more = b"Range: bytes=%d-%d\r\n" % (begin, end - 1)
            if path in self._etags:
                more += f"If-Range: {self._etags[path]}\r\n".encode()
        head = self._ask(path, more)
        tag = head.headers.get("etag", "")
        self._etags = {path: tag} if tag.startswith('"') else {}
        self._usable = False
        if head.status == 206:
            begin, end = _range_of(head, size=size, begin=begin, end=end, asked=bool(more))
        else:
            if head.length not in (None, size):
                raise WrongBytesError(f"it says that the file has {head.length:,} bytes; it has {size:,}")
            begin, end = 0, size
        return HttpPart(self._now, begin, end)

    def finish(self) -> None:
        """Say that the part was read to its end, so that the connection can be used again."""
        self._done()

    def small(self, files: Iterator[tuple[str, int]]) -> Iterator[memoryview | GoneError]:
        """See `Link.small`. Requests go ahead of the answers, where the server takes them."""
        upcoming = iter(files)
        asked: deque[tuple[str, int]] = deque()
        again: deque[tuple[str, int]] = deque()
        if self._wire is not None and not self._usable:
            self.close()
        while True:
            room = (_AHEAD if self._source.manners.takes_ahead else 1) - len(asked)
            if room > len(asked):
                new = [again.popleft() for _ in range(min(room, len(again)))]
                new += islice(upcoming, room - len(new))
                asked.extend(new)
            else:
                new = []
            if not asked:
                return
            try:
                self._send(b"".join(self._request(path) for path, _ in new))
                closed, answer = self._small(*asked[0])
            except ClosedError:
                if not self._may_ask_again(len(asked)):
                    raise
                closed, answer = True, None
            if answer is not None:
                asked.popleft()
                yield answer
            if closed:
                # What was asked for behind it is asked for again, over another connection.
                if answer is not None and asked:
                    self._may_ask_again(len(asked) + 1)
                self.close()
                again.extendleft(reversed(asked))
                asked.clear()

    def _may_ask_again(self, outstanding: int) -> bool:
        """Whether a closed connection is no fault: the server takes no requests ahead, or kept it long enough."""
        answers = self._now.answers
        if outstanding > 1 and answers < _FEW_ANSWERS and self._source.manners.takes_ahead:
            self._source.manners.takes_ahead = False
            return True
        return answers > 0

    def _small(self, path: str, size: int) -> tuple[bool, memoryview | GoneError]:
        """Whether the server closes the connection after the answer, and the answer."""
        wire = self._now
        head = wire.head()
        if head.status != 200:
            try:
                self._judge(head, path)
            except GoneError as error:
                self._skip_body(head)
                return not self._usable, error
            raise SourceFaultError(f"it answers {head.status} where 200 is right")
        if head.length not in (None, size):
            raise WrongBytesError(f"it says that the file has {head.length:,} bytes; it has {size:,}")
        if len(self._body) < size:
            self._body = bytearray(max(size, 64 << 10))
        view = memoryview(self._body)[:size]
        wire.read_into(view)
        wire.end_body()
        return head.last, view

    @property
    def _now(self) -> Wire:
        assert self._wire is not None
        return self._wire

    def _request(self, path: str, more: bytes = b"") -> bytes:
        return b"GET %b/%b HTTP/1.1\r\n%b%b\r\n" % (self._base, path.encode(), self._rest, more)

    def _send(self, data: bytes) -> None:
        """Send requests; where the server closed a connection that it kept, over a new one."""
        if not data:
            return
        if self._wire is None:
            self._wire = Wire(self._source.address, self._source.patience)
            self._usable = True
        self._wire.send(data)

    def _ask(self, path: str, more: bytes = b"") -> Head:
        """The head of a good answer (200 or 206) to a request. Raises `SourceFaultError`."""
        target = self._request(path, more)
        for _ in range(_REDIRECTS + 1):
            head = self._answer(target)
            self._last = head.last
            if head.status in (200, 206):
                self._usable = False
                return head
            place = self._judge(head, path)
            self._skip_body(head)
            target = b"GET %b HTTP/1.1\r\n%b%b\r\n" % (place.encode(), self._rest, more)
        raise SourceFaultError("it redirects again and again")

    def _answer(self, request: bytes) -> Head:
        kept = self._wire is not None and self._usable and self._wire.answers > 0
        if self._wire is not None and not self._usable:
            self.close()
        try:
            self._send(request)
            return self._now.head()
        except ClosedError:
            if not kept:
                raise
        # A server may close a connection that it kept at any time; that is no fault, but the next one would be.
        self.close()
        self._send(request)
        return self._now.head()

    def _done(self) -> None:
        self._now.end_body()
        self._usable = not self._last
        if self._last:
            self.close()

    def _skip_body(self, head: Head) -> None:
        with contextlib.suppress(SourceFaultError):
            self._now.end_body(_ERROR_BODY)
            self._usable = not head.last
            return
        self._usable = False

    def _judge(self, head: Head, path: str) -> str:
        """The path that the server redirects to; raises for every other answer that is no file."""
        match head.status:
            case 404 | 410:
                raise GoneError(f"it does not have {path}")
            case 401 | 403 | 407:
                raise DeniedError(f"it refuses us ({head.status})")
            case 429 | 503:
                raise SourceBusyError(f"it is busy ({head.status})", seconds=self._pause(head))
            case 301 | 302 | 303 | 307 | 308:
                return self._redirected(head.headers.get("location", ""), path)
            case 416:
                raise WrongBytesError("it has fewer bytes of the file than there are")
        raise SourceFaultError(f"it answers {head.status}")

    def _pause(self, head: Head) -> float:
        text = head.headers.get("retry-after", "")
        seconds = float(text) if re.fullmatch("[0-9]{1,9}", text) else 1.0
        return min(max(seconds, 0.1), self._source.patience.busy)

    def _redirected(self, location: str, path: str) -> str:
        scheme, host, port = self._source.origin
        named = f"[{host}]" if ":" in host else host
        try:
            parts = urlsplit(urljoin(f"{scheme}://{named}:{port}{self._source.prefix}/{path}", location))
            found = parts.scheme, parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
        except ValueError:
            found, parts = ("", "", 0), urlsplit("")
        if found != (scheme, host, port):
            where = harmless(location, 200)
            raise SourceFaultError(f"it redirects to another server, {where}, which is not followed")
        if not re.fullmatch(r"/[!-~]*", parts.path):
            raise SourceFaultError("it redirects to no path")
        return parts.path + (f"?{parts.query}" if re.fullmatch(r"[!-~]+", parts.query) else "")


def _range_of(head: Head, *, size: int, begin: int, end: int, asked: bool) -> tuple[int, int]:
    """The part that an answer of status 206 has. Raises `SourceFaultError` unless it is the one asked for."""
    match = _RANGE.fullmatch(head.headers.get("content-range", ""))
    if match is None or not asked:
        raise SourceFaultError("it sends a part of the file and does not say which")
    first, last = int(match[1]), int(match[2])
    total = size if match[3] == "*" else int(match[3])
    if first != begin or not first <= last < end:
        raise SourceFaultError(f"it sends bytes {first:,} to {last:,} where {begin:,} to {end - 1:,} were asked for")
    if total != size:
        raise WrongBytesError(f"it says that the file has {total:,} bytes; it has {size:,}")
    if head.length not in (None, last + 1 - first):
        raise SourceFaultError("the length of its answer is not that of the part")
    return first, last + 1
