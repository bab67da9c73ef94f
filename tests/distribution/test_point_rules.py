"""Imported packages go to the points of their package by rule, and a drive fills a point where no network reaches."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from copied_sites import copied_sites
from journey import Home, Sites, add, digests_of, make_home, make_sites, noise, sent, write_files
from point_client import from_folders, take_all

from formats.blocks import BLOCK
from formats.documents.point import content_path

BIG = noise(BLOCK + 5)


@pytest.fixture(scope="module")
def template(quick: Path) -> Sites:
    """HQ1 with two versions of a package; BR1 trusts it."""
    sites = make_sites(quick / "template")
    add(sites.hq, write_files(quick / "one", image_wim=BIG, boot_bin=b"1"))
    add(sites.hq, write_files(quick / "two", image_wim=BIG, boot_bin=b"2"), id="HQ100001")
    return sites


@pytest.fixture
def sites(template: Sites, quick: Path) -> Iterator[Sites]:
    root = quick / f"run{os.getpid()}"
    root.mkdir()
    yield copied_sites(template, root)
    shutil.rmtree(root)


def root(sites: Sites) -> Path:
    return sites.br.path.parent


def held(sites: Sites, name: str, by: str) -> set[str]:
    card = sites.root / f"{by}.card"
    return set(take_all(from_folders(root(sites) / name), card, sources=(sites.root / "HQ1.card",))[1])


def point(home: Home, name: str, *more: str) -> Path:
    folder = home.path.parent / name
    home("point", "add", name, folder, "--reserve", "1MB", *more)
    return folder


def bring(sites: Sites, package: str, out: Path) -> dict[str, Any]:
    """Send a package to BR1 and receive it there; the document of ``parcel receive``."""
    _, volumes = sent(sites.hq, package, out=out, capacity="10MB")
    sites.sync()
    return sites.br("parcel", "receive", *volumes)


# --- rules ----------------------------------------------------------------------------------------------------------


def test_what_is_imported_goes_to_its_points_in_the_same_command(sites: Sites, tmp_path: Path) -> None:
    point(sites.br, "P1")
    point(sites.br, "P2")
    assert sites.br("point", "rule", "add", "--package", "HQ1", "--point", "P1")["new"]
    assert not sites.br("point", "rule", "add", "--package", "HQ1", "--point", "P1")["new"]
    sites.br("point", "rule", "add", "--package", "HQ100002", "--point", "P2")
    done = bring(sites, "HQ100001:1", tmp_path)["distributed"]
    assert [(one["point"], one["version"], one["done"]) for one in done] == [("P1", 1, True)]
    assert held(sites, "P1", "BR1") == {"HQ100001:1"}
    assert not (root(sites) / "P2" / "point.json").exists()
    assert sites.br("point", "rule", "list")["waiting"] == []


def test_a_parcel_that_the_network_completes_goes_on_with_the_sync(sites: Sites, tmp_path: Path) -> None:
    point(sites.br, "P1")
    sites.br("point", "rule", "add", "--package", "HQ100001", "--point", "P1")
    _, volumes = sent(sites.hq, "HQ100001:1", out=tmp_path, capacity="10MB")
    assert sites.br("parcel", "receive", *volumes, code=None)["distributed"] == []
    sites.sync(sites.hq)
    assert [one["done"] for one in sites.br("channel", "sync")["distributed"]] == [True]
    assert held(sites, "P1", "BR1") == {"HQ100001:1"}


def test_a_point_that_is_away_gets_it_later_and_the_import_does_not_fail(sites: Sites, tmp_path: Path) -> None:
    folder = point(sites.br, "P1")
    sites.br("point", "rule", "add", "--package", "HQ1", "--point", "P1")
    folder.rename(folder.with_name("away"))
    document = bring(sites, "HQ100001:1", tmp_path)
    assert document["state"] == "Imported"
    (one,) = document["distributed"]
    assert (one["done"], one["waits"], one["error"]["code"]) == (False, True, "not-found")
    assert "rule apply" in sites.br.says("point", "rule", "apply")
    assert len(sites.br("point", "rule", "list")["waiting"]) == 1
    folder.with_name("away").rename(folder)
    assert [one["done"] for one in sites.br("point", "rule", "apply")["distributed"]] == [True]
    assert sites.br("point", "rule", "apply")["distributed"] == []
    assert held(sites, "P1", "BR1") == {"HQ100001:1"}


def test_what_will_never_go_there_does_not_wait(sites: Sites, tmp_path: Path) -> None:
    folder = point(sites.br, "P1")
    sites.br("point", "rule", "add", "--package", "HQ1", "--point", "P1")
    folder.rename(folder.with_name("away"))
    bring(sites, "HQ100001:1", tmp_path)
    sites.br("package", "remove", "HQ100001:1")
    folder.with_name("away").rename(folder)
    (one,) = sites.br("point", "rule", "apply")["distributed"]
    assert (one["done"], one["waits"]) == (False, False)
    assert sites.br("point", "rule", "list")["waiting"] == []


def test_rules_are_for_points_and_packages_that_can_be(sites: Sites) -> None:
    point(sites.br, "P1")
    add_rule = ("point", "rule", "add", "--package")
    assert sites.br.fails(*add_rule, "H-1", "--point", "P1", code=2)
    assert sites.br.fails(*add_rule, "HQ1XYZ", "--point", "P1", code=2)
    assert sites.br.fails(*add_rule, "HQ1", "--point", "P9", code=6)
    assert sites.br.fails("point", "rule", "remove", "--package", "HQ1", "--point", "P1", code=6)
    assert sites.br(*add_rule, "hq1", "--point", "P1")["prefix"] == "HQ1"
    assert sites.br("point", "rule", "list")["rules"] == [{"prefix": "HQ1", "point": "P1"}]
    sites.br("point", "remove", "P1")
    assert sites.br("point", "rule", "list")["rules"] == []


def test_the_room_of_points_is_reported_to_other_sites(sites: Sites) -> None:
    point(sites.br, "P1")
    away = point(sites.br, "P2")
    away.rename(away.with_name("away"))
    sites.sync(sites.br, sites.hq)
    places = sites.hq("plan", "space", "HQ100001", "--to", "BR1")["places"]
    assert [(one["name"], one["kind"]) for one in places] == [("store", "store"), ("P1", "point"), ("P2", "point")]
    assert places[1]["free_bytes"] > 0
    assert (places[2]["free_bytes"], places[2]["ok"]) == (0, False)


# --- prestaging -----------------------------------------------------------------------------------------------------


def drive(sites: Sites, *packages: str) -> Path:
    """The folder of HQ1's point, carried on a drive."""
    folder = point(sites.hq, "DRIVE")
    for package in packages:
        sites.hq("point", "distribute", package, "--point", "DRIVE")
    return folder


