"""Workers by their address: what an interrupt does to processes, and what is said of a cluster without workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from worker_pools import running_cluster

from courier.errors import UnreachableError
from courier.site.workers import executor
from courier.site.workers.executor import how_many, open_workers

INTERRUPTED = """
import os, sys, time
from courier.site.workers.executor import open_workers
if __name__ == "__main__":
    try:
        with open_workers("processes:1") as workers:
            workers.submit(os.write, 1, b"begun\\n")
            workers.submit(time.sleep, 600).result()
    except KeyboardInterrupt:
        sys.exit(8)
"""


def test_ctrl_c_ends_the_command_and_its_workers_in_the_middle_and_quietly() -> None:
    words = [sys.executable, "-c", INTERRUPTED]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 8
    assert errors == ""


@pytest.mark.long
def test_a_cluster_without_workers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "_JOIN_SECONDS", 1)
    with running_cluster(0) as cluster:
        with pytest.raises(UnreachableError, match="has no workers") as caught, open_workers(cluster.address):
            pass
        assert "dask worker" in caught.value.hint
    with running_cluster(1) as cluster, open_workers(cluster.address) as workers:
        assert how_many(workers) == 1


@pytest.mark.long
def test_a_second_scheduler_at_the_same_address_is_refused() -> None:
    with running_cluster(0) as cluster:
        bind = cluster.address.removeprefix("tcp://")
        words = [sys.executable, "-m", "courier", "cluster", "run", "--workers", "0", "--bind", bind]
        ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 3
    assert "cannot listen" in ran.stderr
