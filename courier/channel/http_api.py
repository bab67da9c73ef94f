"""The operations of the channel's server: each stands here once, with its path, its description and what it does.

`courier.channel.http_application` makes the routes of them, `courier.channel.openapi` the published description.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from courier.channel.http_admission import Admission, Peer, Problem
from courier.channel.inbox import FullError, Inbox, OutOfStepError, WrongDigestError
from courier.channel.openapi import Operation, description
from courier.channel.request_signatures import Head
from courier.channel.schedule import SECOND_NS
from courier.channel.server_desk import ServerDesk
from courier.channel.transport import CONTENT_RANGE, MAX_MESSAGE
from courier.error_codes import Code
from courier.site.outbox import PART
from formats.records import encode

PAGE = 256
"""Messages in one list."""
LONGEST_WAIT_NS = 10 * SECOND_NS
"""The longest time that a response is held back to keep to a cap; beyond that the peer is asked to come again."""
Sleep = Callable[[float], Awaitable[None]]
_RANGE = re.compile(r"bytes=([0-9]{1,10})-([0-9]{1,10})")

_NOT_WAITING = Problem(status=404, code="not-found", message="no such message waits")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A whole request of a trusted site; ``message`` is the message's name in the path, empty where it has none."""

    peer: Peer
    head: Head
    message: str
    body: bytes


ANYONE = Peer(site="", tokens=0, filled_ns=0)
"""Who asks a public operation."""

Act = Callable[["ChannelApi", Asked], Response]


def json_response(content: object, status: int = 200) -> Response:
    """A response in canonical JSON."""
    return Response(encode(content), status, media_type="application/json")


