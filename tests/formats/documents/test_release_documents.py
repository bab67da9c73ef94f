"""Recall, arrival report and key release: what is written is read again, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.documents.arrival import Arrival
from formats.documents.recall import Recall
from formats.documents.release import KeyRelease, ParcelKey
from formats.errors import FormatError, MalformedError, UnknownFormatError
from formats.records import decode, encode

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
times = st.integers(0, 2**60)
sites = st.text("ABCXYZ019", min_size=3, max_size=3)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
SECRET = "AGE-SECRET-KEY-1" + "Q" * 58
parcels = st.builds(lambda site, n: f"{site}-{n:06d}", sites, st.integers(0, 999_999))


@st.composite
def documents(draw: st.DrawFn) -> Recall | Arrival | KeyRelease | ParcelKey:
    parcel, build = draw(parcels), draw(digests)
    common: dict[str, Any] = {"parcel": parcel, "build": build}
    sender: dict[str, Any] = {**common, "source": parcel[:3], "issued_ns": draw(times)}
    match draw(st.integers(0, 3)):
        case 0:
            to = tuple(draw(st.lists(sites, min_size=1, max_size=3, unique=True)))
            return Recall(**sender, destinations=to, reason=draw(texts))
        case 1:
            volumes = draw(st.dictionaries(st.integers(1, 9_999), texts, max_size=5))
            return Arrival(**sender, destination=draw(sites), packing_list=draw(digests), volumes=volumes)
        case 2:
            return KeyRelease(**sender, destination=draw(sites), key=draw(st.binary(max_size=300)))
        case _:
            return ParcelKey(**common, identity=SECRET)


@given(documents())
def test_what_is_written_is_read_again(document: Recall | Arrival | KeyRelease | ParcelKey) -> None:
    assert type(document).parse(document.payload()) == document


@given(documents(), st.data())
def test_a_field_taken_out_or_of_another_kind_is_refused(
    document: Recall | Arrival | KeyRelease | ParcelKey, data: st.DataObject
) -> None:
    record = decode(document.payload())
    name = data.draw(st.sampled_from(sorted(record)))
    others: tuple[Any, ...] = (None, True, [5], {})
    for value in others:
        changed = {key: other for key, other in record.items() if key != name}
        if value is not None:
            changed[name] = value
        if changed == record:
            continue
        with pytest.raises(FormatError):
            type(document).parse(encode(changed))


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_our_errors(data: bytes) -> None:
    for kind in (Recall, Arrival, KeyRelease, ParcelKey):
        with pytest.raises(FormatError):
            kind.parse(data)


def test_a_parcel_key_never_shows_itself() -> None:
    key = ParcelKey(parcel="HQ1-000001", build="0" * 64, identity=SECRET)
    assert "SECRET" not in repr(key) + str(key)
    record = {**decode(key.payload()), "identity": "age-" + SECRET}
    with pytest.raises(MalformedError) as caught:
        ParcelKey.parse(encode(record))
    assert "Q" * 20 not in str(caught.value)


@given(documents())
def test_another_major_is_refused(document: Recall | Arrival | KeyRelease | ParcelKey) -> None:
    record = decode(document.payload())
    record["format"] = record["format"][:-1] + "2"
    with pytest.raises(UnknownFormatError):
        type(document).parse(encode(record))
