"""``courier parcel verify``: a verdict with its reasons, offline, without a home, with nothing that skips a check."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from journey import FIXTURES, Sites, add, make_sites, run, sent

from courier.cli.parcel_receive import verify
from courier.lifecycle import SentState


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def test_a_verdict_says_what_it_rests_on(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    document = sites.br("parcel", "verify", *volumes)
    assert {volume["state"] for volume in document["volumes"]} == {"good"}
    assert all("signed by HQ1 for BR1" in volume["reasons"][0] for volume in document["volumes"])
    own = sites.hq("parcel", "verify", parcel)["volumes"][0]
    assert own["problems"] == []
    assert "signed by HQ1" in own["reasons"][0]


def test_it_needs_no_home_and_no_network_but_the_senders_card(sites: Sites) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    card = ("--card", sites.root / "HQ1.card", "--home", sites.root / "nowhere", "--json")
    assert run("parcel", "verify", volumes[0], *card).document["volumes"][0]["state"] == "good"
    other = ("--card", sites.root / "BR1.card", "--home", sites.root / "nowhere", "--json")
    error = run("parcel", "verify", volumes[0], *other, code=3).error
    assert error["code"] == "unknown-site"
    assert str(volumes[0]) in error["message"]


def test_damage_is_named_by_file_and_block(sites: Sites) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    archive = next(path for path in volumes[0].rglob("*.age") if "archives" in path.parts)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(bytes(data))
    ran = sites.br.ran("parcel", "verify", volumes[0], code=4)
    (volume,) = ran.document["volumes"]
    assert volume["state"] == "damaged"
    assert f"data/archives/{archive.name}: block 0 damaged or missing" in volume["problems"]


def test_what_gathers_here_says_what_it_awaits_and_a_recall_is_a_reason(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.br("parcel", "receive", volumes[0], code=None)
    reasons = sites.br("parcel", "verify", parcel)["volumes"][0]["reasons"]
    assert any("not all here yet" in reason for reason in reasons)
    assert any("awaiting the ship notice" in reason for reason in reasons)
    assert sites.hq("parcel", "recall", parcel)["state"] == SentState.RECALLED
    sites.sync()
    assert sites.br.ran("parcel", "verify", volumes[0], code=3).error["code"] == "recalled"
    assert "was recalled" in sites.br.ran("parcel", "verify", parcel, code=4).document["volumes"][0]["problems"][0]


def test_no_option_skips_a_check() -> None:
    assert set(inspect.signature(verify).parameters) == {"console", "what", "card"}
