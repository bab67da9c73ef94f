"""Which failures of addresses end a sync with exit code 7, and which are only a note."""

from __future__ import annotations

from pathlib import Path

import pytest
from journey import Sites, make_sites, run

pytest.importorskip("httpx")

from channel_network import Pair, definition, put, state

from courier.channel.addresses import Wishes, add_address

pytestmark = pytest.mark.usefixtures("no_reports")


def test_a_second_address_that_is_wrong_is_a_note_and_no_failure(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    wrong = tmp_path / "mistyped"
    sites.hq("channel", "address", "add", "BR1", wrong)
    sites.hq("package", "add", _file(tmp_path), "--name", "X")
    for _ in range(2):  # the first has something to deliver
        said = sites.hq.says("channel", "sync")
        assert f"Note: one address of BR1 failed and another one worked: channel folder {wrong}" in said
        assert f"courier channel address remove BR1 {wrong}" in said
    (failed,) = sites.hq("channel", "sync")["passed_over"]
    assert (failed["site"], failed["address"]) == ("BR1", str(wrong))


def test_a_first_address_that_is_wrong_is_a_note_where_the_second_delivers(http: Pair, tmp_path: Path) -> None:
    add_address(http.hq, "BR1", str(tmp_path / "mistyped"), Wishes(priority=1))
    add_address(http.hq, "BR1", http.way(http.hq, http.br), Wishes(priority=2))
    (name,) = put(http.hq, http.br, definition(http.hq))
    (done,) = http.sync(http.hq)
    assert state(http.hq, name) == "delivered"
    assert done.unreachable == ()
    assert [(code, where) for code, where, _ in done.passed_over] == [("BR1", str(tmp_path / "mistyped"))]


def test_a_site_that_no_address_reaches_is_a_failure(http: Pair, tmp_path: Path) -> None:
    for name in ("one", "two"):
        add_address(http.hq, "BR1", str(tmp_path / name))
    (done,) = http.sync(http.hq)
    assert [code for code, _ in done.unreachable] == ["BR1"]
    assert done.passed_over == ()


def test_every_site_that_was_not_reached_is_named(tmp_path: Path) -> None:
    sites = _three(tmp_path)
    ran = run("channel", "sync", "--home", sites.hq.path, code=7)
    for code in ("BR1", "BR2"):
        assert f"courier: {code}: channel folder {tmp_path / f'gone-{code}'}: it does not exist" in ran.err
    document = sites.hq.ran("channel", "sync", code=7).document
    assert [one["site"] for one in document["unreachable"]] == ["BR1", "BR2"]
    assert document["error"]["code"] == "unreachable"


def _three(tmp_path: Path) -> Sites:
    """HQ1 whose two branches are at folders that do not exist."""
    sites = make_sites(tmp_path, "HQ1", "BR1", "BR2")
    for address in sites.hq("channel", "address", "list")["addresses"]:
        sites.hq("channel", "address", "remove", address["site"], address["address"])
    for code in ("BR1", "BR2"):
        sites.hq("channel", "address", "add", code, tmp_path / f"gone-{code}")
    return sites


def _file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path / "file"
