"""The channel's server as an ASGI application: signature first, then Starlette's router, then body and operation.

The signature of a request is checked before anything else (`courier.channel.http_admission`), the length of its body
before a byte of that is read, and its digest before anything is done with it. A body has `BODY_SECONDS` to come.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from anyio import to_thread
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from courier.channel.http_admission import NOT_KNOWN, Admission, Problem, SignedRequest
from courier.channel.http_api import ANYONE, OPERATIONS, Asked, ChannelApi, Sleep, problem_response
from courier.channel.inbox import Inbox
from courier.channel.metrics_page import PATH, MetricsPage
from courier.channel.openapi import Operation
from courier.channel.refusal_log import RefusalLog
from courier.channel.request_signatures import Head
from courier.channel.server_desk import ServerDesk
from courier.errors import CourierError
from courier.site.outbox import PART

BODY_SECONDS = 60
"""How long the body of a request may take to come."""
THREADS = 8
"""Operations at one time: the catalogue has one writer at a time, and more threads would only wait for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """All that the application of one site needs."""

    site: str
    admission: Admission
    api: ChannelApi
    refusals: RefusalLog
    metrics: MetricsPage | None = None

    def failed(self, who: str, error: Exception) -> Problem:
        """Our own disk or catalogue failed: whoever asked is told to come again, and our operator why."""
        self.refusals.of_site(self.site, f"a request of {who} could not be served: {error}")
        return Problem(status=503, code="failed", message="this site cannot take it now")


def make_service(
    desk: ServerDesk,
    inbox: Inbox,
    *,
    log: Callable[[str], None],
    rate: int = 50,
    now: Callable[[], int] = time.time_ns,
    sleep: Sleep = asyncio.sleep,
    metrics: MetricsPage | None = None,
) -> Service:
    """The service of one site. ``rate``: requests a second that one peer may make; ``now``: nanoseconds since 1970.

    ``metrics``: the page for monitoring; without it there is none.
    """
    refusals = RefusalLog(log, now=now)
    admission = Admission(desk, refusals, rate=rate, now=now)
    api = ChannelApi(desk, inbox, admission, now=now, sleep=sleep)
    return Service(site=desk.code, admission=admission, api=api, refusals=refusals, metrics=metrics)


class _DigestConvertor(Convertor[str]):
    """A message's name in a path: 64 lower-case hexadecimal digits."""

    regex = "[0-9a-f]{64}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("digest", _DigestConvertor())


