"""At the site itself the policy is made from its home, and what becomes of each step is recorded at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from deploy_client import WINDOWS, disk_of, on_disk, sequence, step, tree_of
from journey import Home, add, make_home, run

SEQUENCE = 'boot-image = "HQ100001"\n' + sequence(
    step("partition", parts=[("SYS", "windows", "rest", "ntfs")]),
    step("apply-image", package="HQ100001", part="SYS"),
    step("restart"),
    step("run", name="last", command=["sh", "-c", "echo $COURIER_COMPUTER > $COURIER_TARGET/SYS/name"]),
)


@pytest.fixture(scope="module")
def made(quick: Path, wim: bytes) -> Home:
    home = make_home(quick, "HQ1")
    package = add(home, tree_of(quick / "image", {"install.wim": wim}) / "install.wim")
    home("point", "add", "P1", quick / "point")
    home("point", "distribute", package, "--point", "P1")
    home("computer", "add", "PC-1", "--mac", "00:1A:2B:3C:4D:5E")
    (quick / "new.toml").write_text(SEQUENCE)
    return home


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    """The home, to be changed by one test."""
    shutil.copytree(made.path, tmp_path / "HQ1")
    return Home(code="HQ1", path=tmp_path / "HQ1")


def _deploy(home: Home, made: Home) -> str:
    sequence_file = made.path.parent / "new.toml"
    document = home(
        "deploy", "create", "HQ100001", "--to", "PC-1", "--sequence", sequence_file, "--option", "as-needed", "--yes"
    )
    return str(document["deployment"])


def test_the_newest_deployment_of_a_computer_runs_and_is_recorded(home: Home, made: Home, tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img", 32)
    words = ("deploy", "run", "--computer", "pc-1", "--into", disk, "--cache", tmp_path / "cache")
    assert "no deployment goes to pc-1" in home.fails(*words, code=6)["message"]
    name = _deploy(home, made)
    assert home(*words, "--restart-is-end", code=11)["state"] == "restart"
    assert home("deploy", "status", name)["computers"][0]["state"] == "running"
    assert home(*words, "--restart-is-end")["steps"]["done"] == [1, 2, 3, 4]
    assert on_disk(disk, tmp_path) == {"SYS": WINDOWS | {"name": b"PC-1\n"}}
    told = home("deploy", "status", name)["computers"][0]
    assert told["state"] == "done"
    assert [one["step"] for one in told["messages"] if one["outcome"] == "done"] == [1, 2, 3, 4, 0]
    assert home(*words)["already"]
    # Another deployment waits until it is said that this run is over.
    other = _deploy(home, made)
    assert "--anew" in home.fails(*words, code=3)["hint"]
    assert home(*words, "--deployment", name)["already"]
    home(*words, "--anew", "--erase")
    assert home("deploy", "status", other)["computers"][0]["state"] == "done"


def test_files_of_status_are_taken_where_the_client_has_no_home(home: Home, made: Home, tmp_path: Path) -> None:
    name, disk = _deploy(home, made), disk_of(tmp_path / "disk.img", 32)
    home("deploy", "policy", name, "PC-1", "--out", tmp_path / "PC-1.policy")
    run(
        "deploy", "run", "--computer", "PC-1", "--policy", tmp_path / "PC-1.policy", "--card",
        made.path.parent / "HQ1.card", "--into", disk, "--cache", tmp_path / "cache", "--report", tmp_path / "status",
    )  # fmt: skip
    assert on_disk(disk, tmp_path)["SYS"]["Windows/win.ini"] == WINDOWS["Windows/win.ini"]
    document = home("deploy", "status", name, "--take", tmp_path / "status")
    assert document["computers"][0]["state"] == "done"
    assert document["taken"]["refused"] == []


def test_options_that_do_not_go_together_are_refused(home: Home, tmp_path: Path) -> None:
    for more in (["--policy", tmp_path / "x"], ["--card", tmp_path / "x"]):
        home.fails("deploy", "run", "--computer", "PC-1", "--into", tmp_path / "new", *more, code=2)
