"""Canonical JSON: one byte string for one meaning, and getters that name the place of what they refuse."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from formats.digest import HashingReader, check_digest, chunks, sha256_hex
from formats.errors import DigestMismatchError, FormatError, MalformedError, TooLargeError, UnknownFormatError
from formats.records import (
    MAX_DEPTH,
    MAX_INT,
    MAX_VALUES,
    Fields,
    decode,
    encode,
    format_time,
    open_document,
    parse_time,
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


WRONG: tuple[object, ...] = (None, True, 0, -1, MAX_INT + 1, "text", "", [], ["x"], [1], {}, {"a": 1})
GETTERS: tuple[tuple[Callable[[Fields], object], tuple[object, ...]], ...] = (
    (lambda f: f.text("x"), ("text", "")),
    (lambda f: f.text("x", pattern="t[a-z]+"), ("text",)),
    (lambda f: f.text("x", longest=3), ("",)),
    (lambda f: f.digest("x"), ()),
    (lambda f: f.integer("x"), (0,)),
    (lambda f: f.integer("x", minimum=-5, maximum=-1), (-1,)),
    (lambda f: f.flag("x"), (True,)),
    (lambda f: f.time("x"), ()),
    (lambda f: f.object("x"), ({}, {"a": 1})),
    (lambda f: f.objects("x"), ([],)),
    (lambda f: f.texts("x"), ([], ["x"])),
    (lambda f: f.integers("x"), ([], [1])),
)


@pytest.mark.parametrize(("getter", "accepted"), GETTERS)
def test_a_getter_takes_its_own_type_only_and_names_the_place(
    getter: Callable[[Fields], object], accepted: tuple[object, ...]
) -> None:
    for value in WRONG:
        fields = Fields({"x": value}, "volumes[3]")
        if any(type(value) is type(good) and value == good for good in accepted):
            getter(fields)
            continue
        with pytest.raises(MalformedError) as caught:
            getter(fields)
        assert caught.value.place in ("volumes[3].x", "volumes[3].x[0]")
    with pytest.raises(MalformedError) as caught:
        getter(Fields({}, "volumes[3]"))
    assert (caught.value.place, caught.value.message) == ("volumes[3].x", "missing")


def test_places_nest() -> None:
    fields = Fields({"volumes": [{}, {"archives": [{"size": "1"}]}], "n": [1, "2"], "t": ["a", 2]})
    with pytest.raises(MalformedError) as caught:
        fields.objects("volumes")[1].objects("archives")[0].integer("size")
    assert caught.value.place == "volumes[1].archives[0].size"
    for getter, place in ((fields.integers, "n[1]"), (fields.texts, "t[1]")):
        with pytest.raises(MalformedError) as caught:
            getter(place[0])
        assert caught.value.place == place
    with pytest.raises(MalformedError) as caught:
        Fields([])
    assert caught.value.place == "document"


def test_a_document_says_first_what_it_is() -> None:
    good = encode({"format": "courier-label/1", "x": 1})
    assert open_document(good, name="label").integer("x") == 1
    for other in ("courier-label/2", "courier-label/1 ", "courier-other/1", "label/1", ""):
        with pytest.raises(UnknownFormatError) as caught:
            open_document(encode({"format": other}), name="label")
        assert caught.value.place == "format"
    for missing in ({}, {"format": 1}, {"format": None}, {"format": "x" * 101}):
        with pytest.raises(MalformedError):
            open_document(encode(missing), name="label")
    with pytest.raises(MalformedError):
        open_document(b"[]", name="label")


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
