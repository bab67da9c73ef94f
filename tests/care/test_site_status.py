"""``courier status``: what waits, on whom, and a next command that works as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from journey import FIXTURES, Home, Sites, add, create, make_sites, run, sent


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sites:
    monkeypatch.chdir(tmp_path)
    return make_sites(tmp_path)


def waits(home: Home, cause: str) -> dict[str, Any]:
    (one,) = [one for one in home("status")["waiting"] if one["cause"] == cause]
    return dict(one)


def go_on(home: Home, cause: str) -> dict[str, Any]:
    """Give the next command of what waits for that cause, as it stands."""
    words = shlex.split(waits(home, cause)["next"])
    assert words[0] == "courier"
    return home(*words[1:])


def test_a_parcel_goes_from_build_to_confirmed_by_the_next_commands_alone(sites: Sites) -> None:
    assert sites.hq("status", "--check")["waiting"] == []
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    for cause in ("to-write", "to-ship"):
        one = waits(sites.hq, cause)
        assert (one["parcel_id"], one["on"]) == (parcel, "operator")
        failed = sites.hq.ran("status", "--check", code=10)
        assert failed.error["code"] == "waits-for-person"
        assert failed.error["hint"] == one["next"]
        assert failed.document["waits_for_person"] == 1
        go_on(sites.hq, cause)
    assert waits(sites.hq, "under-way")["on"] == "carrier"
    go_on(sites.hq, "messages")
    sites.br("channel", "sync")
    assert waits(sites.br, "under-way")["what"] == f"{parcel} from HQ1 is announced"
    assert sites.br("status", "--check")["waits_for_person"] == 0
    sites.br("parcel", "receive", *sorted((sites.root / parcel).iterdir()))
    go_on(sites.br, "messages")
    sites.hq("channel", "sync")
    found = sites.hq("status", "--check")
    assert found["parcels"]["counts"] == [{"side": "sent", "state": "Confirmed", "count": 1}]
    assert not [one for one in found["waiting"] if one["parcel_id"]]


def test_a_parcel_that_is_held_or_damaged_waits_for_a_person(sites: Sites) -> None:
    parcel, (first, *others) = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "m")
    sites.sync()
    sites.br("parcel", "receive", first, "--hold", code=None)
    assert waits(sites.br, "under-way")["on"] == "carrier"
    sites.br("parcel", "receive", *others, "--hold", code=None)
    one = waits(sites.br, "to-import")
    assert (one["on"], one["next"]) == ("operator", f"courier parcel import {parcel}")
    go_on(sites.br, "to-import")
    assert not [one for one in sites.br("status")["waiting"] if one["parcel_id"]]


def test_people_read_what_waits_and_monitors_read_metrics(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    said = sites.hq.says("status")
    assert "Waits for you:" in said
    assert f"    -> courier parcel write {parcel} --layout folder --out {parcel}" in said
    text = run("status", "--prometheus", "--home", sites.hq.path).out
    assert 'courier_parcels{site="HQ1",side="sent",state="Built"} 1' in text
    assert 'courier_waiting{site="HQ1",cause="to-write",on="operator"} 1' in text
    assert 'courier_waiting_for_person{site="HQ1"} 1' in text
    # Every line is a comment or a sample, and each metric is explained before its samples.
    sample = re.compile(r'([a-z_]+)(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\}) -?[0-9.]+')
    explained = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            explained.add(line.split()[2])
        elif not line.startswith("# HELP "):
            found = sample.fullmatch(line)
            assert found, line
            assert found[1] in explained
    assert sites.hq.fails("status", "--prometheus", code=2)["code"] == "usage"


def test_contents_out_of_use_are_named_until_they_are_here_again(sites: Sites) -> None:
    (sites.root / "a").write_bytes(b"some content that is damaged later")
    add(sites.hq, sites.root / "a")
    sites.hq.spoil(b"some content that is damaged later", b"SOME content that is damaged later")
    sites.hq("package", "verify", code=4)
    assert waits(sites.hq, "damage")["next"] == "courier package verify"
    add(sites.hq, sites.root / "a", name="Again")
    assert sites.hq("status")["waiting"] == []
