"""States: one table at each side, one door to change them, every state reached by what operators really do."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest
from journey import FIXTURES, Sites, add, create, make_sites, run, sent, write

from courier.parcel import states as lifecycle
from courier.parcel.states import ReceivedEvent, ReceivedState, SentEvent, SentState
from courier.parcel.transitions import FINDING, sent_event
from courier.site.home import open_site

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def test_the_page_of_states_is_made_from_the_tables() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_states.py"))["make"]()
    assert (ROOT / "docs" / "states.md").read_text("utf-8") == made, "run: python docs/make_states.py"


def test_every_state_is_reached_and_every_event_used() -> None:
    for states, events, table in (
        (SentState, SentEvent, lifecycle.SENT),
        (ReceivedState, ReceivedEvent, lifecycle.RECEIVED),
    ):
        assert set(table.values()) == set(states)
        assert {event for _, event in table} == set(events)


def test_states_change_through_one_door_only() -> None:
    """No room but `courier.parcel.transitions` hands a state to the catalogue, or calls what records one."""
    doors = {"add_sent", "put_received", "put_sent_volume", "put_received_volume"}
    found = []
    for path in (ROOT / "courier").rglob("*.py"):
        if path.name == "transitions.py" or "catalog" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name, keys = node.func.attr, {keyword.arg for keyword in node.keywords}
                if name in doors or (name in ("change_sent", "change_received") and "state" in keys):
                    found.append(f"{path.name}:{node.lineno} {name}")
    # A volume that gets a seal keeps its state.
    assert [line for line in found if not line.startswith("ship.py")] == []


def test_an_illegal_event_is_a_finding_and_changes_nothing(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    site = open_site(sites.hq.path)
    with site.catalogue.writing() as connection:
        assert not sent_event(connection, site, parcel, SentEvent.SENT, "too early")
    site.close()
    assert sites.hq("parcel", "show", parcel)["state"] == "Built"
    last = sites.hq("parcel", "log", parcel)["log"][-1]
    assert last["event"] == FINDING
    assert "sent, while Built: nothing changed (too early)" in last["text"]


def test_a_parcel_passes_through_every_state_of_the_usual_way(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim", FIXTURES / "disk.raw")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media")
    assert len(volumes) > 1
    sites.sync()
    assert sites.br("parcel", "list")["received"][0]["state"] == "Announced"
    assert sites.br("parcel", "receive", volumes[0])["state"] == "Arriving"
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Arriving"
    sites.br("parcel", "receive", *volumes[1:])
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    ours = " ".join(line["text"] for line in sites.hq("parcel", "log", parcel)["log"])
    for step in ("new to Planned", "Planned to Built", "Built to Written", "Written to Sent", "Sent to Arriving"):
        assert step in ours
    theirs = " ".join(line["text"] for line in sites.br("parcel", "log", parcel)["log"])
    for step in ("new to Announced", "Announced to Arriving", "Arriving to Held", "Held to Complete"):
        assert step in theirs
    assert "Complete to Imported" in theirs


def test_a_lost_parcel_fails_and_may_be_shipped_again(sites: Sites) -> None:
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    assert sites.hq.fails("parcel", "fail", parcel, "--reason", " ", code=2)["code"] == "usage"
    assert sites.hq("parcel", "fail", parcel, "--reason", "van burnt")["state"] == "Failed"
    assert [e["event"] for e in sites.hq("parcel", "log", parcel)["custody"]][-1] == "lost"
    assert "is Sent; " in sites.hq.says("parcel", "ship", parcel)
    assert "is Sent again, as it was" in sites.hq.says("parcel", "ship", parcel)
    write(sites.hq, parcel, "folder", sites.root / "media")
    assert "already at" in sites.hq("parcel", "log", parcel)["log"][-1]["text"]
    assert sites.hq.fails("parcel", "fail", "HQ1-000099", "--reason", "x", code=6)["code"] == "not-found"


def test_a_refused_parcel_is_taken_only_after_it_is_accepted(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    assert sites.br("parcel", "refuse", parcel, "--reason", "not ordered")["state"] == "Refused"
    assert sites.br.fails("parcel", "receive", *volumes, code=3)["code"] == "parcel-refused"
    assert sites.br.fails("parcel", "import", parcel, code=3)["code"] == "parcel-refused"
    sites.sync(sites.br, sites.hq)
    assert [e["event"] for e in sites.hq("parcel", "log", parcel)["custody"]][-1] == "refused"
    assert sites.br("parcel", "accept", parcel)["state"] == "Arriving"
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert sites.br.fails("parcel", "refuse", parcel, "--reason", "late", code=3)["code"] == "wrong-state"


@pytest.mark.parametrize("way", ["refused", "recalled", "superseded"])
def test_a_parcel_that_is_refused_stays_so_when_its_files_are_discarded(sites: Sites, way: str) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media")
    sites.br("parcel", "receive", volumes[0])
    if way == "refused":
        sites.br("parcel", "refuse", parcel, "--reason", "wrong image")
    elif way == "recalled":
        sites.hq("parcel", "recall", parcel)
    else:
        sent(sites.hq, package, out=sites.root / "new", supersedes=parcel)
    sites.sync()
    assert sites.br("parcel", "discard", parcel)["freed"] > 0
    shown = sites.br("parcel", "show", parcel)
    assert (shown["state"], sites.br("parcel", "discard", parcel)["freed"]) == ("Refused", 0)
    code = "recalled" if way == "recalled" else "parcel-refused"
    assert sites.br.fails("parcel", "receive", *volumes, code=3)["code"] == code
    if way == "recalled":
        assert sites.br.fails("parcel", "accept", parcel, code=3)["code"] == code
    else:
        assert sites.br("parcel", "accept", parcel)["state"] == "Arriving"
        assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


def test_a_superseded_parcel_is_refused_where_it_arrives(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    old, old_volumes = sent(sites.hq, package, out=sites.root / "old")
    new = create(sites.hq, package, supersedes=old)
    assert sites.hq("parcel", "show", old)["state"] == "Sent"
    new_volumes = write(sites.hq, new, "folder", sites.root / "new")
    assert f"{old} would be Superseded by it" in sites.hq.says("parcel", "ship", new, "--dry-run")
    would, does = sites.hq("parcel", "ship", new, "--dry-run"), sites.hq("parcel", "ship", new)
    assert (does["superseded"], does["queued"]) == (old, would["queued"])
    assert sites.hq("parcel", "show", old)["state"] == "Superseded"
    sites.sync()
    assert sites.br.fails("parcel", "receive", *old_volumes, code=3)["code"] == "parcel-refused"
    assert f"superseded by {new}" in sites.br.says("parcel", "log", old)
    assert sites.br("parcel", "receive", *new_volumes)["state"] == "Imported"
    assert sites.hq.fails("parcel", "ship", old, code=3)["code"] == "wrong-state"
    error = sites.hq.fails("parcel", "create", package, "--to", "BR1", "--capacity", "5MB", "--supersedes", old, code=3)
    assert error["code"] == "wrong-state"


def test_shipping_says_that_the_parcel_it_replaces_is_superseded(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    old, _ = sent(sites.hq, package, out=sites.root / "old")
    new = create(sites.hq, package, supersedes=old)
    write(sites.hq, new, "folder", sites.root / "new")
    assert f"{old} is Superseded by it" in sites.hq.says("parcel", "ship", new)
    assert "Superseded" not in sites.hq.says("parcel", "ship", new)


def test_a_confirmed_parcel_that_is_written_for_another_medium_says_so_and_stays_confirmed(sites: Sites) -> None:
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "m")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    assert run("parcel", "recall", parcel, "--home", sites.hq.path, "--json", code=3).error["code"] == "not-confirmed"
    sites.sync(sites.br, sites.hq)
    # Nothing is asked before what cannot be done.
    assert run("parcel", "recall", parcel, "--home", sites.hq.path, "--json", code=3).error["code"] == "wrong-state"
    more = ("--layout", "folder", "--out", sites.root / "m2", "--capacity", "5MB")
    assert "is confirmed" in sites.hq.says("parcel", "write", parcel, *more)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    # A destination that lost its catalogue is told once more.
    assert sites.hq("parcel", "ship", parcel)["state"] == "Confirmed"
    sites.sync()
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
