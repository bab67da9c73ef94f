"""``courier cluster``: workers that do a part of the long work of commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.command import command, console_of, group

if TYPE_CHECKING:
    from concurrent.futures import Executor

app = group("Workers that build, verify and import together.")

CLUSTER = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        envvar="COURIER_CLUSTER",
        help="Workers to share the work: processes:N of this computer, or tcp://HOST:8786 of a Dask cluster.",
    ),
]


@contextmanager
def workers_of(address: str | None) -> Iterator[Executor | None]:
    """The workers at an address; None without one."""
    if not address:
        yield None
        return
    from courier.site.workers.executor import open_workers

    with open_workers(address) as executor:
        yield executor


@command(app, "run", examples=["courier cluster run --workers 4", "courier cluster run --bind 10.0.0.5:8786"])
def run(
    context: typer.Context,
    *,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=0, max=999, help="Worker processes here.")] = 2,
    bind: Annotated[
        str, typer.Option("--bind", metavar="HOST:PORT", help="Where the scheduler listens.")
    ] = "127.0.0.1:8786",
) -> None:
    """Run a Dask scheduler and workers here, until Ctrl-C.

    Other computers join with: dask worker tcp://HOST:PORT --nthreads 1. They need the same release of this toolkit and
    the home of the site at the same path. Whoever reaches the scheduler can run programs as you: keep it to a network
    of your own, or use TLS as Dask describes it.
    """
    from courier.site.workers.local_cluster import run_cluster

    console = console_of(context)

    def say(address: str) -> None:
        console.say(f"Workers are ready: courier parcel create --cluster {address} ...")
        console.result({"address": address, "workers": workers})

    run_cluster(bind, workers, say)
