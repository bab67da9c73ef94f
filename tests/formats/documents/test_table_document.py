"""The documents of a parcel that goes by network, in signed pieces; and the receipt of a part of a parcel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from formats.documents.fields import PackageRef
from formats.documents.receipt import Outcome, Receipt, ReceiptPackage
from formats.documents.repair import PART_BYTES
from formats.documents.table import TablePart
from formats.errors import FormatError, MalformedError

SHA = "ab" * 32
PIECE = TablePart(
    parcel="HQ1-000042",
    source="HQ1",
    build=SHA,
    site="BR1",
    issued_ns=10**18,
    packing_list=SHA,
    table="contents",
    part=2,
    of=3,
    data=b"bytes",
)
PART = Receipt(
    parcel="HQ1-000042",
    source="HQ1",
    destination="BR1",
    build=SHA,
    packing_list=SHA,
    issued_ns=10**18,
    packages=(ReceiptPackage(package="HQ100001", version=1, listing=SHA, outcome=Outcome.IMPORTED),),
    volumes=(),
    outstanding=(PackageRef(package="HQ100002", version=1, listing=SHA),),
)


def test_the_example_of_the_formats_page() -> None:
    assert PIECE.payload() == (
        b'{"build":"' + SHA.encode() + b'","bytes":5,"format":"courier-parcel-table/1","from":"HQ1",'
        b'"issued":"2001-09-09T01:46:40.000000000Z","of":3,"packing_list":"' + SHA.encode() + b'",'
        b'"parcel":"HQ1-000042","part":2,"table":"contents","to":["BR1"]}\nbytes'
    )
    assert TablePart.parse(PIECE.payload()) == PIECE


@pytest.mark.parametrize(
    "change", [{"part": 4}, {"table": "other"}, {"data": b"x" * (PART_BYTES + 1)}, {"parcel": "BR1-000001"}]
)
def test_a_piece_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        TablePart.parse(replace(PIECE, **change).payload())


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_piece_cut_short_or_longer_is_refused(cut: int) -> None:
    payload = PIECE.payload()
    for bad in (payload[:-cut], payload + b"x" * cut, payload.replace(b"\n", b""), b"", b"\n"):
        with pytest.raises(FormatError):
            TablePart.parse(bad)


def test_a_receipt_says_what_is_outstanding_only_where_something_is() -> None:
    assert PART.partial
    assert Receipt.parse(PART.payload()) == PART
    whole = replace(PART, outstanding=())
    assert not whole.partial
    assert b"outstanding" not in whole.payload()
    assert b"ended" not in PART.payload()
    assert Receipt.parse(replace(PART, ended="recalled").payload()).ended == "recalled"


@pytest.mark.parametrize(
    "change",
    [
        {"outstanding": (PackageRef(package="HQ100001", version=1, listing=SHA),)},
        {"outstanding": PART.outstanding * 2},
        {"packages": ()},
        {"ended": "recalled", "outstanding": ()},
        {"ended": "lost"},
    ],
)
def test_a_receipt_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        Receipt.parse(replace(PART, **change).payload())
