"""``channel status`` and ``dismiss``: a line a site, nothing alarming after a sync, dead letters that can go."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from journey import FIXTURES, Sites, add, make_home, make_sites, run, sent

from courier.site.catalog import messages
from courier.site.catalog.messages import Message
from courier.site.home import open_site
from formats.digest import sha256_hex


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


def test_a_dismissed_letter_that_comes_again_is_not_named_again(sites: Sites) -> None:
    """What may be cured is not acknowledged, so that its sender sends it again and again."""
    (sites.root / "elsewhere").mkdir()
    impostor = make_home(sites.root / "elsewhere", "HQ1")
    impostor("site", "trust", sites.root / "BR1.card")
    impostor("channel", "address", "add", "BR1", sites.root / "share")
    sent(impostor, add(impostor, FIXTURES / "boot.wim"), out=sites.root / "m2")
    impostor("channel", "sync")
    sites.br("channel", "sync")
    count = len(sites.br("channel", "status")["dead_letters"])
    assert len(sites.br("channel", "dismiss", "--all")["dismissed"]) == count > 1
    impostor("channel", "sync", "--now")
    assert any((sites.root / "share" / "BR1").glob("*.msg"))
    again = sites.br("channel", "sync")
    assert again["refused"] == []
    status = sites.br("channel", "status")
    assert status["dead_letters"] == []
    assert {one["state"] for one in status["messages"]} <= {"queued", "delivered", "settled", "taken"}


def test_a_letter_that_was_dismissed_meanwhile_is_dismissed_once(sites: Sites) -> None:
    with closing(open_site(sites.br.path)) as site:
        letter = Message(
            direction="in",
            sha256=sha256_hex(b"of an unknown sender"),
            site="",
            type="",
            state="refused",
            reason="unknown",
            body=b"",
            created_ns=1,
            settled_ns=1,
            attempts=0,
        )
        with site.catalogue.writing() as connection:
            messages.put(connection, letter)
            assert [messages.dismiss(connection, letter), messages.dismiss(connection, letter)] == [True, False]
            assert letter.sha256 not in [one.sha256 for one in messages.dead_letters(connection)]
