"""Room on the disks of a point: the reserve, and what commands side by side have been promised."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from journey import environment, make_home

from courier.distribution import room
from courier.distribution.room import check_reserve, reserving
from courier.errors import UsageError
from courier.site.home import Site, open_site
from courier.site.point_places import reserve_bytes
from courier.site.this_computer import COMPUTER


@pytest.fixture
def site(quick: Path, tmp_path: Path) -> Iterator[Site]:
    opened = open_site(make_home(tmp_path, "HQ1").path)
    yield opened
    opened.close()


def test_a_reserve_is_a_part_of_the_disk_or_a_size(tmp_path: Path) -> None:
    assert check_reserve(" 10 %") == "10%"
    assert check_reserve("20GB") == "20000000000"
    assert reserve_bytes("20000000000", tmp_path) == 20 * 10**9
    assert reserve_bytes("0%", tmp_path) == 0
    assert 0 < reserve_bytes("1%", tmp_path) < reserve_bytes("50%", tmp_path)
    for text in ("100%", "-1%", "ten", "1.5%", "5 apples"):
        with pytest.raises(UsageError):
            check_reserve(text)


def test_what_one_command_reserved_the_next_one_sees_until_it_is_written(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "TELL_AGAIN", 1)
    seen: list[dict[int, int]] = []

    def want(count: int) -> Callable[[Mapping[int, int]], Mapping[int, int]]:
        def plan(taken: Mapping[int, int]) -> Mapping[int, int]:
            seen.append(dict(taken))
            return {7: count}

        return plan

    with reserving(site, want(100)) as first, reserving(site, want(50)) as second:
        first.written(7, 30)
        second.written(7, 60)
        with reserving(site, want(1)):
            pass
    with reserving(site, want(1)):
        pass
    assert seen == [{}, {7: 100}, {7: 70}, {}]
    assert [path.name for path in (site.home / "locks" / "room" / COMPUTER).iterdir()] == ["turn"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere: SIGKILL is of POSIX")
def test_what_a_killed_command_reserved_is_free_again(site: Site) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom courier.site.home import open_site\n"
        "from courier.distribution.room import reserving\n"
        "with reserving(open_site(Path(sys.argv[1])), lambda taken: {7: 100}):\n"
        "    print('here', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, site.home], stdout=subprocess.PIPE, env=environment(), text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    taken: list[dict[int, int]] = []

    def plan(others: Mapping[int, int]) -> Mapping[int, int]:
        taken.append(dict(others))
        return {}

    with reserving(site, plan):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    time.sleep(0.05)
    with reserving(site, plan):
        pass
    assert taken == [{7: 100}, {}]
