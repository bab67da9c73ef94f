"""A PostgreSQL server on a socket in a new folder, and databases in it."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine
from stock import stock_tool

_numbers = itertools.count(1)


def _as_server_user(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root; Debian's package makes a user for it."""
    if os.name == "posix" and os.geteuid() == 0:
        return ["runuser", "-u", "postgres", "--", *command]
    return command


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that can be stopped, as it is when its computer goes down, and started again."""

    url: str
    run: Callable[..., None]
    data: str
    start_options: tuple[str, ...]

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: ``immediate`` as if it were killed, ``fast`` as an administrator does."""
        self.run(stock_tool("pg_ctl"), "-D", self.data, "-m", mode, "stop")

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.run(stock_tool("pg_ctl"), "-D", self.data, *self.start_options, "start")


@contextlib.contextmanager
def running_postgresql(*, flushed: bool = False) -> Iterator[str]:
    """Run a server for the block; gives its URL, with ``{}`` for the database.

    ``flushed``: its commits are on the disk when it says so, as in use; tests do not wait for that.
    """
    with running_server(flushed=flushed) as server:
        yield server.url


@contextlib.contextmanager
def running_server(*, flushed: bool = False) -> Iterator[Server]:
    """Run a server for the block. It has to be running at the end too. ``flushed``: see `running_postgresql`."""
    initdb = stock_tool("initdb")
    pytest.importorskip("psycopg")
    # Not below pytest's folder, which only its owner may enter; and the path of a socket is short.
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    user = getpass.getuser()
    if os.geteuid() == 0:
        user = "postgres"
        shutil.chown(root, "postgres")
    data, log = str(root / "data"), str(root / "log")
    options = f"-c listen_addresses= -c unix_socket_directories={root} -c max_connections=60"
    if not flushed:
        options += " -c fsync=off"

    def run(*command: str) -> None:
        as_user = _as_server_user(list(command))
        subprocess.run(as_user, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=root)

    try:
        run(initdb, "-D", data, "-A", "trust", "-U", user, "-E", "UTF8", "--no-sync")
        url = f"postgresql://{user}@/{{}}?host={root}"
        server = Server(url=url, run=run, data=data, start_options=("-l", log, "-w", "-o", options))
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def new_database(server: str) -> str:
    """The URL of a new, empty database of a server."""
    name = f"site{next(_numbers)}"
    with raw(server.format("postgres"), autocommit=True) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return server.format(name)


@contextlib.contextmanager
def raw(url: str, *, autocommit: bool = False) -> Iterator[Connection]:
    """A connection that is not the catalogue's own."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        if autocommit:
            engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
