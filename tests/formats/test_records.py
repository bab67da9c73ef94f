"""Canonical JSON: one byte string for one meaning, and records that name the place of what they refuse."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from io import BytesIO
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from formats.digest import HashingReader, check_digest, chunks, sha256_hex
from formats.errors import DigestMismatchError, FormatError, MalformedError, TooLargeError, UnknownFormatError
from formats.names import check_site
from formats.records import (
    MAX_DEPTH,
    MAX_INT,
    MAX_VALUES,
    OPTIONAL,
    Check,
    Count,
    Digest,
    Key,
    NamedRecord,
    Number,
    Record,
    Text,
    Time,
    base64_text,
    decode,
    encode,
    format_time,
    integer,
    items,
    matching,
    one_each,
    parse_time,
    read,
    read_named,
    text,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), MAX_INT) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
FIRST_NS, LAST_NS = -62_135_596_800_000_000_000, 253_402_300_799_999_999_999


@given(VALUES)
def test_every_value_has_one_encoding_that_decodes_to_it(value: object) -> None:
    data = encode(value)
    assert decode(data) == value
    assert encode(decode(data)) == data


@given(VALUES, st.data())
def test_one_byte_changed_removed_or_added_is_refused_or_is_another_canonical_value(value: object, data: Any) -> None:
    good = encode(value)
    at = data.draw(st.integers(0, len(good) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    for bad in (good[:at] + byte + good[at + 1 :], good[:at] + good[at + 1 :], good[:at] + byte + good[at:]):
        try:
            assert encode(decode(bad)) == bad
        except MalformedError:
            continue


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"a":' * 50_000)
@example(b"9" * 5000)
@example(b"-" + b"9" * 25)
def test_any_bytes_decode_canonically_or_are_refused_by_our_errors(data: bytes) -> None:
    try:
        assert encode(decode(data, place="here")) == data
    except FormatError as error:
        assert error.place == "here"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" {}",
        b"{}\n",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"NaN",
        b"Infinity",
        b'"\\u0041"',
        b'"\\/"',
        b'"\\ud83d\\ude00"',
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        b'"a',
        b"[1,]",
        b"{}{}",
        b"123456789012345678901",
        b"'a'",
        b"\x00",
        "{}".encode("utf-16"),
    ],
)
def test_a_second_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data)


def test_nesting_has_one_limit_whatever_the_interpreter() -> None:
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert encode(decode(deepest)) == deepest
    assert decode(b"[" + b",".join([b"[[1]]"] * 100) + b"]")  # many brackets, yet not deep
    for deep in (b"[" + deepest + b"]", b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1)):
        with pytest.raises(TooLargeError):
            decode(deep)


@pytest.mark.parametrize("piece", [b"[]", b"{}", b'"ab"', b"1000"])
def test_a_document_of_very_many_values_is_refused_before_it_fills_the_memory(piece: bytes) -> None:
    bomb = b"[" + b",".join([piece] * (MAX_VALUES + 1)) + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            decode(bomb, place="payload")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@given(st.integers(FIRST_NS, LAST_NS))
@example(0)
@example(-1)
@example(FIRST_NS)
@example(LAST_NS)
def test_a_time_stamp_comes_out_as_it_went_in(ns: int) -> None:
    text = format_time(ns)
    assert len(text) == 30
    assert parse_time(text) == ns


def test_time_stamps_are_as_formats_md_gives_them() -> None:
    assert format_time(0) == "1970-01-01T00:00:00.000000000Z"
    assert format_time(-1) == "1969-12-31T23:59:59.999999999Z"
    assert format_time(FIRST_NS) == "0001-01-01T00:00:00.000000000Z"
    for ns in (FIRST_NS - 1, LAST_NS + 1, 10**30, -(10**30)):
        with pytest.raises(MalformedError):
            format_time(ns)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-24T09:30:00Z",
        "2026-11-24T09:30:00.000Z",
        "2026-11-24 09:30:00.000000000Z",
        "2026-11-24T09:30:00.000000000",
        "2026-11-24T09:30:00.000000000+00:00",
        "2026-02-30T09:30:00.000000000Z",
        "2026-13-01T09:30:00.000000000Z",
        "2026-11-24T24:00:00.000000000Z",
        "2026-11-24T09:30:60.000000000Z",
        "0000-01-01T00:00:00.000000000Z",
        "2026-11-24T09:30:00.000000000Z\n",
        "2026-11-24T09:30:00.\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660Z",
        "\u0662\u0660\u0662\u0666-11-24T09:30:00.000000000Z",
        "2026-11-24t09:30:00.000000000z",
    ],
)
def test_a_second_spelling_of_a_time_is_refused(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_time(text, place="issued")
    assert caught.value.place == "issued"


@given(st.text(st.sampled_from("0123456789-T:.Z\u0661\u09e7"), min_size=28, max_size=31))
def test_a_time_that_parses_formats_to_itself(text: str) -> None:
    try:
        ns = parse_time(text)
    except MalformedError:
        return
    assert format_time(ns) == text


@dataclass(frozen=True, kw_only=True, slots=True)
class Nothing(Record):
    """An object of which no key is known."""


WRONG: tuple[object, ...] = (None, True, 0, -1, MAX_INT + 1, "text", "", "a\0", [], ["x"], [1], {}, {"a": 1})
DECLARATIONS: tuple[tuple[Any, tuple[object, ...]], ...] = (
    (Text, ("text", "")),
    (Annotated[str, matching("t[a-z]+")], ("text",)),
    (Annotated[str, text(3)], ("",)),
    (Digest, ()),
    (Count, (0,)),
    (Annotated[int, integer(-5, -1)], (-1,)),
    (bool, (True,)),
    (Time, ()),
    (Annotated[bytes, base64_text(100)], ("text", "")),
    (Annotated[Text, Check(check_site)], ()),
    (Literal["text", "other"], ("text",)),
    (Nothing, ({}, {"a": 1})),
    (tuple[Nothing, ...], ([],)),
    (tuple[Text, ...], ([], ["x"])),
    (tuple[Number, ...], ([], [1])),
    (Annotated[tuple[Text, ...], items(1, 2)], (["x"],)),
)


@pytest.mark.parametrize(("declaration", "accepted"), DECLARATIONS)
def test_a_field_takes_what_it_declares_only_and_names_the_place(
    declaration: Any, accepted: tuple[object, ...]
) -> None:
    kind = make_dataclass("Kind", [("x", declaration)], bases=(Record,), frozen=True, kw_only=True)
    for value in WRONG:
        data = encode({"x": value})
        if any(type(value) is type(good) and value == good for good in accepted):
            record: Any = read(kind, data)
            # Keys that a release does not know are not kept.
            assert record.json() == (data if value != {"a": 1} else b'{"x":{}}')
            continue
        with pytest.raises(MalformedError) as caught:
            read(kind, data, place="volumes[3]")
        assert caught.value.place in ("volumes[3].x", "volumes[3].x[0]")
    with pytest.raises(MalformedError) as caught:
        read(kind, b"{}", place="volumes[3]")
    assert (caught.value.place, caught.value.message) == ("volumes[3].x", "missing")


@pytest.mark.parametrize("declaration", [int, str, float, tuple[int, ...]])
def test_a_field_without_limits_is_no_declaration(declaration: Any) -> None:
    kind = make_dataclass("Kind", [("x", declaration)], bases=(Record,), frozen=True, kw_only=True)
    with pytest.raises(TypeError, match="no limits"):
        read(kind, b"{}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive(Record):
    size: Count
    sites: tuple[Annotated[Text, Check(check_site)], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume(Record):
    archives: tuple[Archive, ...]

    def check(self) -> None:
        if len(self.archives) > 1:
            raise MalformedError("one at most", place="archives[1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Label(NamedRecord):
    NAME = "label"

    made_ns: Annotated[Time, Key("made")]
    volumes: tuple[Volume, ...] = ()
    note: Annotated[Text | None, OPTIONAL] = None


def test_places_nest_whoever_refuses() -> None:
    """msgspec by type and limit, a check of one value, a rule of a record, a value in another form."""
    good = {"size": 1, "sites": ["HQ1"]}
    for volumes, made, place in (
        ([{"archives": []}, {"archives": [{**good, "size": "1"}]}], 0, "volumes[1].archives[0].size"),
        ([{"archives": []}, {"archives": [{**good, "size": -1}]}], 0, "volumes[1].archives[0].size"),
        ([{"archives": [{**good, "sites": ["HQ1", "x"]}]}], 0, "volumes[0].archives[0].sites[1]"),
        ([{"archives": [{"size": 1}]}], 0, "volumes[0].archives[0].sites"),
        ([{"archives": [good, good]}], 0, "volumes[0].archives[1]"),
        ([{"archives": [[]]}], 0, "volumes[0].archives[0]"),
        ([], -(10**20), "made"),
    ):
        stamp = format_time(made) if made == 0 else "yesterday"
        data = encode({"format": "courier-label/1", "made": stamp, "volumes": volumes})
        for within in ("", "here"):
            with pytest.raises(MalformedError) as caught:
                read_named(Label, data, place=within)
            assert caught.value.place == (f"{within}.{place}" if within else place)
    with pytest.raises(MalformedError) as caught:
        read(Volume, b"[]")
    assert caught.value.place == "document"


def test_a_default_is_for_callers_and_only_an_optional_field_is_left_out() -> None:
    plain = Label(made_ns=0)
    data = b'{"format":"courier-label/1","made":"1970-01-01T00:00:00.000000000Z","volumes":[]}'
    assert plain.json() == data
    assert read_named(Label, data) == plain
    noted = Label(made_ns=0, note="x")
    assert read_named(Label, noted.json()) == noted
    for wrong, place in ((data.replace(b',"volumes":[]', b""), "volumes"), (data[:-1] + b',"note":null}', "note")):
        with pytest.raises(MalformedError) as caught:
            read_named(Label, encode(json.loads(wrong)))
        assert caught.value.place == place


def test_an_optional_field_that_spells_its_default_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Parcel(Record):
        way: Annotated[Literal["media", "network"], OPTIONAL] = "media"

    assert read(Parcel, b"{}") == Parcel()
    assert read(Parcel, b'{"way":"network"}') == Parcel(way="network")
    with pytest.raises(MalformedError) as caught:
        read(Parcel, b'{"way":"media"}')
    assert caught.value.place == "way"


@dataclass(frozen=True, kw_only=True, slots=True)
class Every(Record):
    number: Annotated[int, integer(1, 9)]
    name: Annotated[str, text(5)]
    word: Annotated[str, matching(r"a[a-z]*\.")]
    coding: Literal["store", "zstd"]
    list: Annotated[tuple[Nothing, ...], items(1, 2)]
    flag: bool


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": "1"}, "not an integer"),
        ({"number": 0}, "not an integer of 1 or more"),
        ({"number": 10}, "not an integer of 9 or less"),
        ({"name": 1}, "not a string"),
        ({"name": "longer"}, "more than 5 characters"),
        ({"name": "a\0"}, "holds a NUL"),
        ({"word": "bb"}, r"not of the form a[a-z]*\."),
        ({"coding": "xz"}, "unknown value 'xz'"),
        ({"coding": " matching regex x"}, "unknown value ' matching regex x'"),
        ({"coding": "x` - at `$.flag"}, "unknown value 'x` - at `$.flag'"),
        ({"list": {}}, "not a list"),
        ({"list": []}, "fewer than 1 items"),
        ({"list": [{}, {}, {}]}, "more than 2 items"),
        ({"list": [1]}, "not an object"),
        ({"flag": 1}, "not true or false"),
    ],
)
def test_what_is_wrong_is_said_in_our_words(changes: dict[str, Any], message: str) -> None:
    good = {"number": 1, "name": "", "word": "a.", "coding": "store", "list": [{}], "flag": True}
    read(Every, encode(good))
    with pytest.raises(MalformedError) as caught:
        read(Every, encode({**good, **changes}))
    assert caught.value.message == message
    assert caught.value.place.partition("[")[0] in changes


def test_bytes_that_only_a_lenient_decoder_takes_are_refused() -> None:
    """msgspec takes them; reading them must not."""
    good = b'{"archives":[{"sites":[],"size":1}]}'
    assert read(Volume, good).archives == (Archive(size=1, sites=()),)
    for bad in (
        b'{"archives":[{"sites":[],"size":2}],"archives":[{"sites":[],"size":1}]}',
        b'{"archives":[{"sites":[],"size":1,"size":1}]}',
        b'{"archives":[{"size":1,"sites":[]}]}',
        b'{"archives": [{"sites":[],"size":1}]}',
        b'{"archives":[{"sites":[],"size":1,"zz":1.5}]}',
        b'{"archives":[{"sites":[],"size":1,"zz":123456789012345678901}]}',
        b'{"archives":[{"sites":[],"size":1,"zz":"\\u0041"}]}',
        b'{"archives":[{"sites":[],"size":1}],"zz":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    ):
        with pytest.raises((MalformedError, TooLargeError)):
            read(Volume, bad)
    assert read(Volume, b'{"archives":[],"zz":[{"new":1}]}') == Volume(archives=())


@given(st.dictionaries(st.integers(1, 50), st.text("ab", max_size=3), max_size=5))
def test_a_mapping_is_a_list_in_order(mapping: dict[int, str]) -> None:
    assert read(Sealed, Sealed(seals=mapping).json()) == Sealed(seals=mapping)
    listed = [{"volume": key, "serial": mapping[key]} for key in sorted(mapping)]
    for bad in (listed[::-1] if len(listed) > 1 else None, listed + listed[:1] if listed else None, [*listed] * 6):
        if bad and bad != listed:
            with pytest.raises(MalformedError) as caught:
                read(Sealed, encode({"seals": bad}))
            assert caught.value.place == "seals"


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal(Record):
    volume: Number
    serial: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed(Record):
    seals: Annotated[Mapping[int, str], one_each(Seal, "volume", "serial", most=5)]


def test_a_record_with_a_name_says_first_what_it_is() -> None:
    good = {"format": "courier-label/1", "made": format_time(5), "volumes": []}
    assert read_named(Label, encode(good)).made_ns == 5
    for other in ("courier-label/2", "courier-label/1 ", "courier-other/1", "label/1", ""):
        with pytest.raises(UnknownFormatError) as caught:
            read_named(Label, encode({"format": other}))
        assert caught.value.place == "format"
    for missing in ({}, {"format": 1}, {"format": None}, {"format": "x" * 101}):
        with pytest.raises(MalformedError) as malformed:
            read_named(Label, encode({**good, **missing} if missing else {"made": 1}))
        assert malformed.value.place == "format"
    with pytest.raises(MalformedError):
        read_named(Label, b"[]")


def test_digests_are_64_lower_case_hexadecimal_characters() -> None:
    good = sha256_hex(b"")
    assert good == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert check_digest(good) == good
    for bad in (good.upper(), good[:-1], good + "0", good[:-1] + "g", good + "\n", "\u0661" * 64, ""):
        with pytest.raises(MalformedError) as caught:
            check_digest(bad, place="sha256")
        assert caught.value.place == "sha256"


def test_content_is_what_it_is_listed_as_by_size_and_digest() -> None:
    data = bytes(range(256)) * 40
    reader = HashingReader(BytesIO(data))
    assert b"".join(chunks(reader, 1000)) == data  # type: ignore[arg-type]
    reader.verify(size=len(data), sha256=sha256_hex(data), place="a")
    for size, digest in ((len(data) - 1, sha256_hex(data)), (len(data), sha256_hex(b""))):
        with pytest.raises(DigestMismatchError) as caught:
            reader.verify(size=size, sha256=digest, place="a")
        assert caught.value.place == "a"
