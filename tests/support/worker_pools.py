"""Workers for tests: a Dask cluster in processes of its own, and executors that fail."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A cluster that runs: the address of its scheduler, and the process that has it."""

    address: str
    process: subprocess.Popen[str]


@contextmanager
def running_cluster(workers: int = 2) -> Iterator[Cluster]:
    """A cluster of two workers, as ``courier cluster run`` starts it; it ends with the block."""
    command = [sys.executable, "-m", "courier", "cluster", "run", "--workers", str(workers), "--bind", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = ""
        while '"address"' not in said:
            said = running.stdout.readline()
            assert said, "the cluster did not start"
        try:
            yield Cluster(address=said.split('"')[3], process=running)
        finally:
            running.send_signal(signal.SIGTERM)


class Failing(ThreadPoolExecutor):
    """Workers of which the task number ``good`` + 1, and all after it, end with an error."""

    def __init__(self, error: BaseException, good: int = 2) -> None:
        super().__init__(1)
        self.error, self.good, self.count = error, good, 0

    def submit(self, task: Any, /, *arguments: Any, **more: Any) -> Future[Any]:
        """See `concurrent.futures.Executor.submit`."""
        self.count += 1
        if self.count <= self.good:
            return super().submit(task, *arguments, **more)
        lost: Future[Any] = Future()
        lost.set_exception(self.error)
        return lost
