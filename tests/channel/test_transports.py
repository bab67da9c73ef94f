"""One suite over every transport: what `courier.channel.transport` promises, a shared folder and HTTP both keep."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx")

from channel_network import Pair, Wire, came, definition, make_pair, put, state, travels_as
from journey import Home

from courier.channel.acknowledgements import acknowledge
from courier.channel.addresses import Wishes, add_address, list_addresses, set_address
from courier.channel.connections import Run
from courier.channel.delivery import deliver
from courier.channel.pace import Meter, Pacer
from courier.channel.schedule import Limits
from courier.channel.sync import synchronise_patiently, take_inbox
from courier.channel.transport import Outgoing, Pace, PausedError, Transport
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import BusyError, UnreachableError
from courier.files import make_folder
from courier.site.catalog import messages, sites
from courier.site.catalog.sites import Address
from courier.site.clock import now
from courier.site.home import Site, open_site
from courier.site.outbox import PART, enqueue
from courier.site.peers import revoke_site
from courier.site.rotation import rotate_key
from formats.envelope import Envelope

pytestmark = pytest.mark.usefixtures("no_reports")

BIG = random.Random(6).randbytes(3 * PART + 12_345)


@pytest.fixture(params=["folder", "http"])
def pair(request: pytest.FixtureRequest, pair_homes: Path) -> Iterator[Pair]:
    yield from make_pair(request.param, pair_homes)


def arrived(pair: Pair, at: Site) -> list[bytes]:
    """What has come to a site, whichever way."""
    if pair.kind == "http":
        return [body for _, body in came(at)]
    transport = pair.transport(at, at)
    return [body for _, body in transport.fetch(at.code)]


@pytest.mark.parametrize("body", [b"x", b"message" * 1000, BIG], ids=["one byte", "small", "several parts"])
def test_what_is_delivered_arrives_byte_for_byte(pair: Pair, body: bytes) -> None:
    transport = pair.transport(pair.hq, pair.br)
    transport.deliver("BR1", Outgoing.of(body))
    assert arrived(pair, pair.br) == [body]


def test_delivering_twice_does_no_harm(pair: Pair) -> None:
    for _ in range(2):
        pair.transport(pair.hq, pair.br).deliver("BR1", Outgoing.of(b"twice"))
    assert arrived(pair, pair.br) == [b"twice"]


def test_many_at_once_all_arrive(pair: Pair) -> None:
    bodies = [f"message {n}".encode() for n in range(40)]
    transport = pair.transport(pair.hq, pair.br)
    for body in bodies:
        transport.deliver("BR1", Outgoing.of(body))
    assert sorted(arrived(pair, pair.br)) == sorted(bodies)


def test_a_message_travels_is_acknowledged_and_leaves_the_outbox(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq)
    assert state(pair.hq, name) == "delivered"  # handed over is not enough
    (there, *_) = pair.sync(pair.br, pair.hq)
    assert there.taken == 1
    assert (state(pair.br, name, "in"), state(pair.hq, name)) == ("taken", "settled")
    with pair.hq.catalogue.reading() as connection:
        assert messages.read(connection, name, "BR1", 0, 10) == b""  # settled: its body is not kept


def test_a_message_the_transport_loses_is_sent_again_until_it_is_acknowledged(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    lost = 0
    while state(pair.hq, name) != "settled":
        pair.sync(pair.hq)
        if lost < 3:
            lost += 1
            for path in [*pair.share.rglob("*.msg"), *(pair.br.home / "channel").rglob("*.msg")]:
                path.unlink()
        pair.sync(pair.br, pair.hq)
        pair.clock.sleep(25 * 3600)
        assert lost < 4
    assert lost == 3


def test_a_duplicate_is_acknowledged_again_and_does_nothing_else(pair: Pair) -> None:
    pair.link()
    envelope = definition(pair.hq)
    put(pair.hq, pair.br, envelope)
    pair.sync(pair.hq, pair.br)
    body = envelope.encode()
    pair.transport(pair.hq, pair.br).deliver("BR1", Outgoing.of(body))
    (again,) = pair.sync(pair.br)
    assert (again.taken, again.refused) == (0, ())
    pair.sync(pair.hq)
    assert state(pair.hq, hashlib.sha256(body).hexdigest()) == "settled"


@pytest.mark.parametrize(
    "body", [b"", b"\0" * 100, b"{" * 5000, b"not an envelope", b'{"payload":""}'], ids=lambda b: repr(b[:15])
)
def test_garbage_is_a_dead_letter_once_and_changes_nothing(pair: Pair, body: bytes) -> None:
    pair.link()
    name = hashlib.sha256(body).hexdigest()
    for turn in range(2):
        if body or pair.kind == "folder":  # a request that brings nothing is refused by the server itself
            if pair.kind == "folder":
                (make_folder(pair.share / "BR1") / f"{name}.msg").write_bytes(body)
            else:
                pair.transport(pair.hq, pair.br).deliver("BR1", Outgoing.of(body))
            (done,) = pair.sync(pair.br)
            assert done.taken == 0
            assert [sha256 for sha256, _ in done.refused] == ([name] if turn == 0 else [])
            assert arrived(pair, pair.br) == []
    with pair.hq.catalogue.reading() as connection:
        assert messages.counts(connection) == []


def test_a_forged_message_is_refused_and_not_answered(pair: Pair) -> None:
    pair.link()
    good = definition(pair.hq)
    forged = Envelope(
        payload=good.payload.replace(b'"P"', b'"Q"'), payload_type=good.payload_type, signatures=good.signatures
    )
    pair.transport(pair.hq, pair.br).deliver("BR1", Outgoing.of(forged.encode()))
    (done,) = pair.sync(pair.br)
    assert "not signed by site HQ1, or altered since" in done.refused[0][1]
    assert acknowledge(pair.br) == 0


def test_a_message_refused_for_want_of_a_card_is_taken_once_the_card_is_there(pair: Pair) -> None:
    pair.link()
    with pair.br.catalogue.writing() as connection:
        card = sites.find(connection, "HQ1")
        sites.revoke(connection, "HQ1", "for the test")
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    if pair.kind == "folder":
        pair.sync(pair.hq, pair.br)
        assert state(pair.br, name, "in") == "refused"
    with pair.br.catalogue.writing() as connection:
        assert card is not None
        sites.pin(connection, card)
    pair.clock.sleep(7200)
    pair.sync(pair.hq, pair.br, pair.hq)
    assert (state(pair.br, name, "in"), state(pair.hq, name)) == ("taken", "settled")


def test_a_message_refused_for_good_comes_back_as_a_dead_letter_that_says_why(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, pair.hq.sign(b'{"from":"HQ1"}', "application/vnd.courier.unheard-of+json"))
    pair.sync(pair.hq, pair.br, pair.hq)
    with pair.hq.catalogue.reading() as connection:
        (dead,) = messages.in_state(connection, "out", "dead")
    assert dead.sha256 == name
    assert dead.reason.startswith("BR1 refused it: message of unknown type")


def test_an_acknowledgement_settles_only_what_was_sent_to_its_own_site(pair: Pair) -> None:
    from formats.documents.acknowledgement import TYPE, AcknowledgedMessage, Acknowledgement

    pair.link()
    envelope = definition(pair.hq)
    with pair.hq.catalogue.writing() as connection:
        enqueue(connection, envelope, "BR2")
    name = hashlib.sha256(envelope.encode()).hexdigest()
    word = Acknowledgement(
        site="BR1", to="HQ1", issued_ns=now(), messages=(AcknowledgedMessage(message=name, refused=""),)
    )
    put(pair.br, pair.hq, pair.br.sign(word.payload(), TYPE))
    pair.sync(pair.br, pair.hq)
    assert state(pair.hq, name) == "queued"


@pytest.mark.parametrize("who", ["hq", "br"])
def test_a_new_key_reaches_the_other_site_by_itself_and_so_does_what_it_signs(pair: Pair, who: str) -> None:
    pair.link()
    own, other = (pair.hq, pair.br) if who == "hq" else (pair.br, pair.hq)
    rotate_key(own)
    home = own.home
    own.close()
    own = open_site(home)
    setattr(pair, who, own)
    pair.network.serve(own)
    (name,) = put(own, other, definition(own))
    for _ in range(3):
        pair.sync(own, other, own)
        pair.clock.sleep(24 * 3600)
    assert state(own, name) == "settled"
    with other.catalogue.reading() as connection:
        pinned = sites.find(connection, own.code)
        assert not messages.in_state(connection, "in", "refused")
    assert pinned is not None
    assert pinned.serial == 2


def test_the_outbox_survives_a_restart(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    home = pair.hq.home
    pair.hq.close()
    pair.hq = open_site(home)
    pair.network.serve(pair.hq)
    pair.sync(pair.hq, pair.br, pair.hq)
    assert state(pair.hq, name) == "settled"


def test_high_priority_goes_first(pair: Pair) -> None:
    pair.link()
    names = [
        put(pair.hq, pair.br, definition(pair.hq, n), priority=p)[0] for n, p in enumerate(("low", "medium", "high"))
    ]
    with pair.hq.catalogue.reading() as connection:
        assert [one.sha256 for one in messages.due(connection, pair.clock())] == names[::-1]


def test_the_schedule_holds_back_what_it_does_not_admit(pair: Pair) -> None:
    pair.link()
    way = list_addresses(pair.hq)[0].address
    low, high = (put(pair.hq, pair.br, definition(pair.hq, n), priority=p)[0] for n, p in enumerate(("low", "high")))
    set_address(pair.hq, "BR1", way, Wishes(schedule="high"))
    (done,) = pair.sync(pair.hq)
    assert (state(pair.hq, low), state(pair.hq, high)) == ("queued", "delivered")
    assert "its schedule takes no message of low priority" in done.held[0][1]
    assert done.unreachable == ()
    set_address(pair.hq, "BR1", way, Wishes(schedule="all"))
    pair.sync(pair.hq)
    assert state(pair.hq, low) == "delivered"


class Watched(Pacer):
    """A pacer that tells of each piece."""

    def __init__(self, *args: Any, told: Callable[[int], None], **more: Any) -> None:
        super().__init__(*args, **more)
        self._told = told

    def moved(self, count: int) -> None:
        super().moved(count)
        self._told(count)


def test_a_cap_is_kept_and_a_change_of_it_counts_while_a_transfer_runs(pair: Pair) -> None:
    limits = [Limits(caps=(100_000,) * 24)]
    pieces: list[tuple[int, int]] = []
    start = pair.clock()

    def told(count: int) -> None:
        pieces.append((pair.clock() - start, count))
        if len(pieces) == 5:
            limits[0] = Limits(caps=(1_000_000,) * 24)

    pace = Watched(Meter(), lambda: limits[0], priority="low", now=pair.clock, sleep=pair.clock.sleep, told=told)
    pair.transport(pair.hq, pair.br, pace).deliver("BR1", Outgoing.of(BIG))
    assert arrived(pair, pair.br) == [BIG]
    slow, fast = pieces[:5], pieces[5:]
    assert {count for _, count in slow} == {100_000}
    assert {count for _, count in fast[:-1]} == {1_000_000}
    assert slow[-1][0] == 4 * 10**9
    assert pieces[-1][0] < 8 * 10**9


def test_a_clock_that_is_set_back_does_not_stop_a_transfer_with_a_cap(pair: Pair) -> None:
    pair.clock.sleep(2 * 3600)  # so that the keys are there before and after
    start = pair.clock.ns
    jumped: list[int] = []

    def told(count: int) -> None:
        if not jumped:
            jumped.append(count)
            pair.clock.ns = start - 3600 * 10**9

    limits = Limits(caps=(1_000_000,) * 24)
    pace = Watched(Meter(), lambda: limits, priority="low", now=pair.clock, sleep=pair.clock.sleep, told=told)
    pair.transport(pair.hq, pair.br, pace).deliver("BR1", Outgoing.of(BIG))
    assert arrived(pair, pair.br) == [BIG]
    assert pair.clock.ns < start - 3500 * 10**9


def test_a_schedule_that_closes_stops_a_transfer_which_goes_on_later(pair: Pair) -> None:
    limits = [Limits(pulse_bytes=500_000, pulse_ms=1)]
    moved = []

    def told(count: int) -> None:
        moved.append(count)
        if len(moved) == 3:
            limits[0] = Limits(week="h" * 168, pulse_bytes=500_000, pulse_ms=1)

    def pace() -> Watched:
        return Watched(Meter(), lambda: limits[0], priority="low", now=pair.clock, sleep=pair.clock.sleep, told=told)

    with pytest.raises(PausedError):
        pair.transport(pair.hq, pair.br, pace()).deliver("BR1", Outgoing.of(BIG))
    assert arrived(pair, pair.br) == []
    limits[0] = Limits()
    pair.transport(pair.hq, pair.br, pace()).deliver("BR1", Outgoing.of(BIG))
    assert arrived(pair, pair.br) == [BIG]
    if pair.kind == "http":  # it went on where it was cut
        assert sum(moved) == len(BIG)


def test_limits_changed_by_an_operator_count_in_a_transfer_that_runs(pair: Pair) -> None:
    pair.link()
    way = list_addresses(pair.hq)[0].address
    set_address(pair.hq, "BR1", way, Wishes(pulse="10KB/30s"))
    with pair.hq.catalogue.writing() as connection:
        enqueue(connection, _large(pair.hq), "BR1")
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        pair.clock.sleep(seconds)
        if len(naps) == 45:  # in the middle of the second delay
            set_address(pair.hq, "BR1", way, Wishes(pulse="none"))

    pair.network.sleep = sleep
    assert pair.sync(pair.hq)[0].delivered == 1
    assert len(naps) == 45
    assert max(naps) <= 1


def test_a_sync_that_retries_tries_as_often_as_the_limits_say(pair: Pair, tmp_path: Path) -> None:
    add_address(pair.hq, "BR1", str(tmp_path / "gone"), Wishes(retry_wait=90))
    put(pair.hq, pair.br, definition(pair.hq))
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        pair.clock.sleep(seconds)

    done = synchronise_patiently(
        pair.hq, handlers=MESSAGE_HANDLERS, told=lambda _: None, network=pair.network, sleep=sleep
    )
    assert naps == [90.0, 90.0]
    assert done.unreachable[0][0] == "BR1"


def test_a_failing_address_falls_to_the_next_and_is_left_alone_for_a_while(pair: Pair, tmp_path: Path) -> None:
    add_address(pair.hq, "BR1", str(tmp_path / "gone"), Wishes(priority=1))
    add_address(pair.hq, "BR1", pair.way(pair.hq, pair.br), Wishes(priority=2))
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    run = Run(network=pair.network, patient=True)
    deliver(pair.hq, run)
    assert (state(pair.hq, name), run.failed) == ("delivered", {})
    assert [a.failures for a in list_addresses(pair.hq)] == [1, 0]
    (tmp_path / "gone").mkdir()
    waits = []
    for pause in (30, 31):  # a minute apart: not yet, now
        pair.clock.sleep(pause)
        again = Run(network=pair.network, patient=True)
        waits.append(again.why_not(list_addresses(pair.hq)[0]))
    assert "it is tried again in 30 s" in str(waits[0])
    assert waits[1] == ""


def test_fetching_from_the_second_of_a_sites_servers_is_no_failure(http: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real = http.network.open

    def opened(site: Site, address: Address, pace: Pace | None = None) -> Transport:
        if address.address == "https://down":
            raise UnreachableError("https://down: nobody listens", hint="wait")
        return real(site, address, pace)

    monkeypatch.setattr(http.network, "open", opened)
    add_address(http.br, "HQ1", "https://down", Wishes(priority=1))
    add_address(http.br, "HQ1", http.way(http.br, http.hq), Wishes(priority=2))
    add_address(http.hq, "BR1", "poll")
    put(http.hq, http.br, definition(http.hq))
    for taken in (1, 0):  # with an acknowledgement to deliver, and with nothing to deliver
        (done,) = http.sync(http.br)
        assert (done.taken, done.unreachable) == (taken, ())
    failing = list_addresses(http.br)[0]
    assert (failing.address, failing.failures > 0) == ("https://down", True)
    said = Home(code="BR1", path=http.br.home).says("channel", "address", "list")
    assert "HQ1  priority 1: https://down\n" in said
    assert f"failed {failing.failures} times in a row" in said


def test_without_an_address_the_message_waits_and_says_so(pair: Pair) -> None:
    put(pair.hq, pair.br, definition(pair.hq))
    (done,) = pair.sync(pair.hq)
    assert done.unreachable == (("BR1", "there is no address to it: courier channel address add"),)


# What HTTP alone does.


def test_a_download_goes_on_where_it_was_cut(http: Pair) -> None:
    add_address(http.hq, "BR1", "poll")
    with http.hq.catalogue.writing() as connection:
        enqueue(connection, _large(http.hq), "BR1")
    add_address(http.br, "HQ1", "https://hq1")
    spool = http.br.home / "channel" / "fetch" / "HQ1"
    asked = []
    running = http.network.servers["HQ1"]

    def server() -> Any:
        asked.append(1)
        return None if len(asked) == 4 else running

    transport = http.transport(http.br, http.hq)
    transport._client._http._transport = Wire(server)  # type: ignore[attr-defined]
    with pytest.raises(UnreachableError):
        list(transport.fetch("BR1"))
    (part,) = spool.iterdir()
    assert part.stat().st_size == 2 * PART
    (spool / f"{'0' * 64}.part").write_bytes(b"the beginning of one that the server has no more")
    assert len(list(transport.fetch("BR1"))) == 1
    assert list(spool.iterdir()) == []
    assert len(asked) == 4 + 3  # the list again, and the two parts that were missing


def _large(site: Site) -> Envelope:
    return site.sign(b"{" + BIG[: 3 * PART - 2000].hex().encode()[: 3 * PART - 400_000 - 2] + b"}", "application/x")


def test_a_site_fetches_only_its_own_and_only_where_it_may(http: Pair) -> None:
    put(http.hq, http.br, definition(http.hq))
    transport = http.transport(http.br, http.hq)
    assert list(transport.fetch("BR1")) == []  # no poll address: nothing is served
    add_address(http.hq, "BR1", "poll")
    assert len(list(transport.fetch("BR1"))) == 1
    with http.hq.catalogue.writing() as connection:
        enqueue(connection, definition(http.hq, 2), "BR2")
    assert len(list(transport.fetch("BR1"))) == 1


def test_the_schedule_and_pulse_of_a_poll_address_hold_for_what_is_fetched(http: Pair) -> None:
    add_address(http.hq, "BR1", "poll", Wishes(schedule="high", pulse="1KB/2s"))
    put(http.hq, http.br, definition(http.hq, 1), priority="medium")
    (high,) = put(http.hq, http.br, definition(http.hq, 2), priority="high")
    transport = http.transport(http.br, http.hq)
    assert [name for name, _ in transport.fetch("BR1")] == [travels_as(http.hq, high)]


def test_a_server_takes_again_what_it_had_not_taken_in_before_it_ended(http: Pair) -> None:
    http.transport(http.hq, http.br).deliver("BR1", Outgoing.of(definition(http.hq).encode()))
    home = http.br.home
    http.br.close()
    http.br = open_site(home)
    assert take_inbox(http.br, handlers=MESSAGE_HANDLERS).taken == 1
    assert came(http.br) == []


def test_a_revoked_site_is_nobody(http: Pair) -> None:
    revoke_site(http.br, "HQ1", "lost its key")
    http.clock.sleep(2)
    with pytest.raises(UnreachableError, match="does not know this site's key"):
        http.transport(http.hq, http.br).deliver("BR1", Outgoing.of(b"x"))
    assert came(http.br) == []


def test_clocks_that_differ_are_named(http: Pair) -> None:
    transport = http.transport(http.hq, http.br)
    transport._client._now = lambda: http.clock() + 301 * 10**9  # type: ignore[attr-defined]
    with pytest.raises(UnreachableError, match="the clocks differ: signed at"):
        transport.deliver("BR1", Outgoing.of(b"x"))


def test_five_threads_deliver_to_three_sites_without_losing_or_doubling(http: Pair) -> None:
    http.link()
    names = put(http.hq, http.br, *(definition(http.hq, n) for n in range(60)))
    (done,) = http.sync(http.hq)
    assert done.delivered == 60
    assert sorted(name for name, _ in came(http.br)) == sorted(travels_as(http.hq, name) for name in names)
    assert threading.active_count() < 20


def test_our_own_fault_is_no_dead_letter(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq)

    def busy(*_: object) -> tuple[str, str]:
        raise BusyError("catalogue: database is locked", hint="wait")

    with monkeypatch.context() as patch, pytest.raises(BusyError):
        patch.setattr("courier.channel.incoming.take_message", busy)
        pair.sync(pair.br)
    assert state(pair.br, name, "in") is None
    (done,) = pair.sync(pair.br)
    assert done.taken == 1
