"""``channel status`` and ``dismiss``: a line a site, nothing alarming after a sync, dead letters that can go."""

from __future__ import annotations

from pathlib import Path

import pytest
from journey import FIXTURES, Sites, add, make_home, make_sites, run, sent


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path, "HQ1", "BR1", "BR2")


def test_a_site_has_one_line_whatever_its_messages_are(sites: Sites) -> None:
    sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media", to=("BR1", "BR2"))
    sites.sync()
    sites.sync()
    lines = sites.hq.says("channel", "status").splitlines()
    assert lines[0].split() == ["SITE", "WAITING", "UNDER", "WAY", "DELIVERED", "RECEIVED", "DEAD", "LETTERS"]
    assert [line.split()[0] for line in lines[1:3]] == ["BR1", "BR2"]


def test_nothing_alarms_after_a_normal_sync(sites: Sites) -> None:
    sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.hq("channel", "sync")
    said = sites.hq.says("channel", "status")
    assert sites.hq("channel", "status")["unacknowledged"]
    assert "cknowledged" not in said
    sites.br("channel", "sync")
    for home in sites.homes:
        assert "Dead letter" not in home.says("channel", "status")
    assert "Not acknowledged by BR1 yet: " in sites.hq.says("channel", "status", "--verbose")
    # Sent a second time it is worth a word.
    sites.hq("channel", "sync", "--now")
    assert "Not acknowledged by BR2 yet: " in sites.hq.says("channel", "status")


def test_dead_letters_are_dismissed_one_or_all(sites: Sites) -> None:
    (sites.root / "elsewhere").mkdir()
    impostor = make_home(sites.root / "elsewhere", "HQ1")
    impostor("site", "trust", sites.root / "BR1.card")
    impostor("channel", "address", "add", "BR1", sites.root / "share")
    sent(impostor, add(impostor, FIXTURES / "boot.wim"), out=sites.root / "m")
    impostor("channel", "sync")
    sites.br("channel", "sync")
    dead = [one["message"] for one in sites.br("channel", "status")["dead_letters"]]
    assert len(dead) > 1
    asked = run("channel", "dismiss", dead[0], "--home", sites.br.path, "--json", code=3)
    assert asked.error["code"] == "not-confirmed"
    assert sites.br("channel", "dismiss", dead[0][:12].upper()) == {"dismissed": [dead[0]], "left": len(dead) - 1}
    assert sites.br.fails("channel", "dismiss", dead[0], code=6)["message"] == f"there is no dead letter {dead[0]}"
    assert sites.br.fails("channel", "dismiss", code=2)
    assert sites.br.fails("channel", "dismiss", dead[1], "--all", code=2)
    assert sites.br("channel", "dismiss", "--all")["left"] == 0
    assert sites.br("channel", "status")["dead_letters"] == []
    assert sites.br("channel", "dismiss", "--all") == {"dismissed": [], "left": 0}
    log = (sites.br.path / "log" / "courier.log").read_text()
    assert f"dead letter dismissed: message {dead[0]}" in log


def test_a_drill_begins_with_its_verdict_and_has_details_on_request(sites: Sites) -> None:
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media", spare_volumes=1)
    drill = ("parcel", "drill", parcel, "--lose", "1", "--trials", "3")
    said = sites.hq.says(*drill)
    assert said.splitlines()[0].startswith(f"{parcel}: repaired by parity: everything in 3 of 3 trials, with 1 of ")
    assert "Trial 1" not in said
    assert "Trial 3: volumes lost: " in sites.hq.says(*drill, "--verbose")
    bad = sites.hq.says("parcel", "drill", parcel, "--lose", "2", "--trials", "3", code=4)
    assert bad.splitlines()[0].startswith(f"{parcel}: NOT always repaired by parity: everything in 0 of 3 trials")
