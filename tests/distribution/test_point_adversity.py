"""What must not come back or hold a point up: withdrawn and retired versions, two commands, huge files."""

from __future__ import annotations

import http.client
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from copied_sites import copied_sites
from journey import Home, Sites, add, make_sites, sent, write_files
from point_client import from_folders, served, take_all

from courier.distribution import open_point
from courier.files import locked
from formats.envelope import MAX_ENVELOPE


@pytest.fixture(scope="module")
def template(quick: Path) -> Sites:
    sites = make_sites(quick / "template")
    add(sites.hq, write_files(quick / "one", boot_bin=b"1" * 5000))
    add(sites.hq, write_files(quick / "two", boot_bin=b"2" * 5000), id="HQ100001")
    return sites


@pytest.fixture
def sites(template: Sites, quick: Path) -> Iterator[Sites]:
    root = quick / f"adversity{os.getpid()}"
    root.mkdir()
    found = copied_sites(template, root)
    for home in found.homes:
        home("point", "add", "P1", root / f"{home.code}-p1", "--reserve", "1MB")
    yield found
    shutil.rmtree(root)


def folder(home: Home) -> Path:
    return home.path.parent / f"{home.code}-p1"


def versions(home: Home, sites: Sites) -> set[str]:
    return set(take_all(from_folders(folder(home)), sites.root / f"{home.code}.card")[1])


def status(url: str, path: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", path)
    found = connection.getresponse().status
    connection.close()
    return found


def test_a_withdrawn_version_comes_back_only_when_it_is_named(sites: Sites) -> None:
    hq = sites.hq
    hq("point", "distribute", "HQ100001:1", "--point", "P1")
    hq("point", "distribute", "HQ100001:2", "--point", "P1")
    hq("point", "withdraw", "HQ100001:2", "--point", "P1", "--reason", "a fault in setup")
    for verb in ("distribute", "update"):
        error = hq.fails("point", verb, "HQ100001", "--point", "P1", code=3)
        assert (error["code"], "a fault in setup" in error["message"]) == ("withdrawn", True)
    assert versions(hq, sites) == {"HQ100001:1"}
    hq("point", "distribute", "HQ100001:2", "--point", "P1")
    assert versions(hq, sites) == {"HQ100001:1", "HQ100001:2"}


def test_no_rule_brings_a_withdrawn_version_back(sites: Sites, tmp_path: Path) -> None:
    br = sites.br
    br("point", "rule", "add", "--package", "HQ1", "--point", "P1")
    _, volumes = sent(sites.hq, "HQ100001:1", out=tmp_path / "first", capacity="10MB")
    sites.sync()
    br("parcel", "receive", *volumes)
    assert versions(br, sites) == {"HQ100001:1"}
    br("point", "withdraw", "HQ100001", "--point", "P1", "--reason", "a fault")
    br("package", "remove", "HQ100001:1")
    _, volumes = sent(sites.hq, "HQ100001:1", out=tmp_path / "second", capacity="10MB", anyway="again")
    sites.sync()
    (done,) = br("parcel", "receive", *volumes)["distributed"]
    assert (done["done"], done["waits"], done["error"]["code"]) == (False, False, "withdrawn")
    assert versions(br, sites) == set()


def test_a_drive_brings_no_retired_version(sites: Sites) -> None:
    hq, br = sites.hq, sites.br
    for version in ("1", "2"):
        hq("point", "distribute", f"HQ100001:{version}", "--point", "P1")
    sites.sync()
    hq("package", "retire", "HQ100001:2", "--reason", "driver fault")
    sites.sync()
    done = br("point", "prestage", "P1", "--from", folder(hq))
    assert [one["version"] for one in done["taken"]] == [1]
    assert [(one["version"], "retired: driver fault" in one["reason"]) for one in done["left"]] == [(2, True)]


def test_a_point_at_work_is_not_removed(sites: Sites) -> None:
    with locked(sites.hq.path / "locks" / "point-P1"):
        assert sites.hq.fails("point", "remove", "P1", code=9)["code"] == "busy"
    assert [one["point"] for one in sites.hq("point", "list")["points"]] == ["P1"]
    assert (folder(sites.hq) / ".courier" / "point").is_file()


def test_a_statement_that_no_client_would_read_is_not_signed(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    hq = sites.hq
    hq("point", "distribute", "HQ100001:1", "--point", "P1")
    before = (folder(hq) / "point.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(open_point, "MAX_ENVELOPE", len(before) + 10)
        assert "cannot hold" in hq.fails("point", "distribute", "HQ100001:2", "--point", "P1", code=3)["message"]
    assert (folder(hq) / "point.json").read_bytes() == before
    assert versions(hq, sites) == {"HQ100001:1"}
    hq("point", "distribute", "HQ100001:2", "--point", "P1")
    assert versions(hq, sites) == {"HQ100001:1", "HQ100001:2"}


def test_a_huge_file_in_the_place_of_a_document_is_not_served(sites: Sites) -> None:
    hq = sites.hq
    hq("point", "distribute", "HQ100001:1", "--point", "P1")
    definition = folder(hq) / "definitions" / "HQ100001-1.json"
    os.truncate(definition, MAX_ENVELOPE + 1)  # a hole: reading it would still take its time
    with served(hq.path, "P1") as url:
        assert status(url, "/definitions/HQ100001-1.json") == 404
        assert status(url, "/point.json") == 200
    assert hq.fails("point", "validate", "--point", "P1", code=4)
    hq("point", "redistribute", "HQ100001", "--point", "P1")
    hq("point", "validate", "--point", "P1")
