"""Rates have their unit, spans of time are read as they are written, and silly ones are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.errors import UsageError
from courier.planning.quantities import parse_rate, parse_share, parse_span, rate_text, share_text, span_text


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2MB/s", 2_000_000),
        ("16Mbit/s", 2_000_000),
        ("16 Mbit/s", 2_000_000),
        ("100kbit/s", 12_500),
        ("0.5MiB/s", 524_288),
        ("2.5Gbit/s", 312_500_000),
        ("10Mbitps", 1_250_000),
        ("800B/s", 800),
    ],
)
def test_a_rate_is_read_with_its_unit(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "2", "2MB", "0MB/s", "0Mbit/s", "16Mb/s", "16 b/s", "2XB/s", "-1MB/s", "9999999TB/s", "1bit/s", "fast"]
)
def test_a_rate_without_a_unit_of_nothing_or_out_of_reach_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_rate(text)
    assert refused.value.hint


def test_bits_and_bytes_are_told_apart() -> None:
    with pytest.raises(UsageError, match="bytes or bits"):
        parse_rate("16Mb/s")
    assert rate_text(2_000_000) == "2.0 MB/s (16.0 Mbit/s)"
    assert rate_text(100) == "100 bytes/s (800 bit/s)"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2d", 172_800),
        ("36h", 129_600),
        ("1d 12h", 129_600),
        ("90min", 5400),
        ("0", 0),
        ("1.5h", 5400),
        ("1w", 604_800),
    ],
)
def test_a_span_of_time_is_read(text: str, seconds: int) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "d", "-1d", "2 days", "1d-", "999999999w", "soon"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_span(text)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_longer_span_is_never_shorter_in_words(one: int, other: int) -> None:
    units = {"s": 1, "min": 60, "h": 3600, "d": 86_400}

    def value(seconds: int) -> int:
        words = span_text(seconds).replace(",", "").split()
        return sum(int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))

    assert (one <= other) == (value(one) <= value(other)) or value(one) == value(other)
    assert one <= value(one) < one + 86_400


@pytest.mark.parametrize(("text", "share"), [("0%", 0), ("1%", 0.01), ("0.5%", 0.005), ("100%", 1)])
def test_a_share_is_read(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


def test_a_share_in_words_is_never_nothing_where_it_is_something() -> None:
    assert [share_text(share) for share in (0, 0.0001, 0.014, 0.4, 1)] == ["0%", "<1%", "1%", "40%", "100%"]


@pytest.mark.parametrize("text", ["1", "101%", "-1%", "x%", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_share(text)
