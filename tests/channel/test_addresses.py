"""Addresses: how they are spelled, what is refused, and measuring them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("httpx")

from channel_network import Pair, make_pair
from journey import make_sites

from courier.channel.addresses import Wishes, add_address, list_addresses, local_zone, remove_address, set_address
from courier.channel.measurement import measure_address
from courier.channel.schedule import Limits
from courier.errors import NotFoundError, UsageError

pytestmark = pytest.mark.usefixtures("no_reports")


@pytest.fixture(params=["folder", "http"])
def pair(request: pytest.FixtureRequest, pair_homes: Path) -> Iterator[Pair]:
    yield from make_pair(request.param, pair_homes)


def test_addresses_are_spelled_one_way_and_checked(http: Pair, tmp_path: Path) -> None:
    assert add_address(http.hq, "BR1", "HTTPS://Example.org:9/", Wishes(priority=3)).address == "https://example.org:9"
    assert add_address(http.hq, "BR1", "https://[::1]:9").address == "https://[::1]:9"
    assert add_address(http.hq, "BR1", "poll").priority == 5
    for bad in ("https://example.org/path", "https://user@example.org", "ftp://example.org", "https://", " "):
        with pytest.raises(UsageError):
            add_address(http.hq, "BR1", bad)
    for bad_priority in (0, 1001, 3):
        with pytest.raises(UsageError):
            add_address(http.hq, "BR1", str(tmp_path), Wishes(priority=bad_priority))
    with pytest.raises(UsageError):
        measure_address(http.hq, "BR1", "poll", budget=1000)
    with pytest.raises(NotFoundError):
        remove_address(http.hq, "BR1", "https://example.org:10")
    remove_address(http.hq, "BR1", "https://example.org:9/")
    assert [a.priority for a in list_addresses(http.hq)] == [4, 5]
    assert remove_address(http.hq, "BR1", "HTTPS://[::1]:9/").address == "https://[::1]:9"
    assert remove_address(http.hq, "BR1", "POLL").address == "poll"


def test_a_schedule_leaves_the_time_zone_as_it_was_chosen(http: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    here = add_address(http.hq, "BR1", "poll")
    chosen = add_address(http.hq, "BR1", "https://example.org:9", Wishes(zone="UTC"))
    for added, zone in ((here, "Europe/Berlin"), (chosen, "UTC")):
        changed = set_address(http.hq, "BR1", added.address, Wishes(schedule="mon-fri 8-18 high"))
        assert Limits.parse(changed.limits).zone == zone


@pytest.mark.parametrize(
    ("named", "zone"),
    [
        (":Asia/Kathmandu", "Asia/Kathmandu"),
        ("Etc/UTC", "UTC"),
        ("CET-1CEST", "UTC"),
        ("Mars/Phobos", "UTC"),
        ("/", "UTC"),
    ],
)
def test_a_computer_whose_zone_has_no_name_goes_by_utc(named: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", named)
    assert local_zone() == zone


def test_an_address_is_removed_however_it_is_spelled_and_named_as_it_is_kept(tmp_path: Path) -> None:
    hq = make_sites(tmp_path).hq
    hq("channel", "address", "add", "BR1", "https://example.org:9")
    command = ("channel", "address", "remove", "BR1", "HTTPS://Example.org:9/")
    assert hq(*command)["address"] == "https://example.org:9"


def test_a_test_of_an_address_measures_within_its_budget_and_is_kept(pair: Pair) -> None:
    pair.link()
    found = measure_address(pair.hq, "BR1", None, budget=300_000, network=pair.network)
    assert 0 < found.bytes_moved <= 300_000
    assert min(found.up_bytes_per_second, found.down_bytes_per_second) > 0
    assert list_addresses(pair.hq)[0].measured == found.to_text()
    assert list(pair.share.iterdir()) == []


def test_the_first_address_that_can_be_tested_is_tested(pair: Pair) -> None:
    pair.link()
    add_address(pair.hq, "BR1", "poll", Wishes(priority=9))
    (share, poll) = list_addresses(pair.hq)
    set_address(pair.hq, "BR1", share.address, Wishes(priority=10))
    assert list_addresses(pair.hq)[0].address == poll.address
    assert measure_address(pair.hq, "BR1", None, budget=300_000, network=pair.network).bytes_moved > 0
    with pytest.raises(UsageError, match="only it can test"):
        measure_address(pair.hq, "BR1", "poll", budget=300_000, network=pair.network)
