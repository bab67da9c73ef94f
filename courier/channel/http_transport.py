"""The HTTPS transport: messages to and from another site's server, in parts that go on where they were cut."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from courier.channel.http_client import HttpClient
from courier.channel.transport import CONTENT_RANGE, MAX_MESSAGE, EnoughError, Outgoing, Pace, Unlimited
from courier.errors import CourierError
from courier.files import make_folder
from courier.site.outbox import PART
from courier.text import plural

MAX_STEPS_BACK = 8
"""Requests after which an upload that the server keeps setting back is given up."""
MAX_FETCHED = 4096
"""Messages that one exchange fetches from one server at most."""
MAX_FETCHED_BYTES = 1 << 30
"""Bytes of messages that one exchange fetches from one server at most."""


class HttpTransport:
    """Messages through another site's server (``courier channel serve``). Safe to use from several threads."""

    def __init__(self, client: HttpClient, *, downloads: Path, pace: Pace | None = None) -> None:
        """``downloads``: folder of messages that have not been fetched whole."""
        self._client, self._downloads = client, downloads
        self._pace = pace or Unlimited()

    def deliver(self, to: str, message: Outgoing) -> None:
        """See `Transport.deliver`; a message of one part goes in one request."""
        offset = 0 if message.size <= PART else self._begin_at(message)
        steps = 0
        while offset < message.size:
            data = message.read(offset, min(self._pace.block(), PART))
            if not data:
                raise self._client.unreachable(f"message {message.sha256[:12]} is not kept any more")
            span = f"bytes {offset}-{offset + len(data) - 1}/{message.size}"
            path = f"/v1/messages/{message.sha256}"
            answer = self._client.ask("PUT", path, body=data, headers={"content-range": span})
            self._pace.moved(len(data))
            steps += 1
            if answer.status == 201:
                return
            next_offset = answer.value("offset")
            is_offset = isinstance(next_offset, int) and 0 <= next_offset < message.size
            if answer.status not in (202, 409) or not is_offset:
                raise self._client.problem(answer)
            # A server that keeps setting us back must not keep us for ever.
            if next_offset <= offset and steps > MAX_STEPS_BACK:
                raise self._client.unreachable("the upload makes no progress")
            offset = next_offset

    def _begin_at(self, message: Outgoing) -> int:
        """How many bytes of a message the server has already."""
        answer = self._client.ask("GET", f"/v1/uploads/{message.sha256}")
        if answer.status != 200:
            raise self._client.problem(answer)
        complete, offset = answer.value("complete"), answer.value("offset")
        if not isinstance(complete, bool) or type(offset) is not int:
            raise self._client.nonsense(answer)
        if complete:
            return message.size
        return offset if 0 <= offset < message.size else 0

    def fetch(self, own: str) -> Iterator[tuple[str, bytes]]:
        """See `Transport.fetch`; a message that does not come whole is left for the next time.

        Raises `EnoughError` where the server has more than one exchange takes.
        """
        seen: set[str] = set()
        count = 0
        while True:
            self._pace.block()
            answer = self._client.ask("GET", "/v1/messages")
            if answer.status != 200:
                raise self._client.problem(answer)
            listed, has_more = _listed(answer.value("messages")), answer.value("more")
            if listed is None or not isinstance(has_more, bool):
                raise self._client.nonsense(answer)
            is_progress = False
            for sha256, size in listed:
                if sha256 in seen:
                    continue
                if len(seen) >= MAX_FETCHED or count + size > MAX_FETCHED_BYTES:
                    raise EnoughError(
                        f"it has more than the {plural(len(seen), 'message')} of this exchange",
                        hint="what is left follows with the next exchange",
                    )
                seen.add(sha256)
                count += size
                body = self._download(sha256, size)
                if body is not None:
                    is_progress = True
                    yield sha256, body
            if not has_more:
                self._sweep(seen)
                return
            if not is_progress:
                return

    def _sweep(self, listed: set[str]) -> None:
        """Remove the beginnings of messages that the server does not have any more."""
        for path in self._downloads.glob("*.part"):
            if path.stem not in listed:
                path.unlink(missing_ok=True)

    def _download(self, sha256: str, size: int) -> bytes | None:
        """A message of ``size`` bytes, or None where it does not come whole and as it is named."""
        body = self._gather(sha256, size)
        return body if body is not None and hashlib.sha256(body).hexdigest() == sha256 else None

    def _gather(self, sha256: str, size: int) -> bytes | None:
        """The bytes of a message, through a file, so that a download that is cut goes on where it was."""
        path = make_folder(self._downloads) / f"{sha256}.part"
        while (here := path.stat().st_size if path.exists() else 0) < size:
            piece = self._piece(sha256, here, size)
            if piece is None:
                return None
            with path.open("ab") as out:
                out.write(piece)
        body = path.read_bytes()
        path.unlink(missing_ok=True)
        return body

    def _piece(self, sha256: str, start: int, size: int) -> bytes | None:
        """The next piece of a message, or None when it is not there (any more) or not as it was listed."""
        end = min(start + min(self._pace.block(), PART), size) - 1
        answer = self._client.ask("GET", f"/v1/messages/{sha256}", headers={"range": f"bytes={start}-{end}"})
        if answer.status in (404, 416):
            return None
        span = CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if answer.status != 206:
            raise self._client.problem(answer)
        self._pace.moved(len(answer.body))
        good = span is not None and (int(span[1]), int(span[3])) == (start, size)
        return answer.body if good and 0 < len(answer.body) <= end - start + 1 else None

    def done(self, own: str, sha256: str) -> None:
        """See `Transport.done`; a server that does not hear it offers the message again, which does no harm."""
        try:
            self._client.ask("DELETE", f"/v1/messages/{sha256}")
        except CourierError:
            return

    def close(self) -> None:
        """See `Transport.close`."""
        self._client.close()

    def probe(self, *, up: int = 0, down: int = 0) -> None:
        """Move so many bytes up or down (`PART` at most), to be measured. Raises `UnreachableError`."""
        if up:
            answer = self._client.ask("POST", "/v1/probe", body=secrets.token_bytes(up))
        else:
            answer = self._client.ask("GET", "/v1/probe", query=f"bytes={down}")
        if answer.status not in (200, 204) or len(answer.body) != (0 if up else down):
            raise self._client.problem(answer)


def _listed(value: Any) -> list[tuple[str, int]] | None:
    """(name, size) of the messages that a server lists, without those that are too large; None where it is no list."""
    if not isinstance(value, list):
        return None
    found = []
    for item in value:
        name, size = (item.get("message"), item.get("size")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or not re.fullmatch("[0-9a-f]{64}", name) or type(size) is not int:
            return None
        if 0 < size <= MAX_MESSAGE:
            found.append((name, size))
    return found
