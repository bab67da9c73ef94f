"""Tables of computers: how they are read, and how they are judged against what is known."""

from __future__ import annotations

import csv
import io
import random
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.deployment.computer_csv import Row, Table, decode_text, parse_columns, read_table
from courier.deployment.computer_import import ImportPlan, judge
from courier.errors import UsageError
from courier.site.catalog.computers import Computer, KnownComputer

GUID = "4C4C4544-0044-3510-8052-B4C04F4A3732"
TWIN = "44454C4C-4400-1035-8052-B4C04F4A3732"
MAC = "00:1A:2B:3C:4D:5E"


def read(text: str, columns: str | None = None, *, header: bool = True) -> Table:
    return read_table(text, name="c.csv", columns=parse_columns(columns) if columns else None, header=header)


def refused(text: str, columns: str | None = None, *, header: bool = True) -> list[tuple[int, str]]:
    return [(one.line, one.reason) for one in read(text, columns, header=header).refused]


def known(name: str, guid: str = "", *macs: str, **variables: str) -> KnownComputer:
    row = Computer(name=name, guid=guid, client_class="", group_name="", protected=0, identity="", added_ns=1)
    return KnownComputer(row=row, macs=macs, variables=variables)


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["NAME,SMBIOS-GUID,MAC", "name,guid,mac", "Computer Name,UUID,Mac Address", '"NAME","GUID","MAC"']
)
def test_a_header_in_any_usual_words(header: str) -> None:
    assert read(f"{header}\nPC1,{GUID},{MAC}\n").rows == (Row(line=2, name="PC1", guid=GUID, macs=(MAC,)),)


def test_columns_in_any_order_by_header_or_by_mapping() -> None:
    row = Row(line=2, name="PC1", guid=GUID, macs=(MAC,))
    assert read(f"MAC,NAME,GUID\n{MAC},PC1,{GUID}").rows == (row,)
    assert read(f"a,b,c\n{MAC},PC1,{GUID}", "MAC,NAME,GUID").rows == (row,)
    mapped = read(f"{GUID},x,PC1,Latitude,desk,north\n", "GUID,-,NAME,Model,CLASS,group", header=False)
    assert mapped.rows == (
        Row(line=1, name="PC1", guid=GUID, client_class="desk", group_name="north", variables={"Model": "Latitude"}),
    )


def test_without_a_header_the_columns_are_those_of_configuration_manager() -> None:
    assert read(f"PC1,{GUID},{MAC}\nPC2,,{MAC}", header=False).rows == (
        Row(line=1, name="PC1", guid=GUID, macs=(MAC,)),
        Row(line=2, name="PC2", macs=(MAC,)),
    )


def test_a_computer_where_the_header_should_be_is_never_lost() -> None:
    for columns in (None, "NAME,GUID,MAC"):
        with pytest.raises(UsageError, match="line 1: a computer") as caught:
            read(f"PC1,{GUID},{MAC}\nPC2,,{MAC}", columns)
        assert caught.value.hint == "--no-header"


def test_an_unknown_header_is_an_error_that_gives_the_mapping() -> None:
    with pytest.raises(UsageError, match="'Asset Tag'") as caught:
        read(f"NAME,Asset Tag,GUID\nPC1,7,{GUID}")
    assert "--columns 'NAME,AssetTag,GUID'" in caught.value.hint


@pytest.mark.parametrize("wrong", ["GUID,MAC", "NAME,NAME", "NAME,GUID,GUID", "NAME,Aa,aA", "NAME,x", "NAME,,MAC"])
def test_columns_that_make_no_sense_are_refused(wrong: str) -> None:
    with pytest.raises(UsageError):
        parse_columns(wrong)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_separators_and_line_ends(encoding: str, separator: str, newline: str) -> None:
    lines = [["NAME", "GUID", "MAC"], ["PC1", GUID, MAC], [], ["PC2", "", "00-1a-2b-3c-4d-5f"]]
    text = "".join(separator.join(line) + newline for line in lines)
    data = text.encode(encoding)
    if encoding in ("utf-16-le", "utf-16-be"):
        assert not data.startswith((b"\xff\xfe", b"\xfe\xff"))
    rows = read(decode_text(data, name="c.csv")).rows
    assert [(row.line, row.name) for row in rows] == [(2, "PC1"), (4, "PC2")]


def test_bytes_that_are_no_text_are_named_by_their_line() -> None:
    with pytest.raises(UsageError, match="line 2: not UTF-8"):
        decode_text("NAME\nBüro".encode("latin-1"), name="c.csv")


def test_line_breaks_within_quotes_and_a_separator_line_count_as_lines() -> None:
    table = read(f'sep=;\nPC1;{MAC};"Haus 3\nRaum 5"\nPC2;{MAC};"say ""hi"""\n', "NAME,MAC,Place", header=False)
    assert [(row.line, row.variables["Place"]) for row in table.rows] == [(2, "Haus 3\nRaum 5"), (4, 'say "hi"')]


