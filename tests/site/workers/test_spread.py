"""Giving tasks to workers: a few at a time, and clear words when the workers are gone or do not know the task."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from journey import Home, make_home
from worker_pools import Failing

from courier.errors import DamagedError, RefusedError, UnreachableError
from courier.site.home import open_site
from courier.site.workers import spread as spreading
from courier.site.workers.spread import A_WORKER, AT_LEAST, Task, spread
from courier.site.workers.work_place import Failure, at_work, marked_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path, "HQ1")


def same(value: int) -> int:
    """What is asked for."""
    return value


def test_no_more_tasks_are_asked_for_than_the_workers_soon_do() -> None:
    begun: list[int] = []

    def tasks() -> Iterator[Task[int]]:
        for number in range(1000):
            begun.append(number)
            yield Task(about=number, function=same, arguments=(number,))

    ended = 0
    with ThreadPoolExecutor(8) as pool:
        for about, value in spread(pool, tasks()):
            assert about == value
            ended += 1
            assert len(begun) - ended <= A_WORKER * 8
    assert ended == 1000
    assert A_WORKER * 8 > AT_LEAST


@pytest.mark.parametrize("error", [BrokenProcessPool(), CancelledError()])
def test_lost_workers_are_said_with_the_way_on(error: BaseException) -> None:
    tasks = [Task(about=number, function=same, arguments=(number,)) for number in range(5)]
    with Failing(error) as pool, pytest.raises(UnreachableError, match="workers were lost") as caught:
        list(spread(pool, tasks))
    assert caught.value.code == "cluster"
    assert "--cluster" in caught.value.hint


def test_a_pool_that_is_closed_is_lost_too() -> None:
    with ThreadPoolExecutor(1) as pool:
        pass
    with pytest.raises(UnreachableError, match="workers were lost"):
        list(spread(pool, [Task(about=1, function=same, arguments=(1,))]))


def test_an_error_that_is_ours_is_not_called_a_loss() -> None:
    tasks = [Task(about=number, function=same, arguments=(number,)) for number in range(5)]
    with Failing(KeyError("ours")) as pool, pytest.raises(KeyError):
        list(spread(pool, tasks))


def test_workers_of_another_release_do_not_know_the_task() -> None:
    tasks = [Task(about=1, function=same, arguments=(1,))]
    error = ModuleNotFoundError("No module named 'courier.other'")
    with (
        Failing(error, 0) as pool,
        pytest.raises(RefusedError, match=r"does not know the task.*courier.other") as caught,
    ):
        list(spread(pool, tasks))
    assert "same release" in caught.value.hint


def test_it_is_said_when_no_worker_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "LOOK_SECONDS", 0.05)
    there = [1]
    monkeypatch.setattr(spreading, "how_many", lambda _: there.pop() if there else 0)
    free = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            with pytest.raises(UnreachableError, match="no worker is left"):
                list(spread(pool, [Task(about=1, function=free.wait, arguments=())]))
        finally:
            free.set()


def test_what_is_not_begun_is_given_up_with_an_error() -> None:
    done: list[int] = []

    def work(number: int) -> Any:
        time.sleep(0.01)
        done.append(number)
        return Failure(kind="DamagedError", message="bad", hint="", code="damaged") if number == 2 else None

    tasks = [Task(about=number, function=work, arguments=(number,)) for number in range(1000)]
    with ThreadPoolExecutor(1) as pool, pytest.raises(DamagedError, match="bad"):
        list(spread(pool, tasks))
    assert len(done) < AT_LEAST


def test_each_command_has_a_mark_of_its_own_and_what_a_kill_left_is_taken_by_the_next(home: Home) -> None:
    site = open_site(home.path)
    left = home.path / "locks" / "workers-1"
    left.parent.mkdir(exist_ok=True)
    left.write_text("of a killed command")
    with marked_home(site) as place, marked_home(site) as other:
        assert place.marked == left
        assert other.marked != left
        assert at_work(place, lambda there: there.code) == at_work(other, lambda there: there.code) == "HQ1"
    gone = at_work(place, lambda there: there.code)
    assert isinstance(gone, Failure)
    assert "does not see" in gone.message
    with marked_home(site) as again:
        assert again.marked == left
    site.close()
