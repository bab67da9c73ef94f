"""The dashboard as an ASGI application: which page is at which address, and how a page is put together.

A page has a part that is renewed when something changed. A request of the page itself for that part (htmx) gets the
part alone, and nothing at all (204) when it shows that already.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from courier.errors import BusyError, CourierError, NotFoundError, UsageError
from courier.site.clock import now
from courier.site.home import Site
from courier.web.channel_page import channel
from courier.web.entry import Admission, Entry
from courier.web.events import EventStreams, news
from courier.web.guard import ENTER, STATIC, App, Guard, own_names, session_of
from courier.web.overview_page import overview
from courier.web.packages_page import packages
from courier.web.pages import Asked, Page
from courier.web.parcel_page import parcel
from courier.web.parcels_page import parcels
from courier.web.render import STATIC_FILES, live_part, render, static_file
from courier.web.sites_page import sites
from courier.web.watch import Watch, told
from formats.errors import FormatError

THREADS = 8
"""Pages that are made at one time."""
FIRST_SECONDS = 10.0
"""How long the first page waits for what takes long to gather, before it is shown without."""
PAGES: tuple[tuple[str, Callable[[Asked], Page]], ...] = (
    ("/", overview),
    ("/parcels", parcels),
    ("/parcels/{name}", parcel),
    ("/sites", sites),
    ("/packages", packages),
    ("/channel", channel),
)
"""(path, what gathers the page)."""
KEPT_LONG = {"cache-control": "max-age=31536000, immutable"}
NOT_KEPT = {"cache-control": "no-store"}


class Dashboard:
    """The pages of one site."""

    def __init__(self, site: Site, watch: Watch, entry: Entry, *, log: Callable[[str], None] = lambda _: None) -> None:
        """``log`` is told what a page could not be made for."""
        self._site, self._watch, self._entry, self._log = site, watch, entry, log

    def application(self, names: Collection[str] = ()) -> App:
        """The application, guarded. ``names``: further names of this computer (`courier.web.guard.is_named_right`)."""
        routes = [Route(path, self._page(gather), methods=["GET"]) for path, gather in PAGES]
        events = Route("/events", EventStreams(self._watch), methods=["GET"])
        if events.methods is not None:
            events.methods.discard("HEAD")  # Starlette adds it to GET
        routes += [
            events,
            Route(ENTER, self._enter, methods=["GET"]),
            Route("/changes", self._changes, methods=["GET"]),
            Route(STATIC + "{name}", self._static, methods=["GET"]),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={CourierError: self._failed, HTTPException: self._failed, Exception: self._failed},
            lifespan=_lifespan,
        )
        app.router.redirect_slashes = False
        return Guard(app, self._entry, self._refusal, names=own_names() | set(names))

    def _page(self, gather: Callable[[Asked], Page]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return await run_in_threadpool(self._made, gather, request)

        return answer

    def _made(self, gather: Callable[[Asked], Page], request: Request) -> Response:
        seen = self._watch.first(FIRST_SECONDS)
        asked = Asked(
            site=self._site,
            seen=seen,
            path=request.url.path,
            query=dict(request.query_params),
            name=request.path_params.get("name", ""),
        )
        try:
            page = gather(asked)
        except (FormatError, OSError) as error:
            raise told(error) from error
        address = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        live, digest = live_part(page.part, {**page.values, "problem": seen.problem}, address=address)
        if request.headers.get("hx-request") != "true":
            return self._html("page", {"title": page.title, "tab": page.tab, "live": live, "mark": seen.mark})
        if request.headers.get("x-shown") == digest:
            return Response(status_code=204, headers=NOT_KEPT)
        return HTMLResponse(live, headers=NOT_KEPT)

    def _html(self, template: str, values: dict[str, Any], status: int = 200) -> Response:
        site = {"site": self._site.code, "name": self._site.settings.name, "read_ns": now()}
        text = render(f"{template}.html.j2", {**site, **values})
        return HTMLResponse(text, status_code=status, headers=NOT_KEPT)

    def _refusal(self, status: int) -> App:
        response = self._html("refused", {"status": status, "title": "Not shown", "why": str(status)}, status)
        if status == 405:
            response.headers["allow"] = "GET, HEAD"
        return response

    async def _failed(self, request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = NotFoundError(f"there is no page {request.url.path[:100]}", hint="the pages are named above")
        problem = told(error)
        status = {NotFoundError: 404, UsageError: 400, BusyError: 503}.get(type(problem), 500)
        if status >= 500:
            self._log(f"{request.url.path[:100]}: {problem.message}")
        title = "Not found" if status == 404 else "This page could not be made"
        return self._html("failed", {"title": title, "tab": "", "problem": problem}, status)

    async def _enter(self, request: Request) -> Response:
        """Exchange the token for a session. A browser that only looks ahead, or asks for the head, uses nothing up."""
        purpose = request.headers.get("sec-purpose", "") + request.headers.get("purpose", "")
        if "prefetch" in purpose or request.method != "GET":
            return Response(status_code=503, headers=NOT_KEPT)
        admission = self._entry.admit(request.query_params.get("token", ""))
        was_in = self._entry.is_open(session_of(request.scope, self._entry.cookie))
        if admission is not Admission.ADMITTED and not was_in:
            why = "used" if admission is Admission.USED else "wrong"
            return self._html("refused", {"status": 403, "title": "Not shown", "why": why}, 403)
        # A page that leads on, and no redirection: after one that began elsewhere the cookie would not be shown.
        response = self._html("entered", {"title": "Welcome"})
        if admission is Admission.ADMITTED:
            response.set_cookie(self._entry.cookie, self._entry.session, path="/", httponly=True, samesite="strict")
        return response

    async def _changes(self, _request: Request) -> Response:
        return Response(news(self._watch), media_type="application/json", headers=NOT_KEPT)

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC_FILES:
            raise NotFoundError(f"there is no file {name[:40]}", hint="the pages are named above")
        return Response(static_file(name), media_type=STATIC_FILES[name], headers=KEPT_LONG)


@contextlib.asynccontextmanager
async def _lifespan(_app: object) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield
