"""``courier plan send`` with two sites: it recommends, says why and what it rests on, and builds nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from copied_sites import copied_sites, sites_with_package
from journey import Home, Sites, add, create, make_home, noise, sent, write_files

from courier.media.kinds import MEDIA
from courier.planning import past_shipments
from courier.planning.past_shipments import lessons_of
from courier.site.home import open_site

pytest.importorskip("uvicorn")

from http_requests import running

HOUR, DAY = 3600, 24 * 3600


@pytest.fixture(scope="module")
def template(quick: Path) -> Sites:
    return sites_with_package(quick)


@pytest.fixture
def sites(template: Sites, tmp_path: Path) -> Sites:
    return copied_sites(template, tmp_path)


@pytest.fixture
def server(sites: Sites) -> Iterator[str]:
    """The address of BR1's server on loopback, which is the first of HQ1 to BR1."""
    with closing(open_site(sites.br.path)) as site, running(site) as up:
        sites.hq("channel", "address", "remove", "BR1", sites.root / "share")
        sites.hq("channel", "address", "add", "BR1", up.url)
        yield up.url


def plan(home: Home, *more: object) -> dict[str, Any]:
    (found,) = home("plan", "send", "HQ100001", "--to", "BR1", *more)["destinations"]
    assert isinstance(found, dict)
    return found


def test_a_fast_measured_line_is_recommended_with_its_share_and_its_end(sites: Sites, server: str) -> None:
    sites.hq("channel", "address", "test", "BR1", "--budget", "2MB")
    found = plan(sites.hq, "--transit", "2d", "--hand-over", "1h")
    assert found["recommended"] == "network"
    assert found["why"].startswith("The network brings 3.1 MB to BR1 in ")
    network = found["network"]
    assert network["bytes"] == 3_100_000  # the content that stands twice is counted once
    assert network["files"] == 2
    assert network["address"] == server
    assert 0 < network["seconds"] < HOUR
    assert network["bits_per_second"] == 8 * network["bytes_per_second"] > 0
    assert 0 < network["share_of_link"] <= 1
    assert network["ends"]
    assert found["courier"]["seconds"] == sum(found["courier"]["legs"].values()) > 2 * DAY + HOUR
    assert found["both"]["seconds"] >= found["courier"]["seconds"]
    assert any("measured on" in line for line in found["assumptions"])


def test_a_line_that_nobody_measured_is_not_recommended_and_the_command_is_named(sites: Sites) -> None:
    found = plan(sites.hq)
    assert found["recommended"] == "both"
    assert found["network"]["seconds"] is None
    assert found["break_even_bytes"] is None
    assert "courier channel address test BR1" in found["why"]
    said = sites.hq.says("plan", "send", "HQ100001", "--to", "BR1")
    assert "BR1: both. Nobody has measured the line to BR1 yet (courier channel address test BR1)" in said


def test_without_an_address_it_is_courier_alone(sites: Sites) -> None:
    sites.hq("channel", "address", "remove", "BR1", sites.root / "share")
    found = plan(sites.hq)
    assert found["recommended"] == "courier"
    assert "courier channel address add BR1 ADDRESS" in found["why"]


def test_a_site_that_fetches_from_us_measures_itself(sites: Sites) -> None:
    sites.hq("channel", "address", "remove", "BR1", sites.root / "share")
    sites.hq("channel", "address", "add", "BR1", "poll")
    assert "only BR1 can measure" in plan(sites.hq)["why"]
    assert plan(sites.hq, "--network-rate", "10MB/s")["recommended"] == "network"


