"""``courier plan space``: what places need, whether they have it, how old what is known of them is, and their sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from copied_sites import copied_sites, sites_with_package
from hypothesis import given
from hypothesis import strategies as st
from journey import Home, Sites, add, make_home, noise, run, sent, write_files

from courier.planning import space_places
from courier.planning.space import (
    Item,
    KnownPlace,
    PlaceKind,
    PlaceSpace,
    SpacePlace,
    Verdict,
    judge_place,
    sum_by_file_system,
)
from courier.sending.readiness import FRESH_SECONDS
from courier.site.clock import now

NOW = 1_780_000_000 * 10**9
MB = 10**6
PLACE = KnownPlace(
    name="P1", kind=PlaceKind.POINT, site="BR1", free_bytes=100 * MB, reserve_bytes=10 * MB, known_ns=NOW
)


def digest(number: int) -> str:
    return f"{number:064x}"


def judge(place: SpacePlace, *sizes: int, archives: int = 0) -> PlaceSpace:
    items = [Item(sha256=digest(n), bytes=size) for n, size in enumerate(sizes)]
    return judge_place(place, items, archives=archives, now_ns=NOW)


def test_a_point_takes_the_content_and_its_reserve_to_the_byte() -> None:
    assert judge(PLACE, 50 * MB, 40 * MB, archives=500 * MB).verdict == Verdict.FITS
    short = judge(PLACE, 50 * MB, 40 * MB + 1)
    assert short.verdict == Verdict.SHORT
    assert short.needed == 100 * MB + 1
    assert short.do == "free 1 byte at P1 of BR1"


def test_a_store_takes_the_archives_as_well() -> None:
    store = replace(PLACE, name="store", kind=PlaceKind.STORE)
    assert judge(store, 45 * MB, archives=45 * MB).ok
    short = judge(store, 45 * MB, archives=46 * MB)
    assert not short.ok
    assert "courier package remove" in short.do


def test_single_instance_saves_what_is_there_already() -> None:
    store = replace(PLACE, kind=PlaceKind.STORE, held={bytes.fromhex(digest(0))})
    found = judge(store, 80 * MB, 1 * MB, archives=80 * MB)
    assert (found.saved, found.expanded, found.compressed) == (80 * MB, 1 * MB, 80 * MB)
    everything = judge(
        replace(store, held={bytes.fromhex(digest(n)) for n in (0, 1)}), 80 * MB, 1 * MB, archives=80 * MB
    )
    assert everything.needed == 10 * MB  # nothing has to be sent at all


@pytest.mark.parametrize(
    ("seconds", "old"), [(0, False), (FRESH_SECONDS, False), (FRESH_SECONDS + 1, True), (-5, False)]
)
def test_a_figure_that_is_too_old_is_said_to_be(seconds: int, old: bool) -> None:
    found = judge(replace(PLACE, known_ns=NOW - seconds * 10**9), 1)
    assert found.is_old == old
    assert ("too old" in found.do) == old
    assert found.verdict == Verdict.FITS


def test_a_place_of_which_nothing_is_known_is_not_ok() -> None:
    found = judge(replace(PLACE, free_bytes=None, known_ns=None), 1)
    assert (found.verdict, found.ok, found.age_seconds) == (Verdict.UNKNOWN, False, None)
    assert "courier channel sync" in found.do


@given(
    st.lists(st.integers(0, 10**12), max_size=8),
    st.integers(0, 10**12),
    st.integers(0, 10**13),
    st.sets(st.integers(0, 7)),
)
def test_more_content_never_needs_less_and_what_is_held_never_more(
    sizes: list[int], more: int, free: int, held: set[int]
) -> None:
    for kind in PlaceKind:
        place = replace(PLACE, kind=kind, free_bytes=free)
        one, other = judge(place, *sizes, archives=sum(sizes)), judge(place, *sizes, more, archives=sum(sizes) + more)
        assert one.needed <= other.needed
        assert not other.ok or one.ok
        assert one.ok == (free >= one.needed)
        there = judge(replace(place, held={bytes.fromhex(digest(n)) for n in held}), *sizes, archives=sum(sizes))
        assert there.needed <= one.needed
        assert there.saved + there.expanded == sum(sizes)


def test_places_on_one_file_system_are_summed_and_have_one_reserve() -> None:
    places = [judge(replace(PLACE, name=name, file_system="disk"), 50 * MB) for name in ("P1", "P2")]
    assert all(one.ok for one in places)
    (together,) = sum_by_file_system(places)
    assert together.needed == 110 * MB
    assert not together.ok
    apart = sum_by_file_system([judge(replace(PLACE, name=name), 50 * MB) for name in ("P1", "P2")])
    assert [one.ok for one in apart] == [True, True]
    # A class of clients may be called as a point is, and its caches are on other disks.
    kinds = [judge(replace(PLACE, kind=kind), 50 * MB) for kind in (PlaceKind.POINT, PlaceKind.CLIENT)]
    assert [one.ok for one in sum_by_file_system(kinds)] == [True, True]


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(0, 10**9), st.integers(0, 10**9)), max_size=6))
def test_a_sum_is_never_less_than_any_of_its_places(found: list[tuple[str, int, int]]) -> None:
    places = [
        judge(replace(PLACE, name=f"P{n}", file_system=system, reserve_bytes=reserve), size)
        for n, (system, size, reserve) in enumerate(found)
    ]
    sums = sum_by_file_system(places)
    assert sum(len(one.places) for one in sums) == len(places)
    for one in sums:
        assert all(one.needed >= place.needed for place in places if f"{place.site} {place.name}" in one.places)
        assert one.ok <= all(place.ok for place in places if f"{place.site} {place.name}" in one.places)


@pytest.fixture(scope="module")
def template(quick: Path) -> Sites:
    return sites_with_package(quick)


@pytest.fixture
def sites(template: Sites, tmp_path: Path) -> Sites:
    return copied_sites(template, tmp_path)


def store_of(home: Home, *more: object, code: int = 0) -> dict[str, Any]:
    (found,) = home("plan", "space", "HQ100001", "--to", "BR1", *more, code=code)["places"]
    assert isinstance(found, dict)
    return found


def test_the_store_of_a_site_is_judged_by_the_report_that_it_sent(sites: Sites) -> None:
    unknown = store_of(sites.hq)
    assert (unknown["free_bytes"], unknown["ok"], unknown["verdict"]) == (None, False, "unknown")
    sites.sync(sites.br, sites.hq)
    found = store_of(sites.hq, "--check")
    assert (found["name"], found["kind"], found["site"], found["ok"]) == ("store", "store", "BR1", True)
    assert found["expanded_bytes"] == 3_100_000
    assert found["compressed_bytes"] > 3_100_000  # archives and parity
    assert found["needed_bytes"] == found["expanded_bytes"] + found["compressed_bytes"] + found["reserve_bytes"]
    assert found["free_bytes"] > found["needed_bytes"]
    assert found["age_seconds"] < 600
    said = sites.hq.says("plan", "space", "HQ100001")
    assert "BR1 store" in said
    assert "fits" in said


def test_check_ends_with_no_space_where_it_is_not_known_to_fit(sites: Sites) -> None:
    ran = sites.hq.ran("plan", "space", "HQ100001", "--check", code=5)
    assert ran.document["places"][0]["verdict"] == "unknown"
    assert ran.error["code"] == "no-space-there"
    assert "courier channel sync" in ran.error["hint"]


def test_what_a_site_holds_already_is_saved(sites: Sites, tmp_path: Path) -> None:
    sites.sync()
    _, (volume,) = sent(sites.hq, "HQ100001", out=tmp_path / "out", capacity="64MB", encrypt=False)
    sites.sync()
    sites.br("parcel", "receive", volume)
    sites.sync(sites.br, sites.hq)
    sites.sync(sites.br, sites.hq)
    add(sites.hq, write_files(tmp_path / "next", a_bin=noise(3_000_000), c_bin=noise(100_000, 3)))
    (found,) = sites.hq("plan", "space", "HQ100002")["places"]
    assert found["saved_bytes"] == 3_000_000
    assert found["expanded_bytes"] == 100_000


def test_an_old_report_and_a_full_site_are_told(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    sites.sync(sites.br, sites.hq)
    later = now() + 5 * 24 * 3600 * 10**9
    monkeypatch.setattr(space_places, "now", lambda: later)
    old = store_of(sites.hq)
    assert old["old"]
    assert "too old" in old["do"]
    assert sites.hq.ran("plan", "space", "HQ100001", "--check", code=5).error["code"] == "no-space-there"
    assert "(old figure)" in sites.hq.says("plan", "space", "HQ100001")
    real = space_places.reported_places

    def small(*arguments: Any) -> Sequence[SpacePlace]:
        return [replace(place, free_bytes=100) for place in real(*arguments)]  # type: ignore[type-var]

    monkeypatch.setattr(space_places, "reported_places", small)
    full = store_of(sites.hq)
    assert full["verdict"] == "short"
    assert full["do"].startswith("free ")
    assert "too old" in full["do"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cache:
    """A place of another kind: the cache of a client class."""

    name: str = "desk"
    kind: PlaceKind = PlaceKind.CLIENT
    site: str = "HQ1"
    file_system: str = ""
    free_bytes: int | None = 1000
    reserve_bytes: int = 0
    known_ns: int | None = NOW

    def holds(self, sha256: str) -> bool:
        return False


def test_any_place_with_the_interface_is_judged() -> None:
    assert judge(Cache(), 1000).ok
    assert not judge(Cache(), 1001, archives=10).ok


def test_bad_input_is_refused_in_plain_words(sites: Sites, tmp_path: Path) -> None:
    assert "XX9" in sites.hq.fails("plan", "space", "HQ100001", "--to", "XX9", code=3)["message"]
    sites.hq.fails("plan", "space", "HQ1000FF", code=6)
    alone = make_home(tmp_path, "AL1")
    run("package", "add", write_files(tmp_path / "own", a_bin=b"a"), "--name", "X", "--home", alone.path)
    assert "no other site" in alone.fails("plan", "space", "AL100001", code=2)["message"]


# --- the places of this site ----------------------------------------------------------------------------------------


@pytest.fixture
def own(sites: Sites, tmp_path: Path) -> Home:
    """HQ1 with a point and a branch point, on one disk."""
    sites.hq("point", "add", "P1", tmp_path / "p1", "--reserve", "1MB")
    sites.hq("point", "add", "B1", tmp_path / "b1", "--reserve", "1MB", "--branch")
    return sites.hq


def places_of(home: Home, *arguments: object) -> dict[str, dict[str, Any]]:
    found = home("plan", "space", *arguments)["places"]
    return {f"{one['site']} {one['name']}": one for one in found}


def test_points_of_this_site_are_measured_now_and_what_is_there_is_saved(own: Home) -> None:
    found = places_of(own, "HQ100001")
    assert {name: one["kind"] for name, one in found.items()} == {
        "BR1 store": "store",
        "HQ1 B1": "branch",
        "HQ1 P1": "point",
    }
    at_point = 3_002_368 + 4096 + 102_400  # pages of 4,096 bytes, and the block table of the larger content
    for name in ("HQ1 B1", "HQ1 P1"):
        assert (found[name]["expanded_bytes"], found[name]["compressed_bytes"]) == (at_point, 0)
        assert found[name]["ok"]
        assert found[name]["reserve_bytes"] == 1_000_000
        assert found[name]["age_seconds"] < 60
    own("point", "distribute", "HQ100001", "--point", "P1")
    after = places_of(own, "HQ100001")["HQ1 P1"]
    assert (after["saved_bytes"], after["needed_bytes"]) == (at_point, 1_000_000)
    assert places_of(own, "HQ100001", "--to", "BR1").keys() == {"BR1 store"}
    assert places_of(own, "HQ100001", "--to", "HQ1").keys() == {"HQ1 B1", "HQ1 P1"}


def test_points_on_one_disk_are_summed(own: Home) -> None:
    systems = own("plan", "space", "HQ100001", "--to", "HQ1")["file_systems"]
    assert [one["places"] for one in systems] == [["HQ1 B1", "HQ1 P1"]]
    assert systems[0]["needed_bytes"] == 2 * (3_002_368 + 4096 + 102_400) + 1_000_000


def test_a_point_whose_disk_is_not_mounted_has_no_room_that_is_known(own: Home, tmp_path: Path) -> None:
    (tmp_path / "p1" / ".courier" / "point").rename(tmp_path / "mark")
    found = places_of(own, "HQ100001")["HQ1 P1"]
    assert (found["free_bytes"], found["verdict"]) == (None, "unknown")
    assert "mounted" in found["do"]


def test_a_full_point_is_said_to_be_short(own: Home, tmp_path: Path) -> None:
    own("point", "add", "P2", tmp_path / "p2", "--reserve", "99%")
    found = places_of(own, "HQ100001")["HQ1 P2"]
    assert found["verdict"] == ("fits" if found["free_bytes"] >= found["needed_bytes"] else "short")
    (tmp_path / "p2" / "no_courier").touch()
    shut = places_of(own, "HQ100001")["HQ1 P2"]
    assert (shut["free_bytes"], shut["verdict"]) == (0, "short")


def test_points_of_other_sites_are_judged_by_their_report(sites: Sites, tmp_path: Path) -> None:
    sites.sync(sites.br, sites.hq)
    sites.br("point", "add", "NORTH", tmp_path / "north", "--reserve", "1MB", "--branch")
    sites.sync(sites.br, sites.hq)  # a new point is a reason to report again
    found = places_of(sites.hq, "HQ100001", "--to", "BR1")["BR1 NORTH"]
    assert (found["kind"], found["ok"], found["reserve_bytes"]) == ("branch", True, 1_000_000)
    (tmp_path / "north" / ".courier" / "point").unlink()
    sites.sync(sites.br, sites.hq)
    gone = places_of(sites.hq, "HQ100001", "--to", "BR1")["BR1 NORTH"]
    assert (gone["free_bytes"], gone["verdict"]) == (0, "short")
    notes = sites.hq("parcel", "create", "HQ100001", "--to", "BR1", "--capacity", "64MB")["notes"]
    assert len(notes) == 1
    assert notes[0].startswith("branch point NORTH of BR1 has 0 bytes free")


def test_a_site_without_places_is_told_where_they_come_from(tmp_path: Path) -> None:
    alone = make_home(tmp_path, "AL1")
    add(alone, write_files(tmp_path / "own", a_bin=b"a"))
    assert "courier point add" in alone.fails("plan", "space", "AL100001", code=2)["hint"]
    alone("point", "add", "P1", tmp_path / "p1", "--reserve", "0%")
    assert places_of(alone, "AL100001").keys() == {"AL1 P1"}