def bytes_response(content: bytes = b"", status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of bytes, or of nothing but its status."""
    return Response(content, status, headers, media_type="application/octet-stream")


def problem_response(problem: Problem, *, close: bool = False) -> Response:
    """The response that tells a problem; ``close``: the request's body is not read, so the connection ends."""
    headers = {"retry-after": "1"} if problem.status == 429 else {}
    headers |= {"connection": "close"} if close else {}
    media_type = "application/json" if problem.code else "application/octet-stream"
    return Response(problem.body(), problem.status, headers, media_type=media_type)


class HeldResponse(Response):
    """A response that is held back for some seconds, to keep to a cap."""

    media_type = "application/octet-stream"

    def __init__(self, content: bytes, status: int, headers: dict[str, str], *, seconds: float, sleep: Sleep) -> None:
        super().__init__(content, status, headers)
        self._seconds, self._sleep = seconds, sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then send."""
        if self._seconds:
            await self._sleep(self._seconds)
        await super().__call__(scope, receive, send)


def operation(name: str, method: str, path: str, **described: Any) -> Callable[[Act], Act]:
    """Make a method of `ChannelApi` an operation; ``described``: the other fields of `Operation`."""

    def marked(act: Act) -> Act:
        OPERATIONS.append(Operation(name=name, method=method, path=path, act=act, **described))
        return act

    return marked


OPERATIONS: list[Operation] = []
"""All operations, in the order they stand in below."""


class ChannelApi:
    """What the server of one site does for its peers. Its methods may run in several threads."""

    def __init__(
        self,
        desk: ServerDesk,
        inbox: Inbox,
        admission: Admission,
        *,
        now: Callable[[], int] = time.time_ns,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._desk, self._inbox, self._admission, self._now, self._sleep = desk, inbox, admission, now, sleep
        self._description = encode(description(OPERATIONS))

    @operation(
        "health",
        "GET",
        "/v1/health",
        summary="Whether the server is up; says nothing else.",
        answers={200: 'Up: {"status":"ok"}.'},
        public=True,
    )
    def health(self, _asked: Asked) -> Response:
        """That the server is up."""
        return json_response({"status": "ok"})

    @operation(
        "openapi",
        "GET",
        "/v1/openapi.json",
        summary="This description.",
        answers={200: "This description."},
        public=True,
    )
    def openapi(self, _asked: Asked) -> Response:
        """The description of this interface."""
        return Response(self._description, media_type="application/json")

    @operation(
        "list",
        "GET",
        "/v1/messages",
        summary="Messages that wait for the asking site, high priority first, 256 at most.",
        answers={200: '{"messages":[{"message":HEX,"size":BYTES}],"more":BOOL}'},
    )
    def list_messages(self, asked: Asked) -> Response:
        """The messages that wait for the asking site."""
        waiting = self._desk.waiting(asked.peer.site, PAGE + 1)
        found = [{"message": name, "size": size} for name, size in waiting[:PAGE]]
        return json_response({"messages": found, "more": len(waiting) > PAGE})

    @operation(
        "read",
        "GET",
        "/v1/messages/{message}",
        summary=f"A part of a message: one byte range, {PART} bytes at most; a shorter part may be given.",
        answers={206: "The part, with Content-Range.", 404: "No such message waits.", 416: "Not one byte range."},
        headers=("Range",),
    )
    def read_message(self, asked: Asked) -> Response:
        """A part of a message, no sooner than the cap of the asking site's address allows."""
        wanted = _RANGE.fullmatch(asked.head.headers.get("range", ""))
        if wanted is None or not int(wanted[1]) <= int(wanted[2]):
            return self._refuse(asked, 416, "range", "one range of bytes is asked for at a time")
        start = int(wanted[1])
        limits, now_ns = self._desk.limits(asked.peer.site), self._now()
        if limits is None:
            return problem_response(_NOT_WAITING)
        meter = asked.peer.meter
        with meter.lock:
            wait_ns = meter.wait_ns(limits, now_ns)
            if wait_ns > LONGEST_WAIT_NS:
                # A client that waits for us would give up; one that is told to come later loses nothing.
                message = f"the next piece may go in {-(-wait_ns // SECOND_NS)} s, by the limits of this address"
                return problem_response(Problem(status=429, code=Code.PAUSED, message=message))
            length = min(int(wanted[2]) - start + 1, limits.block(now_ns, PART))
            found = self._desk.piece(asked.peer.site, limits, asked.message, start, length)
            if found is None:
                return problem_response(_NOT_WAITING)
            data, total = found
            if not data:
                return self._refuse(asked, 416, "range", f"the message has {total} bytes")
            meter.moved(len(data), now_ns + wait_ns)
        headers = {"content-range": f"bytes {start}-{start + len(data) - 1}/{total}"}
        return HeldResponse(data, 206, headers, seconds=wait_ns / SECOND_NS, sleep=self._sleep)

    @operation(
        "done",
        "DELETE",
        "/v1/messages/{message}",
        summary="The asking site has it; until its acknowledgement comes it may be offered again.",
        answers={204: "Noted."},
    )
    def note_fetched(self, asked: Asked) -> Response:
        """Note that the asking site has a message."""
        self._desk.fetched(asked.peer.site, asked.message)
        return bytes_response(status=204)

    @operation(
        "write",
        "PUT",
        "/v1/messages/{message}",
        summary=f"Bring a part of a message ({PART} bytes at most, of {MAX_MESSAGE} at most), with Content-Range.",
        answers={
            201: "The message is whole, has its digest and is on disk.",
            202: 'Kept: {"offset":BYTES} is where the next part begins.',
            409: 'The upload stands elsewhere: {"offset":BYTES}.',
            422: "The whole is not what its name says; it was given up.",
            507: "Too much of this site's waits already.",
        },
        body=True,
        headers=("Content-Range",),
    )
    def write_message(self, asked: Asked) -> Response:
        """Keep a part of a message that the asking site brings."""
        span = CONTENT_RANGE.fullmatch(asked.head.headers.get("content-range", ""))
        start, last, total = (int(text) for text in span.groups()) if span else (0, 0, 0)
        if span is None or not asked.body or last - start + 1 != len(asked.body) or last >= total:
            return self._refuse(asked, 400, "malformed", "Content-Range does not fit the body")
        if total > MAX_MESSAGE:
            return self._refuse(asked, 413, "too-large", f"a message has {MAX_MESSAGE} bytes at most")
        try:
            offset = self._inbox.store(asked.peer.site, asked.message, start=start, total=total, data=asked.body)
        except OutOfStepError as error:
            more = (("offset", error.offset),)
            return problem_response(Problem(status=409, code=error.code, message=error.message, more=more))
        except WrongDigestError as error:
            return self._refuse(asked, 422, error.code, error.message)
        except FullError as error:
            return self._refuse(asked, 507, error.code, error.message)
        if offset < total:
            return json_response({"offset": offset}, 202)
        self._desk.arrived()
        return bytes_response(status=201)

    @operation(
        "offset",
        "GET",
        "/v1/uploads/{message}",
        summary="How much of a message the server has.",
        answers={200: '{"offset":BYTES,"complete":BOOL}'},
    )
    def show_upload(self, asked: Asked) -> Response:
        """How much of a message that the asking site brings is here."""
        offset, complete = self._inbox.offset(asked.peer.site, asked.message)
        complete = complete or self._desk.taken_before(asked.peer.site, asked.message)
        return json_response({"offset": offset, "complete": complete})

    @operation(
        "download",
        "GET",
        "/v1/probe",
        summary=f"Measure: the query bytes=N gives N bytes ({PART} at most).",
        answers={200: "N bytes of no meaning."},
        query="bytes",
    )
    def measure_download(self, asked: Asked) -> Response:
        """As many bytes as are asked for."""
        match = re.fullmatch("bytes=([0-9]{1,7})", asked.head.query)
        if match is None or int(match[1]) > PART:
            return self._refuse(asked, 400, "malformed", f"bytes=N, {PART} at most")
        return bytes_response(bytes(int(match[1])))

    @operation(
        "upload",
        "POST",
        "/v1/probe",
        summary=f"Measure: takes {PART} bytes at most and forgets them.",
        answers={204: "Forgotten."},
        body=True,
    )
    def measure_upload(self, _asked: Asked) -> Response:
        """Nothing: the bytes have come."""
        return bytes_response(status=204)

    def _refuse(self, asked: Asked, status: int, code: str, message: str) -> Response:
        """The response to a request that is wrong, which is logged."""
        problem = Problem(status=status, code=code, message=message)
        self._admission.refuse(asked.peer.site, problem)
        return problem_response(problem)
