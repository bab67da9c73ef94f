"""A point with files for the tests of downloads; a module that needs another one makes its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from download_client import FILES
from download_points import SamplePoint

from courier.distribution import source_list


@pytest.fixture(scope="module")
def made(quick: Path) -> SamplePoint:
    """The point, which no test of a module alters."""
    point = SamplePoint(quick / "made")
    point.put(FILES)
    return point


@pytest.fixture
def point(made: SamplePoint, tmp_path: Path) -> SamplePoint:
    """A copy of the point, to be altered by the test."""
    found = SamplePoint(tmp_path / "mine")
    found.folder.rmdir()
    found.folder = made.copy(f"copy-{tmp_path.name}")
    found.refs, found.serial = list(made.refs), made.serial
    return found


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that failed is asked again soon."""
    monkeypatch.setattr(source_list, "FIRST_PAUSE", 0.01)
