"""Importing with workers: what comes into the store is the same, and so is what is said of a damaged spool."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from journey import SMALL, Home, Sites, add, exported, make_sites, noise, sent, write_files
from worker_pools import Failing, running_cluster

from courier.errors import CourierError, UnreachableError
from courier.progress import Progress
from courier.receiving import import_tasks
from courier.receiving.complete import complete_parcel
from courier.receiving.import_tasks import How, Unpacked, UnpackPlace, unpack_archive
from courier.receiving.parcel_status import ParcelStatus, find_build
from courier.site.home import open_site
from courier.site.workers.executor import open_workers
from courier.site.workers.work_place import MARK, Failure, WorkPlace

TEXT = b"".join(b"line %d of a text that shrinks\n" % n for n in range(40_000))
BIG, OTHER = noise(3 << 20, 1), noise(300_000, 2)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """Two sites, and a package of contents that are cut, small, and compressed."""
    sites = make_sites(tmp_path_factory.mktemp("sites"), "HQ1", "BR1")
    small = {f"small{n}": noise(3_000, n) for n in range(50)}
    holes = noise(100_000, 8) + bytes(1 << 20) + noise(100_000, 9)
    add(sites.hq, write_files(sites.root / "files", big=BIG, other=OTHER, text=TEXT, holes=holes, empty=b"", **small))
    return sites


@pytest.fixture(scope="module", params=["auto", "none", "best"])
def waiting(sites: Sites, request: pytest.FixtureRequest) -> Iterator[tuple[Home, str]]:
    """A receiver to be copied, and a parcel that waits there for its import."""
    how = str(request.param)
    out = sites.root / f"out-{how}"
    parcel, volumes = sent(
        sites.hq, "HQ100001", out=out, capacity=SMALL, redundancy="none", compress=how, encrypt=how != "none"
    )
    sites.sync()
    home = Home(code="BR1", path=sites.root / f"waiting-{how}")
    subprocess.run(["cp", "-a", sites.br.path, home.path], check=True)
    home("parcel", "receive", *volumes, "--hold")
    yield home, parcel


@pytest.fixture
def held(waiting: tuple[Home, str], tmp_path: Path) -> tuple[Home, str]:
    """A copy of that receiver, and the parcel."""
    return copied(waiting[0], tmp_path / "BR1"), waiting[1]


def copied(home: Home, path: Path) -> Home:
    """A copy of a home."""
    subprocess.run(["cp", "-a", home.path, path], check=True)
    return Home(code=home.code, path=path)


def imported(home: Home, parcel: str, executor: Executor, progress: Progress | None = None) -> ParcelStatus:
    """Import a parcel with workers."""
    with closing(open_site(home.path)) as site:
        build = find_build(site, parcel)
        return complete_parcel(site, parcel, build, release=True, progress=progress or Progress(), executor=executor)


def spool_of(home: Home) -> Path:
    """The folder of the only parcel that gathers in a home."""
    (spool,) = (path for path in (home.path / "parcels" / "in").iterdir() if path.is_dir())
    return spool


def archives_of(home: Home) -> list[Path]:
    """The archives that gathered there."""
    return sorted(path for path in (spool_of(home) / "archives").glob("*.7z*") if path.suffix != ".have")


ONCE = pytest.mark.parametrize("waiting", ["auto"], indirect=True)
"""For what does not depend on how the parcel was made."""


def test_what_workers_unpack_is_what_one_computer_unpacks(held: tuple[Home, str], tmp_path: Path) -> None:
    home, parcel = held
    twin = copied(home, tmp_path / "twin")
    alone = twin("parcel", "import", parcel)
    told: list[int] = []

    class Told(Progress):
        def begin(self, phase: str, total: int) -> None:
            told.append(-total)

        def __call__(self, count: int) -> None:
            told.append(count)

    with ThreadPoolExecutor(3) as pool:
        status = imported(home, parcel, pool, Told())
    assert status.imported is not None
    assert sum(told) == 0
    assert [one.package for one in status.imported.packages] == [one["package_id"] for one in alone["imported"]]
    assert home.contents() == twin.contents()
    assert home("package", "verify")["packages"][0]["state"] == "good"
    assert exported(home, "HQ100001", tmp_path / "one") == exported(twin, "HQ100001", tmp_path / "two")
    assert not [path for path in (home.path / "store").iterdir() if path.name.startswith(".courier-tmp-")]
    assert not [path for path in (home.path / "parcels" / "in").iterdir() if path.is_dir()]


@ONCE
def test_processes_of_this_computer_are_workers(held: tuple[Home, str], tmp_path: Path) -> None:
    home, parcel = held
    twin = copied(home, tmp_path / "twin")
    done = home("parcel", "import", parcel, "--cluster", "processes:2")
    assert done["state"] == "Imported"
    twin("parcel", "import", parcel)
    assert home.contents() == twin.contents()


@ONCE
def test_contents_that_are_held_are_compared_and_a_rotten_one_is_replaced(
    held: tuple[Home, str], tmp_path: Path
) -> None:
    home, parcel = held
    add(home, write_files(tmp_path / "own", mine=BIG, rotten=OTHER, little=noise(3_000, 7)))
    (rotten,) = (path for path in home.large_files() if path.stat().st_size == len(OTHER))
    rotten.write_bytes(noise(len(OTHER), 5))
    found: list[How] = []
    take = import_tasks._large

    def noting(*arguments: Any) -> Any:
        content = take(*arguments)
        found.append(content.how)
        return content

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(import_tasks, "_large", noting)
        imported(home, parcel, pool)
    assert found.count(How.HELD) == 1
    assert How.FILE in found
    assert [one["state"] for one in home("package", "verify")["packages"]] == ["good", "good"]


@pytest.mark.parametrize("waiting", ["none", "best"], indirect=True)
@pytest.mark.parametrize("at", ["list", "start", "cut"])
def test_a_damaged_spool_is_told_as_without_workers(held: tuple[Home, str], tmp_path: Path, at: str) -> None:
    home, parcel = held
    archives = archives_of(home)
    assert len(archives) > 2
    largest = max(archives, key=lambda path: path.stat().st_size)
    path, place = {
        "list": (archives[-1], -40),
        "start": (archives[0], 40),
        "cut": (largest, largest.stat().st_size // 2),
    }[at]
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    twin = copied(home, tmp_path / "twin")
    before = home.contents()
    alone = twin.fails("parcel", "import", parcel, code=4)
    with ThreadPoolExecutor(2) as pool, pytest.raises(CourierError) as caught:
        imported(home, parcel, pool)
    error = caught.value
    assert {"code": error.code, "message": error.message, "hint": error.hint} == alone
    assert home.contents() == before
    assert home("parcel", "show", parcel)["state"] == twin("parcel", "show", parcel)["state"]


@ONCE
def test_lost_workers_cost_time_only(held: tuple[Home, str], tmp_path: Path) -> None:
    home, parcel = held
    twin = copied(home, tmp_path / "twin")
    before = home.contents()
    for good in (0, 2):
        with Failing(BrokenProcessPool(), good) as pool, pytest.raises(UnreachableError, match="workers were lost"):
            imported(home, parcel, pool)
        assert home.contents() == before
    assert home("parcel", "import", parcel)["state"] == "Imported"
    twin("parcel", "import", parcel)
    assert home.contents() == twin.contents()


@ONCE
def test_a_task_that_is_done_twice_harms_nothing(held: tuple[Home, str], tmp_path: Path) -> None:
    home, parcel = held

    class Twice(ThreadPoolExecutor):
        def submit(self, task: Any, /, *arguments: Any, **more: Any) -> Any:
            super().submit(task, *arguments, **more)
            return super().submit(task, *arguments, **more)

    with Twice(2) as pool:
        imported(home, parcel, pool)
    assert home("package", "verify")["packages"][0]["state"] == "good"


@ONCE
def test_a_worker_refuses_what_is_not_its_home_or_release(held: tuple[Home, str], tmp_path: Path) -> None:
    home, _ = held
    at = WorkPlace(home=home.path, marked=tmp_path / MARK, mark="m", release="0")
    place = UnpackPlace(at=at, spool=spool_of(home), side=tmp_path, encrypted=False)
    failure = unpack_archive(place, archives_of(home)[0], [], [])
    assert isinstance(failure, Failure)
    assert "runs release" in failure.message


def test_volumes_that_gather_are_unpacked_by_workers_of_the_command_that_ends_it(sites: Sites, tmp_path: Path) -> None:
    parcel, volumes = sent(sites.hq, "HQ100001", out=tmp_path / "out", capacity=SMALL)
    sites.sync()
    home = copied(sites.br, tmp_path / "BR1")
    home("parcel", "receive", volumes[0])
    unpacked: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("courier.cli.parcel_receive.workers_of", lambda _: _thread_workers(unpacked))
        done = home("parcel", "receive", *volumes[1:], "--cluster", "processes:2")
    assert done["state"] == "Imported"
    assert any(isinstance(one, Unpacked) for one in unpacked)
    assert parcel == done["parcel_id"]


def _thread_workers(results: list[object]) -> Any:
    class Noting(ThreadPoolExecutor):
        def submit(self, task: Any, /, *arguments: Any, **more: Any) -> Any:
            future = super().submit(task, *arguments, **more)
            future.add_done_callback(lambda done: results.append(done.result()))
            return future

    return Noting(2)


def test_packages_that_are_here_and_patches_of_a_delta_are_imported_with_workers(tmp_path: Path) -> None:
    sites = make_sites(tmp_path, "HQ1", "BR1")
    image = bytearray(noise(1_500_000, 3))
    first = add(sites.hq, write_files(tmp_path / "one", image=bytes(image), same=noise(400_000, 4)))
    _, volumes = sent(sites.hq, first, out=tmp_path / "out1", capacity="64MB")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.sync(sites.br, sites.hq)
    image[700_000:700_050] = noise(150, 5)
    changed = write_files(tmp_path / "two", image=bytes(image), same=noise(400_000, 4), new=noise(200_000, 6))
    second = add(sites.hq, changed, id=first.split(":")[0])
    parcel = sites.hq("parcel", "create", second, "--to", "BR1", "--capacity", "64MB", "--delta")["parcel_id"]
    written = sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", tmp_path / "out2")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    sites.br("parcel", "receive", *(volume["path"] for volume in written["volumes"]), "--hold")
    with ThreadPoolExecutor(2) as pool:
        assert imported(sites.br, parcel, pool).imported is not None
    assert exported(sites.br, second, tmp_path / "br") == exported(sites.hq, second, tmp_path / "hq")


@ONCE
@pytest.mark.long
def test_a_killed_worker_of_a_cluster_costs_time_only_and_a_lost_scheduler_is_said(
    held: tuple[Home, str], tmp_path: Path
) -> None:
    home, parcel = held
    twin, lost = copied(home, tmp_path / "twin"), copied(home, tmp_path / "lost")
    with running_cluster() as cluster, open_workers(cluster.address) as workers:
        client: Any = workers._client  # type: ignore[attr-defined]
        killed: list[int] = []

        class Ending(Progress):
            def __call__(self, count: int) -> None:
                if not killed:
                    killed.append(next(iter(client.run(os.getpid).values())))
                    os.kill(killed[0], signal.SIGKILL)

        class Losing(Progress):
            def __call__(self, count: int) -> None:
                cluster.process.kill()

        imported(home, parcel, workers, Ending())
        assert killed
        with pytest.raises(UnreachableError, match="workers were lost"):
            imported(lost, parcel, workers, Losing())
    twin("parcel", "import", parcel)
    assert home.contents() == twin.contents()
    assert lost("parcel", "import", parcel)["state"] == "Imported"
    shutil.rmtree(lost.path)
