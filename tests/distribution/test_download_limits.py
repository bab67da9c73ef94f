"""Windows, caps and priorities of a download, with a clock of the test's own."""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from courier.distribution import background_priority
from courier.distribution.background_priority import stand_back
from courier.distribution.download_limits import DownloadLimits, Priority, make_limits, parse_settings, parse_window
from courier.distribution.download_pace import Pace, SettingsFile, WindowClosedError
from courier.errors import StoppedError, UsageError

DAY = 24 * 60
SECOND = 10**9


def at(day: int, hour: int, minute: int = 0) -> int:
    """A time in the week of Monday, 5 January 2026, as nanoseconds."""
    return int(datetime(2026, 1, 5 + day, hour, minute, tzinfo=UTC).timestamp()) * SECOND


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)


def test_a_window_may_go_over_midnight_and_over_the_week() -> None:
    assert parse_window("mon 22:00-06:30") == [(22 * 60, DAY + 6 * 60 + 30)]
    assert parse_window("sun 22:00-06:00") == [(6 * DAY + 22 * 60, 7 * DAY), (0, 6 * 60)]
    assert len(parse_window("08:00-17:00")) == 7
    assert parse_window("sat,sun 00:00-24:00") == [(5 * DAY, 6 * DAY), (6 * DAY, 7 * DAY)]


@pytest.mark.parametrize("text", ["", "22-6", "24:00-01:00", "08:60-09:00", "08:00-08:00", "may 08:00-09:00", "x"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_window(text)


def test_limits_admit_by_the_minute_and_say_when_they_open() -> None:
    limits = make_limits(["mon-fri 20:00-06:00"], zone="UTC")
    assert not limits.admits(at(0, 19, 59))
    assert limits.admits(at(0, 20))
    assert limits.admits(at(5, 5, 59))
    assert not limits.admits(at(5, 6))
    assert limits.opens_ns(at(5, 12)) == at(7, 20)
    assert DownloadLimits().admits(at(0, 0))


def test_a_cap_holds_over_time_and_another_one_counts_in_its_hour() -> None:
    clock = Clock(at(0, 17, 59))
    limits = make_limits([], "8-18 1MB/s; 18-8 none", zone="UTC")
    pace = Pace(lambda: limits, stop=threading.Event(), now=clock, sleep=clock.sleep)
    begun, gone = clock.now_ns, 0
    while clock.now_ns < begun + 30 * SECOND:
        gone += pace.take(256 << 10)
    assert 0.95 < gone / 30_000_000 < 1.05
    clock.now_ns = at(0, 18)
    assert pace.take(256 << 10) == 256 << 10
    assert clock.now_ns == at(0, 18)


def test_a_closed_window_ends_transfers_and_is_waited_for() -> None:
    clock = Clock(at(0, 12))
    limits = make_limits(["20:00-21:00"], zone="UTC")
    pace = Pace(lambda: limits, stop=threading.Event(), now=clock, sleep=clock.sleep)
    with pytest.raises(WindowClosedError):
        pace.take(1)
    assert pace.wait_open() == 8 * 3600
    assert pace.take(1) == 1


def test_a_stopped_download_does_not_wait_for_its_window() -> None:
    stop = threading.Event()
    stop.set()
    limits = make_limits(["20:00-21:00"], zone="UTC")
    with pytest.raises(StoppedError):
        Pace(lambda: limits, stop=stop, now=Clock(at(0, 12))).wait_open()


def test_the_settings_are_read_again_and_wrong_ones_do_not_count(tmp_path: Path) -> None:
    path, said = tmp_path / "download.toml", list[str]()
    path.write_text('rate = "1MB/s"\nzone = "UTC"\n')
    seconds = 0.0
    settings = SettingsFile(path, warn=said.append, now=lambda: seconds)
    assert settings().cap(at(0, 1)) == 10**6
    path.write_text('rate = "2MB/s"\nwindow = ["20:00-06:00"]\nzone = "UTC"\n')
    assert settings().cap(at(0, 1)) == 10**6
    seconds = 1.5
    assert settings().cap(at(0, 1)) == 2 * 10**6
    assert not settings().admits(at(0, 12))
    path.write_text('rate = "very fast indeed"\n')
    seconds = 3
    assert settings().cap(at(0, 1)) == 2 * 10**6
    assert len(said) == 1
    path.unlink()
    seconds = 5
    assert settings().cap(at(0, 1)) == 2 * 10**6


@pytest.mark.parametrize("text", ["rate = 5", "window = [1]", 'speed = "1MB/s"', "rate", 'zone = "Mars"'])
def test_settings_that_are_none_are_named_with_their_file(text: str) -> None:
    with pytest.raises(UsageError, match=r"here\.toml"):
        parse_settings(text.encode(), where="here.toml")


@pytest.mark.parametrize("priority", Priority)
def test_only_the_foreground_does_not_stand_back(priority: Priority, monkeypatch: pytest.MonkeyPatch) -> None:
    nice, disk = list[int](), list[object]()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "getpriority", lambda *_: 0)
    monkeypatch.setattr(os, "setpriority", lambda _which, _who, value: nice.append(value))
    monkeypatch.setattr(background_priority, "_set_io", disk.append)
    stand_back(priority)
    expected = {"foreground": [], "high": [5], "normal": [10], "low": [19]}
    assert nice == expected[priority]
    assert len(disk) == len(nice)
