"""``courier plan network``: a test within its budget, round trips under load, and what three activities would take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from channel_network import Pair
from copied_sites import copied_sites, sites_with_package
from hypothesis import given
from hypothesis import strategies as st
from journey import Sites, add, noise, write_files

from courier.channel.measurement import Probe
from courier.channel.schedule import change
from courier.errors import UnreachableError, UsageError
from courier.planning import line_test
from courier.planning.activities import activities
from courier.planning.line_test import run_line_test
from courier.planning.network_time import NO_LIMITS, Line
from courier.site.catalog.sites import Address
from courier.site.home import Site, open_site

pytest.importorskip("uvicorn")

from http_requests import running

START = 1_780_000_000 * 10**9


class SlowLine:
    """A line of 10 MB/s and a round trip of 5 ms, which takes 40 ms while it carries something."""

    def __init__(self) -> None:
        self.moved, self.busy = 0, threading.Event()

    def move(self, count: int) -> None:
        if count:
            self.moved += count
            self.busy.set()
            time.sleep(0.005 + count / 10_000_000)
            self.busy.clear()
        else:
            time.sleep(0.04 if self.busy.is_set() else 0.005)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> SlowLine:
    found = SlowLine()

    @contextmanager
    def opened(_site: Site, code: str, text: str | None, network: object = None) -> Iterator[Probe]:
        yield Probe(address=Address(site=code, priority=1, address="slow"), up=found.move, down=found.move)

    monkeypatch.setattr(line_test, "open_probe", opened)
    monkeypatch.setattr(line_test, "keep_measured", lambda *_: None)
    return found


def test_a_test_keeps_within_its_budget_and_sees_what_the_load_does(http: Pair, line: SlowLine) -> None:
    found = run_line_test(http.hq, "BR1", None, budget=4_000_001)
    assert found.moved == line.moved == 4_000_000
    assert found.up.moved == found.down.moved == 2_000_000
    for load in (found.up, found.down):
        assert load.trip_ms is not None
        assert load.trip_ms > 2 * found.idle_ms


def test_a_line_that_breaks_during_the_test_is_told(
    http: Pair, line: SlowLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(count: int) -> None:
        if count:
            raise UnreachableError("the line is gone", hint="wait")

    monkeypatch.setattr(line, "move", breaks)
    with pytest.raises(UnreachableError, match="gone"):
        run_line_test(http.hq, "BR1", None, budget=10_000)


@pytest.mark.parametrize("budget", [0, 1, 4095, 10**13])
def test_a_budget_that_is_no_test_is_refused(http: Pair, budget: int) -> None:
    with pytest.raises(UsageError):
        run_line_test(http.hq, "BR1", None, budget=budget)


@pytest.fixture(scope="module")
def template(quick: Path) -> Sites:
    return sites_with_package(quick)


@pytest.fixture
def sites(template: Sites, tmp_path: Path) -> Sites:
    return copied_sites(template, tmp_path)


def test_a_loopback_server_is_tested_and_the_result_is_kept_for_plans(sites: Sites, tmp_path: Path) -> None:
    hq = sites.hq
    package = add(hq, write_files(tmp_path / "files", a_bin=noise(300_000)))
    with closing(open_site(sites.br.path)) as site, running(site) as up:
        hq("channel", "address", "remove", "BR1", sites.root / "share")
        hq("channel", "address", "add", "BR1", up.url, "--cap", "100KB/s")
        found = hq("plan", "network", "--to", "BR1", "--size", "3MB", "--package", package)
        said = hq.says("plan", "network", "--to", "BR1", "--size", "1MB")
    assert 0 < found["bytes_moved"] <= 3_000_000
    assert found["up"]["bits_per_second"] == 8 * found["up"]["bytes_per_second"] > 0
    assert found["down"]["bytes_per_second"] > 0
    assert found["round_trip_ms"] > 0
    assert found["content"] == {"bytes": 300_000, "files": 1}
    took = {one["name"]: one["seconds"] for one in found["activities"]}
    assert took["site"] >= 3  # its cap
    assert took["point"] <= took["site"]
    assert took["client"] <= took["site"]
    assert "round trip without load" in said
    assert "2.0 GB in 1 file would take:" in said
    (planned,) = hq("plan", "send", package, "--to", "BR1")["destinations"]
    assert planned["network"]["bytes_per_second"] > 0


def test_a_shared_folder_is_tested_too_and_left_as_it_was(sites: Sites) -> None:
    found = sites.hq("plan", "network", "--to", "BR1", "--size", "2MB")
    assert found["address"] == str(sites.root / "share")
    assert not list((sites.root / "share").iterdir())


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--to", "XX9"), 6, "XX9"),
        (("--to", "BR1", "--size", "10"), 2, "says nothing"),
        (("--to", "BR1", "--size", "x"), 2, "size"),
        (("--to", "BR1", "--content", "0"), 2, "nothing"),
        (("--to", "BR1", "--package", "HQ1000FF"), 6, "HQ1000FF"),
        (("--to", "BR1", "--address", "/nowhere"), 6, "/nowhere"),
    ],
)
def test_bad_input_is_refused_in_plain_words(template: Sites, more: tuple[str, ...], code: int, says: str) -> None:
    error = template.hq.fails("plan", "network", *more, code=code)
    assert says in error["message"]


def test_a_server_that_is_not_there_and_a_site_that_fetches_from_us(sites: Sites) -> None:
    sites.hq("channel", "address", "remove", "BR1", sites.root / "share")
    sites.hq.fails("plan", "network", "--to", "BR1", code=6)
    sites.hq("channel", "address", "add", "BR1", "poll")
    assert "only it can test" in sites.hq.fails("plan", "network", "--to", "BR1", code=2)["message"]
    sites.hq("channel", "address", "add", "BR1", "http://127.0.0.1:9", "--priority", 5)
    sites.hq.fails("plan", "network", "--to", "BR1", "--address", "http://127.0.0.1:9", code=7)


@given(st.integers(1, 10**10), st.integers(0, 10**9), st.integers(0, 10**12), st.integers(0, 10**5))
def test_more_content_never_takes_less_and_round_trips_cost_a_client_least(
    rate: int, trip_ns: int, size: int, files: int
) -> None:
    line = Line(rate=rate, trip_ns=trip_ns, piece=1 << 20)
    first, more = (
        {one.name: one.transfer.seconds for one in activities("BR1", line, size * n, files * n, START)} for n in (1, 2)
    )
    for name, seconds in first.items():
        then = more[name]
        assert then is None or (seconds is not None and seconds <= then)
    if first["site"] is not None and first["client"] is not None:
        assert first["client"] <= first["site"]


def test_only_what_goes_from_site_to_site_keeps_to_the_schedule() -> None:
    closed = change(NO_LIMITS, schedule="closed", zone=None, cap=None, pulse=None)
    line = replace(Line(rate=10**6, trip_ns=0, piece=1 << 20), limits=closed)
    took = {one.name: one.transfer.seconds for one in activities("BR1", line, 10**9, 1, START)}
    assert took == {"point": 1000, "site": None, "client": 1000}
