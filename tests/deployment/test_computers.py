"""The commands of ``courier computer``: an operator's tables, mistakes, associations and look-ups."""

from __future__ import annotations

from pathlib import Path

import pytest
from journey import Home, make_home, run

from courier.site.catalog import state
from courier.site.catalog.state import Migration
from courier.site.home import open_site

GUID = "4C4C4544-0044-3510-8052-B4C04F4A3732"
TWIN = "44454C4C-4400-1035-8052-B4C04F4A3732"
MAC = "00:1A:2B:3C:4D:5E"


@pytest.fixture
def hq(tmp_path: Path) -> Home:
    return make_home(tmp_path, "HQ1")


def table(tmp_path: Path, text: str, name: str = "c.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def names(home: Home) -> list[str]:
    return [one["computer"] for one in home("computer", "list")["computers"]]


def test_a_dry_run_lists_everything_and_changes_nothing(hq: Home, tmp_path: Path) -> None:
    hq("computer", "add", "PC2", "--mac", "00:1A:2B:3C:4D:60")
    file = table(tmp_path, f"NAME,GUID,MAC\nPC1,{GUID},{MAC}\npc2,,00:1A:2B:3C:4D:61\nPC3,x,\n")
    before = hq.state()
    found = hq("computer", "import", file, "--dry-run")
    assert [(one["line"], one["name"]) for one in found["new"]] == [(2, "PC1")]
    assert [(one["line"], one["name"], one["changes"][0]["what"]) for one in found["changed"]] == [(3, "PC2", "MAC")]
    assert [one["line"] for one in found["refused"]] == [4]
    assert not found["applied"]
    assert hq.state() == before
    said = hq.says("computer", "import", file, "--dry-run")
    assert "1 new, 1 changed, 0 as they are recorded, 1 refused" in said


def test_one_bad_line_and_nothing_is_imported(hq: Home, tmp_path: Path) -> None:
    file = table(tmp_path, f"NAME,GUID,MAC\nPC1,{GUID},{MAC}\nPC3,x,\n")
    ran = hq.ran("computer", "import", file, code=3)
    assert ran.error["code"] == "computers-refused"
    assert [one["line"] for one in ran.document["refused"]] == [3]
    assert names(hq) == []


def test_an_overwrite_asks_and_a_script_says_yes(hq: Home, tmp_path: Path) -> None:
    hq("computer", "import", table(tmp_path, f"NAME,GUID,MAC\nPC1,{GUID},{MAC}\n"))
    file = table(tmp_path, "NAME,GUID,MAC\nPC1,,00:1A:2B:3C:4D:61\nPC2,,00:1A:2B:3C:4D:62\n")
    ran = run("computer", "import", file, "--home", hq.path, "--json", code=3)
    assert ran.error["code"] == "not-confirmed"
    assert len(ran.document["changed"]) == 1
    assert hq("computer", "show", "PC1")["macs"] == [MAC]
    assert names(hq) == ["PC1"]
    done = hq("computer", "import", file)
    assert (done["applied"], len(done["new"]), len(done["changed"])) == (True, 1, 1)
    shown = hq("computer", "show", "pc1")
    assert (shown["macs"], shown["guid"]) == (["00:1A:2B:3C:4D:61"], GUID)
    again = hq("computer", "import", file)
    assert (again["unchanged"], again["changed"], again["new"]) == (2, [], [])


def test_a_new_file_needs_no_yes(hq: Home, tmp_path: Path) -> None:
    file = table(tmp_path, f"PC1;{GUID};{MAC};Latitude\n")
    columns = "NAME,GUID,MAC,Model"
    run("computer", "import", file, "--no-header", "--columns", columns, "--home", hq.path, "--json")
    assert hq("computer", "show", GUID.lower())["variables"] == {"Model": "Latitude"}


def test_a_file_that_is_not_there_or_a_folder_is_named(hq: Home, tmp_path: Path) -> None:
    for wrong in (tmp_path / "none.csv", tmp_path):
        assert str(wrong) in hq.fails("computer", "import", wrong, code=6)["message"]
    assert hq.fails("computer", "import", table(tmp_path, ""), code=2)


def test_a_computer_is_added_changed_and_removed(hq: Home) -> None:
    added = hq("computer", "add", "PC-1", "--guid", f"{{{GUID.lower()}}}", "--mac", "001a.2b3c.4d5e", "--class", "desk")
    assert (added["guid"], added["macs"], added["class"]) == (GUID, [MAC], "desk")
    hq.fails("computer", "add", "pc-1", code=2)
    changed = hq("computer", "set", "pc-1", "--variable", "Model=X=1", "--group", "north", "--protect")
    assert (changed["variables"], changed["group"], changed["protected"]) == ({"Model": "X=1"}, "north", True)
    assert changed["class"] == "desk"
    changed = hq("computer", "set", "PC-1", "--variable", "model=Y", "--class", "", "--no-protect", "--guid", "")
    assert (changed["variables"], changed["class"], changed["protected"]) == ({"Model": "Y"}, "", False)
    assert changed["guid"] == ""
    assert hq("computer", "set", "PC-1", "--unset", "MODEL")["variables"] == {}
    hq.fails("computer", "set", "PC-1", "--unset", "MODEL", code=6)
    hq.fails("computer", "set", "PC-1", "--no-mac", "00:1A:2B:3C:4D:99", code=6)
    assert hq("computer", "set", "PC-1", "--no-mac", MAC)["macs"] == []
    hq("computer", "remove", "PC-1")
    assert names(hq) == []
    hq.fails("computer", "remove", "PC-1", code=6)


@pytest.mark.parametrize(
    "wrong",
    [
        ("add", "PC_1"),
        ("add", "PC1", "--mac", "zz"),
        ("add", "PC1", "--guid", "03000200-0400-0500-0006-000700080009"),
        ("add", "PC1", "--variable", "Model"),
        ("add", "PC1", "--variable", "M=1"),
        ("add", "PC1", "--class", "../desk"),
        ("associate", "PC1"),
        ("associate",),
    ],
)
def test_wrong_words_are_wrong_usage(hq: Home, wrong: tuple[str, ...]) -> None:
    hq.fails("computer", *wrong, code=2)
    assert names(hq) == []


def test_a_name_alone_is_taken_and_noted(hq: Home) -> None:
    """`courier deploy create` prints this very command for a computer that is not known."""
    said = hq.says("computer", "add", "PC1")
    assert "known by its name alone" in said


def test_no_second_record_for_the_same_computer(hq: Home) -> None:
    hq("computer", "add", "PC1", "--guid", GUID, "--mac", MAC)
    assert "that of PC1" in hq.fails("computer", "add", "PC2", "--guid", GUID, code=3)["message"]
    assert "turned" in hq.fails("computer", "add", "PC2", "--guid", TWIN, code=3)["message"]
    error = hq.fails("computer", "add", "PC2", "--mac", MAC, code=3)
    assert error["hint"].endswith(f"courier computer shared-mac add {MAC}")
    hq("computer", "shared-mac", "add", MAC)
    hq("computer", "add", "PC2", "--mac", MAC)


def test_an_ambiguous_look_up_explains_itself(hq: Home) -> None:
    hq("computer", "add", "PC1", "--guid", GUID, "--mac", MAC)
    assert hq("computer", "show", MAC.replace(":", "-"))["computer"] == "PC1"
    assert hq("computer", "show", TWIN)["computer"] == "PC1"
    hq("computer", "shared-mac", "add", "001a2b3c4d5e", "--note", "dock of room 12")
    hq("computer", "add", "PC2", "--mac", MAC)
    error = hq.fails("computer", "show", MAC, code=3)
    assert "dock of room 12" in error["message"]
    assert error["code"] == "ambiguous-computer"
    assert "PC1, PC2" in hq.fails("computer", "shared-mac", "remove", MAC, code=3)["message"]
    assert hq("computer", "shared-mac", "list")["shared_macs"] == [{"mac": MAC, "note": "dock of room 12"}]
    hq("computer", "set", "PC2", "--no-mac", MAC)
    hq("computer", "shared-mac", "remove", MAC)
    hq.fails("computer", "shared-mac", "remove", MAC, code=6)
    assert hq("computer", "show", MAC)["computer"] == "PC1"
    hq.fails("computer", "show", "PC9", code=6)
    hq.fails("computer", "show", "00:1A:2B:3C:4D:77", code=6)


# --- whose state goes to whom ---------------------------------------------------------------------------------------


def captured(home: Home, source: str, destination: str, what: str = state.COMPLETE) -> None:
    site = open_site(home.path)
    row = Migration(
        migration="0" * 32, point="S1", source=source, destination=destination, state=what, begun_ns=1, captured_ns=2
    )
    with site.catalogue.writing() as connection:
        state.begin(connection, row)
    site.close()


@pytest.fixture
def pair(hq: Home) -> Home:
    for name in ("OLD", "NEW", "THIRD"):
        hq("computer", "add", name)
    hq("computer", "associate", "old", "new")
    return hq


def test_an_association_protects_both_of_its_computers(pair: Home) -> None:
    found = pair("computer", "associate", "--list")["associations"]
    assert [(one["source"], one["destination"]) for one in found] == [("OLD", "NEW")]
    for name in ("OLD", "NEW"):
        error = pair.fails("computer", "remove", name, code=3)
        assert error["code"] == "computer-in-use"
        assert "courier computer dissociate OLD" in error["hint"]
    pair("computer", "dissociate", "OLD")
    pair.fails("computer", "dissociate", "OLD", code=6)
    pair("computer", "remove", "OLD")


def test_an_association_is_made_before_the_capture_and_stays_after_it(pair: Home) -> None:
    pair("computer", "associate", "OLD", "THIRD")
    captured(pair, "OLD", "THIRD")
    for command in (("associate", "OLD", "NEW"), ("dissociate", "OLD")):
        error = pair.fails("computer", *command, code=3)
        assert "captured for THIRD already" in error["message"]
        assert "courier state release THIRD" in error["hint"]
    pair.fails("computer", "remove", "THIRD", code=3)


def test_what_was_released_hinders_nothing(pair: Home) -> None:
    captured(pair, "OLD", "NEW", state.RELEASED)
    pair("computer", "associate", "OLD", "THIRD")
    pair("computer", "remove", "NEW")


def test_a_computer_gets_the_state_of_one_other_or_of_itself(pair: Home) -> None:
    assert "gets the state of OLD already" in pair.fails("computer", "associate", "THIRD", "NEW", code=3)["message"]
    pair("computer", "associate", "THIRD", "THIRD")
    pair.fails("computer", "associate", "OLD", "NONE", code=6)
