"""``courier point validate --served``: every file is got from the point's URL, and what its server does is found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from journey import Home, add, make_home, noise, write_files
from point_client import served

from courier.distribution import served as served_module
from formats.blocks import BLOCK
from formats.documents.point import blocks_path, content_path

BIG = noise(BLOCK + 5)
BIG_SHA = hashlib.sha256(BIG).hexdigest()
SMALL_PATH = content_path(hashlib.sha256(b"small").hexdigest())


@pytest.fixture
def hq(tmp_path: Path) -> Home:
    home = make_home(tmp_path, "HQ1")
    add(home, write_files(tmp_path / "files", image_wim=BIG, small=b"small"))
    home("point", "add", "P1", tmp_path / "p1", "--reserve", "1MB")
    home("point", "distribute", "HQ100001", "--point", "P1")
    return home


@contextmanager
def another_server(folder: Path, answers: dict[str, Any]) -> Iterator[str]:
    """A web server of the folder; for some paths it does what ``answers`` say."""

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            act = answers.get(self.path.removeprefix("/"))
            if act is None:
                super().do_GET()
            else:
                act(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def body(data: bytes, *headers: tuple[str, str], length: int | None = None, status: int = 200) -> Any:
    def act(handler: SimpleHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = length is not None

    return act


def test_every_file_is_asked_for_and_found_good(hq: Home) -> None:
    with served(hq.path, "P1") as url:
        hq("point", "set", "P1", "--url", url)
        (found,) = hq("point", "validate", "--point", "P1", "--served")["points"]
        assert (found["damaged"], found["checked"]) == (
            [],
            6,
        )  # statement, definition, listing, two contents, one table
        assert found["bytes"] == len(BIG) + 5
        assert hq("point", "show", "P1")["validated"] is None  # the folder was not read back


@pytest.mark.parametrize(
    ("path", "act", "problem"),
    [
        (SMALL_PATH, lambda handler: handler.send_error(404), "404"),
        (SMALL_PATH, body(b"smaLl"), "other bytes"),
        (SMALL_PATH, body(b"smalls"), "6 bytes where 5"),
        (SMALL_PATH, body(b"smal", length=5), "cannot be fetched"),
        (SMALL_PATH, body(b"small", ("Content-Encoding", "gzip")), "encoding gzip"),
        (SMALL_PATH, body(b"", ("Location", "/elsewhere"), status=302), "302"),
        (blocks_path(BIG_SHA), body(b"x" * 64), "other bytes"),
        ("definitions/HQ100001-1.json", body(b"{}"), ""),
        ("definitions/HQ100001-1.json", lambda handler: handler.send_error(403), "403"),
        ("point.json", body(b"{}"), "not the newest"),
        ("point.json", lambda handler: handler.send_error(404), "missing"),
    ],
)
def test_what_a_web_server_does_with_a_file_is_found(hq: Home, path: str, act: Any, problem: str) -> None:
    with another_server(hq.path.parent / "p1", {path: act}) as url:
        hq("point", "set", "P1", "--url", url)
        ran = hq.ran("point", "validate", "HQ100001", "--point", "P1", "--served", code=4)
        (found,) = ran.document["points"][0]["damaged"]
        assert found["path"] == path
        assert problem in found["problem"]
        assert "web server" in ran.error["hint"]
    hq("point", "validate", "--point", "P1")


def test_a_busy_server_is_asked_again(hq: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_module, "LONGEST_WAIT", 0.01)
    answers = [body(b"", ("Retry-After", "5"), status=503), body(b"", status=429), body(b"small")]

    def act(handler: SimpleHTTPRequestHandler) -> None:
        answers.pop(0)(handler)

    with another_server(hq.path.parent / "p1", {SMALL_PATH: act}) as url:
        hq("point", "set", "P1", "--url", url)
        hq("point", "validate", "HQ100001", "--point", "P1", "--served")
    assert answers == []


def test_a_point_that_nobody_serves_is_told(hq: Home) -> None:
    assert "--url" in hq.fails("point", "validate", "--point", "P1", "--served", code=2)["hint"]
    hq("point", "set", "P1", "--url", "http://127.0.0.1:1/")
    assert hq.fails("point", "validate", "--point", "P1", "--served", code=7)["code"] == "unreachable"
