"""A dashboard without sockets, whose application is asked as a browser would ask it; and one on a real port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from courier.channel.http_server import Listening
from courier.site.home import Site, open_site
from courier.web.application import Dashboard
from courier.web.dashboard import run_dashboard
from courier.web.entry import Entry
from courier.web.guard import App
from courier.web.watch import Watch

COOKIE = "courier-test"


@dataclass(kw_only=True)
class Asking:
    """A dashboard that runs; ``inside``: requests show the session."""

    site: Site
    watch: Watch
    entry: Entry
    app: App
    inside: bool = True
    log: list[str] = field(default_factory=list)

    def __call__(self, path: str, method: str = "GET", host: str = "127.0.0.1:8440", **headers: str) -> httpx.Response:
        """What is answered. ``headers``: with underlines for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.inside:
            sent.setdefault("cookie", f"{COOKIE}={self.entry.session}")

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8440") as client:
                return await client.request(method, path, headers={"host": host, **sent})

        return asyncio.run(asked())

    def part(self, path: str, shown: str = "") -> httpx.Response:
        """What a page gets that asks for its part anew; ``shown``: the digest of the part that it shows."""
        return self(path, hx_request="true", x_shown=shown)


@contextmanager
def dashboard_of(home: Path, *, watch: Watch | None = None) -> Iterator[Asking]:
    """The dashboard of a home, into which a browser was let."""
    with closing(open_site(home, read_only=True)) as site:
        watch = watch or Watch(site)
        entry = Entry(COOKIE)
        entry.admit(entry.token)
        log: list[str] = []
        dashboard = Dashboard(site, watch, entry, log=log.append)
        watch.start()
        try:
            app = dashboard.application(["dash.example"])
            yield Asking(site=site, watch=watch, entry=entry, app=app, log=log)
        finally:
            watch.end()


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The dashboard of a home on a port of this computer, in a thread; gives the address that lets a browser in."""
    ready, stop = threading.Event(), threading.Event()
    urls: list[str] = []

    def note(url: str) -> None:
        urls.append(url)
        ready.set()

    def act() -> None:
        with closing(open_site(home, read_only=True)) as site:
            run_dashboard(site, Listening(host="127.0.0.1", port=0), log=lambda _: None, ready=note, stop=stop)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        assert ready.wait(60)
        yield urls[0]
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
