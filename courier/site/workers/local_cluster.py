"""The scheduler of a Dask cluster and workers on this computer."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from courier.error_codes import Code
from courier.errors import RefusedError, UsageError
from courier.site.workers.executor import be_quiet, needs_dask


def run_cluster(bind: str, workers: int, say: Callable[[str], None]) -> None:
    """Run a scheduler at ``bind`` (host and port) and ``workers`` processes until the command is interrupted.

    ``say`` is given the address as soon as work is taken. Raises `UsageError` for an address that is none, and
    `RefusedError` where the scheduler cannot listen there.
    """
    host, _, port = bind.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise UsageError(f"{bind!r} is no address to listen at", hint="give host and port: --bind 127.0.0.1:8786")
    with needs_dask():
        from distributed import LocalCluster
    be_quiet()
    try:
        cluster: Any = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host=host.strip("[]"),
            scheduler_port=int(port),
            dashboard_address=None,
            worker_dashboard_address=None,
            memory_limit=0,
            silence_logs=50,
        )
    except (OSError, RuntimeError) as error:
        why = str(error.__cause__ or error).splitlines()[0][:160]
        raise RefusedError(
            f"the scheduler cannot listen at {bind}: {why}", hint="choose another port: --bind", code=Code.BIND
        ) from None
    with cluster:
        say(cluster.scheduler_address)
        threading.Event().wait()
