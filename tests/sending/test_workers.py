"""Building with workers: the same bytes as without, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journey import Home, Sites, add, digests_of, make_sites, noise, write_files
from worker_pools import Failing, running_cluster

from courier.errors import CourierError, DamagedError, RefusedError, UnreachableError, UsageError
from courier.parcel.parity_plan import Redundancy
from courier.sending.build import build_parcel
from courier.sending.plan import ParcelRequest, plan_parcel
from courier.sending.workers.tasks import BuildPlace, build_archive
from courier.site.clock import now
from courier.site.home import open_site
from courier.site.workers.executor import open_workers
from courier.site.workers.work_place import MARK, Failure, WorkPlace

TEXT = b"".join(b"line %d of a text that shrinks\n" % n for n in range(40_000))


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """Headquarters with a package of contents that are cut, small, and compressed."""
    sites = make_sites(tmp_path_factory.mktemp("sites"), "HQ1", "BR1")
    small = {f"small{n}": noise(3_000, n) for n in range(30)}
    files = write_files(sites.root / "files", big=noise(7 << 20), other=noise(3 << 20, 5), text=TEXT, **small)
    add(sites.hq, files)
    return sites


@pytest.fixture
def hq(sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of headquarters whose clock stands still and whose secrets are known, so that builds can be compared."""
    home = Home(code="HQ1", path=tmp_path / "HQ1")
    subprocess.run(["cp", "-a", sites.hq.path, home.path], check=True)
    moment = now()
    for module in ("courier.sending.build", "courier.sending.plan"):
        monkeypatch.setattr(f"{module}.now", lambda: moment, raising=False)
    monkeypatch.setattr("courier.parcel.encryption.secrets.token_bytes", lambda size: b"s" * size)
    return home


def build(home: Home, executor: Executor | None, **request: Any) -> dict[str, str]:
    """Build a parcel; return the SHA-256 of each file of the build, but those of the workers themselves."""
    values: dict[str, Any] = {
        "packages": ("HQ100001",),
        "destinations": ("BR1",),
        "media": "drive",
        "capacity": 4 << 20,
        "compress": "auto",
        "encrypt": True,
        "spares": 1,
        "redundancy": Redundancy.parse("5%"),
    }
    with closing(open_site(home.path)) as site:
        plan = plan_parcel(site, ParcelRequest(**(values | request)))
        parcel = build_parcel(site, plan, executor=executor)
        folder = site.outgoing(parcel.packing.parcel)
        assert parcel.packing.parity
        assert len(parcel.packing.archives) > 2
        return {name: digest for name, digest in digests_of(folder).items() if name != "workers.txt"}


def forget(home: Home) -> None:
    """Take the home back to before its parcels."""
    subprocess.run(["rm", "-rf", home.path / "parcels" / "out"], check=True)


@pytest.mark.parametrize("compress", ["none", "auto", "best"])
def test_a_build_with_workers_is_the_same_to_the_byte(hq: Home, tmp_path: Path, compress: str) -> None:
    twin = Home(code="HQ1", path=tmp_path / "twin")
    subprocess.run(["cp", "-a", hq.path, twin.path], check=True)
    alone = build(hq, None, compress=compress)
    with ThreadPoolExecutor(3) as pool:
        assert build(twin, pool, compress=compress) == alone


def test_processes_of_this_computer_are_workers(hq: Home, tmp_path: Path) -> None:
    twin = Home(code="HQ1", path=tmp_path / "twin")
    subprocess.run(["cp", "-a", hq.path, twin.path], check=True)
    with open_workers("processes:2") as workers:
        assert build(twin, workers) == build(hq, None)


def test_lost_workers_cost_time_only(hq: Home, tmp_path: Path) -> None:
    twin = Home(code="HQ1", path=tmp_path / "twin")
    subprocess.run(["cp", "-a", hq.path, twin.path], check=True)
    alone = build(hq, None)
    for _ in range(2):
        with pytest.raises(UnreachableError, match="workers were lost") as caught, Failing(BrokenProcessPool()) as pool:
            build(twin, pool)
        assert "--cluster" in caught.value.hint
    with ThreadPoolExecutor(2) as pool:
        assert build(twin, pool) == alone


@pytest.mark.parametrize("compress", ["none", "auto"])
def test_a_damaged_content_is_found_by_a_worker(hq: Home, compress: str) -> None:
    (path,) = [one for one in hq.large_files() if one.stat().st_size == 7 << 20]
    path.write_bytes(noise(7 << 20, 9))
    with ThreadPoolExecutor(2) as pool, pytest.raises(DamagedError, match="big: the content is not"):
        build(hq, pool, compress=compress)


def test_a_worker_refuses_what_is_not_its_home_or_release(hq: Home, tmp_path: Path) -> None:
    folder = tmp_path / "HQ1-000001"
    folder.mkdir()
    at = WorkPlace(home=hq.path, marked=folder / MARK, mark="m", release="0")
    archive: Any = None
    for changed, said in ((at, "runs release"), (replace(at, release=_release()), "does not see")):
        failure = build_archive(BuildPlace(at=changed, folder=folder, level=3, recipients=()), archive)
        assert isinstance(failure, Failure)
        assert isinstance(failure.error(), RefusedError)
        assert said in failure.error().message
        assert failure.error().code == "cluster"


def _release() -> str:
    from courier import __version__

    return __version__


@pytest.mark.parametrize(
    "address", ["", "processes:0", "processes:", "tcp://", "http://host:1", "host:8786", "tcp://a@b:1"]
)
def test_an_address_of_no_workers_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address of workers"), open_workers(address):
        pass


# --- a Dask cluster -------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a running cluster of two workers."""
    with running_cluster() as running:
        yield running.address


@pytest.mark.long
def test_a_killed_worker_of_a_cluster_costs_time_only(hq: Home, tmp_path: Path, cluster: str) -> None:
    twin = Home(code="HQ1", path=tmp_path / "twin")
    subprocess.run(["cp", "-a", hq.path, twin.path], check=True)
    alone = build(hq, None)
    killed: list[int] = []
    with open_workers(cluster) as workers:
        client: Any = workers._client  # type: ignore[attr-defined]

        def kill() -> None:
            time.sleep(0.3)
            for one in list(client.run(os.getpid).values())[:1]:
                os.kill(one, signal.SIGKILL)
                killed.append(one)

        with ThreadPoolExecutor(1) as other:
            ending = other.submit(kill)
            made = build(twin, workers)
            ending.result()
    assert made == alone
    assert killed


@pytest.mark.long
def test_a_scheduler_that_does_not_answer_is_said() -> None:
    with pytest.raises(CourierError, match="does not answer") as caught, open_workers("tcp://127.0.0.1:9"):
        pass
    assert caught.value.exit_code == 7