def test_a_slow_line_takes_longer_than_a_courier_from_the_break_even_on(sites: Sites) -> None:
    hq = sites.hq
    hq("channel", "address", "set", "BR1", sites.root / "share", "--cap", "1KB/s")
    more = ("--network-rate", "8Mbit/s", "--transit", "10min", "--hand-over", "0")
    found = plan(hq, *more)
    assert found["recommended"] == "both"
    assert found["network"]["seconds"] == pytest.approx(3100, abs=5)
    assert found["network"]["share_of_link"] == pytest.approx(0.001)
    assert 0 < found["break_even_bytes"] < 3_100_000
    assert "the definitions and the ship notice go over the network" in found["why"]
    hq("channel", "address", "set", "BR1", sites.root / "share", "--cap", "none", "--schedule", "closed")
    closed = plan(hq, *more)
    assert closed["recommended"] == "courier"
    assert closed["network"]["seconds"] is None
    assert "schedule" in closed["why"]


def test_the_media_are_those_that_the_planner_of_parcels_lays_out(sites: Sites) -> None:
    found = plan(sites.hq, "--capacity", "863KB", "--spare-volumes", "2")
    counts = {one["kind"]: one["count"] for one in found["courier"]["media"]}
    assert counts.keys() == {*MEDIA, "drive"}
    assert found["courier"]["kind"] == "drive"
    parcel = create(sites.hq, "HQ100001", capacity="863KB", spare_volumes=2)
    built = sites.hq("parcel", "show", parcel)
    assert len(built["volumes"]) == counts["drive"] == found["courier"]["count"]
    assert counts["bd25"] == 3  # one, and two spares
    risk = found["risk"]
    assert risk["incomplete"] < risk["with_parity_only"] <= risk["without_spares_and_parity"]


def test_nothing_is_built_and_nothing_changes(sites: Sites, tmp_path: Path) -> None:
    before = sites.hq.state()
    sites.hq("plan", "send", "HQ100001", "--to", "BR1", "--html", tmp_path / "plan.html")
    after = sites.hq.state()
    assert after == before
    assert not list((sites.hq.path / "parcels" / "out").iterdir())


def test_a_site_says_which_media_it_reads_and_what_it_holds(sites: Sites, tmp_path: Path) -> None:
    sites.br("site", "policy", "--media", "dvd5", "--media", "bd25")
    sent(sites.hq, "HQ100001", out=tmp_path / "out", capacity="64MB", encrypt=False, anyway="a test")
    volume = next((tmp_path / "out").iterdir())
    sites.br("parcel", "receive", volume)
    sites.sync()
    sites.sync(sites.br, sites.hq)
    add(sites.hq, write_files(tmp_path / "next", a_bin=noise(3_000_000), c_bin=noise(500_000, 2)))
    (found,) = sites.hq("plan", "send", "HQ100002", "--to", "BR1")["destinations"]
    assert found["courier"]["kind"] == "dvd5"
    assert found["network"]["bytes"] == 500_000
    assert any("holds 3.0 MB of the content already" in note for note in found["notes"])
    assert any("learnt from 1 parcel to BR1" in line for line in found["assumptions"])


def test_where_a_delta_is_possible_the_plan_says_that_it_counts_full_contents(sites: Sites, tmp_path: Path) -> None:
    sent(sites.hq, "HQ100001", out=tmp_path / "out", capacity="64MB", encrypt=False, anyway="a test")
    sites.br("parcel", "receive", next((tmp_path / "out").iterdir()))
    sites.sync()
    sites.sync(sites.br, sites.hq)
    # The very version that it holds is no base of itself.
    assert not [note for note in plan(sites.hq)["notes"] if "delta" in note]
    add(sites.hq, write_files(tmp_path / "next", a_bin=noise(3_000_000)[:-5] + b"other"), id="HQ100001")
    (note,) = [note for note in plan(sites.hq)["notes"] if "delta" in note]
    assert note.startswith("BR1 holds HQ100001:1, on which a parcel can be a delta")
    assert "full contents" in note


def test_past_parcels_teach_how_fast_this_site_builds_and_writes(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_shipments, "TELLING_BYTES", 1000)
    parcel, _ = sent(sites.hq, "HQ100001", out=tmp_path / "out", encrypt=False)
    with closing(open_site(sites.hq.path)) as site:
        lessons = lessons_of(site)
    assert len(lessons.build_rates) == 1
    assert len(lessons.write_rates["drive"]) >= 2
    assert lessons.shipments == {}  # no receipt of it has come
    assert any("learnt from 1 parcel" in line for line in plan(sites.hq)["assumptions"]), parcel


