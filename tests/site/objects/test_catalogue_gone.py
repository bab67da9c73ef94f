"""The catalogue's server goes away in the middle of a command, at a site whose content is in a bucket."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from journey import Home, exported, introduce, noise, run, write, write_files
from postgresql import Server, new_database, running_server
from s3_server import new_bucket

from courier.site.objects.bucket import Bucket

SMALL, LARGE = b"small" * 100, random.Random(1).randbytes(3 << 20)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


def make_home(root: Path, code: str, server: Server) -> Home:
    """A home with its catalogue in that server and its content in a bucket."""
    home = Home(code=code, path=root / code)
    places = ("--catalogue", new_database(server.url), "--store", new_bucket().address)
    run("init", "--site", code, "--name", code, "--home", home.path, *places)
    run("site", "card", "--out", root / f"{code}.card", "--home", home.path)
    return home


@pytest.fixture
def sites(server: Server, tmp_path: Path) -> tuple[Home, Home]:
    hq, br = (make_home(tmp_path, code, server) for code in ("HQ1", "BR1"))
    introduce(tmp_path, hq, br)
    return hq, br


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "files", a=SMALL, b=LARGE, c=noise(200_000))


class Lost:
    """For a block, the server goes away at a request to the bucket; then it is there again."""

    def __init__(self, server: Server, patch: pytest.MonkeyPatch, *, verb: str, mode: str, at: int = 1) -> None:
        self._server, self._patch, self._verb, self._mode, self._at = server, patch, verb, mode, at
        self.calls = 0

    def __enter__(self) -> Lost:
        asked: Callable[..., Any] = getattr(Bucket, self._verb)

        def ask(*arguments: Any, **more: Any) -> Any:
            self.calls += 1
            if self.calls == self._at:
                self._server.stop(self._mode)
            return asked(*arguments, **more)

        self._patch.setattr(Bucket, self._verb, ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        if self.calls >= self._at:
            self._server.start()
        assert self.calls >= self._at


def is_said(error: dict[str, Any]) -> bool:
    """Whether an error says that it is the catalogue, and what to do."""
    return error["code"] == "catalogue" and "catalogue postgresql" in error["message"] and "again" in error["hint"]


def is_whole(home: Home) -> bool:
    """Whether nothing is wrong with a site, once what was left in the bucket is taken in or deleted."""
    home("doctor", "--mend", code=None)
    findings = home("doctor", code=None)["findings"]
    return not [one for one in findings if one["area"] in ("store", "catalogue")]


@pytest.mark.parametrize(("at", "mode"), [(1, "immediate"), (3, "fast")], ids=["first-object", "last-object"])
def test_an_addition_is_made_as_a_whole_or_not(
    server: Server, sites: tuple[Home, Home], files: Path, monkeypatch: pytest.MonkeyPatch, at: int, mode: str
) -> None:
    hq, _ = sites
    command = ("package", "add", files, "--name", "Image")
    with monkeypatch.context() as patched, Lost(server, patched, verb="put_file", mode=mode, at=at):
        assert is_said(hq.fails(*command, code=7))
    assert hq("package", "list")["packages"] == []
    assert hq(*command)["version"] == 1
    assert is_whole(hq)
    assert hq("package", "verify")["packages"][0]["problems"] == []


def test_a_build_and_an_import_go_on(
    server: Server, sites: tuple[Home, Home], files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hq, br = sites
    hq("package", "add", files, "--name", "Image")
    request = ("parcel", "create", "HQ100001", "--to", "BR1", "--capacity", "30MB")
    with monkeypatch.context() as patched, Lost(server, patched, verb="read", mode="immediate", at=2):
        assert is_said(hq.fails(*request, code=7))
    parcel = hq(*request)["parcel_id"]
    assert [(one["parcel_id"], one["state"]) for one in hq("parcel", "list")["sent"]] == [(parcel, "Built")]
    media = write(hq, parcel, "folder", tmp_path / "out")
    hq("parcel", "ship", parcel)
    hq("channel", "sync")
    br("channel", "sync")
    with monkeypatch.context() as patched, Lost(server, patched, verb="put_file", mode="fast"):
        assert is_said(br.fails("parcel", "receive", *media, code=7))
    assert br("package", "list")["packages"] == []
    assert [one["package_id"] for one in br("parcel", "receive", *media)["imported"]] == ["HQ100001"]
    assert exported(br, "HQ100001", tmp_path / "br") == exported(hq, "HQ100001", tmp_path / "hq")
    assert is_whole(hq)
    assert is_whole(br)
