"""Labels at the desk are judged by the notice and the custody ledger alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from courier.parcel.custody import LedgerLine
from courier.receiving.intake_rules import entered_before, expected_seal, seal_mark, still_missing, superseded
from formats.documents.custody import CustodyEntry, SealMark
from formats.documents.notice import ShipNotice
from formats.documents.token import LabelToken

OLD, NEW = "a" * 64, "b" * 64
TOKEN = LabelToken(
    parcel="HQ1-000042",
    source="HQ1",
    destinations=("BR1",),
    number=2,
    of=5,
    edition=1,
    copy=1,
    packing_list=OLD[:32],
    issued_ns=100,
)
NOTICE = ShipNotice(
    parcel="HQ1-000042",
    source="HQ1",
    destinations=("BR1",),
    issued_ns=200,
    packing_list=OLD,
    build="c" * 64,
    volumes=5,
    priority="medium",
    packages=(),
    seals={2: "A2"},
    copy=1,
)


def line(event: str, at_ns: int, *numbers: int, site: str = "HQ1", proved: bool = True, **more: object) -> LedgerLine:
    entry = CustodyEntry(
        parcel="HQ1-000042",
        site=site,
        book="main",
        number=1,
        previous="",
        after=(),
        at_ns=at_ns,
        operator="",
        event=event,
        volumes=numbers,
        **more,  # type: ignore[arg-type]
    )
    return LedgerLine(name=f"{event}{at_ns}", entry=entry, proved=proved)


def test_a_label_of_the_announced_layout_counts() -> None:
    assert superseded(TOKEN, NOTICE, ()) == ""
    assert superseded(TOKEN, None, ()) == ""


def test_a_label_of_a_layout_before_the_announced_one_counts_no_more() -> None:
    assert "laid HQ1-000042 out anew" in superseded(TOKEN, replace(NOTICE, packing_list=NEW), ())


def test_a_label_that_is_newer_than_the_notice_counts() -> None:
    assert superseded(replace(TOKEN, issued_ns=201), replace(NOTICE, packing_list=NEW), ()) == ""


WRITTEN, AGAIN, REPLACED = line("written", 110, 1, 2, 3), line("written", 300, 2), line("replaced", 310, 2, copy=1)


@pytest.mark.parametrize(
    ("issued_ns", "lines", "counts"),
    [
        (100, [WRITTEN], True),
        (100, [WRITTEN, AGAIN], True),  # it may be of the set for another site
        (100, [WRITTEN, AGAIN, REPLACED], False),
        (290, [WRITTEN, AGAIN, REPLACED], True),  # the label of the new medium
        (100, [WRITTEN, AGAIN, line("replaced", 310, 2, copy=2)], True),
        (100, [WRITTEN, line("written", 300, 3), line("replaced", 310, 3, copy=1)], True),
        (100, [WRITTEN, AGAIN, line("replaced", 310, 2, copy=1, proved=False)], True),
        (100, [WRITTEN, AGAIN, line("replaced", 310, 2, copy=1, site="BR1")], True),
    ],
)
def test_the_label_of_a_replaced_medium_counts_no_more(issued_ns: int, lines: list[LedgerLine], counts: bool) -> None:
    assert (superseded(replace(TOKEN, issued_ns=issued_ns), NOTICE, lines) == "") is counts


def test_what_is_missing_is_of_one_set() -> None:
    lines = [line("received", 1, 1, 2, site="BR1", copy=1), line("received", 2, 4, site="BR1", copy=2)]
    lines.append(line("received", 3, 5, site="BR2", copy=1))
    assert still_missing(lines, "BR1", 1, 5, {3}) == (4, 5)
    assert still_missing(lines, "BR1", 0, 5, ()) == (3, 5)
    assert still_missing([*lines, line("received", 4, site="BR1")], "BR1", 1, 5, ()) == ()
    assert entered_before(lines, "BR1", 2, 1) is lines[0].entry
    assert entered_before(lines, "BR1", 2, 2) is None
    assert entered_before(lines, "BR1", 5, 1) is None


def test_what_came_before_it_was_replaced_is_missing_again() -> None:
    lines = [line("received", 200, 1, 2, site="BR1", copy=1), REPLACED]
    assert entered_before(lines, "BR1", 2, 1) is None
    assert still_missing(lines, "BR1", 1, 3, ()) == (2, 3)
    lines.append(line("received", 400, 2, site="BR1", copy=1))
    assert entered_before(lines, "BR1", 2, 1) is lines[2].entry
    assert still_missing(lines, "BR1", 1, 3, ()) == (3,)


def test_the_seal_that_is_due_is_that_of_the_ledger_else_of_the_notice() -> None:
    sealed = line("sealed", 1, 2, copy=1, seals=(SealMark(volume=2, serial="B2"),))
    assert expected_seal(2, 1, NOTICE, [sealed]) == "B2"
    assert expected_seal(2, 1, NOTICE, []) == "A2"
    assert expected_seal(2, 2, NOTICE, []) == ""
    assert expected_seal(3, 1, NOTICE, []) == ""
    assert expected_seal(2, 1, None, []) == ""


def test_seals_are_compared_whatever_their_case() -> None:
    assert seal_mark(2, "a2", "A2") == SealMark(volume=2, serial="A2", found="intact")
    assert seal_mark(2, "A3", "A2") == SealMark(volume=2, serial="A3", found="broken")
    assert seal_mark(2, "A3", "") == SealMark(volume=2, serial="A3")
