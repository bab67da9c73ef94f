"""What tests of the watch share: one that runs in a thread, quickly, and what it said."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from copied_sites import copied_sites
from journey import FIXTURES, Sites, add, make_sites, sent

from courier.care.watch import rounds, teller
from courier.care.watch.media_book import MediaBook
from courier.care.watch.media_step import MediaReports, MediaStep, MediaWish
from courier.care.watch.rounds import WatchReports, WatchWish
from courier.cli.messages import MESSAGE_HANDLERS
from courier.errors import CourierError
from courier.site.home import open_site


@dataclass(kw_only=True)
class Said:
    """What a watch said: warnings, the volumes that it read, and how parcels stood."""

    warnings: list[str] = field(default_factory=list)
    volumes: list[int] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)

    def media(self) -> MediaReports:
        """Reports of media that end here."""
        return MediaReports(
            looking=lambda medium, _documents: self.looked.append(medium.name),
            volume=lambda one: self.volumes.append(one.number),
            parcel=lambda status: self.states.append(status.state),
            warn=self.warnings.append,
        )

    def all(self, ready: Callable[[], None] = lambda: None) -> WatchReports:
        """All reports, which end here."""
        return WatchReports(
            media=self.media(),
            ready=ready,
            exchange=lambda _: None,
            distributed=lambda _: None,
            warn=self.warnings.append,
        )


class Clock:
    """A monotonic clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """Sites of which the first has shipped a parcel of four volumes to the second, which has its ship notice."""

    sites: Sites
    parcel: str
    volumes: tuple[Path, ...]


def shipped(root: Path) -> Shipped:
    """Make it, once for a file of tests."""
    sites = make_sites(root / "template")
    parcel, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=root / "m")
    sites.sync()
    return Shipped(sites=sites, parcel=parcel, volumes=tuple(volumes))


def copied(template: Shipped, to: Path) -> Shipped:
    """A copy of the sites for one test; the volumes are the same."""
    return replace(template, sites=copied_sites(template.sites, to))


def media_step(home: Path, wish: MediaWish, said: Said, clock: Clock, notices: list[str]) -> MediaStep:
    """The step of a watch that has just started. ``notices`` gets the causes of what people are told."""
    return MediaStep(
        wish=wish,
        book=MediaBook(home),
        reports=said.media(),
        note=lambda one: notices.append(one.cause),
        clock=clock,
    )


def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the pauses of a watch so short that a test can wait for them."""
    for name, seconds in (
        ("LOOK_SECONDS", 0.05),
        ("AGAIN_FIRST_SECONDS", 0.05),
        ("JUDGE_SECONDS", 0.2),
        ("TURN_SECONDS", 0.1),
    ):
        monkeypatch.setattr(rounds, name, seconds)
    monkeypatch.setattr(teller, "LOOK_AGAIN_SECONDS", 0.05)


@contextlib.contextmanager
def watching(home: Path, said: Said, *folders: Path, every: float = 0.2, settle: float = 0.2) -> Iterator[None]:
    """Watch a home in a thread while the block runs."""
    stop, ready, ended = threading.Event(), threading.Event(), []

    def run() -> None:
        with closing(open_site(home)) as site:
            wish = WatchWish(media=MediaWish(folders=folders, settle=settle), every=every)
            ended.append(rounds.watch(site, wish, handlers=MESSAGE_HANDLERS, reports=said.all(ready.set), stop=stop))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        yield
    finally:
        stop.set()
        thread.join(30)
    assert ended, "the watch ended by an error"


def watch_once(home: Path, *folders: Path, settle: float = 0.0, every: float = 60) -> tuple[Said, list[CourierError]]:
    """One round of a watch: what it said, and what failed."""
    said = Said()
    with closing(open_site(home)) as site:
        wish = WatchWish(media=MediaWish(folders=folders, settle=settle), every=every, once=True)
        failures = rounds.watch(site, wish, handlers=MESSAGE_HANDLERS, reports=said.all(), stop=threading.Event())
    return said, failures


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)
