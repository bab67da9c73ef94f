"""Sets of media: each destination has its own carrier and seals, losses are reported, and shipments are taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
from journey import FIXTURES, Sites, add, create, make_sites, sent, write


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path, "HQ1", "BR1", "BR2")


def to_two(sites: Sites) -> tuple[str, list[Path]]:
    """A parcel for BR1 and BR2, written."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package, to=("BR1", "BR2"))
    return parcel, write(sites.hq, parcel, "folder", sites.root / "media")


def test_each_destination_has_a_set_of_its_own(sites: Sites) -> None:
    hq, br1, br2 = sites.homes
    parcel, volumes = to_two(sites)
    vans = ("--carrier", "Vans", "--tracking", "V-1", "--seal", "1=A1", "--seal", "2=A2")
    # Seals and tracking numbers are those of one set.
    assert "--to BR1" in hq.fails("parcel", "ship", parcel, *vans, code=2)["hint"]
    assert hq.fails("parcel", "ship", parcel, "--to", "XX1", code=6)["hint"] == "it is for BR1, BR2"
    first = hq("parcel", "ship", parcel, "--to", "BR1", *vans)
    assert (first["state"], first["waiting"], first["to"][0]["copy"]) == ("Sent", ["BR2"], 1)
    sites.sync(hq, br2)
    assert br2("parcel", "list")["received"] == []
    assert f"courier parcel ship {parcel} --to BR2" in hq.says("parcel", "show", parcel)
    assert hq("parcel", "ship", parcel, "--to", "BR2", "--carrier", "Ship", "--seal", "1=B1")["to"][0]["copy"] == 2
    shown = {to["site"]: to for to in hq("parcel", "show", parcel)["to"]}
    assert (shown["BR1"]["carrier"], shown["BR1"]["tracking"], shown["BR2"]["carrier"]) == ("Vans", "V-1", "Ship")
    assert shown["BR1"]["seals"] == [{"volume": 1, "serial": "A1"}, {"volume": 2, "serial": "A2"}]
    assert shown["BR2"]["seals"] == [{"volume": 1, "serial": "B1"}]
    sites.sync()
    for home, serial in ((br1, "A1"), (br2, "B1")):
        assert f"seals: 1={serial}" in home.says("parcel", "show", parcel)
        entry = home("parcel", "custody", "add", parcel, "--event", "received", "--seal", f"1={serial}")
        assert (entry["warnings"], entry["entry"]["seals"][0]["found"]) == ([], "intact")
        home("parcel", "receive", *volumes)
    lost = ("parcel", "custody", "add", parcel, "--event", "lost", "--volume", 99)
    assert "its volumes are 1 to" in br1.fails(*lost, code=6)["hint"]
    other = br1("parcel", "custody", "add", parcel, "--event", "seal-checked", "--seal", "1=B1")
    assert "BROKEN" in other["warnings"][0] or "taken as BROKEN" in other["warnings"][0]
    sites.sync(br1, br2, hq)
    done = hq("parcel", "show", parcel)
    assert done["state"] == "Confirmed"
    for to in done["to"]:
        assert {item["volume"] for item in to["arrived"]} == set(range(1, len(volumes) + 1))
    # At the sender both sets are known, so that an entry about a seal has to say which.
    checked = ("parcel", "custody", "add", parcel, "--event", "seal-checked", "--seal", "1=B1")
    assert "--copy" in hq.fails(*checked, code=2)["hint"]
    assert hq(*checked, "--copy", 2)["entry"]["seals"][0]["found"] == "intact"


def test_one_set_may_go_from_site_to_site(sites: Sites) -> None:
    parcel, _ = to_two(sites)
    done = sites.hq("parcel", "ship", parcel, "--to", "BR1", "--to", "BR2", "--tracking", "T-1", "--seal", "1=A1")
    assert [to["copy"] for to in done["to"]] == [1, 1]
    handed = [e for e in sites.hq("parcel", "log", parcel)["custody"] if e["event"] == "handed-over"]
    assert [(entry["copy"], entry["note"]) for entry in handed] == [(1, "for BR1, BR2")]


