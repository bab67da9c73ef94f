"""``courier point`` at the command line: each verb, what it leaves behind, and what a client sees of it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from journey import Home, add, digests_of, make_home, noise, write_files
from point_client import Held, from_folders, take_all

from courier.distribution import fill as fill_module
from courier.distribution.folder import PointFolder
from courier.distribution.registry import all_points, space_of
from courier.site.catalog import points as point_rows
from courier.site.home import open_site
from formats.blocks import BLOCK
from formats.documents.point import CacheSettings, content_path

BIG = noise(2 * BLOCK + 5)
FIRST = {"image_wim": BIG, "boot_bin": b"boot" * 100, "empty": b"", "ümlaut": b"x", "_hidden": b"y"}
SECOND = {**FIRST, "boot_bin": b"newer" * 100}


@pytest.fixture(scope="module")
def made(quick: Path) -> Path:
    """A site with two versions of HQ100001, and HQ100002, which shares its large file."""
    root = quick / "made"
    root.mkdir()
    hq = make_home(root, "HQ1")
    assert add(hq, write_files(root / "one", **FIRST)) == "HQ100001:1"
    assert add(hq, write_files(root / "two", **SECOND), id="HQ100001") == "HQ100001:2"
    assert add(hq, write_files(root / "three", image_wim=BIG, other=b"other")) == "HQ100002:1"
    return root


@pytest.fixture
def hq(made: Path, quick: Path) -> Iterator[Home]:
    """A copy of it, with the point P1."""
    root = Path(os.path.realpath(quick)) / f"run{os.getpid()}"
    shutil.copytree(made, root)
    home = Home(code="HQ1", path=root / "HQ1")
    home("point", "add", "P1", root / "p1", "--reserve", "1MB")
    yield home
    shutil.rmtree(root)


def card(home: Home) -> Path:
    return home.path.parent / "HQ1.card"


def folder(home: Home, name: str = "p1") -> Path:
    return home.path.parent / name


def seen(home: Home, *more: str, remembered: int = 0) -> Held:
    """What a client gets from P1, all verified."""
    return take_all(from_folders(*(folder(home, name) for name in ("p1", *more))), card(home), remembered=remembered)[1]


def serial(home: Home) -> int:
    return take_all(from_folders(folder(home)), card(home))[0].serial


def named(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.replace("_", "."): data for name, data in files.items()}


def content(home: Home, data: bytes, name: str = "p1") -> Path:
    import hashlib

    return folder(home, name) / content_path(hashlib.sha256(data).hexdigest())


# --- verbs ----------------------------------------------------------------------------------------------------------


def test_distribute_takes_several_packages_and_does_the_others_where_one_fails(hq: Home) -> None:
    hq("point", "add", "P2", folder(hq, "p2"), "--reserve", "1MB")
    done = hq("point", "distribute", "HQ100001:1", "HQ100002", "HQ100001:1", "--point", "P1", "--point", "P2")["points"]
    assert [(one["package_id"], one["point"]) for one in done] == [
        ("HQ100001", "P1"),
        ("HQ100001", "P2"),
        ("HQ100002", "P1"),
        ("HQ100002", "P2"),
    ]
    failed = hq.ran("point", "distribute", "HQ100009", "HQ100001:2", "--point", "P1", code=6)
    assert [one["versions"] for one in failed.document["points"]] == [[2]]
    assert failed.document["failed"][0]["code"] == "not-found"
    assert "HQ100009" in failed.document["failed"][0]["message"]


def test_distribute_puts_a_version_there_once(hq: Home) -> None:
    done = hq("point", "distribute", "HQ100001:1", "--point", "P1")["points"]
    assert done == [
        {
            "point": "P1",
            "package_id": "HQ100001",
            "versions": [1],
            "contents_sent": 4,
            "bytes_sent": len(BIG) + 402,
            "withdrawn": [],
            "freed": 0,
        }
    ]
    assert seen(hq) == {"HQ100001:1": named(FIRST)}
    before = digests_of(folder(hq)), serial(hq)
    again = hq("point", "distribute", "HQ100001:1", "--point", "P1")["points"][0]
    assert (again["contents_sent"], again["bytes_sent"]) == (0, 0)
    assert (digests_of(folder(hq)), serial(hq)) == before


def test_only_what_is_missing_is_sent_and_every_name_comes_out_as_it_went_in(hq: Home) -> None:
    hq("point", "distribute", "HQ100001:1", "--point", "P1")
    assert hq("point", "distribute", "HQ100001", "--point", "P1")["points"][0]["bytes_sent"] == 500
    assert hq("point", "distribute", "HQ100002", "--point", "P1")["points"][0]["bytes_sent"] == 5
    assert set(seen(hq)) == {"HQ100001:1", "HQ100001:2", "HQ100002:1"}
    assert seen(hq)["HQ100001:2"] == named(SECOND)


def test_update_takes_the_newest_and_withdraws_the_older_ones(hq: Home) -> None:
    hq("point", "distribute", "HQ100001:1", "--point", "P1")
    before = serial(hq)
    done = hq("point", "update", "HQ100001", "--point", "P1")["points"][0]
    assert (done["versions"], done["withdrawn"], done["freed"] > 0) == ([2], [1], True)
    assert seen(hq, remembered=before + 1) == {"HQ100001:2": named(SECOND)}
    assert not content(hq, FIRST["boot_bin"]).exists()
    shown = hq("point", "show", "P1")
    assert shown["least"] == {"HQ100001": 2}
    assert shown["withdrawn"] == [{"package_id": "HQ100001", "version": 1, "reason": "replaced by version 2"}]
    after = serial(hq)
    assert hq("point", "update", "HQ100001", "--point", "P1")["points"][0]["bytes_sent"] == 0
    assert serial(hq) == after
    assert hq.fails("point", "update", "HQ100001:1", "--point", "P1", code=2)
    # The way back is a decision, and named as one.
    assert hq.fails("point", "distribute", "HQ100001:1", "--point", "P1", code=3)["code"] == "withdrawn"
    hq("point", "distribute", "HQ100001:1", "--point", "P1", "--older")
    assert set(seen(hq, remembered=after + 1)) == {"HQ100001:1", "HQ100001:2"}


def test_update_does_not_take_a_newer_version_away(hq: Home) -> None:
    hq("point", "distribute", "HQ100001:2", "--point", "P1")
    hq("package", "remove", "HQ100001:2")
    assert "newer" in hq.fails("point", "update", "HQ100001", "--point", "P1", code=3)["message"]
    assert set(seen(hq)) == {"HQ100001:2"}


def test_withdraw_signs_it_away_and_deletes_what_nothing_else_needs(hq: Home) -> None:
    for package in ("HQ100001:1", "HQ100002"):
        hq("point", "distribute", package, "--point", "P1")
    (folder(hq) / "README").write_text("not ours")
    done = hq("point", "withdraw", "HQ100001", "--point", "P1", "--reason", "a fault")["points"][0]
    assert done["withdrawn"] == [1]
    assert seen(hq) == {"HQ100002:1": {"image.wim": BIG, "other": b"other"}}
    assert not content(hq, FIRST["boot_bin"]).exists()
    assert content(hq, BIG).exists()
    assert not list((folder(hq) / "definitions").glob("HQ100001*"))
    assert (folder(hq) / "README").exists()
    assert hq("point", "withdraw", "HQ100001", "--point", "P1")["points"][0]["withdrawn"] == []
    assert hq.fails("point", "withdraw", "HQ100009", "--point", "P1", code=6)
    hq("point", "withdraw", "HQ100002", "--point", "P1")
    assert sorted(digests_of(folder(hq))) == [".courier/point", "README", "point.json"]


def test_a_retired_version_does_not_go_to_a_point(hq: Home) -> None:
    hq("package", "retire", "HQ100001:2", "--reason", "a hole")
    assert hq.fails("point", "distribute", "HQ100001", "--point", "P1", code=3)["code"] == "retired"
    assert not (folder(hq) / "point.json").exists()


def test_several_points_are_each_done_and_one_that_fails_stops_no_other(hq: Home) -> None:
    hq("point", "add", "P2", folder(hq, "p2"), "--reserve", "1MB")
    (folder(hq, "p2") / "no_courier").touch()
    ran = hq.ran("point", "distribute", "HQ100001", "--point", "P2", "--point", "P1", code=3)
    assert "no_courier" in ran.error["message"]
    assert [one["point"] for one in ran.document["points"]] == ["P1"]
    assert set(seen(hq)) == {"HQ100001:2"}


# --- damage ---------------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def to_link(path: Path) -> None:
    kept = path.with_name("kept")
    path.rename(kept)
    path.symlink_to(kept)


def empty(path: Path) -> None:
    path.write_bytes(b"")


KINDS = ("content/*/*", "blocks/*", "listings/*", "definitions/*", "point.json")
DAMAGE: list[tuple[str, Callable[[Path], None]]] = [
    *((kind, flip) for kind in KINDS),
    *((kind, Path.unlink) for kind in KINDS),
    *(("content/*/*", damage) for damage in (cut, empty, to_link)),
]


@pytest.mark.parametrize(("kind", "damage"), DAMAGE)
def test_damage_is_named_and_mended(hq: Home, kind: str, damage: Callable[[Path], None]) -> None:
    hq("point", "distribute", "HQ100001:1", "--point", "P1")
    good = digests_of(folder(hq))
    assert hq("point", "validate", "--point", "P1")["points"][0]["damaged"] == []
    path = content(hq, BIG) if kind.startswith("content") else next(folder(hq).glob(kind))
    damage(path)
    ran = hq.ran("point", "validate", "HQ100001", "--point", "P1", code=4)
    assert ran.error["code"] == "damaged"
    found = ran.document["points"][0]["damaged"]
    assert [one["path"] for one in found] == [path.relative_to(folder(hq)).as_posix()]
    if kind.startswith(("content", "blocks")):
        assert found[0]["files"] == ["HQ100001:1/image.wim"]
    assert hq.ran("point", "validate", "--point", "P1", code=4)
    assert hq("point", "show", "P1")["damaged"] == 1
    hq("point", "redistribute", "HQ100001", "--point", "P1")
    path.with_name("kept").unlink(missing_ok=True)
    assert digests_of(folder(hq)) == good
    assert hq("point", "validate", "--point", "P1")["points"][0]["damaged"] == []
    assert seen(hq) == {"HQ100001:1": named(FIRST)}


def test_to_validate_nothing_is_said_and_writes_nothing(hq: Home) -> None:
    before = digests_of(folder(hq))
    assert "nothing was checked" in hq.says("point", "validate", "--point", "P1")
    assert hq.fails("point", "validate", "HQ100001", "--point", "P1", code=6)
    assert digests_of(folder(hq)) == before


def test_points_are_read_back_though_others_fail(hq: Home) -> None:
    hq("point", "add", "P2", folder(hq, "p2"), "--reserve", "1MB")
    hq("point", "distribute", "HQ100001", "--point", "P1", "--point", "P2")
    flip(content(hq, BIG, "p2"))
    folder(hq).rename(folder(hq, "away"))
    failed = hq.ran("point", "validate", "--point", "P1", "--point", "P2", code=4)
    assert [(one["point"], len(one["damaged"])) for one in failed.document["points"]] == [("P2", 1)]
    assert [(one["point"], one["code"]) for one in failed.document["failed"]] == [("P1", "not-found")]
    folder(hq, "away").rename(folder(hq))


def test_what_a_failing_disk_cannot_read_is_damage_and_the_rest_is_read(
    hq: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    hq("point", "distribute", "HQ100001", "--point", "P1")
    size, opened = PointFolder.size, PointFolder.open
    bad = content_path(hashlib.sha256(BIG).hexdigest())

    def failing(act: Any) -> Any:
        def of(self: PointFolder, path: str) -> Any:
            if path in (bad, "point.json"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return act(self, path)

        return of

    monkeypatch.setattr(PointFolder, "size", failing(size))
    monkeypatch.setattr(PointFolder, "open", failing(opened))
    (found,) = hq.ran("point", "validate", "--point", "P1", code=4).document["points"]
    assert {one["path"] for one in found["damaged"]} == {bad, "point.json"}
    assert found["checked"] > 3


def test_a_damaged_store_changes_no_point(hq: Home) -> None:
    hq("point", "distribute", "HQ100002", "--point", "P1")
    before = digests_of(folder(hq))
    for path in (hq.path / "store").rglob("*"):
        if path.is_file() and b"newer" * 100 in path.read_bytes():  # alone, or in a pack
            path.write_bytes(path.read_bytes().replace(b"newer" * 100, b"never" * 100))
    assert hq.fails("point", "distribute", "HQ100001:2", "--point", "P1", code=4)
    assert set(seen(hq)) == {"HQ100002:1"}
    assert before.items() <= digests_of(folder(hq)).items()


def test_what_does_not_read_back_the_same_does_not_appear(hq: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill_module, "read_back", lambda folder, path: "0" * 64)
    assert hq.fails("point", "distribute", "HQ100001", "--point", "P1", code=4)["code"] == "read-back"
    assert not (folder(hq) / "content").exists()
    assert not (folder(hq) / "point.json").exists()


# --- room -----------------------------------------------------------------------------------------------------------


def test_without_room_nothing_is_written(hq: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill_module, "free_space", lambda _: 2 << 20)
    error = hq.fails("point", "distribute", "HQ100001", "--point", "P1", code=5)
    assert "needs 2,1" in error["message"]
    assert sorted(digests_of(folder(hq))) == [".courier/point"]


def test_a_disk_that_fills_up_meanwhile_leaves_the_point_as_it_was(hq: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    hq("point", "distribute", "HQ100002", "--point", "P1")
    before = digests_of(folder(hq))

    def full(self: PointFolder) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(PointFolder, "create", full)
        assert "full" in hq.fails("point", "distribute", "HQ100001", "--point", "P1", code=5)["message"]
    assert digests_of(folder(hq)) == before
    hq("point", "distribute", "HQ100001", "--point", "P1")
    assert set(seen(hq)) == {"HQ100001:2", "HQ100002:1"}


def test_content_spans_the_folders_of_a_point_in_order(hq: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home = hq.path.parent
    hq("point", "add", "P2", home / "a", "--folder", home / "b", "--folder", home / "c", "--reserve", "0%")
    (home / "b" / "no_courier").touch()
    disks = {"a": 1, "b": 2, "c": 3}
    monkeypatch.setattr(fill_module, "disk_of", lambda path: disks[path.name])
    monkeypatch.setattr(fill_module, "free_space", lambda path: {"a": 2 << 20, "b": 1 << 30, "c": 1 << 30}[path.name])
    hq("point", "distribute", "HQ100001:2", "--point", "P2")
    assert content(hq, SECOND["boot_bin"], "a").exists()
    assert content(hq, BIG, "c").exists()
    assert not (home / "b" / "content").exists()
    fetch = from_folders(home / "a", home / "c")
    assert take_all(fetch, card(hq))[1] == {"HQ100001:2": named(SECOND)}
    assert hq("point", "validate", "--point", "P2")["points"][0]["damaged"] == []
    flip(content(hq, BIG, "c"))
    assert hq.ran("point", "validate", "--point", "P2", code=4)
    monkeypatch.setattr(fill_module, "free_space", lambda path: 1 << 30)
    hq("point", "redistribute", "HQ100001", "--point", "P2")
    assert content(hq, BIG, "a").exists()
    assert not content(hq, BIG, "c").exists()  # the damaged one would be found first somewhere
    hq("point", "withdraw", "HQ100001", "--point", "P2")
    assert not list(home.glob("[abc]/content/*/*"))


def test_the_room_of_points_is_listed_for_planning(hq: Home) -> None:
    hq("point", "add", "B1", folder(hq, "b1"), "--reserve", "50%", "--branch", "--group", "north")
    site = open_site(hq.path)
    try:
        branch, point = (space for one in all_points(site) for space in space_of(site, one))
    finally:
        site.close()
    assert (branch.point, branch.branch, branch.group, branch.path) == ("B1", True, "north", folder(hq, "b1"))
    assert (point.reserve, point.excluded) == (10**6, False)
    assert branch.free is not None
    assert branch.reserve is not None
    assert 0 < branch.room == max(0, branch.free - branch.reserve)


# --- registry -------------------------------------------------------------------------------------------------------


def test_points_are_added_listed_shown_and_removed(hq: Home) -> None:
    hq("point", "distribute", "HQ100001", "--point", "P1")
    before = serial(hq)
    listed = hq("point", "list")["points"]
    assert [one["point"] for one in listed] == ["P1"]
    assert "HQ100001:2" in hq.says("point", "show", "P1")
    assert hq.fails("point", "add", "P1", folder(hq, "new"), code=2)
    assert hq.fails("point", "add", "P2", folder(hq), code=3)  # another point's folder
    assert hq.fails("point", "show", "P9", code=6)
    hq("point", "remove", "P1")
    assert hq("point", "list")["points"] == []
    # The folder keeps what it holds, and a point of that name goes on from there.
    hq("point", "add", "P1", folder(hq), "--reserve", "1MB")
    assert hq("point", "distribute", "HQ100001", "--point", "P1")["points"][0]["bytes_sent"] == 0
    assert serial(hq) > before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("a/b", "x"), 2),
        (("P2", "http://10.0.0.1/"), 2),
        (("P2", "x", "--url", "ftp://a/"), 2),
        (("P2", "x", "--reserve", "100%"), 2),
        (("P2", "x", "--peer", "nowhere"), 2),
        (("P2", "x", "--peer", "http://[::1"), 2),
        (("P2", "x", "--peer", "http://a..b/"), 2),
        (("P2", "x", "--peer", "http://10.0.0.1:99999/"), 2),
        (("P2", "x", "--url", "http://user:word@10.0.0.1/"), 2),
        (("P2", "x", "--url", "http://10.0.0.1/?a=b"), 2),
        (("P2", "x", "--group", "a b"), 2),
        (("P2", "x", "--folder", "x"), 2),
        (("P2", "HQ1/point"), 3),
        (("P2", "HQ1"), 3),
        (("P2", "."), 3),
        (("P2", "one"), 3),
    ],
)
def test_what_makes_no_point_is_refused(hq: Home, arguments: tuple[str, ...], code: int) -> None:
    name, path, *more = arguments
    place = path if "://" in path else str(hq.path.parent / path)
    more = [str(hq.path.parent / one) if one == "x" else one for one in more]
    hq.fails("point", "add", name, place, *more, code=code)
    assert [one["point"] for one in hq("point", "list")["points"]] == ["P1"]


def test_a_folder_that_is_not_mounted_is_not_written_to(hq: Home) -> None:
    hq("point", "distribute", "HQ100001:1", "--point", "P1")
    away = folder(hq).rename(folder(hq, "away"))
    assert "mounted" in hq.fails("point", "distribute", "HQ100001", "--point", "P1", code=6)["hint"]
    folder(hq).mkdir()  # the empty mount point
    assert "mounted" in hq.fails("point", "distribute", "HQ100001", "--point", "P1", code=6)["hint"]
    assert list(folder(hq).iterdir()) == []
    folder(hq).rmdir()
    away.rename(folder(hq))
    hq("point", "distribute", "HQ100001", "--point", "P1")


def test_settings_of_caches_and_peers_are_in_the_statement(hq: Home) -> None:
    hq("point", "add", "B1", folder(hq, "b1"), "--branch", "--group", "north", "--peer", "http://10.0.0.5:8080/")
    settings = CacheSettings(client_class="desk", size=10**9, minimum_age=1440, retry=240, retries=18)
    site = open_site(hq.path)
    with site.catalogue.writing() as connection:
        point_rows.set_cache_class(connection, settings)
    with site.catalogue.reading() as connection:
        assert point_rows.cache_classes(connection) == [settings]
    site.close()
    hq("point", "distribute", "HQ100002", "--point", "B1")
    statement, _ = take_all(from_folders(folder(hq, "b1")), card(hq))
    assert (statement.cache, statement.peers, statement.group) == ((settings,), ("http://10.0.0.5:8080/",), "north")


def test_serials_only_grow_also_after_the_catalogue_is_restored(hq: Home) -> None:
    hq("point", "distribute", "HQ100002", "--point", "P1")
    kept = {path: path.read_bytes() for path in hq.path.glob("catalogue.sqlite*")}
    hq("point", "distribute", "HQ100001:1", "--point", "P1")
    before = serial(hq)
    for path in hq.path.glob("catalogue.sqlite*"):
        path.unlink()
    for path, data in kept.items():
        path.write_bytes(data)
    hq("point", "distribute", "HQ100001:2", "--point", "P1")
    assert serial(hq) > before


def test_a_statement_signed_by_a_lost_key_is_signed_again(hq: Home) -> None:
    hq("point", "distribute", "HQ100001", "--point", "P1")
    hq("site", "rotate-key", "--lost")
    hq("site", "card", "--out", card(hq).with_name("new.card"))
    hq("point", "distribute", "HQ100001", "--point", "P1")
    assert set(take_all(from_folders(folder(hq)), card(hq).with_name("new.card"))[1]) == {"HQ100001:2"}


def test_another_command_at_work_on_the_point_is_waited_for_by_the_operator(hq: Home) -> None:
    from courier.files import locked

    with locked(hq.path / "locks" / "point-P1"):
        assert hq.fails("point", "distribute", "HQ100001", "--point", "P1", code=9)["code"] == "busy"
        assert hq.fails("point", "validate", "--point", "P1", code=9)
        assert hq("point", "show", "P1")["packages"] == []


@pytest.mark.skipif(os.name != "posix", reason="elsewhere: links are made as POSIX has them")
@pytest.mark.parametrize("planted", ["content", "blocks", "listings", "definitions", ".courier/new"])
def test_a_planted_link_leads_no_command_out_of_the_folder(hq: Home, planted: str) -> None:
    hq("point", "distribute", "HQ100002", "--point", "P1")
    outside = folder(hq, "outside")
    at = folder(hq) / planted
    if at.exists():
        shutil.move(at, outside)  # all that was there, reached by the link
    else:
        outside.mkdir()
    (outside / "precious").write_bytes(b"ours")
    at.symlink_to(outside)
    before = digests_of(outside)
    assert hq.ran("point", "distribute", "HQ100001", "--point", "P1", code=3).error["message"].count("link")
    if not planted.startswith("."):
        assert hq.ran("point", "validate", "HQ100002", "--point", "P1", code=4)
    hq.ran("point", "withdraw", "HQ100002", "--point", "P1", code=None)
    hq.ran("point", "redistribute", "HQ100002", "--point", "P1", code=None)
    assert digests_of(outside) == before
    at.unlink()
    hq("point", "distribute", "HQ100001", "--point", "P1")
    assert seen(hq)["HQ100001:2"] == named(SECOND)
