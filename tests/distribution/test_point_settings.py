"""What a site tells the clients of its points, signed and put there at once: cache settings, peers and group."""

from __future__ import annotations

from pathlib import Path

import pytest
from journey import Home, add, make_home, write_files
from point_client import from_folders, take_all

from courier.site.catalog import points as point_rows
from courier.site.home import open_site
from formats.documents.point import CacheSettings, PointStatement

DESK = CacheSettings(client_class="desk", size=20 * 10**9, minimum_age=1440, retry=240, retries=18)


@pytest.fixture
def hq(tmp_path: Path) -> Home:
    home = make_home(tmp_path, "HQ1")
    add(home, write_files(tmp_path / "files", a_bin=b"a" * 5000, b_bin=b"b" * 5000))
    for name in ("P1", "P2"):
        home("point", "add", name, tmp_path / name, "--reserve", "1MB")
    return home


def statement(home: Home, name: str = "P1") -> PointStatement:
    return take_all(from_folders(home.path.parent / name), home.path.parent / "HQ1.card")[0]


def test_the_settings_of_a_class_are_in_every_point_at_once(hq: Home) -> None:
    made = hq("point", "class", "set", "desk", "--size", "20GB")
    assert [(one["point"], one["error"]) for one in made["told"]] == [("P1", None), ("P2", None)]
    assert statement(hq).cache == statement(hq, "P2").cache == (DESK,)
    hq("point", "class", "set", "lab", "--size", "80GB", "--minimum-age", "0", "--retry", "60", "--retries", "0")
    assert [one.client_class for one in statement(hq).cache] == ["desk", "lab"]
    before = statement(hq).serial
    changed = hq("point", "class", "set", "desk", "--minimum-age", "2880")
    assert (changed["size_bytes"], changed["minimum_age_minutes"]) == (20 * 10**9, 2880)
    assert statement(hq).serial > before
    assert [one["class"] for one in hq("point", "class", "list")["classes"]] == ["desk", "lab"]
    hq("point", "class", "remove", "desk")
    assert [one.client_class for one in statement(hq).cache] == ["lab"]
    assert "lab" in hq.says("point", "class", "list")


def test_what_changed_nothing_is_not_signed_again(hq: Home) -> None:
    hq("point", "class", "set", "desk", "--size", "20GB")
    before = statement(hq).serial
    hq("point", "class", "set", "desk", "--size", "20GB")
    assert statement(hq).serial == before


def test_a_point_that_is_away_has_the_settings_after_the_next_command(hq: Home) -> None:
    hq("point", "distribute", "HQ100001", "--point", "P1", "--point", "P2")
    away = (hq.path.parent / "P1").rename(hq.path.parent / "away")
    ran = hq.ran("point", "class", "set", "desk", "--size", "20GB", code=6)
    assert [one["error"] for one in ran.document["told"]] == ["not-found", None]
    assert statement(hq, "P2").cache == (DESK,)
    away.rename(hq.path.parent / "P1")
    assert statement(hq).cache == ()
    hq("point", "distribute", "HQ100001", "--point", "P1")
    assert statement(hq).cache == (DESK,)


@pytest.mark.parametrize(
    "wrong",
    [
        ("desk",),
        ("../desk", "--size", "1GB"),
        ("desk", "--size", "0"),
        ("desk", "--size", "1GB", "--minimum-age", "10081"),
        ("desk", "--size", "1GB", "--retry", "0"),
        ("desk", "--size", "1GB", "--retries", "1000001"),
        ("x" * 65, "--size", "1GB"),
    ],
)
def test_settings_that_no_statement_could_hold_are_refused(hq: Home, wrong: tuple[str, ...]) -> None:
    hq.ran("point", "class", "set", *wrong, code=2)
    hq.fails("point", "class", "remove", "desk", code=6)
    assert hq("point", "class", "list")["classes"] == []


def test_there_are_no_more_classes_than_a_statement_holds(hq: Home) -> None:
    site = open_site(hq.path)
    with site.catalogue.writing() as connection:
        for number in range(1000):
            settings = CacheSettings(client_class=f"c{number:04}", size=1, minimum_age=0, retry=1, retries=0)
            point_rows.set_cache_class(connection, settings)
    site.close()
    hq.fails("point", "class", "set", "desk", "--size", "1GB", code=2)
    hq("point", "class", "set", "c0007", "--size", "1GB")
    assert len(statement(hq).cache) == 1000


def test_a_point_is_changed_and_its_clients_are_told(hq: Home) -> None:
    hq("point", "distribute", "HQ100001", "--point", "P1")
    peers = ("--peer", "http://10.0.0.6/", "--peer", "http://10.0.0.5/")
    done = hq(
        "point", "set", "P1", "--group", "north", "--branch", "--max-connections", "20", "--reserve", "5%", *peers
    )
    assert (done["group"], done["branch"], done["max_connections"], done["reserve"]) == ("north", True, 20, "5%")
    seen = statement(hq)
    assert (seen.group, seen.peers) == ("north", ("http://10.0.0.5/", "http://10.0.0.6/"))
    assert [ref.package for ref in seen.packages] == ["HQ100001"]
    hq("point", "set", "P1", "--no-peers", "--group", "", "--no-branch", "--url", "http://10.0.0.9:8080/")
    seen = statement(hq)
    assert (seen.group, seen.peers) == ("", ())
    shown = hq("point", "show", "P1", "--no-ask")
    assert (shown["url"], shown["branch"], shown["reserve"]) == ("http://10.0.0.9:8080/", False, "5%")
    hq("point", "distribute", "HQ100001", "--point", "P1")
    assert statement(hq).serial == seen.serial


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (("P3", "--group", "x"), 6),
        (("P1", "--group", "no group"), 2),
        (("P1", "--url", "ftp://x/"), 2),
        (("P1", "--peer", "10.0.0.5"), 2),
        (("P1", "--reserve", "100%"), 2),
        (("P1", "--no-peers", "--peer", "http://10.0.0.5/"), 2),
    ],
)
def test_what_makes_no_point_is_refused_by_set_too(hq: Home, wrong: tuple[str, ...], code: int) -> None:
    def points() -> list[dict[str, object]]:  # but for the room, which is the disk's
        return [{**one, "room": 0} for one in hq("point", "list")["points"]]

    before = points()
    hq.fails("point", "set", *wrong, code=code)
    assert points() == before


def test_the_cache_of_a_class_is_planned_for(hq: Home) -> None:
    hq("point", "class", "set", "desk", "--size", "9999")
    (found,) = [one for one in hq("plan", "space", "HQ100001")["places"] if one["kind"] == "client"]
    assert (found["name"], found["needed_bytes"], found["verdict"]) == ("desk", 10_000, "short")
    assert found["do"].startswith("a package is larger than the whole cache")
    hq("point", "class", "set", "desk", "--size", "10KB")
    (found,) = [one for one in hq("plan", "space", "HQ100001")["places"] if one["kind"] == "client"]
    assert found["ok"]
    hq("plan", "space", "HQ100001", "--check")