def test_a_volume_that_is_sent_anew_is_replaced_and_not_sealed_again(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    parcel, volumes = sent(hq, add(hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    hq("parcel", "ship", parcel, "--seal", "1=A1", "--seal", "2=A2")
    hq("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "again", "--volume", 2)
    hq("parcel", "ship", parcel, "--seal", "2=B2")
    events = [(e["event"], e["volumes"]) for e in hq("parcel", "log", parcel)["custody"] if e["seals"]]
    assert events == [("sealed", [1, 2]), ("replaced", [2])]
    assert hq("parcel", "show", parcel)["seal_warnings"] == []
    assert "a new medium, in place of the one with seal A2" in hq.says("parcel", "log", parcel)
    # Without a new medium, another seal is a seal put on again.
    hq("parcel", "ship", parcel, "--seal", "1=C1")
    assert "re-sealed" in hq("parcel", "show", parcel)["seal_warnings"][0]
    # Nobody but the sender replaces a volume.
    assert (
        "written by the command"
        in br1.fails("parcel", "custody", "add", parcel, "--event", "replaced", code=2)["message"]
    )
    assert len(volumes) > 1


def test_a_shipment_is_taken_back_until_its_notice_has_left(sites: Sites) -> None:
    hq, br1, br2 = sites.homes
    parcel, _ = to_two(sites)
    hq("parcel", "ship", parcel, "--to", "BR1", "--carrier", "Wrong", "--seal", "1=A1")
    hq("parcel", "ship", parcel, "--to", "BR2")
    assert hq("parcel", "unship", parcel, "--to", "BR1")["state"] == "Sent"
    sites.sync(hq, br1, br2)
    assert br1("parcel", "list")["received"] == []
    assert [one["state"] for one in br2("parcel", "list")["received"]] == ["Announced"]
    # The seal that was typed by mistake is none that a later one is compared with.
    hq("parcel", "ship", parcel, "--to", "BR1", "--seal", "1=B1")
    assert hq("parcel", "show", parcel)["seal_warnings"] == []
    assert hq("parcel", "unship", parcel, "--to", "BR1")["state"] == "Sent"
    gone = hq.fails("parcel", "unship", parcel, "--to", "BR2", code=3)
    assert "has left" in gone["message"] and "recall" in gone["hint"]
    shown = {to["site"]: to for to in hq("parcel", "show", parcel)["to"]}
    assert (shown["BR1"]["shipped"], shown["BR1"]["carrier"], shown["BR1"]["seals"]) == (None, "", [])
    other = create(hq, add(hq, FIXTURES / "boot.wim"), to=("BR1",))
    assert hq.fails("parcel", "unship", other, code=3)["code"] == "wrong-state"
    write(hq, other, "folder", sites.root / "other")
    hq("parcel", "ship", other)
    assert hq("parcel", "unship", other)["state"] == "Written"
    hq("parcel", "ship", other)


def lost_one(sites: Sites) -> tuple[str, list[Path]]:
    """A parcel with a spare volume and a key that is released on arrival; BR1 has all of it but volume 2."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    way = ("--spare-volumes", 1, "--key-by-network", "--release", "on-arrival", "--capacity", "850KB")
    parcel = str(sites.hq("parcel", "create", package, "--to", "BR1", *way)["parcel_id"])
    volumes = write(sites.hq, parcel, "folder", sites.root / "media")
    seals = [text for n in range(1, len(volumes) + 1) for text in ("--seal", f"{n}=S{n}")]
    sites.hq("parcel", "ship", parcel, *seals)
    sites.sync()
    here = [volume for number, volume in enumerate(volumes, 1) if number != 2]
    held = sites.homes[1]("parcel", "receive", *here)
    assert held["state"] == "Held"
    return parcel, volumes


def test_the_sender_decides_whether_a_key_is_released_without_a_lost_volume(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    parcel, volumes = lost_one(sites)
    numbers = [number for number in range(1, len(volumes) + 1) if number != 2]
    # The command that is printed works as it stands, once the numbers are typed.
    said = br1("parcel", "show", parcel)["awaiting"][0]
    typed = said[said.index("courier parcel arrived") :].split()[1:]
    for number in numbers:
        typed[typed.index(f"{number}=SERIAL")] = f"{number}=S{number}"
    assert typed[-2:] == ["--lost", "2"]
    assert br1.fails(*typed[:-2], code=3)["code"] == "volumes-missing"
    assert "has been received" in br1.fails("parcel", "arrived", parcel, "--lost", 1, code=2)["message"]
    assert "--seal 2" in br1.fails(*typed, "--seal", "2=S2", code=2)["hint"]
    done = br1(*typed)
    assert (done["lost"], done["warnings"]) == ([2], [])
    sites.sync(br1)
    assert f"courier parcel release {parcel} --to BR1" in hq.says("channel", "sync")
    sites.sync(br1)
    assert br1("parcel", "show", parcel)["state"] == "Held"
    assert hq("parcel", "show", parcel)["to"][0]["lost"] == [2]
    assert f"courier parcel release {parcel} --to BR1" in hq.says("parcel", "show", parcel)
    assert hq("parcel", "release", parcel, "--to", "BR1")["lost"] == [2]
    assert hq("parcel", "show", parcel)["to"][0]["lost"] == []
    sites.sync(hq, br1)
    assert br1("parcel", "show", parcel)["state"] == "Imported"


def test_a_policy_may_release_the_key_without_some_volumes_by_itself(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    assert hq("site", "policy", "--release-lost", 1)["release_lost"] == 1
    parcel, volumes = lost_one(sites)
    seals = sites.root / "seals.txt"
    seals.write_text("".join(f"{n}=S{n}\n" for n in range(1, len(volumes) + 1) if n != 2))
    br1("parcel", "arrived", parcel, "--seals-file", seals, "--lost", 2)
    sites.sync(br1, hq, br1)
    assert br1("parcel", "show", parcel)["state"] == "Imported"


def test_a_wrong_seal_is_refused_whatever_was_lost(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    hq("site", "policy", "--release-lost", 5)
    parcel, _ = lost_one(sites)
    br1("parcel", "arrived", parcel, "--seal", "1=WRONG", "--lost", 2)
    sites.sync(br1)
    assert "left with seal S1, and WRONG was read" in hq("channel", "sync", code=None)["refused"][0]["reason"]
    assert hq.fails("parcel", "release", parcel, "--to", "BR1", code=3)["code"] == "arrival-disagrees"


def test_every_set_that_was_written_is_listed_and_receivers_take_either_layout(sites: Sites) -> None:
    hq, br1, br2 = sites.homes
    parcel, first = to_two(sites)
    write(hq, parcel, "iso", sites.root / "discs")
    said = hq.says("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "large", "--capacity", "5MB")
    assert f"{len(first)} volumes of edition 1 were written before" in said
    written = hq("parcel", "show", parcel)["media_written"]
    assert {(m["edition"], m["layout"]) for m in written} == {(1, "folder"), (1, "iso"), (2, "folder")}
    assert f"Written (edition 1, iso): volumes 1 to {len(first)}, {sites.root / 'discs'}" in hq.says(
        "parcel", "show", parcel
    )
    hq("parcel", "ship", parcel)
    sites.sync()
    assert br1("parcel", "receive", *first)["state"] == "Imported"
    assert br2("parcel", "receive", sites.root / "large")["state"] == "Imported"
    sites.sync(br1, br2, hq)
    assert hq("parcel", "show", parcel)["state"] == "Confirmed"


def test_shipping_again_sends_what_was_acknowledged_once_more(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    parcel, volumes = sent(hq, add(hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync(hq, br1, hq)
    # The branch loses its catalogue, and with it the definition that it had acknowledged.
    for path in br1.path.glob("catalogue.sqlite*"):
        path.unlink()
    br1("catalog", "rebuild", volumes[0], "--card", sites.root / "HQ1.card")
    br1("channel", "address", "add", "HQ1", sites.root / "share")
    assert hq("parcel", "ship", parcel, "--dry-run")["queued"] == 2
    assert hq("parcel", "ship", parcel)["queued"] == 2
    sites.sync(hq, br1)
    assert br1("parcel", "receive", *volumes)["state"] == "Imported"


def test_the_arrival_of_the_layout_that_came_whole_is_reported(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    way = ("--key-by-network", "--release", "on-arrival", "--capacity", "850KB", "--redundancy", "none")
    parcel = str(hq("parcel", "create", add(hq, FIXTURES / "boot.wim"), "--to", "BR1", *way)["parcel_id"])
    first = write(hq, parcel, "folder", sites.root / "first")
    hq("parcel", "ship", parcel, *[text for n in range(1, len(first) + 1) for text in ("--seal", f"{n}=C{n}")])
    more = ("--layout", "folder", "--out", sites.root / "second", "--capacity", "2MB")
    second = hq("parcel", "write", parcel, *more)["volumes"]
    assert len(second) < len(first)
    hq("parcel", "ship", parcel, *[text for volume in second for text in ("--seal", f"{volume['number']}=D")])
    sites.sync(hq, br1)
    br1("parcel", "receive", first[0])
    said = br1("parcel", "receive", sites.root / "second")["awaiting"][0]
    assert "--lost" not in said
    assert said.count("=SERIAL") == len(second)
    typed = [f"{volume['number']}=D" for volume in second]
    assert br1("parcel", "arrived", parcel, *[text for one in typed for text in ("--seal", one)])["warnings"] == []
    sites.sync(br1, hq, br1)
    assert br1("parcel", "show", parcel)["state"] == "Imported"


def test_a_site_that_lost_its_catalogue_goes_on_in_a_new_book(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    parcel, volumes = sent(hq, add(hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync(hq, br1)
    br1("parcel", "receive", *volumes)
    sites.sync(br1, hq)
    assert hq("parcel", "show", parcel)["state"] == "Confirmed"
    for path in br1.path.glob("catalogue.sqlite*"):
        path.unlink()
    (sites.root / "no-volume").mkdir()
    # What is no volume among the media is told, and the others are used all the same.
    again = br1("catalog", "rebuild", sites.root / "no-volume", volumes[0], "--card", sites.root / "HQ1.card", code=2)
    assert [one["parcel_id"] for one in again["volumes"]] == [parcel]
    br1("channel", "address", "add", "HQ1", sites.root / "share")
    assert "awaiting" in br1("parcel", "receive", *volumes)
    # A parcel that is confirmed is shipped again, so that the notice comes once more.
    assert hq("parcel", "ship", parcel)["state"] == "Confirmed"
    sites.sync(hq, br1, hq, br1)
    assert br1("parcel", "show", parcel)["state"] == "Imported"
    assert hq("parcel", "custody", "verify", parcel)["custody_intact"] is True
