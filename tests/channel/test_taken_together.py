"""Several messages in one transaction: none is lost or done twice by it, and none stands in the way of another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from channel_network import Pair, came, definition, put, state, travels_as
from sqlalchemy import event

from courier.channel.fetch import TOGETHER, open_inbox
from courier.channel.passed import Passed
from courier.channel.server_desk import ServerDesk
from courier.channel.sync import Exchange, take_inbox
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import BusyError
from courier.site.catalog import messages, packages
from courier.site.home import Site
from formats.digest import sha256_hex


class KilledError(BaseException):
    """The process of a site ends at this very point."""


@pytest.fixture(autouse=True)
def _no_reports(no_reports: None) -> None:
    """Reports would be counted with the messages."""


@contextmanager
def commits(site: Site) -> Iterator[list[int]]:
    """Counts the transactions that a site writes meanwhile."""
    counted = [0]

    def count(_connection: Any) -> None:
        counted[0] += 1

    engine = site.catalogue._engine
    event.listen(engine, "commit", count)
    yield counted
    event.remove(engine, "commit", count)


def bring(pair: Pair, count: int) -> list[str]:
    """Have HQ1 bring so many definitions to the server of BR1; return the digests of their envelopes."""
    names = put(pair.hq, pair.br, *(definition(pair.hq, number) for number in range(1, count + 1)))
    pair.link()
    pair.sync(pair.hq)
    assert {travels_as(pair.hq, name) for name in names} <= {name for name, _ in came(pair.br)}
    return names


def take(site: Site) -> Exchange:
    return take_inbox(site, handlers=MESSAGE_HANDLERS)


def states(site: Site, names: list[str], direction: str = "in") -> set[str | None]:
    return {state(site, name, direction) for name in names}


def definitions(site: Site, count: int) -> int:
    with site.catalogue.reading() as connection:
        found = [packages.find_definitions(connection, f"HQ1{number:05X}", 1, "HQ1") for number in range(1, count + 1)]
    return sum(map(len, found))


def test_what_lies_in_the_inbox_is_taken_in_by_a_few_transactions(http: Pair) -> None:
    names = bring(http, TOGETHER + 6)
    with commits(http.br) as counted:
        done = take(http.br)
    assert (done.taken, done.refused, came(http.br)) == (len(names), (), [])
    assert len(done.passed) == len(names)
    assert states(http.br, names) == {"taken"}
    assert counted[0] < 6  # the two of the messages, and what is owed to their sender
    http.sync(http.br, http.hq)
    assert states(http.hq, names, "out") == {"settled"}


def test_a_kill_at_any_transaction_loses_nothing_and_does_nothing_twice(
    http: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = bring(http, 7)
    writing, left = http.br.catalogue.writing, 0

    @contextmanager
    def killed_writing() -> Iterator[Any]:
        nonlocal left
        left -= 1
        if left == 0:
            raise KilledError
        with writing() as connection:
            yield connection
        left -= 1
        if left == 0:
            raise KilledError

    monkeypatch.setattr(http.br.catalogue, "writing", killed_writing)
    kills = 0
    while True:
        left = kills + 1
        try:
            take(http.br)
        except KilledError:
            kills += 1
            # A message is let go of only when what came of it is kept.
            gone = {travels_as(http.hq, name) for name in names} - {name for name, _ in came(http.br)}
            assert all(state(http.br, name, "in") == "taken" for name in names if travels_as(http.hq, name) in gone)
            continue
        break
    assert kills > 14  # before and after each part of the one transaction
    assert came(http.br) == []
    assert states(http.br, names) == {"taken"}
    assert definitions(http.br, 7) == 7
    http.sync(http.br, http.hq)
    assert states(http.hq, names, "out") == {"settled"}


def test_what_is_refused_stands_against_no_other(http: Pair) -> None:
    names = bring(http, 3)
    for body in (b"no message", b"age-encryption.org/v1\nneither"):
        open_inbox(http.br).store("HQ1", sha256_hex(body), start=0, total=len(body), data=body)
    done = take(http.br)
    assert (done.taken, len(done.refused), came(http.br)) == (3, 2, [])
    assert states(http.br, names) == {"taken"}


def test_what_waits_for_our_clock_stays_and_holds_up_no_other(http: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as ahead:
        ahead.setattr("channel_network.now", lambda: http.clock() + 10**9 * 3600 * 24 * 30)
        early = definition(http.hq, 9)
    put(http.hq, http.br, early)
    names = bring(http, 3)
    done = take(http.br)
    assert (done.taken, len(done.refused)) == (3, 1)
    assert states(http.br, names) == {"taken"}
    assert [name for name, _ in came(http.br)] == [travels_as(http.hq, sha256_hex(early.encode()))]


def test_what_is_fetched_at_one_time_is_noted_by_one_transaction(http: Pair) -> None:
    names = put(http.hq, http.br, *(definition(http.hq, number) for number in range(1, 9)))
    told: list[Passed] = []
    desk = ServerDesk(http.hq, arrived=lambda: None, passed=told.append)
    travelling = [travels_as(http.hq, name) for name in names]
    with ThreadPoolExecutor(len(names)) as pool, commits(http.hq) as counted:
        with http.hq.catalogue.writing():  # nobody else can write meanwhile, so all of them wait
            jobs = [pool.submit(desk.fetched, "BR1", name) for name in travelling]
            _wait(lambda: len(desk._to_note) == len(names) - 1)
        for job in jobs:
            job.result()
    assert counted[0] == 3  # ours, that of the first, and one for all others
    assert states(http.hq, names, "out") == {"delivered"}
    assert len(told) == len(names)


def _wait(until: Any) -> None:
    moment = threading.Event()
    for _ in range(3_000):
        if until():
            return
        moment.wait(0.01)
    raise AssertionError("it did not come to it")


def test_a_site_that_cannot_be_noted_is_told_and_so_are_the_others(http: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    names = put(http.hq, http.br, definition(http.hq))
    desk = ServerDesk(http.hq, arrived=lambda: None)
    with monkeypatch.context() as full:
        full.setattr(messages, "delivered", _busy)
        with pytest.raises(BusyError):
            desk.fetched("BR1", travels_as(http.hq, names[0]))
    assert states(http.hq, names, "out") == {"queued"}
    desk.fetched("BR1", travels_as(http.hq, names[0]))
    assert states(http.hq, names, "out") == {"delivered"}


def _busy(*_: object, **__: object) -> None:
    raise BusyError("another writes", hint="wait")
