"""Rows: one JSON array a line, many decoded at once, one encoding of a meaning, errors that name their place."""

from __future__ import annotations

import io
import json
from typing import Annotated, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from memory import at_most

from formats.errors import FormatError, MalformedError, TooLargeError, UnknownFormatError
from formats.records import MAX_INT, Count, LineCodec, LineReader, Row, changed, matching, read_rows
from formats.records.lines import BATCH_BYTES, BATCH_LINES


class Pair(Row, tag="p", frozen=True, kw_only=True):
    left: str
    right: Count
    more: tuple[Count, ...] = ()


class Single(Row, tag="s", frozen=True, kw_only=True):
    word: Annotated[str, matching("[a-z]+")]


def _judge(row: Pair | Single) -> None:
    if isinstance(row, Pair) and row.right == 13:
        raise MalformedError("unlucky", place="right")


CODEC: LineCodec[Pair | Single] = LineCodec(Pair | Single, _judge)
LONGEST = 1 << 16

pairs = st.builds(
    Pair,
    left=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    right=st.integers(14, MAX_INT),
    more=st.lists(st.integers(0, MAX_INT), max_size=3).map(tuple),
)
rows = st.lists(pairs | st.builds(Single, word=st.text("abz", min_size=1, max_size=9)), max_size=20)


def read(data: bytes, count: int | None = None, longest: int = LONGEST) -> list[tuple[Pair | Single, bytes]]:
    reader = LineReader(io.BytesIO(data), longest=longest, place="file")
    return list(read_rows(reader, CODEC, count=count, place=lambda n: f"file:{n + 1}"))


def row(*items: Any) -> bytes:
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


@given(rows)
def test_rows_come_out_of_their_lines_as_they_went_in(made: list[Pair | Single]) -> None:
    data = CODEC.encode(made)
    assert data == b"".join(map(CODEC.line, made))
    assert [found for found, _ in read(data)] == made
    assert b"".join(line for _, line in read(data)) == data


@pytest.mark.parametrize("number", [0, 1, BATCH_LINES - 1, BATCH_LINES, BATCH_LINES + 1, 3 * BATCH_LINES + 7])
def test_more_lines_than_a_batch_holds_are_read_in_order(number: int) -> None:
    made = [Pair(left="x", right=n + 14) for n in range(number)]
    data = CODEC.encode(made)
    assert [found for found, _ in read(data)] == made
    assert [found for found, _ in read(data + b"rubbish\n", count=number)] == made
    with pytest.raises(MalformedError) as caught:
        read(data, count=number + 1)
    assert caught.value.place == "file"


@pytest.mark.parametrize("at", [0, 1, BATCH_LINES - 1, BATCH_LINES, 2 * BATCH_LINES + 5])
@pytest.mark.parametrize(
    ("bad", "place"), [(row("p", "x", 13, []), ".right"), (row("p", "x", -1, []), ".right"), (b"\n", "")]
)
def test_the_place_of_a_fault_is_right_in_every_batch(at: int, bad: bytes, place: str) -> None:
    text = [CODEC.line(Pair(left="x", right=n + 14)) for n in range(3 * BATCH_LINES)]
    text[at] = bad
    with pytest.raises(MalformedError) as caught:
        read(b"".join(text))
    assert caught.value.place == f"file:{at + 1}{place}"


def test_lines_are_read_up_to_the_longest_and_no_longer() -> None:
    line = CODEC.line(Pair(left="x" * 1000, right=1))
    assert len(read(line, longest=len(line))) == 1
    for longest in (len(line) - 1, 10, 1):
        with pytest.raises(TooLargeError) as caught:
            read(CODEC.line(Single(word="a")) * (longest > 9) + line, longest=longest)
        assert caught.value.place == f"file:{1 + (longest > 9)}"


def test_a_batch_of_long_lines_ends_before_memory_does() -> None:
    line = CODEC.line(Pair(left="x" * (LONGEST - 20), right=1))
    reader = LineReader(io.BytesIO(line * 1000), longest=LONGEST, place="file")
    batch = reader.batch()
    assert sum(map(len, batch)) < BATCH_BYTES + LONGEST
    assert reader.number == len(batch) < 20
    with at_most(8 << 20):
        assert sum(1 for _ in read_rows(reader, CODEC, place=str)) == 1000 - len(batch)


def test_a_line_cut_short_is_refused() -> None:
    data = CODEC.encode([Single(word="a"), Single(word="b")])
    for at in range(len(data)):
        assert at == data.index(b"\n") + 1 or not at or _place(data[:at])
    assert _place(data[:-1]) == "file:2"


