"""How long the network takes: within schedule and caps, each file with its cost, and never less for more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.channel.schedule import Limits, change
from courier.planning.network_time import NO_LIMITS, SLOT_NS, Line, Timetable

MONDAY = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * 10**9
HOUR = 3600
LINE = Line(rate=1_000_000, trip_ns=0, piece=1 << 20)


def limits(schedule: str | None = None, cap: str | None = None, pulse: str | None = None, zone: str = "UTC") -> Limits:
    return change(NO_LIMITS, schedule=schedule, zone=zone, cap=cap, pulse=pulse)


def seconds(line: Line, size: int, files: int = 1, start: int = MONDAY) -> int | None:
    return Timetable(line, start).transfer(size, files).seconds


def test_without_limits_it_is_bytes_by_rate_and_files_by_round_trips() -> None:
    assert seconds(LINE, 3_600_000_000) == HOUR
    far = replace(LINE, trip_ns=10**8)
    assert seconds(far, 0, files=1000) == 100
    # A piece of 1 MiB takes 1.048576 s and a round trip of 0.1 s.
    assert seconds(far, 1_000_000_000, files=0) == pytest.approx(1000 * 1.148576 / 1.048576, abs=2)


def test_closed_hours_are_waited_for_in_the_time_zone_of_the_schedule() -> None:
    nights = replace(LINE, limits=limits("8-18 closed"))
    assert seconds(nights, HOUR * 10**6, start=MONDAY + 8 * HOUR * 10**9) == 11 * HOUR
    there = replace(LINE, limits=limits("8-18 closed", zone="Asia/Kolkata"))  # 18 there is 12:30 here
    assert seconds(there, HOUR * 10**6, start=MONDAY + 8 * HOUR * 10**9) == 5.5 * HOUR


def test_a_priority_goes_in_the_hours_that_take_it_only() -> None:
    line = replace(LINE, limits=limits("0-12 high"))
    assert seconds(line, 1_000_000) == 12 * HOUR + 1
    assert seconds(replace(line, priority="high"), 1_000_000) == 1


def test_a_cap_and_pulses_bound_the_speed_and_the_share_of_the_line() -> None:
    capped = Timetable(replace(LINE, limits=limits(cap="100KB/s")), MONDAY).transfer(36_000_000, 1)
    assert capped.seconds == 360
    assert capped.share == pytest.approx(0.1)
    pulsed = Timetable(replace(LINE, limits=limits(pulse="64KB/5s")), MONDAY).transfer(64_000 * 60, 1)
    assert pulsed.seconds == pytest.approx(300, abs=1)


def test_caps_change_by_the_hour() -> None:
    line = replace(LINE, limits=limits(cap="0-1 100KB/s; 1-24 500KB/s"))
    assert seconds(line, 360_000_000 + 500_000) == HOUR + 1


def test_many_weeks_are_as_one_after_the_other() -> None:
    line = replace(LINE, limits=limits("mon 0-23 closed; tue-sun closed"))  # one hour a week
    assert seconds(line, 10 * HOUR * 10**6) == 9 * 7 * 24 * HOUR + 24 * HOUR


def test_what_is_closed_at_every_hour_or_takes_over_a_hundred_years_never_ends() -> None:
    assert seconds(replace(LINE, limits=limits("closed")), 1) is None
    assert seconds(replace(LINE, limits=limits("closed")), 0, files=0) == 0
    assert seconds(replace(LINE, rate=1), 10**18) is None


WEEKS = st.sampled_from([None, "8-18 closed", "mon-fri 7-19 high; sun closed", "22-6 all; 6-22 closed"])
CAPS = st.sampled_from([None, "200KB/s", "8-18 20KB/s; 18-8 5MB/s"])
LINES = st.builds(
    lambda rate, trip, schedule, cap: Line(rate=rate, trip_ns=trip, piece=1 << 20, limits=limits(schedule, cap)),
    st.integers(1, 10**10),
    st.integers(0, 10**10),
    WEEKS,
    CAPS,
)
SIZES = st.integers(0, 10**14)
STARTS = st.integers(0, 7 * 24 * HOUR * 10**9).map(lambda ns: MONDAY + ns)


@given(LINES, SIZES, SIZES, st.integers(0, 10**6), st.integers(0, 10**6), STARTS)
def test_more_bytes_or_files_never_end_sooner(
    line: Line, size: int, more: int, files: int, more_files: int, start: int
) -> None:
    timetable = Timetable(line, start)
    first, then = timetable.transfer(size, files).seconds, timetable.transfer(size + more, files + more_files).seconds
    assert then is None or (first is not None and first <= then)


@given(LINES, SIZES, STARTS)
def test_it_never_takes_more_of_the_line_than_there_is_nor_less_time_than_its_bytes(
    line: Line, size: int, start: int
) -> None:
    found = Timetable(line, start).transfer(size, 1)
    if found.seconds is not None:
        assert 0 <= found.share <= 1
        assert found.seconds >= size // line.rate - 1
        assert found.seconds >= found.open_seconds - 1
        assert found.ends_ns is not None
        assert start <= found.ends_ns <= start + found.seconds * 10**9


@given(LINES, SIZES, STARTS)
def test_a_faster_line_is_never_slower(line: Line, size: int, start: int) -> None:
    slow, fast = (Timetable(one, start).transfer(size, 3).seconds for one in (line, replace(line, rate=2 * line.rate)))
    assert slow is None or (fast is not None and fast <= slow)


def test_a_timetable_begins_in_the_middle_of_a_quarter_of_an_hour() -> None:
    line = replace(LINE, limits=limits("1-24 closed"))
    start = MONDAY + HOUR * 10**9 - SLOT_NS // 2
    assert seconds(line, 451_000_000, start=start) == 450 + 23 * HOUR + 1
