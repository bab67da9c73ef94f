"""Sets of media: each destination has its own carrier and seals, losses are reported, and shipments are taken back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from journey import FIXTURES, Home, Sites, add, create, make_sites, sent, write

from courier.channel import delivery
from courier.channel.connections import Run
from courier.channel.folder_transport import FolderTransport
from courier.channel.transport import Outgoing
from courier.sending import ship
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.site.catalog import messages
from courier.site.home import Site, open_site


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
    sites.sync(hq)
    hq("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "again", "--volume", 2)
    hq("parcel", "ship", parcel, "--seal", "2=B2")
    sites.sync(hq)
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


def test_a_medium_counts_as_new_once_every_destination_was_shipped_to(sites: Sites) -> None:
    """Until then it may be one of the set for another destination."""
    hq = sites.hq
    parcel, _ = to_two(sites)
    hq("parcel", "ship", parcel, "--to", "BR1", "--seal", "1=A1", "--seal", "2=A2")
    sites.sync(hq)
    hq("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "second", "--volume", 1)
    hq("parcel", "ship", parcel, "--to", "BR1", "--seal", "1=C1")
    assert "volume 1 was re-sealed" in hq("parcel", "show", parcel)["seal_warnings"][0]
    hq("parcel", "ship", parcel, "--to", "BR2")
    sites.sync(hq)
    hq("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "third", "--volume", 2)
    hq("parcel", "ship", parcel, "--to", "BR1", "--seal", "2=C2")
    assert len(hq("parcel", "show", parcel)["seal_warnings"]) == 1
    assert events_of(hq, parcel)[-2:] == ["replaced", "handed-over"]


def events_of(home: Home, parcel: str) -> list[str]:
    """The events of a custody ledger from the first hand-over on, without those on writing."""
    return [entry["event"] for entry in home("parcel", "log", parcel)["custody"] if entry["event"] not in WRITING]


WRITING = ("packed", "written")


def test_a_notice_that_has_not_left_is_replaced(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    parcel, _ = sent(hq, add(hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    hq("parcel", "ship", parcel, "--carrier", "Wrong", "--seal", "1=A1")
    waiting = [one["type"] for one in hq("channel", "status")["outbox"]]
    assert waiting.count("ship-notice") == 1
    hq("parcel", "ship", parcel, "--carrier", "Vans", "--seal", "1=B1")
    assert events_of(hq, parcel) == ["handed-over", *["taken-back", "sealed", "handed-over"] * 2]
    assert hq("parcel", "show", parcel)["seal_warnings"] == []
    hq("parcel", "ship", parcel)
    assert len(events_of(hq, parcel)) == 7
    sites.sync(hq, br1)
    announced = [one["text"] for one in br1("parcel", "log", parcel)["log"] if one["event"] == "announced"]
    assert announced == ["4 volumes, carrier Vans, tracking - (new to Announced)"]
    assert "carrier Vans, tracking -, seals: 1=B1" in br1.says("parcel", "show", parcel)
    # What has left stands: another seal is one that was put on anew.
    hq("parcel", "ship", parcel, "--seal", "1=C1")
    hq("parcel", "ship", parcel, "--seal", "1=D1")
    assert events_of(hq, parcel)[7:] == ["sealed", "handed-over"] * 2
    assert "D1 in place of C1" in hq("parcel", "show", parcel)["seal_warnings"][1]
    sites.sync(hq, br1)
    assert "C1" not in br1.says("parcel", "show", parcel).splitlines()[2]


def test_a_destination_that_joins_a_set_gets_its_seals_and_carrier(sites: Sites) -> None:
    hq, _, br2 = sites.homes
    parcel, _ = to_two(sites)
    hq("parcel", "ship", parcel, "--to", "BR1", "--carrier", "Vans", "--tracking", "V-1", "--seal", "1=A1")
    sites.sync(hq)
    joined = hq("parcel", "ship", parcel, "--to", "BR1", "--to", "BR2")["to"][1]
    assert (joined["site"], joined["copy"], joined["carrier"], joined["tracking"]) == ("BR2", 1, "Vans", "V-1")
    assert joined["seals"] == [{"volume": 1, "serial": "A1"}]
    assert events_of(hq, parcel) == ["sealed", "handed-over", "handed-over"]
    sites.sync(hq, br2)
    assert "carrier Vans, tracking V-1, seals: 1=A1" in br2.says("parcel", "show", parcel)


def test_a_set_that_several_sites_share_is_changed_for_all_of_them(sites: Sites) -> None:
    hq = sites.hq
    parcel, _ = to_two(sites)
    both = ("--to", "BR1", "--to", "BR2")
    hq("parcel", "ship", parcel, *both, "--carrier", "Vans", "--seal", "1=A1")
    # As it was it may go to one of them once more.
    hq("parcel", "ship", parcel, "--to", "BR1", "--carrier", "Vans")
    for change in (("--seal", "1=B1"), ("--tracking", "T-1"), ("--carrier", "Speedy Vans")):
        error = hq.fails("parcel", "ship", parcel, "--to", "BR1", *change, code=2)
        assert "goes to BR1, BR2" in error["message"]
        words = shlex.split(error["hint"].partition("courier ")[2])
        assert [to["copy"] for to in hq(*words)["to"]] == [1, 1]
    for to in hq("parcel", "show", parcel)["to"]:
        assert (to["carrier"], to["tracking"], to["seals"][0]["serial"]) == ("Speedy Vans", "T-1", "B1")


def test_who_ships_while_another_command_does_is_told(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    hq = sites.hq
    parcel, _ = to_two(sites)
    packages, meanwhile = ship._carried, [("--to", "BR1", "--seal", "1=A1")]

    def carried(site: Site, outgoing: OutgoingParcel) -> list[ship._Carried]:
        if meanwhile:
            hq("parcel", "ship", parcel, *meanwhile.pop())
        return packages(site, outgoing)

    monkeypatch.setattr(ship, "_carried", carried)
    error = hq.fails("parcel", "ship", parcel, "--to", "BR1", "--seal", "1=B1", code=9)
    assert "meanwhile" in error["message"]
    assert hq("parcel", "show", parcel)["to"][0]["seals"] == [{"volume": 1, "serial": "A1"}]
    assert hq("parcel", "ship", parcel, "--to", "BR1", "--seal", "1=B1")["changes"] == [
        "seal of volume 1 B1 (A1 before)"
    ]


def test_a_shipment_is_taken_back_while_the_parcel_arrives_elsewhere(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    parcel, volumes = to_two(sites)
    hq("parcel", "ship", parcel, "--to", "BR1")
    sites.sync(hq, br1)
    br1("parcel", "receive", volumes[0])
    sites.sync(br1, hq)
    assert hq("parcel", "show", parcel)["state"] == "Arriving"
    hq("parcel", "ship", parcel, "--to", "BR2", "--carrier", "Wrong")
    assert hq("parcel", "unship", parcel, "--to", "BR2")["state"] == "Arriving"
    assert hq("parcel", "show", parcel)["to"][1]["shipped"] is None
    assert "has left" in hq.fails("parcel", "unship", parcel, "--to", "BR1", code=3)["message"]


def test_one_notice_that_has_left_stands_against_taking_back(sites: Sites) -> None:
    hq = sites.hq
    parcel, _ = sent(hq, add(hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync(hq)
    hq("parcel", "ship", parcel, "--carrier", "Vans")
    assert "has left" in hq.fails("parcel", "unship", parcel, code=3)["message"]


def test_a_shipment_is_not_taken_back_while_its_notice_is_handed_over(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    hq, br1, _ = sites.homes
    parcel, _ = sent(hq, add(hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    with closing(open_site(hq.path)) as site, site.catalogue.reading() as connection:
        (notice,) = (one.name for one in messages.queued(connection, "BR1") if one.kind == "ship-notice")
    hand_over, refused = FolderTransport.deliver, []

    def deliver(self: FolderTransport, to: str, message: Outgoing) -> None:
        if message.sha256 == notice:
            refused.append(hq.fails("parcel", "unship", parcel, code=3)["message"])
        hand_over(self, to, message)

    monkeypatch.setattr(FolderTransport, "deliver", deliver)
    sites.sync(hq, br1)
    assert ["has left, or may have" in message for message in refused] == [True]
    assert [one["state"] for one in br1("parcel", "list")["received"]] == ["Announced"]


def test_a_sync_that_has_begun_hands_no_notice_over_that_is_taken_back(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    hq, br1, _ = sites.homes
    parcel, _ = sent(hq, add(hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    due = delivery._due_queues

    def due_queues(site: Site, run: Run, now_ns: int) -> list[delivery._Queue]:
        found = due(site, run, now_ns)
        assert hq("parcel", "unship", parcel)["state"] == "Written"
        return found

    monkeypatch.setattr(delivery, "_due_queues", due_queues)
    hq("channel", "sync", code=None)
    monkeypatch.undo()
    sites.sync(br1)
    assert br1("parcel", "list")["received"] == []
    hq("parcel", "ship", parcel)
    sites.sync(hq, br1)
    assert [one["state"] for one in br1("parcel", "list")["received"]] == ["Announced"]


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
    way = ("--spare-volumes", 1, "--key-by-network", "--release", "on-arrival", "--capacity", "863KB")
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


def test_a_lost_volume_that_turns_up_is_reported_in_a_second_report_which_is_answered(sites: Sites) -> None:
    hq, br1, _ = sites.homes
    parcel, volumes = lost_one(sites)
    seals = [text for n in range(1, len(volumes) + 1) for text in ("--seal", f"{n}=S{n}")]
    br1("parcel", "arrived", parcel, *(seals[:2] + seals[4:]), "--lost", 2)
    sites.sync(br1, hq)
    br1("parcel", "receive", volumes[1])
    (awaited,) = br1("parcel", "show", parcel)["awaiting"]
    assert "what was reported as lost is here now (volume 2); to report again: courier parcel arrived" in awaited
    assert "--lost" not in awaited
    br1("parcel", "arrived", parcel, *seals)
    sites.sync(br1, hq)
    assert hq("parcel", "show", parcel)["to"][0]["lost"] == []
    sites.sync(br1)
    assert br1("parcel", "show", parcel)["state"] == "Imported"


def test_a_report_after_the_release_waits_for_the_operator_like_the_first(sites: Sites) -> None:
    """The destination has lost its key since."""
    hq, br1, _ = sites.homes
    parcel, volumes = lost_one(sites)
    seals = [text for n in range(1, len(volumes) + 1) if n != 2 for text in ("--seal", f"{n}=S{n}")]
    for _ in range(2):
        br1("parcel", "arrived", parcel, *seals, "--lost", 2)
        sites.sync(br1)
        assert f"courier parcel release {parcel} --to BR1" in hq.says("channel", "sync")
        assert hq("parcel", "show", parcel)["to"][0]["lost"] == [2]
        hq("parcel", "release", parcel, "--to", "BR1")
        assert hq("parcel", "show", parcel)["to"][0]["lost"] == []


def sealed_in_two_layouts(sites: Sites, *options: object, told: Sequence[int]) -> tuple[str, list[Path], list[Path]]:
    """A parcel for BR1 whose key is released on arrival, written in two layouts; it is told of those in ``told``."""
    hq = sites.hq
    way = ("--key-by-network", "--release", "on-arrival", "--capacity", "863KB", *options)
    parcel = str(hq("parcel", "create", add(hq, FIXTURES / "boot.wim"), "--to", "BR1", *way)["parcel_id"])
    layouts = []
    for edition, size in ((1, "863KB"), (2, "1200KB")):
        out = ("--layout", "folder", "--out", sites.root / f"edition-{edition}", "--capacity", size)
        volumes = [Path(volume["path"]) for volume in hq("parcel", "write", parcel, *out)["volumes"]]
        if edition in told:
            typed = [text for n in range(1, len(volumes) + 1) for text in ("--seal", f"{n}=E{edition}-{n}")]
            hq("parcel", "ship", parcel, *typed)
        layouts.append(volumes)
    sites.sync()
    return parcel, layouts[0], layouts[1]


def test_the_key_is_released_only_for_a_layout_that_the_destination_was_told_of(sites: Sites) -> None:
    """Seals on media of another layout were never named: a report without any would be right."""
    hq, br1, _ = sites.homes
    parcel, first, second = sealed_in_two_layouts(sites, told=(2,))
    br1("parcel", "receive", *first)
    br1("parcel", "arrived", parcel)
    sites.sync(br1)
    (refused,) = hq("channel", "sync", code=None)["refused"]
    assert "other layouts (edition 2) than reported (edition 1); no key was released" in refused["reason"]
    sites.sync(br1)
    assert br1("parcel", "show", parcel)["state"] == "Held"
    br1("parcel", "receive", *second)
    br1("parcel", "arrived", parcel, *[text for n in range(1, len(second) + 1) for text in ("--seal", f"{n}=E2-{n}")])
    sites.sync(br1, hq, br1)
    assert br1("parcel", "show", parcel)["state"] == "Imported"


def test_what_was_lost_of_one_layout_counts_when_another_has_come_whole(sites: Sites) -> None:
    """The key opens both."""
    hq, br1, _ = sites.homes
    parcel, first, second = sealed_in_two_layouts(sites, "--spare-volumes", 1, told=(1, 2))
    br1("parcel", "receive", first[0], *first[2:])
    typed = [text for n in range(1, len(first) + 1) if n != 2 for text in ("--seal", f"{n}=E1-{n}")]
    br1("parcel", "arrived", parcel, *typed, "--lost", 2)
    sites.sync(br1, hq)
    br1("parcel", "receive", *second)
    br1("parcel", "arrived", parcel, *[text for n in range(1, len(second) + 1) for text in ("--seal", f"{n}=E2-{n}")])
    sites.sync(br1, hq, br1)
    assert br1("parcel", "show", parcel)["state"] == "Held"
    assert hq("parcel", "show", parcel)["to"][0]["lost"] == [2]
    hq("parcel", "release", parcel, "--to", "BR1")
    sites.sync(hq, br1)
    assert br1("parcel", "show", parcel)["state"] == "Imported"


def test_the_layout_of_which_the_larger_share_has_come_names_what_is_missing(sites: Sites) -> None:
    br1 = sites.homes[1]
    parcel, first, second = sealed_in_two_layouts(sites, "--redundancy", "none", told=(2,))
    assert len(first) > len(second) > 1
    br1("parcel", "receive", *first[1:], *second[1:], code=None)
    assert f"volume 1 of {len(first)} " in br1.says("parcel", "show", parcel)


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
    way = ("--key-by-network", "--release", "on-arrival", "--capacity", "863KB", "--redundancy", "none")
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
