"""A whole sequence runs into a disk image that stock tools find sound, however often and wherever it is cut."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deploy_client import DRIVERS, MIB, RAW, WINDOWS, Computer, disk_of, on_disk, partition, sequence, step

from courier.deployment.run import disk as disk_module
from courier.deployment.run import drivers, file_systems, journal
from courier.errors import CourierError, RefusedError

PARTS = [
    ("ESP", "efi", "36MB", "fat32"),
    ("ROOT", "linux", "24MB", "ext4"),
    ("WIN", "windows", "24MB", "ntfs"),
    ("RAW", "linux", "8MB", "none"),
    ("DATA", "data", "rest", "ntfs"),
]
ALL = sequence(
    step("partition", name="disk", parts=PARTS),
    step("apply-image", name="windows", package="HQ100001", file="install.wim", part="WIN"),
    step("apply-image", name="linux", package="HQ100001", file="install.wim", part="ROOT"),
    step("apply-image", name="raw", package="HQ100003", part="RAW"),
    step("install-driver", name="drivers", package="HQ100002", part="WIN", to="windows/system32/INF"),
    step("restart", name="restart"),
    step("install-driver", name="boot", package="HQ100002", part="ESP", to="EFI/drivers"),
    step(
        "run",
        name="own",
        command=[
            "sh",
            "-c",
            "cd $COURIER_TARGET/WIN; mkdir Windows; echo new > Windows/WIN.INI; echo $COURIER_VAR_MODEL >&2",
        ],
    ),
    step("run", name="case", command=["sh", "-c", "cd $COURIER_TARGET/DATA; mkdir A a; touch A/1 a/2"]),
    step("run", name="other model", command=["false"], when=[{"variable": "model", "is": "Other"}]),
)
SKIPPED = 10


def _expected() -> dict[str, dict[str, bytes]]:
    return {
        "ESP": {f"EFI/drivers/{name}": data for name, data in DRIVERS.items()},
        "ROOT": WINDOWS,
        "WIN": {name: data for name, data in WINDOWS.items() if name != "Windows/win.ini"}
        | {"Windows/WIN.INI": b"new\n"}
        | {f"Windows/System32/INF/{name}": data for name, data in DRIVERS.items()},
        "RAW": {},
        "DATA": {"a/1": b"", "a/2": b""},
    }


def _is_right(disk: Path, work: Path) -> None:
    found = on_disk(disk, work)
    found["DATA"] = {name.lower(): data for name, data in found["DATA"].items()}
    assert found == _expected()
    data = partition(disk, work / "raw", 4).read_bytes()
    assert data.startswith(RAW)
    assert not data[len(RAW) :].strip(b"\0")


@pytest.mark.parametrize("option", ["as-needed", "run-from-point"])
def test_a_sequence_makes_a_disk_that_stock_tools_find_sound(computer: Computer, option: Any, tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img")
    result = computer.run(computer.policy(ALL, option=option, variables={"Model": "X1"}), disk)
    assert result.done == tuple(range(1, SKIPPED))
    assert result.skipped == (SKIPPED,)
    _is_right(disk, tmp_path)
    assert disk.stat().st_blocks * 512 < 40 * MIB  # it stays sparse
    # Nothing stays but the journal and the log, which has what programs printed.
    assert {path.name for path in computer.work.iterdir()} == {"journal", "log.txt", "deploy-run.lock"}
    assert "\nX1\n" in (computer.work / "log.txt").read_text()
    assert computer.cache.exists() == (option == "as-needed")
    told = [(one.number, one.step, one.outcome) for one in computer.told()]
    assert told[0] == (1, 0, "started")
    assert told[1:5] == [(2, 1, "started"), (3, 1, "done"), (4, 2, "started"), (5, 2, "done")]
    assert told[-2:] == [(len(told) - 1, SKIPPED, "skipped"), (len(told), 0, "done")]
    assert len({(one.run, one.deployment, one.computer) for one in computer.told()}) == 1
    # It is done, and is not done again.
    before = disk.stat().st_mtime_ns
    assert computer.run(computer.root / "PC-1.policy", disk).already
    assert disk.stat().st_mtime_ns == before


def _dying(limit: int, work: Callable[[], object]) -> int:
    """Do work in a process of its own that is killed at the moment ``limit``; 0 where it came to its end before."""
    child = os.fork()
    if child == 0:
        count = 0

        def moment() -> None:
            nonlocal count
            count += 1
            if count == limit:
                os._exit(9)

        def around(function: Callable[..., Any]) -> Callable[..., Any]:
            def called(*arguments: Any, **more: Any) -> Any:
                moment()
                result = function(*arguments, **more)
                moment()
                return result

            return called

        journal.Journal.add = around(journal.Journal.add)  # type: ignore[method-assign]
        for module, names in (
            (file_systems, ["run_tool"]),
            (disk_module, ["run_tool", "write_region", "write_atomic", "copy_file", "copy_region", "remove_tree"]),
            (drivers, ["_write"]),
        ):
            for name in names:
                setattr(module, name, around(getattr(module, name)))
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_run_that_is_killed_everywhere_ends_with_the_same_disk(computer: Computer, tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img")
    policy = computer.policy(ALL)
    kills = 0
    while code := _dying(kills + 1, lambda: computer.run(policy, disk)):  # each time another bit later
        assert code == 9
        kills += 1
    assert kills > 20
    _is_right(disk, tmp_path)
    told = computer.told()
    assert [one.number for one in told] == list(range(1, len(told) + 1))
    assert [one.step for one in told if one.outcome == "done"] == [*range(1, SKIPPED), 0]


def test_a_failed_step_ends_the_run_and_is_tried_again(computer: Computer, tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img", 64)
    flag = tmp_path / "flag"
    policy = computer.policy(
        sequence(
            step("partition", parts=[("A", "data", "rest", "ext4")]),
            step("run", name="count", command=["sh", "-c", f"echo x >> {tmp_path}/count"]),
            step("run", name="fails", command=["sh", "-c", f"echo no flag; test -e {flag}"]),
        )
    )
    with pytest.raises(CourierError) as caught:
        computer.run(policy, disk)
    assert caught.value.message == "step 3 of 3: fails: sh ended with exit code 1: no flag"
    assert [(one.step, one.outcome) for one in computer.told()[-2:]] == [(3, "failed"), (0, "failed")]
    assert "no flag" in computer.told()[-1].message
    flag.touch()
    assert computer.run(policy, disk).done == (1, 2, 3)
    assert (tmp_path / "count").read_text() == "x\n"


def test_a_step_that_may_fail_is_named_in_the_end(computer: Computer, tmp_path: Path) -> None:
    policy = computer.policy(
        sequence(
            step("run", name="may fail", command=["false"], continue_on_error=True),
            step("run", name="good code", command=["sh", "-c", "exit 3"], success=[0, 3]),
        )
    )
    result = computer.run(policy, tmp_path / "new")
    assert (result.done, result.failed) == ((2,), (1,))
    assert computer.told()[-1].message == "done; failed on the way: 1"
    assert any("may fail" in text for text in computer.warned)


def test_a_restart_ends_the_run_where_it_is_to_and_the_next_goes_on(computer: Computer, tmp_path: Path) -> None:
    policy = computer.policy(
        sequence(step("run", command=["true"]), step("restart"), step("run", name="after", command=["true"]))
    )
    assert computer.run(policy, tmp_path / "new", restart_is_end=True).restart
    result = computer.run(policy, tmp_path / "new", restart_is_end=True)
    assert (result.restart, result.done) == (False, (1, 2, 3))


def test_a_program_that_runs_too_long_is_ended_with_all_that_it_started(computer: Computer, tmp_path: Path) -> None:
    policy = computer.policy(sequence(step("run", name="slow", command=["sh", "-c", "sleep 77 & sleep 77"], timeout=1)))
    with pytest.raises(CourierError, match="longer than 1 second"):
        computer.run(policy, tmp_path / "new")
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x0077\x00" not in running


def test_a_program_of_a_package_runs_in_its_folder(computer: Computer, tmp_path: Path) -> None:
    computer.point.put(
        {"bin/setup.sh": b"#!/bin/sh\ncat data.txt > $COURIER_TARGET/made\n", "data.txt": b"d"}, package="HQ100004"
    )
    policy = computer.policy(sequence(step("run", package="HQ100004", command=["bin/setup.sh"])))
    computer.run(policy, tmp_path / "new")
    assert (tmp_path / "new" / "made").read_bytes() == b"d"


def test_the_package_of_a_variable_is_the_one_that_runs(computer: Computer, tmp_path: Path) -> None:
    text = sequence(step("install-driver", variable="Drivers", to="inf"))
    with pytest.raises(CourierError, match="not in the deployment"):
        computer.run(computer.policy(text), tmp_path / "new")
    computer.run(computer.policy(text, variables={"drivers": "hq100002"}), tmp_path / "new", anew=True)
    assert json.loads((computer.work / "journal").read_text().splitlines()[-1])["state"] == "done"
    assert (tmp_path / "new" / "inf" / "gpu.inf").read_bytes() == DRIVERS["gpu.inf"]


def test_what_fat32_cannot_hold_is_named_before_the_partition_is_written(computer: Computer, tmp_path: Path) -> None:
    policy = computer.policy(
        sequence(
            step("partition", parts=[("ESP", "efi", "rest", "fat32")]),
            step("run", command=["sh", "-c", "touch $COURIER_TARGET/ESP/a $COURIER_TARGET/ESP/A"]),
        )
    )
    with pytest.raises(RefusedError, match="in case alone"):
        computer.run(policy, disk_of(tmp_path / "disk.img", 64))
