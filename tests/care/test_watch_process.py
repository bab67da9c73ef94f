"""The watch as a process: signals, a kill, and what a service manager is told."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from journey import environment
from watching import Shipped, copied, shipped, wait_until

from courier.care.watch.service_manager import ServiceManager

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    return shipped(tmp_path_factory.mktemp("shipped"))


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a service manager is told, as it comes."""
    monkeypatch.chdir(tmp_path)  # a path of a socket is 107 bytes long at most
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("manager")
        listening.settimeout(0.1)
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                try:
                    told.extend(listening.recv(4096).decode().splitlines())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield told
        finally:
            ended.set()
            thread.join()


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    yield
    while _started:
        with _started.pop() as process:
            process.kill()


_started: list[subprocess.Popen[str]] = []


def _start(own: Shipped, *options: object, **more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "courier", "channel", "watch", *map(str, options), "--home", str(own.sites.br.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
    )
    _started.append(process)
    return process


def _watch_state(own: Shipped) -> str:
    return str((own.sites.br("status")["watch"] or {}).get("state"))


def test_it_is_killed_at_work_started_again_and_ended_by_its_manager(
    template: Shipped, tmp_path: Path, manager: list[str]
) -> None:
    own = copied(template, tmp_path)
    into = tmp_path / "in"
    into.mkdir()
    options = ("--media", into, "--settle", 1, "--every", 1)
    told = {"NOTIFY_SOCKET": str(tmp_path / "manager"), "WATCHDOG_USEC": "300000"}
    if len(told["NOTIFY_SOCKET"]) > 100:
        pytest.skip("the path of the temporary folder is too long for a socket")
    first = _start(own, *options, **told)
    wait_until(lambda: "READY=1" in manager)
    wait_until(lambda: manager.count("WATCHDOG=1") >= 2)
    assert _watch_state(own) == "running"
    for volume in own.volumes:
        shutil.copytree(volume, into / volume.name)
    wait_until(lambda: _parcel_state(own) != "Announced")
    first.kill()
    first.communicate()
    assert _watch_state(own) == "interrupted"

    second = _start(own, *options, **told)
    assert second.stdout is not None
    assert "BR1 watches" in second.stdout.readline()
    wait_until(lambda: _parcel_state(own) == "Imported")
    second.send_signal(signal.SIGTERM)
    out, err = second.communicate(timeout=30)
    assert (second.returncode, err) == (0, "")
    assert "The watch has ended; nothing was lost." in out
    assert "STOPPING=1" in manager
    assert _watch_state(own) == "ended"


def _parcel_state(own: Shipped) -> str:
    time.sleep(0.2)  # what asks takes the time of what works
    return str(own.sites.br("parcel", "show", own.parcel)["state"])


def test_ctrl_c_while_it_waits_ends_it_at_once(template: Shipped, tmp_path: Path) -> None:
    own = copied(template, tmp_path)
    running = _start(own, "--every", 3600)
    assert running.stdout is not None
    assert "BR1 watches" in running.stdout.readline()
    begun = time.monotonic()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    assert running.returncode == 0
    assert time.monotonic() - begun < 10


def test_the_manager_is_told_by_an_abstract_socket_too(monkeypatch: pytest.MonkeyPatch) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("abstract sockets are of Linux")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"courier-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        manager = ServiceManager()
        manager.alive("it waits")
        assert listening.recv(1000) == b"WATCHDOG=1\nSTATUS=it waits"
        manager.alive("it reads /media/two\nMAINPID=1")
        assert listening.recv(1000) == rb"WATCHDOG=1" + b"\n" + rb"STATUS=it reads /media/two\nMAINPID=1"
        assert manager.watchdog_seconds == 30


def test_without_a_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    manager = ServiceManager()
    manager.ready()
    assert manager.watchdog_seconds == 0
