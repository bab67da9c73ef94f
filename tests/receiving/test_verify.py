"""``courier parcel verify``: a verdict with its reasons, offline, without a home, with nothing that skips a check."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest
from journey import FIXTURES, Sites, add, make_sites, run, sent

from courier.cli.parcel_verify import verify
from courier.parcel.states import SentState


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
    assert "the card given is of BR1; this is from HQ1" in error["message"]
    assert "give the card of HQ1" in error["hint"]
    assert len(volumes) > 1
    ran = run("parcel", "verify", *volumes, *other[:-1], code=3)
    assert (ran.out + ran.err).count("the card given is of BR1") == 1
    for command in (("parcel", "verify", volumes[0]), ("package", "list")):
        error = run(*command, "--home", sites.root / "nowhere", "--json", code=6).error
        assert "--site" not in error["hint"]
        assert ("--card FILE" in error["hint"]) == (command[0] == "parcel")


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
    ran = sites.br.ran("parcel", "verify", parcel, code=3)
    assert (ran.error["code"], "return or destroy" in ran.error["hint"]) == ("recalled", True)
    assert "was recalled" in ran.document["volumes"][0]["problems"][0]
    assert ran.document["volumes"][0]["state"] == "refused"


def test_what_is_no_damage_has_the_remedy_and_the_exit_code_of_its_own(sites: Sites) -> None:
    """A site that is not trusted any more, and a key that others can read, are mended by no other drive."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media")
    key = sites.hq.path / "parcels" / "out" / parcel / "encryption.seed"
    key.chmod(0o644)
    error = sites.hq.ran("parcel", "verify", parcel, code=3).error
    assert error["code"] == "lax-key-file"
    assert f"chmod 600 {key}" in error["hint"]
    key.chmod(0o600)
    assert sites.hq("parcel", "verify", parcel)["volumes"][0]["state"] == "good"
    sites.sync(sites.hq, sites.br)
    sites.hq("parcel", "write", parcel, "--capacity", "2MB", "--layout", "folder", "--out", sites.root / "other")
    other = next((sites.root / "other").iterdir())
    # The notice names the build, of which this is another layout.
    for volume in (other, volumes[0]):
        assert sites.br("parcel", "verify", volume)["volumes"][0]["notes"] == []
    assert sites.br("parcel", "receive", "--hold", other)["state"] == "Held"
    sites.br("site", "revoke", "HQ1")
    ran = sites.br.ran("parcel", "verify", parcel, code=3)
    assert ran.error["code"] == "revoked-site"
    assert len(ran.document["volumes"][0]["problems"]) == 1
    fingerprint = sites.hq("site", "card")["fingerprint"]
    sites.br("site", "trust", sites.root / "HQ1.card", "--fingerprint", fingerprint)
    assert sites.br("parcel", "verify", parcel)["volumes"][0]["damaged_blocks"] == 0


def test_content_that_changed_on_our_own_disk_is_not_sent_to_another_drive(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.br("parcel", "receive", *volumes)
    file = max((sites.br.path / "parcels" / "in").rglob("*.age"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    error = sites.br.ran("parcel", "verify", parcel, code=4).error
    assert "on this computer's disk" in error["message"]
    assert "keep the media" in error["hint"]
    assert "another drive" not in error["hint"]
    assert sites.br.ran("parcel", "verify", parcel, code=4).document["volumes"][0]["state"] == "damaged"


@pytest.mark.parametrize("name", ["bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt"])
def test_the_files_that_stock_tools_go_by_are_noted_where_they_are_not_as_written(sites: Sites, name: str) -> None:
    """Missing, altered, a pipe, far too long: a note, no failure, and no endless reading."""
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    file = volumes[0] / name
    before = file.read_bytes()
    assert sites.br("parcel", "verify", volumes[0])["volumes"][0]["notes"] == []

    def noted() -> None:
        ((note,),) = [volume["notes"] for volume in sites.br("parcel", "verify", volumes[0])["volumes"]]
        assert note.startswith(f"{name} is missing, damaged or altered")
        assert f"note: {name}" in sites.br.says("parcel", "verify", volumes[0])

    file.write_bytes(before + b"more\n")
    noted()
    with file.open("r+b") as out:
        out.truncate(3 << 30)
    noted()
    file.unlink()
    noted()
    os.mkfifo(file)
    noted()
    taken = sites.br("parcel", "receive", *volumes)
    assert any(name in text for volume in taken["volumes"] for text in volume["findings"])


def test_no_option_skips_a_check() -> None:
    assert set(inspect.signature(verify).parameters) == {"context", "what", "card"}