def test_a_quote_that_does_not_end_is_an_error_of_its_line() -> None:
    with pytest.raises(UsageError, match="line 3"):
        read(f'NAME,MAC\nPC1,{MAC}\n"PC2,{MAC}\nPC3,{MAC}\n')


def test_every_line_that_cannot_be_taken_is_named_with_its_reason() -> None:
    text = (
        "NAME,GUID,MAC,Model\n"
        f"PC1,2.19E+26,{MAC},X\n"
        "PC2,,1.12E+11,X\n"
        f"PC3,{GUID}\n"
        f"PC4,{GUID},{MAC},X,more\n"
        f"PC 5,{GUID},{MAC},X\n"
        f"PC6,00000000-0000-0000-0000-000000000000,{MAC},X\n"
        f"PC7,{GUID},00:1A:2B,X\n"
        f"PC8,{GUID},{MAC},3E+5\n"
        f"PC9,{GUID},{MAC},{'x' * 5000}\n"
        f"PC10,{GUID},{MAC},X,,\n"
    )
    found = dict(refused(text, "NAME,GUID,MAC,Model"))
    assert sorted(found) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert "column 2 (GUID): a spreadsheet made 2.19E+26 of it" in found[2]
    assert "column 3 (MAC)" in found[3]
    assert "2 columns, where there are to be 4" in found[4]
    assert "5 columns" in found[5]
    assert "identifies no computer" in found[7]
    assert "column 4 (Model)" in found[9]


def test_several_macs_in_a_cell_or_in_columns() -> None:
    other = "00:1A:2B:3C:4D:5F"
    for text, columns in (
        (f'PC1,"{MAC}; 00-1a-2b-3c-4d-5f"', "NAME,MAC"),
        (f'PC1,"{MAC},{other}"', "NAME,MAC"),
        (f"PC1,{MAC},{other}", "NAME,MAC,MAC"),
    ):
        assert read(text, columns, header=False).rows[0].macs == (MAC, other)


CELL = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=20)


@settings(max_examples=100)
@given(st.lists(CELL, min_size=1, max_size=8), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]))
def test_what_a_spreadsheet_writes_is_read_back(values: list[str], separator: str, newline: str) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerow(["NAME", "MAC", "Note"])
    for number, value in enumerate(values):
        writer.writerow([f"PC{number}", f"00:1A:2B:3C:4D:{number:02X}", value])
    table = read(out.getvalue(), "NAME,MAC,Note")
    got = {row.name: row.variables.get("Note", "") for row in table.rows}
    assert {one.reason.partition(" ")[0] for one in table.refused} <= {"column"}
    for number, value in enumerate(values):
        assert got.get(f"PC{number}", value.strip()) == value.strip()
    assert len(table.rows) + len(table.refused) == len(values)


@given(st.text(max_size=300))
def test_no_text_whatever_raises_anything_else(text: str) -> None:
    for header in (True, False):
        try:
            read(text, header=header)
        except UsageError as error:
            assert error.hint


# --- judging --------------------------------------------------------------------------------------------------------


def plan(text: str, *there: KnownComputer, shared: dict[str, str] | None = None) -> ImportPlan:
    return judge(read(text, "NAME,GUID,MAC,Model", header=False), there, shared or {})


def test_new_changed_unchanged() -> None:
    found = plan(
        f"PC1,{GUID},{MAC},X1\npc2,,00:1A:2B:3C:4D:60,X2\nPC3,,00:1A:2B:3C:4D:61,X3\n",
        known("PC2", "", "00:1A:2B:3C:4D:62", MODEL="old", Other="stays"),
        known("PC3", "", "00:1A:2B:3C:4D:61", Model="X3"),
    )
    assert [one.computer.name for one in found.new] == ["PC1"]
    assert (found.unchanged, found.refused) == (1, ())
    (changed,) = found.changed
    assert changed.line == 2
    assert changed.computer.name == "PC2"
    assert changed.computer.variables == {"MODEL": "X2", "Other": "stays"}
    assert [(one.what, one.before, one.after) for one in changed.changes] == [
        ("MAC", "00:1A:2B:3C:4D:62", "00:1A:2B:3C:4D:60"),
        ("MODEL", "old", "X2"),
    ]


def test_what_a_file_leaves_empty_stays() -> None:
    found = plan("PC1,,,\n", known("PC1", GUID, MAC, Model="X"))
    assert (found.unchanged, found.new, found.changed) == (1, (), ())


