"""``/metrics`` of the channel's server: for whoever shows a token, and nothing at all for anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx
from journey import make_home

from courier.channel.fetch import open_inbox
from courier.channel.http_application import make_app, make_service
from courier.channel.metrics_page import KEPT_SECONDS, MetricsPage
from courier.channel.server_desk import ServerDesk
from courier.cli.channel import _metrics_page
from courier.errors import RefusedError
from courier.site.home import Site, open_site

TOKEN = "a-token-of-monitoring-0001"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with closing(open_site(make_home(tmp_path, "HQ1").path)) as opened:
        yield opened


def ask(site: Site, page: MetricsPage | None, method: str = "GET", **headers: str) -> httpx.Response:
    """What the server of a site answers to a request for its metrics."""
    desk = ServerDesk(site, arrived=lambda: None)
    app = make_app(make_service(desk, open_inbox(site), log=lambda _: None, metrics=page))

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hq1") as client:
            return await client.request(method, "/metrics", headers=headers)

    return asyncio.run(asked())


def test_a_reader_with_a_token_gets_the_metrics_and_nobody_else_learns_that_there_are_any(
    site: Site, tmp_path: Path
) -> None:
    tokens = tmp_path / "readers"
    tokens.write_text(f"prometheus {TOKEN}\n")
    tokens.chmod(0o600)
    page = _metrics_page(site, tokens)
    answer = ask(site, page, authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'courier_waiting_for_person{site="HQ1"} 0\n' in answer.text
    nothing = ask(site, None, authorization=f"Bearer {TOKEN}")
    for shown in ("", f"Bearer {TOKEN}0", TOKEN):
        refused = ask(site, page, authorization=shown)
        assert (refused.status_code, refused.content) == (nothing.status_code, nothing.content) == (401, b"")
    assert ask(site, page, "POST", authorization=f"Bearer {TOKEN}").status_code == 401


def test_a_file_of_tokens_that_others_can_read_is_refused(site: Site, tmp_path: Path) -> None:
    tokens = tmp_path / "readers"
    tokens.write_text(f"prometheus {TOKEN}\n")
    tokens.chmod(0o644)
    with pytest.raises(RefusedError):
        _metrics_page(site, tokens)


def test_however_often_somebody_asks_the_site_is_looked_at_rarely() -> None:
    looks, seconds = [], [0.0]

    def look() -> str:
        looks.append(1)
        return f"{len(looks)}"

    page = MetricsPage(admits=lambda _: True, gather=look, content_type="", clock=lambda: seconds[0])
    assert [page.text(), page.text()] == ["1", "1"]
    seconds[0] = KEPT_SECONDS + 1
    assert page.text() == "2"
