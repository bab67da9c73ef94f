"""What ``courier demo --cluster`` starts on this computer and ends again: PostgreSQL, an object store and workers."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.cli.demo_guard import as_user
from courier.error_codes import Code
from courier.errors import NotFoundError, UnreachableError

WORKERS = 2
_PROGRAMS = ("initdb", "postgres")
_MODULES = ("psycopg", "obstore", "distributed", "moto")
_BUCKET = "images"
_REPORT = "courier demo --cluster once more; if it fails again, report it"
_SECONDS = 60
"""How long a server may take until it answers."""
_MOTO = """\
import logging, threading
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://127.0.0.1:%d" % server.get_host_and_port()[1], flush=True)
threading.Event().wait()
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Servers that run: the address of a ``catalogue``, of a ``bucket`` at ``endpoint``, and of ``workers``."""

    catalogue: str
    bucket: str
    endpoint: str
    workers: str


def require_services() -> None:
    """Raise `NotFoundError` for programs and parts that these servers need and that are not here."""
    if _programs() is None:
        raise NotFoundError(
            f"this demonstration runs {' and '.join(_PROGRAMS)}, which this computer does not have; nothing was begun",
            hint="apt-get install postgresql (Debian), then: courier demo --cluster",
        )
    if missing := [name for name in _MODULES if importlib.util.find_spec(name) is None]:
        raise NotFoundError(
            f"this demonstration needs {', '.join(missing)}, not installed here; nothing was begun",
            hint="pip install 'courier-parcels[demo]'",
            code=Code.EXTRA_MISSING,
        )


@contextlib.contextmanager
def running_services() -> Iterator[Services]:
    """Run the servers for the block, and set the environment of this process for the object store.

    They end with this process, however it ends. Raises `UnreachableError` where one of them does not answer.
    """
    require_services()
    with _environment(), contextlib.ExitStack() as stack:
        store = stack.enter_context(_guarded([sys.executable, "-c", _MOTO]))
        catalogue = stack.enter_context(_postgresql())
        endpoint = _said(store, "http://")
        _make_bucket(endpoint)
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        workers = stack.enter_context(_workers())
        yield Services(catalogue=catalogue, bucket=f"s3://{_BUCKET}", endpoint=endpoint, workers=workers)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The variables of an object store that needs no true key, in place of those of the operator."""
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

    def clear() -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]

    clear()
    os.environ |= {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo", "AWS_REGION": "us-east-1"}
    try:
        yield
    finally:
        clear()
        os.environ |= before


@contextlib.contextmanager
def _workers() -> Iterator[str]:
    """Run workers for the block; gives the address of their scheduler. Dask leaves a folder behind wherever it was."""
    command = [sys.executable, "-u", "-m", "courier", "cluster", "run", "--workers", str(WORKERS)]
    with tempfile.TemporaryDirectory(prefix="courier-dask-", ignore_cleanup_errors=True) as scratch:
        environment = {**os.environ, "DASK_TEMPORARY_DIRECTORY": scratch}
        with _guarded([*command, "--bind", "127.0.0.1:0"], environment=environment) as running:
            yield _said(running, "tcp://")


@contextlib.contextmanager
def _guarded(
    command: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program for the block, and no longer than this process; its output can be read.

    ``user``: whose process it is, where that is another's.
    """
    guard = subprocess.Popen(
        [sys.executable, "-m", "courier.cli.demo_guard", user, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env=environment,
    )
    assert guard.stdin is not None
    try:
        yield guard
    finally:
        guard.stdin.close()
        guard.wait()


def _said(program: subprocess.Popen[str], scheme: str) -> str:
    """The address that a program prints as soon as it answers."""
    assert program.stdout is not None
    for line in program.stdout:
        if match := re.search(rf"{scheme}[0-9.:]+", line):
            return match[0]
    raise UnreachableError(f"the server at {scheme} did not start", hint=_REPORT)


def _make_bucket(endpoint: str) -> None:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=_SECONDS)
    with contextlib.closing(connection):
        connection.request("PUT", f"/{_BUCKET}")
        if (status := connection.getresponse().status) != 200:
            raise UnreachableError(f"the object store made no bucket: status {status}", hint=_REPORT)


@contextlib.contextmanager
def _postgresql() -> Iterator[str]:
    """Run a server for the block, at a socket in a folder that only its user may enter; gives the catalogue's URL."""
    programs = _programs()
    assert programs is not None
    initdb, postgres = map(str, programs)
    # It refuses to run as root; Debian's package makes a user for it.
    user = "postgres" if os.geteuid() == 0 else ""
    # Not where $TMPDIR leads: that user has to get there, and the path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="courier-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        if user:
            shutil.chown(folder, user, user)
        name, data = user or getpass.getuser(), f"{folder}/data"
        made = subprocess.run(
            [initdb, "-D", data, "-A", "trust", "-U", name, "-E", "UTF8", "--locale=C", "--no-sync"],
            capture_output=True,
            text=True,
            cwd=folder,
            start_new_session=True,
            check=False,
            **as_user(user),
        )
        if made.returncode:
            raise UnreachableError(f"initdb failed: {made.stderr.strip()[-200:]}", hint=_REPORT)
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        with _guarded([postgres, "-D", data, *options], user=user):
            url = f"postgresql://{name}@/postgres?host={folder}"
            _wait_for(url)
            yield url


def _wait_for(url: str) -> None:
    from courier.site.catalog import open_catalogue

    until = time.monotonic() + _SECONDS
    while True:
        try:
            open_catalogue(url).close()
            return
        except UnreachableError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def _programs() -> tuple[Path, Path] | None:
    """The programs of PostgreSQL, of one release; Debian keeps those of servers where no PATH leads."""
    servers = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda folder: -int(folder.parent.name))
    for folder in [*servers, *map(Path, os.get_exec_path())]:
        initdb, postgres = (folder / name for name in _PROGRAMS)
        if os.access(initdb, os.X_OK) and os.access(postgres, os.X_OK):
            return initdb, postgres
    return None
