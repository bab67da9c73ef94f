"""The drill before shipping, and waybills whose loss parity covers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from journey import Sites, add, create, exported, make_sites, noise, sent, write

from courier.text import size_text

MIB = 1 << 20


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def package_of(sites: Sites, size: int = 7 * MIB) -> str:
    source = sites.root / "noise.bin"
    source.write_bytes(noise(size))
    return add(sites.hq, source)


def imported_right(sites: Sites, package: str) -> None:
    assert exported(sites.br, package, sites.root / "at-br") == exported(sites.hq, package, sites.root / "at-hq")


def test_a_drill_says_what_would_be_mended_touches_nothing_and_tells_the_truth(sites: Sites) -> None:
    package = package_of(sites, 12 * MIB)
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity="5MB", spare_volumes=2)
    sites.sync()
    before = sites.hq.state()
    drilled = sites.hq("parcel", "drill", parcel, "--lose", 2, "--damage", "1%", "--trials", 3, code=None)
    assert drilled == sites.hq("parcel", "drill", parcel, "--lose", 2, "--damage", "1%", "--trials", 3, code=None)
    assert len(drilled["trials"]) == 3
    good = sites.hq("parcel", "drill", parcel, "--lose", 2)
    assert good["mended"]
    assert all(trial["left_blocks"] == 0 and len(trial["lost_volumes"]) == 2 for trial in good["trials"])
    bad = sites.hq("parcel", "drill", parcel, "--lose", 4, code=4)
    assert bad["error"]["code"] == "not-covered"
    bad = sites.hq("parcel", "drill", parcel, "--lose", 3, "--damage", "20%", "--trials", 5, code=4)
    worst = max((trial["network_bytes"], trial["network_blocks"]) for trial in bad["trials"])
    assert f"({size_text(worst[0])})" in bad["error"]["hint"]
    assert sites.hq.state() == before
    lost = good["trials"][0]["lost_volumes"]
    kept = [volume for number, volume in enumerate(volumes, 1) if number not in lost]
    assert sites.br("parcel", "receive", *kept)["state"] == "Imported"
    imported_right(sites, package)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--damage", "0%"],
        ["--lose", "99"],
        ["--lose", "-1"],
        ["--damage", "x"],
        ["--damage", "100%"],
        ["--lose", "1", "--trials", "0"],
    ],
)
def test_silly_drills_are_refused(sites: Sites, arguments: list[str]) -> None:
    parcel = create(sites.hq, package_of(sites, MIB), capacity="5MB")
    sites.hq.fails("parcel", "drill", parcel, *arguments, code=2)


def test_a_waybill_with_more_volumes_than_parity_covers_is_refused_when_asked(sites: Sites) -> None:
    parcel = create(sites.hq, package_of(sites, 12 * MIB), capacity="5MB", spare_volumes=2)
    volumes = len(write(sites.hq, parcel, "folder", sites.root / "out"))
    ship = ("parcel", "ship", parcel, "--dry-run", "--survive-waybill")
    assert sites.hq.fails(*ship, code=3)["code"] == "waybill-not-covered"
    assert sites.hq.fails(*ship, "--waybill", f"1-{volumes - 1}", code=2)["code"] == "usage"
    assert sites.hq.fails(*ship, "--waybill", "1-2", "--waybill", f"2-{volumes}", code=2)["code"] == "usage"
    assert sites.hq.fails(*ship, "--waybill", "1-x", code=2)["code"] == "usage"
    pairs = [f"{n}-{min(n + 1, volumes)}" for n in range(1, volumes + 1, 2)]
    sites.hq(*ship, *[text for pair in pairs for text in ("--waybill", pair)])
    shutil.rmtree(sites.root / "out")
