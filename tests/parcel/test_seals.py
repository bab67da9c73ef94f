"""Seals of several sets of media: each is compared with those of its own set alone."""

from __future__ import annotations

import pytest

from courier.parcel.custody import LedgerLine
from courier.parcel.seals import PutOn, judge_seals, seal_on, sets_known
from formats.documents.custody import MAIN, CustodyEntry, SealMark


def ledger(*entries: tuple[str, str, int, str]) -> list[LedgerLine]:
    """Proved lines of (site, event, set, serial number on volume 1)."""
    lines = []
    for number, (site, event, copy, serial) in enumerate(entries, 1):
        entry = CustodyEntry(
            parcel="HQ1-000001",
            site=site,
            book=MAIN,
            number=1,
            previous="",
            after=(),
            at_ns=number,
            operator="anna",
            event=event,
            copy=copy,
            seals=(SealMark(volume=1, serial=serial),),
        )
        lines.append(LedgerLine(name=f"{number}", entry=entry, proved=True))
    return lines


@pytest.mark.parametrize(
    ("sets", "copy", "serial"),
    [
        # A seal of an entry that names no set is on the only set that is known, if any.
        ({0: "Z"}, 0, "Z"),
        ({0: "Z"}, 2, "Z"),
        ({0: "Z", 1: ""}, 1, "Z"),
        ({0: "Z", 1: "A"}, 1, "A"),
        ({0: "Z", 1: "A"}, 0, "A"),
        # With another set known, it may be on that one.
        ({0: "Z", 1: "A"}, 2, ""),
        ({0: "Z", 1: "A", 2: "B"}, 2, "B"),
        ({0: "Z", 1: "A", 2: "B"}, 0, ""),
    ],
)
def test_a_seal_of_no_set_counts_where_no_other_set_is_known(sets: dict[int, str], copy: int, serial: str) -> None:
    on = {(number, 1 if text else 9): PutOn(serial=text or "on volume 9", site="HQ1") for number, text in sets.items()}
    found = seal_on(on, sets_known(on), copy, 1)
    assert (found.serial if found else "") == serial


def test_who_does_not_know_of_sets_and_seals_again_seals_the_only_one() -> None:
    seals = judge_seals(ledger(("HQ1", "sealed", 1, "A1"), ("BR1", "sealed", 0, "C77"), ("BR1", "received", 1, "C77")))
    assert seals.on == {(1, 1): PutOn(serial="C77", site="BR1")}
    assert len(seals.warnings) == 1
    assert "re-sealed by BR1" in seals.warnings[0]


def test_the_seals_of_a_shipment_that_was_taken_back_stand_for_nothing() -> None:
    lines = ledger(("HQ1", "sealed", 1, "A1"), ("HQ1", "sealed", 2, "B1"), ("HQ1", "taken-back", 1, ""))
    assert judge_seals(lines).on == {(2, 1): PutOn(serial="B1", site="HQ1")}
