"""``courier point lint``: what is amiss with the points as a whole is named, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from journey import Home, add, make_home, write_files


@pytest.fixture
def hq(tmp_path: Path) -> Home:
    home = make_home(tmp_path, "HQ1")
    add(home, write_files(tmp_path / "files", a=b"a"))
    home("point", "add", "P1", tmp_path / "p1", "--reserve", "0%", "--url", "http://10.0.0.2/", "--group", "desk")
    home("point", "distribute", "HQ100001", "--point", "P1")
    return home


def found(home: Home, *arguments: object) -> list[tuple[str, str]]:
    return [(one["code"], one["point"] or one["group"]) for one in home("point", "lint", *arguments)["findings"]]


def test_a_group_of_clients_without_a_point_is_named(hq: Home) -> None:
    assert found(hq, "--group", "desk", "--group", "lab") == [("group-without-point", "lab"), ("no-point-for-all", "")]
    hq("point", "set", "P1", "--group", "")
    assert found(hq, "--group", "desk", "--group", "lab") == []
    assert "Nothing is amiss" in hq.says("point", "lint")
    hq("point", "set", "P1", "--branch")
    assert found(hq, "--group", "lab") == [("group-of-branch-points", "lab")]


def test_points_that_nobody_can_use_are_named(hq: Home, tmp_path: Path) -> None:
    hq("point", "add", "P2", tmp_path / "p2", "--reserve", "0%")
    assert found(hq) == [("no-url", "P2"), ("empty", "P2")]
    (content,) = [path for path in (tmp_path / "p1" / "content").rglob("*") if path.is_file()]
    content.write_bytes(b"b")
    hq.ran("point", "validate", "--point", "P1", code=4)
    assert ("damaged", "P1") in found(hq)
    (tmp_path / "p2").rename(tmp_path / "gone")
    assert ("away", "P2") in found(hq)