def make_app(service: Service) -> Starlette:
    """The application of a service."""

    async def nothing_here(request: Request, _error: Exception) -> Response:
        problem = Problem(status=404, code="not-found", message="there is nothing here")
        service.admission.refuse(request.user.peer.site, problem)
        return problem_response(problem, close=True)

    async def failed(request: Request, error: Exception) -> Response:
        return problem_response(service.failed(request.user.peer.site, error), close=True)

    public = {(operation.method, operation.path) for operation in OPERATIONS if operation.public}
    routes = list(_routes(service))
    if service.metrics is not None:
        public.add(("GET", PATH))
        routes.append(_metrics_route(service, service.metrics))
    signed = Middleware(AuthenticationMiddleware, backend=_Signed(service, public), on_error=_not_admitted)
    app = Starlette(
        routes=routes,
        middleware=[signed],
        exception_handlers={404: nothing_here, 405: nothing_here, CourierError: failed, OSError: failed},
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    return app


def _routes(service: Service) -> Iterable[Route]:
    for operation in OPERATIONS:
        path = operation.path.replace("{message}", "{message:digest}")
        endpoint = _public_endpoint if operation.public else _signed_endpoint
        route = Route(path, endpoint(service, operation), methods=[operation.method], name=operation.name)
        if route.methods is not None:
            route.methods.discard("HEAD")  # Starlette adds it to GET
        yield route


def _metrics_route(service: Service, page: MetricsPage) -> Route:
    """The page of metrics, for whoever shows a token; anyone else gets what strangers get."""

    async def answer(request: Request) -> Response:
        if not page.admits(request.headers.get("authorization", "")):
            address = request.client.host if request.client else ""
            service.refusals.of_stranger(address, "a request for metrics without a token of the file")
            return problem_response(NOT_KNOWN, close=True)
        try:
            text = await run_in_threadpool(page.text)
        except (CourierError, OSError) as error:
            return problem_response(service.failed("monitoring", error), close=True)
        return Response(text, media_type=page.content_type)

    route = Route(PATH, answer, methods=["GET"], name="metrics")
    if route.methods is not None:
        route.methods.discard("HEAD")
    return route


@contextlib.asynccontextmanager
async def _lifespan(_app: object) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


class _NotAdmittedError(AuthenticationError):
    """A request that goes no further; ``problem`` is what is answered."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _not_admitted(_connection: HTTPConnection, error: AuthenticationError) -> Response:
    problem = error.problem if isinstance(error, _NotAdmittedError) else NOT_KNOWN
    return problem_response(problem, close=True)


class _Signed(AuthenticationBackend):
    """Lets public operations and signed requests of trusted sites on to the router."""

    def __init__(self, service: Service, public: set[tuple[str, str]]) -> None:
        self._service, self._public = service, public

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SignedRequest] | None:  # type: ignore[override]
        head = _head(conn)
        # What is routed is what was signed: the path as it came, not as it is decoded.
        conn.scope["path"] = head.path
        if (head.method, head.path) in self._public:
            return None
        address = conn.client.host if conn.client else ""
        try:
            admitted = self._service.admission.admit(head, address)
        except (CourierError, OSError) as error:
            raise _NotAdmittedError(self._service.failed(address, error)) from None
        if isinstance(admitted, Problem):
            raise _NotAdmittedError(admitted)
        return AuthCredentials(), admitted


def _head(conn: HTTPConnection) -> Head:
    scope = conn.scope
    path = scope.get("raw_path") or scope["path"].encode()
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        text = name.decode("latin-1")
        # A field that stands twice is joined, as RFC 9421 section 2.1 has it, and so fits no signature of ours.
        headers[text] = f"{headers[text]}, {value.decode('latin-1')}" if text in headers else value.decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return Head(method=scope["method"], path=path.decode("latin-1"), query=query, headers=headers)


Endpoint = Callable[[Request], Awaitable[Response]]


def _public_endpoint(service: Service, operation: Operation) -> Endpoint:
    async def answer(request: Request) -> Response:
        response: Response = operation.act(service.api, Asked(peer=ANYONE, head=_head(request), message="", body=b""))
        return response

    return answer


def _signed_endpoint(service: Service, operation: Operation) -> Endpoint:
    """The endpoint of an operation for trusted sites: the body is read and checked, then the operation is done."""

    async def answer(request: Request) -> Response:
        signed: SignedRequest = request.user
        site = signed.peer.site
        length = _body_length(signed.head, PART if operation.body else 0)
        if isinstance(length, Problem):
            service.admission.refuse(site, length)
            return problem_response(length, close=True)
        try:
            body = await asyncio.wait_for(_read_body(request, length), BODY_SECONDS)
        except (TimeoutError, ClientDisconnect, _TooLongError):
            service.refusals.of_site(site, f"refused a request of {site}: its body did not come")
            return problem_response(Problem(status=408), close=True)
        if len(body) != length or hashlib.sha256(body).digest() != signed.digest:
            problem = Problem(status=400, code="wrong-digest", message="the body is not what was signed")
            service.admission.refuse(site, problem)
            return problem_response(problem)
        message = request.path_params.get("message", "")
        asked = Asked(peer=signed.peer, head=signed.head, message=message, body=body)
        response: Response = await run_in_threadpool(operation.act, service.api, asked)
        return response

    return answer


def _body_length(head: Head, longest: int) -> int | Problem:
    """The length in bytes that a request's body is to have, at most ``longest``."""
    text = head.headers.get("content-length", "0")
    if "transfer-encoding" in head.headers or not re.fullmatch("[0-9]{1,10}", text):
        return Problem(status=411, code="no-length", message="a body must say its length")
    length = int(text)
    if length > longest:
        return Problem(status=413, code="too-large", message=f"a part has {PART} bytes at most")
    return length


class _TooLongError(Exception):
    """A body is longer than it said."""


async def _read_body(request: Request, length: int) -> bytes:
    gathered = bytearray()
    async for chunk in request.stream():
        gathered += chunk
        if len(gathered) > length:
            raise _TooLongError
    return bytes(gathered)
