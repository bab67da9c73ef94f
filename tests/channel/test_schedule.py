"""When an address may be used, how fast, and when it is tried again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.channel.schedule import (
    EXPIRY_NS,
    OPEN_WEEK,
    SECOND_NS,
    Level,
    Limits,
    change,
    parse_caps,
    parse_pulse,
    parse_week,
    rate_text,
    resend_ns,
    retry_ns,
    week_text,
)
from courier.errors import RefusedError, UsageError

WEEKS = st.text("amhc", min_size=168, max_size=168)


def at(text: str) -> int:
    """Nanoseconds of a moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    ("level", "admitted"),
    [
        (Level.ALL, {"high", "medium", "low"}),
        (Level.MEDIUM, {"high", "medium"}),
        (Level.HIGH, {"high"}),
        (Level.CLOSED, set()),
    ],
)
def test_four_levels_admit_by_priority(level: Level, admitted: set[str]) -> None:
    limits = Limits(week=parse_week(str(level)))
    assert {p for p in ("high", "medium", "low") if limits.admits(p, at("2026-11-24 12:00"))} == admitted


def test_hours_are_those_of_the_senders_zone() -> None:
    limits = Limits(week=parse_week("mon-fri 8-18 closed"), zone="Europe/Berlin")
    # 24 November 2026 is a Tuesday, and Berlin is an hour ahead.
    assert [limits.level(at(f"2026-11-24 {hour}")) for hour in ("06:59", "07:00", "16:59", "17:00")] == [
        Level.ALL,
        Level.CLOSED,
        Level.CLOSED,
        Level.ALL,
    ]
    assert limits.level(at("2026-11-28 12:00")) == Level.ALL
    # In July it is two hours ahead.
    assert limits.level(at("2026-07-21 06:00")) == Level.CLOSED


def test_a_closed_address_says_when_it_opens() -> None:
    limits = Limits(week=parse_week("mon-fri closed; sat,sun high; sun 20-22 all"), zone="Asia/Kolkata")
    now = at("2026-11-24 12:07")
    assert limits.opens_ns("high", now) == at("2026-11-27 18:30")  # half an hour off the full one
    assert limits.opens_ns("low", now) == at("2026-11-29 14:30")
    assert Limits(week=parse_week("closed")).opens_ns("high", now) is None


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("closed", 168),
        ("mon closed", 24),
        ("sat-mon closed", 72),
        ("mon,wed 8-10 closed", 4),
        ("daily 22-6 closed", 56),
        ("0-24 closed", 168),
        ("mon closed; mon 8-10 all", 22),
        (" MON-FRI   8-9  Closed ; ", 5),
    ],
)
def test_rules_of_a_schedule(text: str, hours: int) -> None:
    assert parse_week(text).count("c") == hours


@pytest.mark.parametrize(
    "text",
    ["shut", "mon", "mon 8 closed", "mon 8-25 closed", "mon 8-8 closed", "24-2 all", "m-f closed", "mon- closed"],
)
def test_rules_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_week(text)


@given(WEEKS)
def test_a_week_can_be_read_again_from_its_text(week: str) -> None:
    assert parse_week(week_text(week)) == week


def test_caps_by_hour() -> None:
    caps = parse_caps("8-18 200KB/s; 18-8 5MB")
    assert (caps[7], caps[8], caps[17], caps[18]) == (5_000_000, 200_000, 200_000, 5_000_000)
    assert parse_caps("none") == (0,) * 24
    limits = Limits(caps=caps, zone="America/New_York")
    assert limits.pause_ns(100_000, at("2026-11-24 14:00")) == SECOND_NS // 2
    assert limits.block(at("2026-11-24 14:00"), 1 << 20) == 200_000
    assert limits.block(at("2026-11-24 04:00"), 1 << 20) == 1 << 20
    for bad in ("fast", "1", "8-18", "8-18 1KB/m", "-1KB", "2000TB"):
        with pytest.raises(UsageError):
            parse_caps(bad)


def test_pulse_is_a_block_and_a_delay() -> None:
    assert parse_pulse("64KB/5s") == (64_000, 5000)
    assert parse_pulse("1MiB/250ms") == (1 << 20, 250)
    limits = Limits(pulse_bytes=64_000, pulse_ms=5000)
    assert limits.block(0, 1 << 20) == 64_000
    assert limits.pause_ns(10, 0) == 5 * SECOND_NS
    for bad in ("64KB", "5s", "64KB/0s", "1/1s", "64KB/2h", "64KB/-1s"):
        with pytest.raises(UsageError):
            parse_pulse(bad)


def test_cap_and_pulse_exclude_each_other() -> None:
    capped = change(Limits(), schedule=None, zone=None, cap="1MB/s", pulse=None)
    pulsed = change(capped, schedule=None, zone=None, cap=None, pulse="64KB/5s")
    assert (pulsed.pulse_bytes, any(pulsed.caps)) == (64_000, False)
    again = change(pulsed, schedule=None, zone=None, cap="1MB/s", pulse=None)
    assert (again.pulse_bytes, again.caps[0]) == (0, 1_000_000)
    assert change(again, schedule=None, zone=None, cap="none", pulse=None) == Limits()
    with pytest.raises(UsageError):
        change(Limits(), schedule=None, zone=None, cap="1MB/s", pulse="64KB/5s")
    with pytest.raises(UsageError):
        change(Limits(), schedule=None, zone="Europe/Atlantis", cap=None, pulse=None)
    assert [rate_text(one) for one in (Limits(), capped, pulsed)] == ["none", "1MB/s", "pulse 64KB/5000ms"]


@given(
    st.builds(
        Limits,
        week=WEEKS,
        zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]),
        caps=st.tuples(*[st.integers(0, 10**12)] * 24),
        pulse_bytes=st.integers(0, 1 << 30),
        pulse_ms=st.integers(0, 3_600_000),
        retries=st.integers(0, 100),
        retry_seconds=st.integers(1, 604_800),
    )
)
def test_limits_are_kept_as_they_are(limits: Limits) -> None:
    assert Limits.parse(limits.to_text()) == limits
    assert parse_caps(rate_text(Limits(caps=limits.caps)))[0] in (limits.caps[0], 0) if min(limits.caps) > 511 else True


@pytest.mark.parametrize("text", ["x", "{}", Limits(retries=1).to_text().replace("UTC", "Nowhere/At_all")])
def test_limits_that_were_tampered_with_are_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        Limits.parse(text)


def test_two_retries_a_minute_apart_then_back_off_to_an_hour() -> None:
    minutes = [retry_ns(Limits(), failures) // (60 * SECOND_NS) for failures in range(1, 12)]
    assert minutes == [1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert retry_ns(Limits(retries=0, retry_seconds=7200), 50) == 7200 * SECOND_NS


def test_a_message_goes_again_after_an_hour_then_ever_later_until_it_expires() -> None:
    hours = [resend_ns(attempts) // (3600 * SECOND_NS) for attempts in range(1, 8)]
    assert hours == [1, 2, 4, 8, 16, 24, 24]
    assert EXPIRY_NS > 60 * 24 * 3600 * SECOND_NS


def test_an_address_without_a_schedule_is_open_all_week() -> None:
    assert Limits().week == OPEN_WEEK
    assert all(Limits().admits(priority, at("2026-11-28 03:00")) for priority in ("high", "medium", "low"))
