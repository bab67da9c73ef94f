"""How the tests run here and in CI.

With ``COURIER_CI=1`` (set by ``.ci/run``) a skipped test is a failed one: nothing that proves a claim may quietly stay
out. The exception is a skip whose reason begins with ``elsewhere:``, for what another platform or another user shows.

Temporary files are in memory where the system has a folder for that (`support/memory_folder.py`): what is tested
flushes files thousands of times, and a disk would take most of the time. Set ``TMPDIR`` to have them elsewhere.
"""

from __future__ import annotations

import multiprocessing.util
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from memory_folder import memory_folder
from shared_statements import share_statements

if TYPE_CHECKING:
    from channel_network import Pair
    from dashboard_home import DashboardHome
    from deploy_client import Computer
    from download_points import SamplePoint
    from http_requests import Forge

CI = os.environ.get("COURIER_CI") == "1"

# No deadline: the machine may be shared. In CI every run tries the same examples, so that a failure can be repeated.
settings.register_profile("courier", deadline=None)
settings.register_profile("courier-ci", deadline=None, derandomize=True)
settings.load_profile("courier-ci" if CI else "courier")

DISK = os.environ.setdefault("COURIER_TEST_DISK", tempfile.gettempdir())
"""Where temporary files are that are too large for memory. The processes that xdist starts inherit it."""
MEMORY = memory_folder() if "TMPDIR" not in os.environ else None
"""Where all other temporary files are, made by this process for the whole run; None: as the environment says."""
if MEMORY is not None:
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None
share_statements()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have the folders of the tests right in that folder, by paths that are no longer than they are elsewhere."""
    if MEMORY is not None and not config.option.basetemp:
        config.option.basetemp = str(MEMORY / "t")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the processes that the tests start compile each module once, into the cache of pytest, not each time anew.

    That is half of the time of a short command. Nothing is written beside the source.
    """
    cache = getattr(session.config, "cache", None)  # there is none with ``-p no:cacheprovider``
    if cache is not None:
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(cache.mkdir("bytecode")))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Give the memory back. What pytest keeps of failed tests stays, and is named."""
    if MEMORY is None:
        return
    if exitstatus == pytest.ExitCode.TESTS_FAILED:
        print(f"\ntemporary files of failed tests are kept in {MEMORY} until the next run")
    else:
        # At the very end, after the libraries that have temporary files there too have removed theirs.
        multiprocessing.util.Finalize(None, shutil.rmtree, (MEMORY,), {"ignore_errors": True}, exitpriority=-200)


LONG = os.environ.get("COURIER_LONG", "1" if CI else "0") == "1"
"""Whether tests run that are marked ``long``."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is long, unless it was asked for."""
    if LONG:
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (CI and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith("elsewhere:"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure under COURIER_CI=1: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture
def disk() -> Iterator[Path]:
    """A temporary folder on a disk, for files that are too large for memory; nothing of it is kept."""
    with tempfile.TemporaryDirectory(dir=DISK, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def quick() -> Iterator[Path]:
    """A folder for a module, in memory where the system has one: flushes to a disk prove nothing here."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a running PostgreSQL server, with ``{}`` for the database."""
    from postgresql import running_postgresql

    with running_postgresql() as url:
        yield url


@pytest.fixture(scope="module")
def pair_homes(quick: Path) -> Path:
    """The homes of two sites that trust each other, as `make_pair` copies them."""
    from courier.files import make_folder
    from courier.site.home import create_site
    from courier.site.peers import pin_card

    root = make_folder(quick / "pair")
    hq, br = (create_site(root / code, code=code, name=code) for code in ("HQ1", "BR1"))
    for one, other in ((hq, br), (br, hq)):
        pin_card(one, other.card_envelope, fingerprint=other.card.fingerprint)
    hq.close()
    br.close()
    return root


@pytest.fixture
def no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the sites' reports of themselves out of tests that count messages (test_reports.py has the reports)."""
    monkeypatch.setattr("courier.channel.sync.report_to_peers", lambda site: 0)


@pytest.fixture
def http(pair_homes: Path) -> Iterator[Pair]:
    """Two sites that reach each other's server."""
    from channel_network import make_pair

    yield from make_pair("http", pair_homes)


@pytest.fixture
def forge(http: Pair) -> Forge:
    """Makes requests of HQ1 to BR1."""
    from http_requests import Forge

    return Forge(pair=http)


@pytest.fixture(scope="module")
def made(quick: Path) -> SamplePoint:
    """A point with `download_client.FILES`, which no test of a module alters."""
    from download_client import FILES
    from download_points import SamplePoint

    point = SamplePoint(quick / "made")
    point.put(FILES)
    return point


@pytest.fixture
def point(made: SamplePoint, tmp_path: Path) -> SamplePoint:
    """A copy of that point, to be altered by the test."""
    from download_points import SamplePoint

    found = SamplePoint(tmp_path / "mine")
    found.folder.rmdir()
    found.folder = made.copy(f"copy-{tmp_path.name}")
    found.refs, found.serial = list(made.refs), made.serial
    return found


@pytest.fixture(scope="session")
def dashboard_home(tmp_path_factory: pytest.TempPathFactory) -> DashboardHome:
    """A site with something on every page of the dashboard, and names that try to be markup; no test alters it."""
    from dashboard_home import make_dashboard_home

    return make_dashboard_home(tmp_path_factory.mktemp("dashboard"), hostile=True)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that failed is asked again soon."""
    from courier.distribution import source_list

    monkeypatch.setattr(source_list, "FIRST_PAUSE", 0.01)


@pytest.fixture(scope="session")
def wim(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A WIM with the files of `deploy_client.WINDOWS`."""
    from deploy_client import WINDOWS, wim_of

    return wim_of(tmp_path_factory.mktemp("wim"), WINDOWS)


@pytest.fixture(scope="session")
def old_disk(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The raw image of a disk with ext4 (ROOT), FAT32 (ESP) and NTFS (WIN), made by stock tools alone."""
    from deploy_client import whole_disk

    return whole_disk(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def computer(tmp_path: Path, wim: bytes, short_pauses: None) -> Computer:
    """PC-1, and a point with a WIM (HQ100001), drivers (HQ100002) and a raw image (HQ100003)."""
    from deploy_client import DRIVERS, RAW, Computer
    from download_points import SamplePoint

    point = SamplePoint(tmp_path / "site")
    point.put({"install.wim": wim, "readme.txt": b"which image is which"})
    point.put(DRIVERS, package="HQ100002")
    point.put({"raw.img": RAW}, package="HQ100003")
    root = tmp_path / "computer"
    root.mkdir()
    return Computer(root, point)
