"""A shared catalogue under operators: `python benchmarks/bench_catalogue.py [--rate N] [--operators N] [--seconds N]`.

A PostgreSQL server (Debian's package, its commits flushed) holds the catalogue of a site with 2,000 packages and 3,000
parcels. Operators, each a process of its own, give commands of a mix at a fixed rate; each command runs in its process,
and waits for its turn where the one before it is late. For each command: the time from when it was due (p50, p99), and
of that the catalogue's part: connecting, statements, commits, and waiting for the lock that one writer at a time holds.
Then two figures of saturation: commands given one after the other by all operators, and the transactions a minute in
which eight writers add a package each, with nothing else to do. Exit code 1 where the p99 of whole commands is 1 s or
more.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from measure import two_sites  # noqa: E402

MIX = {
    "package list": 40,
    "package show": 40,
    "parcel list": 40,
    "status": 30,
    "package add": 20,
    "parcel create --dry-run": 20,
    "channel sync": 10,
}
"""Of 200 commands, so many are of each kind."""
PACKAGES, PARCELS = 2_000, 3_000
LIMIT = 1.0


@dataclass(kw_only=True, slots=True)
class Watch:
    """Seconds of the command that runs, in the catalogue: in all, waiting for the writer's lock, and holding it."""

    catalogue: float = 0
    waiting: float = 0
    holding: float = 0
    held_since: float | None = field(default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A command that was given: its seconds since it was due, those of the catalogue, and its exit code."""

    command: str
    seconds: float
    running: float
    processor: float
    catalogue: float
    waiting: float
    holding: float
    code: int


_watch = Watch()


def _forget() -> None:
    """Begin to count anew."""
    _watch.catalogue = _watch.waiting = _watch.holding = 0.0
    _watch.held_since = None


def _look_at_the_catalogue() -> None:
    """Have the time counted that goes into connections, statements and the ends of transactions."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.default import DefaultDialect

    def timed(name: str, *, ends: bool = False) -> None:
        original = getattr(DefaultDialect, name)

        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return original(self, *arguments, **named)
            finally:
                now = time.perf_counter()
                _watch.catalogue += now - began
                if ends and _watch.held_since is not None:
                    _watch.holding += now - _watch.held_since
                    _watch.held_since = None

        setattr(DefaultDialect, name, call)

    timed("connect")
    timed("do_commit", ends=True)
    timed("do_rollback", ends=True)
    began: list[float] = []

    def before(*_: Any) -> None:
        began.append(time.perf_counter())

    def after(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        now = time.perf_counter()
        took = now - began.pop()
        _watch.catalogue += took
        if "pg_advisory_xact_lock" in statement:
            _watch.waiting += took
            _watch.held_since = now

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)


def _words(command: str, home: Path, random_: random.Random) -> list[str]:
    if command == "package show":
        return ["package", "show", f"BR1{random_.randrange(1, PACKAGES):05X}", "--json"]
    if command == "package add":
        path = home.parent / f"added-{os.getpid()}"
        path.write_bytes(random_.randbytes(20_000))
        return ["package", "add", str(path), "--name", "Added"]
    if command == "parcel create --dry-run":
        return ["parcel", "create", "HQ100001", "--to", "BR1", "--capacity", "64MB", "--dry-run"]
    return command.split()


def _give(command: str, home: Path, random_: random.Random, due: float) -> Given:
    """Give a command in this process."""
    from courier.cli.app import main

    _forget()
    sys.argv = ["courier", *_words(command, home, random_), "--home", str(home), "--yes"]
    code: Any = 0
    began, used = time.perf_counter(), time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main()
    except SystemExit as ended:
        code = ended.code or 0
    after = time.perf_counter()
    return Given(
        command=command,
        seconds=after - min(due, began),
        running=after - began,
        processor=time.process_time() - used,
        catalogue=_watch.catalogue,
        waiting=_watch.waiting,
        holding=_watch.holding,
        code=int(code),
    )


def operate(number: int, home: Path, commands: Sequence[tuple[float, str]], begin: float) -> list[Given]:
    """Give commands, each with the seconds after ``begin`` when it is due; 0 for all: one after the other."""
    # The command has signals end it in its own way; here they end the process.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    _look_at_the_catalogue()
    random_ = random.Random(number)
    _give("package list", home, random_, time.perf_counter())  # the modules are loaded
    given = []
    offset = time.perf_counter() - time.time()
    for at, command in commands:
        due = begin + at + offset if at else time.perf_counter()
        time.sleep(max(0.0, due - time.perf_counter()))
        given.append(_give(command, home, random_, due))
    return given


def write_packages(number: int, url: str, seconds: float) -> int:
    """Add packages to the catalogue, each in a transaction, for some seconds; how many."""
    from courier.site.catalog import open_catalogue, packages

    catalogue = open_catalogue(url)
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        with catalogue.writing() as connection:
            packages.add(connection, _package(f"W{number:02d}{count:05X}", "0" * 64))
        count += 1
    catalogue.close()
    return count


def _package(name: str, listing: str) -> Any:
    from courier.site.catalog.packages import StoredPackage
    from formats.documents.listing import ListingSummary

    summary = ListingSummary(sha256=listing, entries=1, files=1, bytes=1, holes=0)
    return StoredPackage(
        package=name, version=1, name=name, listing=summary, created_ns=1, added_ns=time.time_ns(), origin="added"
    )


def fill(home: Path) -> None:
    """Put packages and parcels into the catalogue of a site, as they are after a month of a hundred parcels a night."""
    from courier.parcel.states import SentState, VolumeState
    from courier.site.catalog import packages, parcels
    from courier.site.catalog.parcels import LogEntry, SentParcel, SentVolume
    from courier.site.home import open_site

    site = open_site(home)
    with site.catalogue.writing() as connection:
        (own,) = packages.versions(connection)
        for number in range(1, PACKAGES):
            packages.add(connection, replace(own, package=f"BR1{number:05X}", name=f"Image {number}"))
    sent = SentParcel(
        parcel="",
        state=SentState.CONFIRMED,
        priority="medium",
        created_ns=time.time_ns(),
        build="1" * 64,
        packing_list="2" * 64,
        edition=0,
        spares=0,
        redundancy="none",
    )
    with site.catalogue.writing() as connection:
        for number in range(1, PARCELS + 1):
            name = f"HQ1-{number:06d}"
            parcels.add_sent(connection, replace(sent, parcel=name), ["BR1"])
            for volume in (1, 2, 3):
                parcels.put_sent_volume(
                    connection,
                    SentVolume(
                        parcel=name,
                        edition=0,
                        number=volume,
                        state=VolumeState.WRITTEN,
                        layout="folder",
                        path="",
                        bytes=10**9,
                        written_ns=1,
                    ),
                )
            entry = LogEntry(parcel=name, at_ns=1, operator="bench", event="built", text="1 archive")
            parcels.write_log(connection, entry)
        packages.raise_counter(connection, "parcel", PARCELS)
    site.close()


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _table(given: Sequence[Given]) -> Iterator[str]:
    yield (
        f"{'command':26} {'count':>5} {'p50':>8} {'p99':>8} {'processor':>9} {'catalogue p50':>13} {'p99':>8} "
        f"{'lock p99':>8} {'held p50':>8} failed"
    )
    kinds = {name: [one for one in given if one.command == name] for name in MIX}
    for name, some in (*kinds.items(), ("all", list(given))):
        if some:
            yield (
                f"{name:26} {len(some):5} {_ms([one.seconds for one in some], 0.5)} "
                f"{_ms([one.seconds for one in some], 0.99)} {_ms([one.processor for one in some], 0.5):>9} "
                f"{_ms([one.catalogue for one in some], 0.5):>13} {_ms([one.catalogue for one in some], 0.99)} "
                f"{_ms([one.waiting for one in some], 0.99)} "
                f"{_ms([one.holding for one in some if one.holding] or [0.0], 0.5)} "
                f"{sum(one.code != 0 for one in some)}"
            )


def _ms(values: Sequence[float], share: float) -> str:
    return f"{_percentile(values, share) * 1000:5.0f} ms"


def _run(home: Path, operators: int, plans: Sequence[Sequence[tuple[float, str]]]) -> tuple[list[Given], float]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(operators, mp_context=context) as pool:
        for one in [pool.submit(time.sleep, 1.0) for _ in range(operators)]:
            one.result()  # every operator has a process of its own now
        begin = time.time() + 3
        jobs = [pool.submit(operate, number, home, plan, begin) for number, plan in enumerate(plans)]
        given = [one for job in jobs for one in job.result()]
    return given, time.time() - begin


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200, help="commands a minute")
    parser.add_argument("--operators", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=120, help="how long commands are given at that rate")
    parser.add_argument("--in", dest="folder", type=Path, help="folder to work in")
    options = parser.parse_args()
    from postgresql import new_database, running_postgresql

    names = [name for name, count in MIX.items() for _ in range(count)]
    chosen = random.Random(1)
    with (
        tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.folder) as folder,
        running_postgresql(flushed=True) as server,
    ):
        home, _ = two_sites(Path(folder), catalogue=new_database(server))
        _give_here(home, Path(folder))
        fill(home)
        count = options.rate * options.seconds // 60
        times = sorted(chosen.uniform(0.001, options.seconds) for _ in range(count))
        plans: list[list[tuple[float, str]]] = [[] for _ in range(options.operators)]
        for number, at in enumerate(times):
            plans[number % options.operators].append((at, chosen.choice(names)))
        given, _ = _run(home, options.operators, plans)
        print(f"{options.rate} commands a minute by {options.operators} operators for {options.seconds} s:")
        print(*_table(given), sep="\n", flush=True)
        slowest = _percentile([one.seconds for one in given], 0.99)
        each = max(1, count // options.operators // 2)
        given, seconds = _run(
            home, options.operators, [[(0, chosen.choice(names)) for _ in range(each)] for _ in plans]
        )
        print(
            f"one after the other by {options.operators} operators: {len(given) / seconds * 60:,.0f} commands a minute"
        )
        print(*_table(given), sep="\n", flush=True)
        print(f"writing transactions alone, eight writers: {_writers(home, 5.0):,.0f} a minute")
    sys.exit(1 if slowest >= LIMIT else 0)


def _give_here(home: Path, folder: Path) -> None:
    """The package of ours that is planned, and that the others stand for."""
    path = folder / "image.wim"
    path.write_bytes(os.urandom(1 << 20))
    _give_words(["package", "add", str(path), "--name", "Image", "--home", str(home), "--yes"])


def _give_words(words: list[str]) -> None:
    from courier.cli.app import main

    sys.argv = ["courier", *words]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main()


def _writers(home: Path, seconds: float) -> float:
    from courier.site.settings import Settings

    url = Settings.load(home).catalogue
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("spawn")) as pool:
        for one in [pool.submit(time.sleep, 1.0) for _ in range(8)]:
            one.result()
        counts = [pool.submit(write_packages, number, url, seconds) for number in range(8)]
        return sum(one.result() for one in counts) / seconds * 60


if __name__ == "__main__":
    main()
