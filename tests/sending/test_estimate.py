"""Estimates of compressed parcels: what is built lies in the range, spares are marked, and the space kept is told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from journey import Sites, add, create, make_sites, noise, sent, write_files

MB = 1_000_000


def words(size: int, seed: int = 0) -> bytes:
    """Text that shrinks to about a third, differently from place to place."""
    chance = random.Random(seed)
    known = [chance.randbytes(5).hex().encode() for _ in range(400)]
    text = b" ".join(chance.choice(known) + b"%d" % chance.randrange(10**6) for _ in range(size // 14))
    return text[:size]


@pytest.fixture(scope="module")
def sites(quick: Path) -> Sites:
    found = make_sites(quick)
    files = {f"part{n}_txt": words(2 * MB, n) for n in range(5)}
    add(found.hq, write_files(quick / "in", **files, media_bin=noise(3 * MB)))
    return found


@pytest.mark.parametrize("compress", ["auto", "fast", "best"])
def test_what_is_built_lies_in_the_range_that_was_estimated(sites: Sites, compress: str) -> None:
    arguments = ("HQ100001", "--to", "BR1", "--capacity", "2MB", "--compress", compress)
    planned = sites.hq("parcel", "create", *arguments, "--dry-run")
    estimate = planned["estimate"]
    built = sites.hq("parcel", "create", *arguments)
    archives = sum(archive["bytes"] for archive in built["archives"])
    assert estimate["least"]["bytes"] <= archives <= estimate["most"]["bytes"]
    assert estimate["most"]["bytes"] < 1.35 * estimate["least"]["bytes"]
    assert estimate["least"]["volumes"] <= len(built["volumes"]) <= estimate["most"]["volumes"]
    assert len(built["volumes"]) < len(planned["volumes"])


def test_the_estimate_is_told_with_its_range(sites: Sites) -> None:
    said = sites.hq.says("parcel", "create", "HQ100001", "--to", "BR1", "--capacity", "2MB", "--dry-run")
    assert "at most" in said
    assert "Likely, by samples of the content: archives of" in said


def test_sizes_that_are_exact_are_not_estimated(sites: Sites) -> None:
    arguments = ("HQ100001", "--to", "BR1", "--capacity", "20MB", "--compress", "none", "--dry-run")
    planned = sites.hq("parcel", "create", *arguments)
    assert planned["exact"]
    assert "estimate" not in planned
    assert "at most" not in sites.hq.says("parcel", "create", *arguments)


def test_spare_volumes_are_marked_and_their_parity_is_told_apart(sites: Sites) -> None:
    arguments = ("HQ100001", "--to", "BR1", "--capacity", "8MB", "--spare-volumes", "1", "--compress", "none")
    said = sites.hq.says("parcel", "create", *arguments, "--dry-run")
    assert "on 1 spare volume;" in said
    assert "of parity" not in said
    assert "parity of" in said
    assert "4 (spare)" in said
    document = sites.hq("parcel", "create", *arguments)
    assert [volume["spare"] for volume in document["volumes"]] == [False, False, False, True]
    parcel = document["parcel_id"]
    assert "4 (spare)" in sites.hq.says(
        "parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "out", "--dry-run"
    )
    assert "4 (spare)" in sites.hq.says("parcel", "show", parcel)
    sites.hq("parcel", "discard", parcel)


def test_a_receiver_sees_which_volumes_are_spare(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    package = add(sites.hq, write_files(tmp_path / "in", image_wim=noise(3 * MB)))
    parcel, volumes = sent(sites.hq, package, out=tmp_path / "out", capacity="3MB", spare_volumes=1)
    sites.sync()
    sites.br("parcel", "receive", volumes[0])
    shown = sites.br("parcel", "show", parcel)
    assert [volume["spare"] for volume in shown["volumes"]] == [False, False, True]
    assert "3 (spare)" in sites.br.says("parcel", "show", parcel)


def test_create_says_what_it_keeps_and_the_quota_that_a_home_begins_with(tmp_path: Path) -> None:
    hq = make_sites(tmp_path).hq
    package = add(hq, write_files(tmp_path / "in", text=words(3 * MB)))
    arguments = ("parcel", "create", package, "--to", "BR1", "--capacity", "8MB")
    planned = hq("parcel", "create", package, "--to", "BR1", "--capacity", "8MB", "--dry-run")
    built = hq(*arguments)
    assert 0 < built["kept_bytes"] <= planned["kept_bytes"]
    assert built["built_bytes"] == built["kept_bytes"]
    assert built["parcel_quota"] == 100_000_000_000
    hq("parcel", "limits", "--quota", "1")
    said = hq.says(*arguments, "--anyway", "once more")
    assert f"Kept in {hq.path} until it is confirmed: " in said
    assert "above the quota; none goes until it is confirmed" in said
    assert hq("parcel", "limits")["built_bytes"] > built["built_bytes"]


def test_content_that_is_not_copied_takes_nothing_of_the_quota(tmp_path: Path) -> None:
    """Archives of stored content are put together from the store: no confirmed parcel has to go for them."""
    sites = make_sites(tmp_path)
    text = add(sites.hq, write_files(tmp_path / "text", text=words(3 * MB)))
    first, volumes = sent(sites.hq, text, out=tmp_path / "out", capacity="8MB")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.sync(sites.br, sites.hq)
    sites.hq("parcel", "limits", "--quota", "2500kB")
    stored = add(sites.hq, write_files(tmp_path / "in", image_wim=noise(3 * MB)))
    create(sites.hq, stored, capacity="8MB", compress="none", redundancy="none")
    assert sites.hq("parcel", "limits")["built_bytes"] > 1 * MB
    assert first


def test_the_plan_of_the_way_counts_likely_media_and_names_spare_ones(sites: Sites) -> None:
    arguments = ("plan", "send", "HQ100001", "--to", "BR1", "--capacity", "5MB", "--spare-volumes", "1")
    most = sites.hq("parcel", "create", "HQ100001", *arguments[3:], "--dry-run")
    (found,) = sites.hq(*arguments)["destinations"]
    drive = next(medium for medium in found["courier"]["media"] if medium["kind"] == "drive")
    assert drive["count"] < len(most["volumes"])
    said = sites.hq.says(*arguments)
    assert f"{drive['count']} drive (1 spare)" in said
    assert "as samples of it make likely" in said
