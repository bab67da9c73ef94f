"""The web server's application for a point: its files by their paths, nothing else, to GET and HEAD (RFC 9110).

Contents, listings and block tables are named by digest and never change; the statement and definitions do. A path is
compared as it came, undecoded, with the forms of the layout, and no link is followed.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BufferedReader
from pathlib import Path
from typing import Any

from courier.channel.http_connections import address_group
from courier.channel.http_files import SEND_FILE, QuickAnswer
from courier.channel.refusal_log import RefusalLog
from courier.distribution.folder import PointFolder
from courier.distribution.mirror_wishes import Wishes
from courier.distribution.ranges import Range, parse_ranges
from courier.distribution.slots import RETRY_SECONDS, Slots
from courier.distribution.tokens import Tokens
from formats.envelope import MAX_ENVELOPE

_PATH = re.compile(
    rb"/(?:(?P<document>point\.json|definitions/[A-Z0-9]{3}[0-9A-F]{5}-[0-9]{1,19}\.json)"
    rb"|listings/(?P<listing>[0-9a-f]{64})|blocks/(?P<blocks>[0-9a-f]{64})"
    rb"|content/(?P<part>[0-9a-f]{2})/(?P<content>(?P=part)[0-9a-f]{62}))"
)
IMMUTABLE = "public, max-age=31536000, immutable"
PIECE = 1 << 20
"""Bytes read at a time where the server cannot send a file by itself."""
SENT_FROM_HERE = 256 << 10
"""Bytes of a part up to which it is read and sent with the head: handing it to the system would take longer."""
_REMEMBERED = 1000
"""Documents whose digests are remembered."""

Headers = list[tuple[bytes, bytes]]


@dataclass(kw_only=True)
class PointService:
    """A point that is served. ``site`` is who the log speaks of. ``wishes`` notes what is asked for in vain."""

    site: str
    folders: Sequence[Path]
    slots: Slots
    refusals: RefusalLog
    tokens: Tokens | None = None
    wishes: Wishes | None = None
    _digests: dict[tuple[object, ...], str] = field(default_factory=dict)

    def quick(self, path: bytes, authorization: str, group: str) -> QuickAnswer | None:
        """The whole answer to a plain request for a small file that never changes; see `http_files.Quick`.

        None for all else, which the application answers: large files, documents, what is not there, who must wait.
        """
        match = _PATH.fullmatch(path)
        if match is None or match["document"]:
            return None
        client = group if self.tokens is None else self.tokens.client(authorization)
        if client is None or not self.slots.is_free_for(client):
            return None
        body = self._read_small(path.decode()[1:])
        if body is None:
            return None
        digest, kind = _named(match)
        headers = [*_headers(f'"{digest}"', match), (b"content-type", kind), (b"content-length", b"%d" % len(body))]
        return headers, body

    def _read_small(self, path: str) -> bytes | None:
        """The bytes of a file that is small enough to be sent with the head; None where it is not, or not there."""
        for place in self.folders:
            try:
                with PointFolder(place) as folder:
                    descriptor, info = folder.descriptor(path)
            except OSError:
                continue
            try:
                data = os.read(descriptor, info.st_size) if info.st_size <= SENT_FROM_HERE else b""
            except OSError:
                return None
            finally:
                os.close(descriptor)
            return data if len(data) == info.st_size else None
        return None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] == "http":
            await _Answer(self, scope, send).run()

    def open(self, path: str) -> BufferedReader | None:
        """A file of the point, from whichever folder has it."""
        for place in self.folders:
            try:
                with PointFolder(place) as folder:
                    return folder.open(path)
            except OSError:
                continue
        return None

    def etag(self, path: str, digest: str, file: BufferedReader) -> str:
        """The entity tag of a file: its digest, so that it is the same at every point."""
        if digest:
            return f'"{digest}"'
        info = os.fstat(file.fileno())
        key = (path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        if key not in self._digests:
            if len(self._digests) >= _REMEMBERED:
                self._digests.clear()
            self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return f'"{self._digests[key]}"'


class _Answer:
    """One request and its answer."""

    def __init__(self, service: PointService, scope: Any, send: Any) -> None:
        self._service, self._scope, self._send = service, scope, send
        self._asked: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            text = value.decode("latin-1")
            self._asked[name] = f"{self._asked[name]}, {text}" if name in self._asked else text

    async def run(self) -> None:
        service, method = self._service, self._scope["method"]
        client = self._client()
        if client is None:
            await self._refuse(HTTPStatus.UNAUTHORIZED, [(b"www-authenticate", b'Bearer realm="point"')])
            return
        if method not in ("GET", "HEAD"):
            await self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, [(b"allow", b"GET, HEAD")])
            return
        match = _PATH.fullmatch(self._scope.get("raw_path") or self._scope["path"].encode())
        if match is None:
            await self._refuse(HTTPStatus.NOT_FOUND)
            return
        if method == "HEAD":
            await self._answer(match)
            return
        status = await service.slots.enter(client)
        if status is not HTTPStatus.OK:
            await self._refuse(status, [(b"retry-after", b"%d" % RETRY_SECONDS)])
            return
        try:
            await self._answer(match)
        except ConnectionError:
            return  # the client went away; it comes again
        finally:
            service.slots.leave(client)

    def _client(self) -> str | None:
        """Who asks: by its token, or its network address. None where a token is needed, and not shown."""
        host = (self._scope.get("client") or ("", 0))[0]
        if self._service.tokens is None:
            return address_group(host)
        client = self._service.tokens.client(self._asked.get(b"authorization", ""))
        if client is None:
            self._service.refusals.of_stranger(host, "a request without a token of the token file")
        return client

    async def _answer(self, match: re.Match[bytes]) -> None:
        path = match[0].decode()[1:]
        file = self._service.open(path)
        if file is None:
            if self._service.wishes is not None:
                self._service.wishes.note(path, (self._scope.get("client") or ("", 0))[0])
            await self._refuse(HTTPStatus.NOT_FOUND)
            return
        with file:
            if match["document"] and os.fstat(file.fileno()).st_size > MAX_ENVELOPE:
                await self._refuse(HTTPStatus.NOT_FOUND)  # none of ours; to hash it would hold all others up
                return
            digest, kind = _named(match)
            etag = self._service.etag(path, digest, file)
            headers = _headers(etag, match)
            if self._is_known(etag):
                await self._start(HTTPStatus.NOT_MODIFIED, headers)
                await self._end()
                return
            await self._send_parts(file, os.fstat(file.fileno()).st_size, etag, kind, headers)

    def _is_known(self, etag: str) -> bool:
        """Whether the client has this very file (If-None-Match)."""
        known = self._asked.get(b"if-none-match")
        if known is None:
            return False
        return known.strip() == "*" or etag in {one.strip().removeprefix("W/") for one in known.split(",")}

    async def _send_parts(self, file: BufferedReader, size: int, etag: str, kind: bytes, headers: Headers) -> None:
        ranges = self._ranges(size, etag)
        if ranges is None:
            headers += [(b"content-type", kind), (b"content-length", b"%d" % size)]
            await self._start(HTTPStatus.OK, headers)
            await self._send_bytes(file, (0, size))
        elif not ranges:
            await self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, [(b"content-range", b"bytes */%d" % size)])
            return
        elif len(ranges) == 1:
            begin, end = ranges[0]
            headers += [(b"content-type", kind), (b"content-length", b"%d" % (end - begin))]
            headers += [(b"content-range", _content_range(ranges[0], size))]
            await self._start(HTTPStatus.PARTIAL_CONTENT, headers)
            await self._send_bytes(file, ranges[0])
        else:
            await self._send_multipart(file, size, ranges, kind, headers)
        await self._end()

    def _ranges(self, size: int, etag: str) -> Sequence[Range] | None:
        """The ranges asked for; None where the whole file is, also because the client's part is of another one."""
        asked = self._asked.get(b"range")
        if asked is None or self._scope["method"] == "HEAD":
            return None
        condition = self._asked.get(b"if-range")
        if condition is not None and condition.strip() != etag:
            return None  # a date is no strong validator here: no file is known by its time
        return parse_ranges(asked, size)

    async def _send_multipart(
        self, file: BufferedReader, size: int, ranges: Sequence[Range], kind: bytes, headers: Headers
    ) -> None:
        boundary = secrets.token_hex(16).encode()
        heads = [
            b"\r\n--%b\r\nContent-Type: %b\r\nContent-Range: %b\r\n\r\n" % (boundary, kind, _content_range(one, size))
            for one in ranges
        ]
        tail = b"\r\n--%b--\r\n" % boundary
        length = sum(map(len, heads)) + len(tail) + sum(end - begin for begin, end in ranges)
        headers += [(b"content-type", b"multipart/byteranges; boundary=%b" % boundary)]
        headers += [(b"content-length", b"%d" % length)]
        await self._start(HTTPStatus.PARTIAL_CONTENT, headers)
        for head, one in zip(heads, ranges, strict=True):
            await self._send({"type": "http.response.body", "body": head, "more_body": True})
            await self._send_bytes(file, one)
        await self._send({"type": "http.response.body", "body": tail, "more_body": True})

    async def _send_bytes(self, file: BufferedReader, one: Range) -> None:
        begin, end = one
        if self._scope["method"] == "HEAD" or begin == end:
            return
        send_file = self._scope.get(SEND_FILE)
        if send_file is not None and end - begin > SENT_FROM_HERE:
            await send_file(file, begin, end - begin)
            return
        file.seek(begin)
        while begin < end:
            data = file.read(min(PIECE, end - begin))
            if not data:
                raise ConnectionAbortedError
            begin += len(data)
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _refuse(self, status: HTTPStatus, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        body = b"" if self._scope["method"] == "HEAD" else f"{status.value} {status.phrase}\n".encode()
        common = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        await self._start(status, [*common, (b"cache-control", b"no-store"), *headers])
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _start(self, status: HTTPStatus, headers: Iterable[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status.value, "headers": list(headers)})

    async def _end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _named(match: re.Match[bytes]) -> tuple[str, bytes]:
    """The digest by which a path names its file, empty for a document; and the kind of what is there."""
    if match["document"]:
        return "", b"application/json"
    named = match["content"] or match["listing"]
    return named.decode() if named else f"blocks-{match['blocks'].decode()}", b"application/octet-stream"


def _headers(etag: str, match: re.Match[bytes]) -> Headers:
    """What every answer about a file says."""
    return [
        (b"etag", etag.encode()),
        (b"cache-control", b"no-cache" if match["document"] else IMMUTABLE.encode()),
        (b"accept-ranges", b"bytes"),
        (b"x-content-type-options", b"nosniff"),
    ]


def _content_range(one: Range, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (one[0], one[1] - 1, size)
