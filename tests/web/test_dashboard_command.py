"""``courier dashboard`` on real sockets: it reads only, beside other commands, and it ends when it is told to."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from dashboard_client import serving
from journey import Home, add, environment, make_home, run, started_with

from courier.channel.http_server import Listening
from courier.errors import BusyError, CourierError, RefusedError
from courier.files import locked
from courier.site.home import open_site
from courier.web import dashboard as dashboard_module
from courier.web.dashboard import is_loopback, run_dashboard


@dataclass
class Visitor:
    """A browser at a dashboard's port."""

    port: int
    path: str
    cookie: str = ""

    def get(self, path: str) -> tuple[int, str]:
        """(status, body) of a page."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", path, headers={"Cookie": self.cookie} if self.cookie else {})
            answer = connection.getresponse()
            self.cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0] or self.cookie
            return answer.status, answer.read().decode()

    def enter(self) -> None:
        """Exchange the token for a session."""
        assert self.get(self.path)[0] == 200
        assert self.cookie


def visitor_of(url: str) -> Visitor:
    parts = urlsplit(url)
    assert parts.port
    return Visitor(port=parts.port, path=f"{parts.path}?{parts.query}")


@contextlib.contextmanager
def running(home: Path) -> Iterator[Visitor]:
    """The dashboard of a home, and a browser that was let in."""
    with serving(home) as url:
        visitor = visitor_of(url)
        visitor.enter()
        yield visitor


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path, "HQ1")
    (tmp_path / "a.txt").write_bytes(b"content")
    add(made, tmp_path / "a.txt", name="First package")
    return made


def test_the_command_prints_an_address_and_ends_by_ctrl_c_while_pages_are_open(home: Home) -> None:
    words = [*started_with(signal.SIGINT), "dashboard", "--bind", "127.0.0.1:0", "--json-lines", "--home", home.path]
    process = subprocess.Popen(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        serving = json.loads(process.stdout.readline())
        assert serving["event"] == "serving"
        visitor = visitor_of(serving["url"])
        visitor.enter()
        assert visitor.get(visitor.path)[0] == 200  # the same browser gets in by it
        assert Visitor(port=visitor.port, path="").get(visitor.path)[0] == 403
        status, page = visitor.get("/")
        assert status == 200
        assert "1 version" in page
        # A stream is open, as every page has one; and a connection that says nothing.
        stream = http.client.HTTPConnection("127.0.0.1", visitor.port, timeout=20)
        stream.request("GET", "/events", headers={"Cookie": visitor.cookie})
        answer = stream.getresponse()
        assert answer.readline() == b"event: change\n"
        with socket.create_connection(("127.0.0.1", visitor.port)):
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        answer.read()  # to its end: it was not cut off
        stream.close()
        assert process.returncode == 0, err
        assert json.loads(out.splitlines()[-1]) == {"site": "HQ1", "ended": True}
        assert err == ""
    finally:
        process.kill()
        process.wait()


def test_it_changes_nothing_and_works_while_others_write_and_hold_locks(home: Home) -> None:
    before = home.state()
    writer = sqlite3.connect(home.path / "catalogue.sqlite", isolation_level=None)
    with contextlib.closing(writer), locked(home.path / "keys" / "lock"), running(home.path) as visitor:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM package")
        for path in ("/", "/parcels", "/sites", "/packages", "/channel"):
            assert visitor.get(path)[0] == 200
        assert "First package" in visitor.get("/packages")[1]
        writer.execute("ROLLBACK")
    assert home.state() == before


def test_dashboards_side_by_side_each_have_their_own_session(home: Home, tmp_path: Path) -> None:
    other = make_home(tmp_path / "other", "HQ1")
    with running(home.path) as one, running(other.path) as another:
        assert one.cookie.partition("=")[0] != another.cookie.partition("=")[0]
        # A browser shows each of them the cookies of both.
        one.cookie = another.cookie = f"{one.cookie}; {another.cookie}"
        assert one.get("/")[0] == another.get("/")[0] == 200


def test_a_site_whose_keys_have_a_passphrase_is_shown_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURIER_KEY_PASSPHRASE", "a passphrase of ours")
    run("init", "--site", "HQ1", "--name", "HQ", "--passphrase", "--home", tmp_path / "HQ1")
    monkeypatch.delenv("COURIER_KEY_PASSPHRASE")
    with running(tmp_path / "HQ1") as visitor:
        assert "Nothing waits for you" in visitor.get("/")[1]


def test_through_a_catalogue_that_was_opened_to_read_nothing_can_be_written(home: Home) -> None:
    with closing(open_site(home.path, read_only=True)) as site:
        with pytest.raises(RefusedError), site.catalogue.writing():
            pass
        with pytest.raises(RefusedError), site.catalogue.reading() as connection:
            connection.exec_driver_sql("DELETE FROM package")
    assert len(home("package", "list")["packages"]) == 1


def test_a_catalogue_of_an_older_release_is_not_brought_up_to_date_by_it(home: Home) -> None:
    with contextlib.closing(sqlite3.connect(home.path / "catalogue.sqlite")) as rows, rows:
        rows.execute("UPDATE alembic_version SET version_num = '0001'")
    error = home.fails("dashboard", "--bind", "127.0.0.1:0", code=3)
    assert error["code"] == "older-catalogue"
    assert "courier status" in error["hint"]


def test_a_port_that_is_taken_is_named(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with closing(open_site(home.path, read_only=True)) as site, pytest.raises(BusyError) as caught:
            run_dashboard(site, Listening(host="127.0.0.1", port=port), log=lambda _: None, ready=lambda _: None)
    assert "--bind" in caught.value.hint


@pytest.mark.parametrize("bind", ["", "8440", "127.0.0.1:", "127.0.0.1:99999"])
def test_a_bind_that_is_none_is_refused(home: Home, bind: str) -> None:
    assert home.fails("dashboard", "--bind", bind, code=2)["code"] == "usage"


def test_a_name_with_more_than_a_name_is_refused(home: Home) -> None:
    for name in ("dash.lan:8440", "http://dash.lan", ""):
        assert home.fails("dashboard", "--host", name, code=2)["code"] == "usage"


def test_without_the_extra_the_command_names_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    error = home.fails("dashboard", code=6)
    assert error["code"] == "extra-missing"
    assert error["hint"] == "pip install 'courier-parcels[dashboard]'"


def test_whoever_lets_others_reach_it_is_warned_that_it_is_plain_http(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(dashboard_module, "run_dashboard", lambda *given, **more: asked.append((given, more)))
    said = home.says("dashboard", "--bind", "0.0.0.0:8440", "--host", "dash.example")
    assert "plain HTTP" in said
    assert "ssh -L 8440:127.0.0.1:8440" in said
    assert asked[0][1]["names"] == ["dash.example"]
    assert "plain HTTP" not in home.says("dashboard")
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8")] == [True] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"))


def test_what_a_page_could_not_be_made_for_is_said_and_logged(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from courier.web import application

    def broken(_asked: object) -> None:
        raise CourierError("the disk is away", hint="mount it")

    monkeypatch.setattr(application, "PAGES", (("/", broken),))
    with running(home.path) as visitor:
        status, page = visitor.get("/")
        assert status == 500
        assert "the disk is away" in page
        assert "mount it" in page