def _place(data: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        read(data)
    return caught.value.place


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        (b'["x","a",1,[]]', "", "a line of the kind 'x', which is not known here"),
        (b'["x"]', "", "a line of the kind 'x', which is not known here"),
        (b'["","a",1,[]]', "", "a line of the kind '', which is not known here"),
        (b'[1,"a",1,[]]', "", "not a string"),
        (b'["p",1,1,[]]', ".left", "not a string"),
        (b'["p","a","1",[]]', ".right", "not an integer"),
        (b'["p","a",1.0,[]]', ".right", "not an integer"),
        (b'["p","a",1e0,[]]', ".right", "not an integer"),
        (b'["p","a",1.5,[]]', ".right", "not an integer"),
        (b'["p","a",true,[]]', ".right", "not an integer"),
        (b'["p","a",null,[]]', ".right", "not an integer"),
        (b'["p","a",9223372036854775808,[]]', ".right", "not an integer of 9223372036854775807 or less"),
        (b'["p","a",' + b"9" * 5000 + b",[]]", ".right", "Integer value out of range"),
        (b'["p","a",1,[1,2.0]]', ".more[1]", "not an integer"),
        (b'["p","a",1,{}]', ".more", "not a list"),
        (b'["s","A"]', ".word", "not of the form [a-z]+"),
        (b'["s","a\\n"]', ".word", "not of the form [a-z]+"),
        (b'["s","a","b"]', "", "more items than a line of its kind has"),
        (b'["p","a",1,[],0]', "", "more items than a line of its kind has"),
        (b'["p","a"]', "", "fewer items than a line of its kind has"),
        (b'["p","a",1]', "", "fewer items than a line of its kind has"),
        (b"[]", "", "fewer items than a line of its kind has"),
        (b'{"left":"a"}', "", "not a list"),
        (b"null", "", "not a list"),
        (b'"p"', "", "not a list"),
        (b'["p","a",01,[]]', "", "not JSON"),
        (b'["p","a",-0,[]]', "", "not in canonical form"),
        (b'["p","\\u0061",1,[]]', "", "not in canonical form"),
        (b'["p","\\/",1,[]]', "", "not in canonical form"),
        (b'["p","\\u00E9",1,[]]', "", "not in canonical form"),
        (b'["p","\\u001F",1,[]]', "", "not in canonical form"),
        (b'["p", "a",1,[]]', "", "not in canonical form"),
        (b' ["p","a",1,[]]', "", "not in canonical form"),
        (b'["p","a",1,[]]\r', "", "not in canonical form"),
        (b'["p","\\ud800",1,[]]', "", "not JSON"),
        (b'["p","\xff",1,[]]', "", "not JSON"),
        (b'["p","a",1,[]]["s","a"]', "", "not JSON"),
        (b'["p","a",1,[]', "", "not JSON"),
        (b"", "", "not JSON"),
        (b"[" * 5000, "", "nested too deep"),
    ],
)
def test_there_is_one_encoding_of_a_meaning_and_each_fault_has_its_place(line: bytes, place: str, message: str) -> None:
    good = CODEC.line(Single(word="good"))
    for data, number in ((line + b"\n", 1), (good * 5 + line + b"\n" + good, 6)):
        with pytest.raises(UnknownFormatError if "kind '" in message else MalformedError) as caught:
            read(data)
        assert (caught.value.place, caught.value.message) == (f"file:{number}{place}", message)


@given(st.binary(max_size=80) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b'["p","a",1,[]]')
@example(b'["p","a",1,[]]\n\n["s","a"]')
@example(b'["s","a"]\n ')
def test_what_is_read_of_any_bytes_writes_the_same_bytes(data: bytes) -> None:
    try:
        found = read(data + b"\n")
    except FormatError:
        return
    assert CODEC.encode([each for each, _ in found]) == data + b"\n"


@given(rows.filter(bool), st.data())
def test_a_byte_changed_anywhere_changes_what_is_read_or_is_refused(
    made: list[Pair | Single], data: st.DataObject
) -> None:
    good = CODEC.encode(made)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    try:
        found = [each for each, _ in read(bad)]
    except FormatError:
        return
    assert found != made
    assert CODEC.encode(found) == bad


def test_a_changed_row_is_another_row() -> None:
    assert changed(Pair(left="a", right=1), right=2) == Pair(left="a", right=2)
