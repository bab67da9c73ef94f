"""``courier demo --cluster``: what it shows, what it needs, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from journey import ROOT, environment, run, run_process
from stock import stock_tool

from courier.cli import demo_services


def processes_with(variable: str) -> list[int]:
    """The processes that have this in their environment, ``NAME=VALUE``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def none_is_left(variable: str, folders: set[Path]) -> bool:
    """Whether all processes end soon that were started with a variable, and their folders are gone."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if not processes_with(variable) and set(Path("/tmp").glob("courier-pg-*")) <= folders:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.long
def test_a_parcel_is_built_by_two_workers_from_a_bucket(tmp_path: Path) -> None:
    stock_tool("initdb")
    folders = set(Path("/tmp").glob("courier-pg-*"))
    ran = run_process(
        *("demo", "--cluster", "--json-lines"),
        cwd=ROOT,
        TMPDIR=str(tmp_path),
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        AWS_PROFILE="none",
    )
    *steps, document = map(json.loads, ran.out.splitlines())
    assert [step["number"] for step in steps] == list(range(1, len(steps) + 1))
    assert document["state"] == "Confirmed"
    assert document["same"] is True
    cluster = document["cluster"]
    assert cluster["store"].startswith("s3://")
    assert cluster["catalogue"].startswith("postgresql://")
    assert cluster["objects"] == 2
    assert list(tmp_path.iterdir()) == []
    assert none_is_left(f"TMPDIR={tmp_path}", folders)


@pytest.mark.long
@pytest.mark.parametrize(
    ("step", "number"), [(1, signal.SIGINT), (1, signal.SIGTERM), (5, signal.SIGINT), (5, signal.SIGKILL)]
)
def test_nothing_goes_on_when_it_is_killed(tmp_path: Path, number: signal.Signals, step: int) -> None:
    stock_tool("initdb")
    folders = set(Path("/tmp").glob("courier-pg-*"))
    # Step 1 is told before anything is started: it is killed a little later, in the middle of that.
    command = [sys.executable, "-u", "-m", "courier", "demo", "--cluster"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment(TMPDIR=str(tmp_path)), start_new_session=True, text=True
    ) as demo:
        assert demo.stdout is not None
        assert any(line.startswith(f"{step:>2}. ") for line in demo.stdout)
        time.sleep(1.5 if step == 1 else 0)
        # As a terminal does it, to all that runs in it.
        os.killpg(demo.pid, number)
        demo.stdout.read()
    assert demo.returncode == (-number if number == signal.SIGKILL else 8)
    left = set(Path("/tmp").glob("courier-pg-*")) - folders if number == signal.SIGKILL else set()
    assert none_is_left(f"TMPDIR={tmp_path}", folders | left)
    for folder in left:  # Nobody was there any more who could remove it.
        shutil.rmtree(folder)


def test_what_is_missing_is_named_and_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("demo", "--cluster", "--keep", tmp_path / "demo", "--json")
    with monkeypatch.context() as patched:
        patched.setattr(demo_services, "_programs", lambda: None)
        error = run(*words, code=6).error
    assert "initdb and postgres" in error["message"]
    assert "apt-get install postgresql" in error["hint"]
    with monkeypatch.context() as patched:
        patched.setattr(demo_services, "_programs", lambda: (Path("initdb"), Path("postgres")))
        patched.setattr("importlib.util.find_spec", lambda _: None)
        error = run(*words, code=6).error
    assert error["code"] == "extra-missing"
    assert "psycopg, obstore, distributed, moto" in error["message"]
    assert "courier-parcels[demo]" in error["hint"]
    assert not (tmp_path / "demo").exists()
    assert run("demo", "--deploy", "--cluster", "--json", code=2).error["code"] == "usage"
