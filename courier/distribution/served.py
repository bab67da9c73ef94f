"""Asking the web server of a point for every file, as a client does: what it leaves out, alters or packs is found.

A web server that serves a folder has rules of its own, such as names that it keeps to itself, and whoever set it up may
not know. Nothing is taken for good because the folder has it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import BinaryIO

from courier.distribution.folder import PointFolder
from courier.distribution.open_point import OpenPoint, opened_point
from courier.distribution.validate import Reading, Validated, read_all
from courier.distribution.web_address import parse_web_address
from courier.errors import NotFoundError, UnreachableError, UsageError
from courier.site.home import Site
from formats.digest import CHUNK
from formats.documents.point import STATEMENT
from formats.envelope import MAX_ENVELOPE

ANSWER_SECONDS = 30.0
"""How long the web server may be silent."""
TRIES = 4
"""How often a file is asked for while the server says that it is busy."""
LONGEST_WAIT = 10.0
_BUSY = (429, 503)


def validate_served(
    site: Site, name: str, reference: str | None = None, *, progress: Callable[[int], None] = lambda _: None
) -> Validated:
    """Get every file of a version from the URL of a point (without one: all of a package, or everything).

    Raises `UsageError` for a point without a URL, `UnreachableError` where nothing answers there, `NotFoundError` where
    the point does not have the version.
    """
    with opened_point(site, name, writing=False, alone=True) as point:
        if not point.row.url:
            raise UsageError(f"point {name} has no URL", hint=f"courier point set {name} --url URL")
        with contextlib.closing(_WebServer(point.row.url)) as server:
            server.check()
            return read_all(point, _Served(point, server, progress), reference)


class _WebServer:
    """The web server at a URL, asked over one connection that is kept."""

    def __init__(self, url: str) -> None:
        found = parse_web_address(url)
        kind = http.client.HTTPSConnection if found.scheme == "https" else http.client.HTTPConnection
        self._url, self._base = url, found.path
        self._connection = kind(found.host, found.port, timeout=ANSWER_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def check(self) -> None:
        """Raise `UnreachableError` where nothing answers."""
        try:
            self._connection.connect()
        except (OSError, ValueError) as error:
            raise UnreachableError(
                f"{self._url}: {error}", hint="is the web server running there? courier point serve, or point config"
            ) from None

    def get(self, path: str) -> Iterator[bytes]:
        """The bytes at a path. Raises `NotFoundError` for any other answer, and `OSError`."""
        try:
            for attempt in range(TRIES):
                self._connection.request("GET", f"{self._base}/{path}", headers={"Accept-Encoding": "identity"})
                answer = self._connection.getresponse()
                if answer.status not in _BUSY or attempt + 1 == TRIES:
                    break
                answer.read(MAX_ENVELOPE)
                self._connection.close()
                time.sleep(min(float(answer.headers.get("retry-after") or 1), LONGEST_WAIT))
            if answer.status != 200:
                self._connection.close()
                raise NotFoundError(
                    f"is answered with {answer.status} {answer.reason}", hint="look at its configuration"
                )
            if (encoding := answer.headers.get("content-encoding", "identity")) != "identity":
                self._connection.close()
                raise NotFoundError(f"is served in the encoding {encoding}", hint="turn compression off for it")
            while data := answer.read(CHUNK):
                yield data
            if answer.length:
                raise ConnectionResetError(f"ended {answer.length:,} bytes too early")
        except (http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise ConnectionError(str(error) or type(error).__name__) from None
        except OSError:
            self._connection.close()
            raise


class _Served(Reading):
    """Reads files as the web server has them."""

    def __init__(self, point: OpenPoint, server: _WebServer, progress: Callable[[int], None]) -> None:
        super().__init__(point, point.statement(), progress)
        self._server, self._told = server, progress

    def read_statement(self) -> bytes:
        """See `Reading.read_statement`."""
        with contextlib.suppress(NotFoundError, OSError), self.fetch(STATEMENT, MAX_ENVELOPE) as source:
            return source.read()
        return b""

    def fetch(self, path: str, most: int, /) -> BinaryIO:
        """See `Reading.fetch`."""
        gathered = BytesIO()
        for data in self._server.get(path):
            gathered.write(data)
            if gathered.tell() > most:
                self._server.close()
                break
        gathered.seek(0)
        return gathered

    def problem(self, _folders: Sequence[PointFolder], path: str, digest: str, size: int | None) -> str:
        """See `Reading.problem`."""
        found, count = hashlib.sha256(), 0
        try:
            for data in self._server.get(path):
                found.update(data)
                count += len(data)
                self._told(len(data))
                if size is not None and count > size:
                    self._server.close()
                    break
        except NotFoundError as error:
            return error.message
        except OSError as error:
            return f"cannot be fetched: {error.strerror or error}"
        if size is not None and count != size:
            return f"is served with {count:,} bytes where {size:,} are listed"
        return "" if found.hexdigest() == digest else "is served with other bytes than its SHA-256 says"