def test_duplicates_within_the_file_are_named_by_line() -> None:
    found = plan(f"PC1,{GUID},{MAC},\npc1,,00:1A:2B:3C:4D:60,\nPC2,{GUID},,\nPC3,,{MAC},\nPC4,{TWIN},,\n")
    reasons = {one.line: one.reason for one in found.refused}
    assert "PC1" in reasons[2] or "pc1 is in line 1 already" in reasons[2]
    assert "GUID is that of line 1" in reasons[3]
    assert f"MAC {MAC} is that of line 1" in reasons[4]
    assert "bytes of its first three fields turned" in reasons[5]


def test_duplicates_against_the_database_are_named_by_computer() -> None:
    there = known("OLD", GUID, MAC)
    found = plan(f"PC1,{GUID},,\nPC2,{TWIN},,\nPC3,,{MAC},\n", there)
    reasons = {one.line: one.reason for one in found.refused}
    assert "computer OLD" in reasons[1]
    assert "computer OLD, with the bytes" in reasons[2]
    assert "computer OLD" in reasons[3]


def test_the_same_computer_with_its_bytes_turned_is_a_change_that_says_so() -> None:
    (changed,) = plan(f"PC1,{TWIN},,\n", known("PC1", GUID)).changed
    assert changed.changes[0].what == "GUID (the same bytes in another order)"


def test_two_computers_may_exchange_what_they_have() -> None:
    other = "11112222-3333-4444-5555-666677778888"
    found = plan(f"PC1,{other},,\nPC2,{GUID},,\n", known("PC1", GUID), known("PC2", other))
    assert (len(found.changed), found.refused) == (2, ())


def test_a_shared_mac_may_be_of_many_but_identifies_none() -> None:
    dock = {MAC: "dock"}
    found = plan(f"PC1,{GUID},{MAC},\nPC2,,00:1A:2B:3C:4D:60|{MAC},\nPC3,,{MAC},\n", shared=dock)
    assert [one.computer.name for one in found.new] == ["PC1", "PC2"]
    ((line, reason),) = [(one.line, one.reason) for one in found.refused]
    assert line == 3
    assert "shared by several computers (dock)" in reason


def test_a_computer_needs_something_to_be_recognised_by() -> None:
    ((reason,),) = [(one.reason,) for one in plan("PC1,,,X1\n").refused]
    assert "neither a GUID nor a MAC" in reason


def test_twenty_thousand_lines_are_judged_in_a_few_seconds() -> None:
    """The bound is generous: it is that nothing grows with the square. docs/deployment.md has what was measured."""
    chance = random.Random(1)
    count = 20_000
    lines = [
        f"PC-{n:06},{uuid.UUID(int=chance.getrandbits(128))},00{n:010x},Model{n % 7}\n" for n in range(1, count + 1)
    ]
    begun = time.process_time()
    found = plan("".join(lines))
    assert len(found.new) == count
    assert time.process_time() - begun < 10


# --- hostile files --------------------------------------------------------------------------------------------------


def test_a_computer_takes_no_more_than_its_policy_can_say() -> None:
    macs = " ".join(f"00:1A:2B:3C:00:{number:02X}" for number in range(65))
    (one,) = judge(read(f"NAME,MAC\nPC1,{macs}\n"), [], {}).refused
    assert "65 MAC addresses; 64 are the most" in one.reason
    before = known("PC1", "", MAC, **{f"Own{number}": "x" for number in range(999)})
    table = read(f"NAME,MAC,AA,BB\nPC1,{MAC},1,2\n", "NAME,MAC,AA,BB")
    (one,) = judge(table, [before], {}).refused
    assert "1,001 variables; 1,000 are the most" in one.reason


def test_a_shared_mac_is_taken_for_a_computer_whose_guid_is_known() -> None:
    table = read(f"NAME,MAC\nPC1,{MAC}\n")
    assert judge(table, [known("PC1", GUID)], {MAC: "dock"}).changed
    assert judge(table, [known("PC1", "", "00:1A:2B:3C:4D:5F")], {MAC: "dock"}).refused


def test_a_cell_without_an_end_is_said_to_be_one() -> None:
    with pytest.raises(UsageError, match="line 2: a cell of more than 131,072 characters") as caught:
        read(f'NAME,MAC\n"PC1,{MAC}\n' + "x" * 200_000)
    assert "quote without its end" in caught.value.hint


def test_a_header_of_very_many_columns_is_not_repeated() -> None:
    with pytest.raises(UsageError, match="300,001 columns") as caught:
        read("NAME" + ",x" * 300_000 + "\n")
    assert len(caught.value.hint) < 100


def test_more_rows_than_are_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courier.deployment.computer_csv.MAX_ROWS", 3)
    text = "NAME,MAC\n" + "".join(f"PC{number},00:1A:2B:3C:4D:0{number}\n" for number in range(4))
    assert len(read(text[: text.rindex("PC3")]).rows) == 3
    with pytest.raises(UsageError, match="more than 3 lines"):
        read(text)