def test_a_drive_fills_a_point_with_the_versions_it_has(sites: Sites) -> None:
    folder = drive(sites, "HQ100001:1", "HQ100001:2")
    point(sites.br, "P1")
    done = sites.br("point", "prestage", "P1", "--from", folder)
    assert [one["version"] for one in done["taken"]] == [1, 2]
    assert held(sites, "P1", "BR1") == {"HQ100001:1", "HQ100001:2"}
    before = digests_of(root(sites) / "P1")
    again = sites.br("point", "prestage", "P1", "--from", folder)
    assert (again["bytes_sent"], digests_of(root(sites) / "P1")) == (0, before)


def test_an_older_version_never_takes_the_place_of_a_newer_one(sites: Sites, tmp_path: Path) -> None:
    folder = drive(sites, "HQ100001:1")
    point(sites.br, "P1")
    bring(sites, "HQ100001:2", tmp_path)
    sites.br("point", "distribute", "HQ100001", "--point", "P1")
    done = sites.br("point", "prestage", "P1", "--from", folder)
    assert done["taken"] == []
    assert [(one["version"], one["reason"]) for one in done["left"]] == [(1, "the point has version 2")]
    sites.br("point", "withdraw", "HQ100001", "--point", "P1")
    done = sites.br("point", "prestage", "P1", "--from", folder)
    assert [one["version"] for one in done["taken"]] == [1]
    sites.br("point", "withdraw", "HQ100001:1", "--point", "P1", "--reason", "bad")
    assert "withdrawn" in sites.br("point", "prestage", "P1", "--from", folder)["left"][0]["reason"]


def test_a_damaged_or_foreign_drive_is_refused(sites: Sites) -> None:
    import hashlib

    folder = drive(sites, "HQ100001:1")
    point(sites.br, "P1")
    big = folder / content_path(hashlib.sha256(BIG).hexdigest())
    kept = big.read_bytes()
    big.write_bytes(kept[:-1] + b"?")
    error = sites.br.fails("point", "prestage", "P1", "--from", folder, code=4)
    assert error["hint"] == "ask who sent the drive for it again; the point did not change"
    big.unlink()
    assert sites.br.fails("point", "prestage", "P1", "--from", folder, code=4)
    big.write_bytes(kept)
    listing = next((folder / "listings").iterdir())
    good = listing.read_bytes()
    listing.write_bytes(good + b"\n")
    assert sites.br.fails("point", "prestage", "P1", "--from", folder, code=4)
    listing.write_bytes(good)
    assert held(sites, "P1", "BR1") == set()
    assert sites.br.fails("point", "prestage", "P1", "--from", root(sites), code=6)
    eve = make_home(root(sites), "EVE")
    add(eve, write_files(root(sites) / "evil", a=b"a"))
    evil = point(eve, "E1")
    eve("point", "distribute", "EVE00001", "--point", "E1")
    assert sites.br.fails("point", "prestage", "P1", "--from", evil, code=3)["code"] == "unknown-site"
    assert len(sites.br("point", "prestage", "P1", "--from", folder)["taken"]) == 1


def test_a_package_of_a_third_site_needs_its_card_or_a_relay(sites: Sites) -> None:
    third = make_home(root(sites), "TH1")
    add(third, write_files(root(sites) / "third", a=b"a"))
    third("site", "trust", sites.root / "HQ1.card")
    sites.hq("site", "trust", root(sites) / "TH1.card")
    theirs = point(third, "T1")
    third("point", "distribute", "TH100001", "--point", "T1")
    folder = drive(sites, "HQ100001:1")
    sites.hq("point", "prestage", "DRIVE", "--from", theirs)
    point(sites.br, "P1")
    assert sites.br.fails("point", "prestage", "P1", "--from", folder, code=3)["code"] == "not-vouched"
    assert held(sites, "P1", "BR1") == {"HQ100001:1"}
    sites.br("site", "policy", "--relay", "HQ1")
    assert len(sites.br("point", "prestage", "P1", "--from", folder)["taken"]) == 2
    assert held(sites, "P1", "BR1") == {"HQ100001:1", "TH100001:1"}