def test_each_site_has_its_own_plan(sites: Sites, tmp_path: Path) -> None:
    make_home(tmp_path, "BR2")
    sites.hq("site", "trust", tmp_path / "BR2.card")
    found = sites.hq("plan", "send", "HQ100001", "--to", "BR1", "--to", "BR2", "--network-rate", "1MB/s")
    assert [(one["code"], one["recommended"]) for one in found["destinations"]] == [
        ("BR1", "network"),
        ("BR2", "courier"),
    ]


PRICES = 'currency = "EUR"\nshipment = 48.50\ngigabyte = 10\n[media]\nbd25 = 3.5\n'


def test_costs_come_from_the_prices_given_or_in_the_home(sites: Sites, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(PRICES)
    found = plan(sites.hq, "--media", "bd25", "--prices", tmp_path / "prices.toml")
    assert found["courier"]["cost"] == 52
    assert found["network"]["cost"] == pytest.approx(0.03)
    assert plan(sites.hq)["courier"]["cost"] is None
    (sites.hq.path / "prices.toml").write_text(PRICES)
    unpriced = plan(sites.hq, "--media", "dvd5")
    assert unpriced["courier"]["cost"] is None
    assert any("medium of the kind dvd5" in note for note in unpriced["notes"])


def test_the_page_stands_alone(sites: Sites, tmp_path: Path) -> None:
    name = '<script>alert("1")</script> & Co'
    add(sites.hq, write_files(tmp_path / "more", x_bin=noise(1000, 5)), name=name)
    page = tmp_path / "plan.html"
    sites.hq("plan", "send", "HQ100002", "--to", "BR1", "--network-rate", "1MB/s", "--html", page)
    text = page.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert text.count("<svg") == text.count("</svg>") == 2
    assert "<polyline" in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.findall(r"(?:href|src|url)\s*[=(]", text)
    assert "What this rests on" in text


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--to", "XX9"), 3, "XX9"),
        (("--to", "BR1", "--to", "BR1"), 2, "once"),
        (("--to", "HQ1"), 2, "this site"),
        (("--to", "BR1", "--network-rate", "0MB/s"), 2, "rate"),
        (("--to", "BR1", "--drive-rate", "20Mb/s"), 2, "bytes or bits"),
        (("--to", "BR1", "--computer-rate", "-1MB/s"), 2, "rate"),
        (("--to", "BR1", "--transit", "2"), 2, "span"),
        (("--to", "BR1", "--media", "floppy"), 2, "floppy"),
        (("--to", "BR1", "--capacity", "1"), 2, "capacity"),
        (("--to", "BR1", "--capacity", "10KB"), 2, "fit"),
        (("--to", "BR1", "--loss", "200%"), 2, "share"),
        (("--to", "BR1", "--compress", "zip"), 2, "zip"),
        (("--to", "BR1", "--priority", "urgent"), 2, "urgent"),
        (("--to", "BR1", "--redundancy", "x"), 2, "redundancy"),
        (("--to", "BR1", "--prices", "/nowhere/prices.toml"), 6, "prices"),
    ],
)
def test_bad_input_is_refused_in_plain_words(template: Sites, more: tuple[str, ...], code: int, says: str) -> None:
    error = template.hq.fails("plan", "send", "HQ100001", *more, code=code)
    assert says in error["message"] + error["hint"]


def test_a_package_that_is_not_there_and_an_empty_one(sites: Sites, tmp_path: Path) -> None:
    sites.hq.fails("plan", "send", "HQ1000FF", "--to", "BR1", code=6)
    empty = add(sites.hq, write_files(tmp_path / "empty", a_txt=b""))
    (found,) = sites.hq("plan", "send", empty, "--to", "BR1", "--network-rate", "1MB/s")["destinations"]
    assert found["network"]["seconds"] == 0
    assert found["recommended"] == "network"
