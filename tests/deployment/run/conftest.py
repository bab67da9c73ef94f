"""Where these tests work, and the computer that they deploy."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from deploy_client import Computer, wim_of
from download_points import SamplePoint

from courier.distribution import source_list
from formats.blocks import BLOCK

WINDOWS = {
    "Windows/System32/a.dll": bytes(range(256)) * 64,
    "Windows/win.ini": b"old",
    "Users/Public/n.txt": b"public",
}
DRIVERS = {"net/e1000.inf": b"network", "net/e1000.sys": b"\x00\x01" * 999, "gpu.inf": b"graphics"}
RAW = b"raw begin".ljust(BLOCK, b"r") + bytes(2 * BLOCK) + b"raw end"


@pytest.fixture
def tmp_path(quick: Path) -> Path:
    """A new folder in memory, where the system has that: thousands of flushes to a disk prove nothing here."""
    return Path(tempfile.mkdtemp(dir=quick))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_list, "FIRST_PAUSE", 0.01)


@pytest.fixture(scope="session")
def wim(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A WIM with the files of `WINDOWS`."""
    return wim_of(tmp_path_factory.mktemp("wim"), WINDOWS)


@pytest.fixture
def computer(tmp_path: Path, wim: bytes) -> Computer:
    """PC-1, and a point with a WIM (HQ100001), drivers (HQ100002) and a raw image (HQ100003)."""
    point = SamplePoint(tmp_path / "site")
    point.put({"install.wim": wim, "readme.txt": b"which image is which"})
    point.put(DRIVERS, package="HQ100002")
    point.put({"raw.img": RAW}, package="HQ100003")
    root = tmp_path / "computer"
    root.mkdir()
    return Computer(root, point)
