"""Verifying packages with workers: the same findings as alone, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from journey import Home, add, make_home, noise, write_files
from worker_pools import Failing, running_cluster

from courier.errors import RefusedError, UnreachableError
from courier.packages import verify_workers
from courier.packages.verify import verify_packages
from courier.packages.verify_tasks import Suspects, read_contents
from courier.progress import Progress
from courier.site.home import open_site
from courier.site.workers.executor import open_workers

LARGE = 3 << 20


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with packages of small and large contents, one of which two versions share."""
    root = tmp_path_factory.mktemp("original")
    home = make_home(root, "HQ1")
    small = {f"small{n}": noise(3_000, n) for n in range(200)}
    add(home, write_files(root / "one", big=noise(LARGE), shared=noise(LARGE, 2), **small))
    add(home, write_files(root / "two", shared=noise(LARGE, 2), other=noise(LARGE, 3)))
    add(home, write_files(root / "three", lone=b"lone"))
    add(home, write_files(root / "four", lost=b"lost"))
    return home


@pytest.fixture
def home(original: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of it; portions are small, so that there are many tasks."""
    home = Home(code="HQ1", path=tmp_path / "HQ1")
    subprocess.run(["cp", "-a", original.path, home.path], check=True)
    monkeypatch.setattr(verify_workers, "TASK_BYTES", 64 << 10)
    return home


def twin_of(home: Home) -> Home:
    """Another copy, to be verified alone."""
    twin = Home(code="HQ1", path=home.path.with_name("twin"))
    subprocess.run(["cp", "-a", home.path, twin.path], check=True)
    return twin


def spoil(home: Home) -> None:
    """Damage a large content that two versions share and a small one, lose a large one and a listing."""
    for path in home.large_files():
        if path.read_bytes() == noise(LARGE, 2):
            path.write_bytes(noise(LARGE, 9))
        elif path.read_bytes() == noise(LARGE, 3):
            path.unlink()
    home.spoil(noise(3_000, 77), b"x" + noise(3_000, 77)[1:])
    listing = home("package", "show", "HQ100004")["listing"]
    (home.path / "store/listings" / listing).unlink()


def test_workers_find_what_one_computer_finds(home: Home) -> None:
    spoil(home)
    twin = twin_of(home)
    alone = twin("package", "verify", code=4)
    assert home("package", "verify", "--cluster", "processes:2", code=4) == alone
    problems = [[one["problem"] for one in package["problems"]] for package in alone["packages"]]
    assert [len(found) for found in problems] == [2, 2, 0, 1]
    # What is damaged was taken out of use by both: from now on it is missing.
    assert home("package", "verify", "--cluster", "processes:1", code=4) == twin("package", "verify", code=4)


def test_all_that_is_good_is_told_as_progress(home: Home) -> None:
    told: list[int] = []

    class Told(Progress):
        def begin(self, phase: str, total: int) -> None:
            told.append(-total)

        def __call__(self, count: int) -> None:
            told.append(count)

    with closing(open_site(home.path)) as site, ThreadPoolExecutor(3) as pool:
        results = verify_packages(site, None, Told(), executor=pool)
        assert [findings for _, findings in results] == [[], [], [], []]
    assert sum(told) == 0
    assert len(told) > 10


def test_a_share_is_read_and_the_rest_must_be_there(home: Home) -> None:
    spoil(home)
    read: list[int] = []

    def counting(place: Any, some: Any, others: Any) -> Any:
        read.append(len(some))
        return read_contents(place, some, others)

    with pytest.MonkeyPatch.context() as patch, closing(open_site(home.path)) as site, ThreadPoolExecutor(2) as pool:
        patch.setattr(verify_workers, "read_contents", counting)
        results = verify_packages(site, None, share=0.0001, executor=pool)
    assert sum(read) < 20
    assert "missing" in {finding.problem for finding in results[1][1]}.pop()


def test_lost_workers_cost_time_only(home: Home) -> None:
    spoil(home)
    alone = twin_of(home)("package", "verify", code=4)
    with (
        closing(open_site(home.path)) as site,
        Failing(BrokenProcessPool()) as pool,
        pytest.raises(UnreachableError, match="workers were lost"),
    ):
        verify_packages(site, None, executor=pool)
    assert home("package", "verify", "--cluster", "processes:2", code=4) == alone
    assert [path.read_text() for path in (home.path / "locks").glob("workers-*")] == [""]


def test_a_worker_that_sees_another_store_is_named(home: Home) -> None:
    def blind(_place: Any, some: Any, _others: Any) -> Suspects:
        return Suspects(contents=tuple(sha256 for sha256, _ in some), computer="node-7")

    with pytest.MonkeyPatch.context() as patch, closing(open_site(home.path)) as site, ThreadPoolExecutor(1) as pool:
        patch.setattr(verify_workers, "read_contents", blind)
        with pytest.raises(RefusedError, match=r"the worker at node-7 finds .* that are good here") as caught:
            verify_packages(site, None, executor=pool)
    assert caught.value.code == "cluster"


@pytest.mark.long
def test_a_killed_worker_of_a_cluster_costs_time_only_and_a_lost_scheduler_is_said(home: Home) -> None:
    spoil(home)
    alone = twin_of(home)("package", "verify", code=4)
    with running_cluster() as cluster, open_workers(cluster.address) as workers:
        client: Any = workers._client  # type: ignore[attr-defined]
        with closing(open_site(home.path)) as site:
            ended = False

            class Ending(Progress):
                def __call__(self, count: int) -> None:
                    nonlocal ended
                    if not ended:
                        ended = True
                        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

            found = verify_packages(site, None, Ending(), executor=workers)
            assert ended
            assert [[f.problem for f in findings] for _, findings in found] == [
                [one["problem"] for one in package["problems"]] for package in alone["packages"]
            ]

            class Losing(Progress):
                def __call__(self, count: int) -> None:
                    cluster.process.kill()

            with pytest.raises(UnreachableError, match="workers were lost"):
                verify_packages(site, None, Losing(), executor=workers)
