"""Noticing what changed: whatever command wrote it, never more often than a site can bear, and after any failure."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dashboard_client import dashboard_of
from journey import Home, add, make_home, write_files

from courier.errors import CourierError, RefusedError
from courier.site.home import Site, open_site
from courier.site.log import LOGGER, logged
from courier.web import watch as watch_module
from courier.web.snapshot import Snapshot, take_snapshot
from courier.web.watch import LEAST_SECONDS, TIMES_LONGER, Watch

PATIENCE = 20.0


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LOOK_SECONDS", 0.01)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path, "HQ1")


@pytest.fixture
def site(home: Home) -> Iterator[Site]:
    with closing(open_site(home.path, read_only=True)) as opened:
        yield opened


def until(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "nothing was noticed"
        time.sleep(0.01)


@dataclass
class Gathering:
    """Gathers as the dashboard does, counts it, takes its time by a clock of its own, and fails where it is told to."""

    clock: float = 0.0
    takes: float = 0.0
    error: Exception | None = None
    times: list[float] = field(default_factory=list)

    def __call__(self, site: Site) -> Snapshot:
        self.times.append(self.clock)
        self.clock += self.takes
        if self.error is not None:
            raise self.error
        return take_snapshot(site)


@pytest.fixture
def gathering() -> Gathering:
    return Gathering()


@pytest.fixture
def watch(site: Site, gathering: Gathering) -> Iterator[Watch]:
    made = Watch(site, gather=gathering, clock=lambda: gathering.clock)
    made.start()
    yield made
    made.end()


def test_what_another_command_wrote_is_noticed_and_gathered(
    home: Home, watch: Watch, gathering: Gathering, tmp_path: Path
) -> None:
    before = watch.first(PATIENCE)
    assert before.snapshot is not None
    assert before.snapshot.facts.packages == 0
    (tmp_path / "a.txt").write_bytes(b"content")
    home("package", "add", tmp_path / "a.txt", "--name", "A")
    until(lambda: watch.seen().mark != before.mark)
    gathering.clock += LEAST_SECONDS + 1

    def packages() -> int:
        snapshot = watch.seen().snapshot
        return snapshot.facts.packages if snapshot else 0

    until(lambda: packages() == 1)


def test_while_nothing_changes_the_mark_stays(watch: Watch) -> None:
    before = watch.first(PATIENCE).mark
    time.sleep(0.3)
    assert watch.seen().mark == before


def test_blocks_that_come_into_a_spool_are_noticed(home: Home, watch: Watch) -> None:
    before = watch.first(PATIENCE).mark
    (home.path / "parcels" / "in" / "BR1-000001-0123" / "archives").mkdir(parents=True)
    until(lambda: watch.seen().mark != before)


def test_however_often_something_changes_the_site_has_its_time(
    home: Home, watch: Watch, gathering: Gathering, tmp_path: Path
) -> None:
    watch.first(PATIENCE)
    gathering.takes = 2.0
    gathering.clock += watch_module.GATHER_AGAIN_SECONDS
    until(lambda: len(gathering.times) == 2)
    for number in range(5):
        path = tmp_path / f"{number}"
        path.write_bytes(b"%d" % number)
        before = watch.seen().mark
        home("package", "add", path, "--name", "A")
        until(lambda before=before: watch.seen().mark != before)  # type: ignore[misc]
        gathering.clock += 1.0
    assert len(gathering.times) == 2
    gathering.clock += TIMES_LONGER * 2.0
    until(lambda: len(gathering.times) == 3)
    assert gathering.times[2] - gathering.times[1] >= TIMES_LONGER * 2.0


def test_what_is_overdue_is_noticed_though_nobody_wrote(watch: Watch, gathering: Gathering) -> None:
    watch.first(PATIENCE)
    gathering.clock += watch_module.GATHER_AGAIN_SECONDS + 1
    until(lambda: len(gathering.times) == 2)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RefusedError("a card is damaged", hint="restore it"), "a card is damaged"),
        (OSError(5, "Input/output error", "catalogue.sqlite"), "catalogue.sqlite: Input/output error"),
        (KeyError("x"), "unexpected: KeyError: 'x'"),
    ],
)
def test_a_failure_is_told_and_ends_when_its_cause_does(
    site: Site, gathering: Gathering, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr(watch_module, "LEAST_SECONDS", 0.01)
    gathering.error = error
    watch = Watch(site, gather=gathering, clock=lambda: gathering.clock)
    watch.start()
    try:
        problem = watch.first(PATIENCE).problem
        assert isinstance(problem, CourierError)
        assert problem.message == message
        assert problem.hint
        mark = watch.seen().mark
        gathering.error = None
        until(lambda: watch.seen().problem is None)
        assert watch.seen().mark != mark
        assert watch.seen().snapshot is not None
    finally:
        watch.end()


def test_a_home_that_is_lost_and_restored_is_seen_and_no_file_is_made_in_its_place(home: Home, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    add(home, write_files(tmp_path / "one", one=b"1"), name="Of the lost home")
    with dashboard_of(home.path) as asking, logged(home.path, "dashboard"):
        assert "Of the lost home" in asking("/packages").text
        home.path.rename(gone)
        until(lambda: 'class="problem"' in asking("/packages").text)
        LOGGER.warning("a line of the log")
        (home.path / "keys").mkdir(parents=True)
        with pytest.raises(CourierError), asking.site.catalogue.reading():
            pass
        assert sorted(one.name for one in home.path.iterdir()) == ["keys"]
        shutil.rmtree(home.path)
        shutil.copytree(gone, home.path)
        add(home, write_files(tmp_path / "two", two=b"2"), name="Of the new home")
        until(lambda: "Of the new home" in asking("/packages").text)


def test_when_nobody_looks_nothing_is_looked_at(watch: Watch, gathering: Gathering) -> None:
    watch.first(PATIENCE)
    for _ in range(3):
        gathering.clock += watch_module.UNSEEN_SECONDS + 1
        time.sleep(0.1)
    rested = len(gathering.times)
    assert rested <= 2
    watch.seen()
    until(lambda: len(gathering.times) > rested)
