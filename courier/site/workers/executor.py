"""Workers by their address: processes of this computer, or those of a Dask cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

from courier.error_codes import Code
from courier.errors import UnreachableError, UsageError

_PROCESSES = re.compile(r"processes:([1-9][0-9]{0,2})")
_SCHEDULER = re.compile(r"(tcp|tls)://[^\s/?#@]+:[0-9]{1,5}")
_CONNECT_SECONDS = 15
_TRIES = 3
"""How often a task is given to another worker when the one that had it ends."""
_JOIN_SECONDS = 15
"""How long a scheduler is given to have its first worker."""


@contextmanager
def open_workers(address: str) -> Iterator[Executor]:
    """The workers at an address: ``processes:N``, or the scheduler of a Dask cluster such as ``tcp://HOST:8786``.

    Any other `concurrent.futures.Executor` may take their place. Raises `UsageError` for an address that is none, or
    without the optional part for Dask, and `UnreachableError` for a scheduler that does not answer or has no worker.
    """
    if match := _PROCESSES.fullmatch(address):
        import multiprocessing

        # A process that is forked from one with threads may hang.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(int(match[1]), mp_context=context, initializer=_leave_signals_to_the_command)
        with pool, _ended_with_the_command(pool):
            yield pool
        return
    if not _SCHEDULER.fullmatch(address):
        raise UsageError(f"{address[:80]!r} is no address of workers", hint="processes:4, or tcp://HOST:8786 for Dask")
    with needs_dask():
        from distributed import Client
    be_quiet()
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            address, timeout=_CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise UnreachableError(
            f"the scheduler at {address} does not answer: {str(error).splitlines()[0][:160]}",
            hint="is it running? courier cluster run starts one on this computer",
            code=Code.CLUSTER,
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_JOIN_SECONDS)
        except TimeoutError:
            raise UnreachableError(
                f"the scheduler at {address} has no workers",
                hint=f"start one at each computer: dask worker {address} --nthreads 1",
                code=Code.CLUSTER,
            ) from None
        yield cast(Executor, client.get_executor(pure=False, retries=_TRIES))


def _leave_signals_to_the_command() -> None:
    """Ctrl-C at a terminal reaches every process: it is the command that stops, says so, and ends its workers."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _ended_with_the_command(pool: ProcessPoolExecutor) -> Iterator[None]:
    """When the block raises, end the processes in the middle of their tasks: nobody takes any more what they make."""
    try:
        yield
    except BaseException:
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.kill()
        raise


def how_many(executor: Executor) -> int:
    """How many tasks the workers do at once, as far as that is known: of executors of another kind, 1."""
    client: Any = getattr(executor, "_client", None)
    if client is not None:
        return sum(client.nthreads().values())
    return int(getattr(executor, "_max_workers", 1))


@contextmanager
def needs_dask() -> Iterator[None]:
    """Import Dask in the block; raises `UsageError` where it is not installed."""
    try:
        yield
    except ImportError:
        raise UsageError(
            "workers of a Dask cluster need an optional part",
            hint="pip install 'courier-parcels[cluster]'",
            code=Code.EXTRA_MISSING,
        ) from None


def be_quiet() -> None:
    """Keep Dask from logging what we say ourselves."""
    import logging
    import warnings

    warnings.filterwarnings("ignore", module="distributed")
    for name in ("distributed", "distributed.client", "distributed.core", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
