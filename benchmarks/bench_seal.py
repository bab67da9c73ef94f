"""Sealing against pyrage and stock age in one run: `python benchmarks/bench_seal.py [--size MB] [--rounds N]`.

A file of random bytes is sealed into a file and opened into a file: with two threads beside the caller's and with none,
by pyrage's `encrypt_file` and `decrypt_file`, and by ``age``. Then with nothing written, by pyrage's `encrypt_io` and
`decrypt_io`: what sealing itself takes, beside the reading and writing that go on anyway. "As a parcel is written" is a
`SealedView`: archives are sealed nowhere but on their way to a medium (decision 0006), so this is what counts.

Each job is a process of its own and reads what the page cache holds. Times are the best of the rounds, those of Python
without the interpreter's start; GB are 10^9 bytes, memory is the peak of the whole process in MiB.
"""

from __future__ import annotations

import argparse
import importlib
import io
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from formats.seal import Identity, SealedView, open_sealed, seal_stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """What a job takes, or the best of its rounds: seconds, seconds of processor time, peak MiB where it is known."""

    seconds: float
    processor: float
    memory: float


class Nowhere(io.RawIOBase):
    """Takes what is written and forgets it."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return len(data)


class Memory(io.RawIOBase):
    """One megabyte again and again."""

    def __init__(self, size: int) -> None:
        self.data = os.urandom(1 << 20)
        self.left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        size = min(size or 0, len(self.data), self.left)
        self.left -= size
        return self.data if size == len(self.data) else self.data[:size]

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def pyrage() -> Any:
    return importlib.import_module("pyrage")


def key(identity: str) -> Any:
    return pyrage().x25519.Identity.from_str(identity)


def pour(sealed: BinaryIO, out: BinaryIO, identity: str, threads: int) -> None:
    buffer = memoryview(bytearray(1 << 20))
    with open_sealed(sealed, [Identity.from_text(identity)], threads=threads) as reader:
        while count := reader.readinto(buffer):
            out.write(buffer[:count])


def seal(plain: Path, sealed: Path, identity: str, threads: int) -> None:
    with plain.open("rb") as source, sealed.open("wb") as out:
        seal_stream(source, out, [Identity.from_text(identity).recipient], threads=threads)


def unseal(sealed: Path, plain: Path, identity: str, threads: int) -> None:
    with sealed.open("rb") as source, plain.open("wb") as out:
        pour(source, out, identity, threads)


def seal_nowhere(plain: Path, sealed: Path, identity: str, threads: int) -> None:
    source, out = cast(BinaryIO, Memory(plain.stat().st_size)), cast(BinaryIO, Nowhere())
    seal_stream(source, out, [Identity.from_text(identity).recipient], threads=threads)


def view_nowhere(plain: Path, sealed: Path, identity: str, threads: int) -> None:
    recipients, size = [Identity.from_text(identity).recipient], plain.stat().st_size
    buffer = bytearray(4 << 20)
    view = SealedView(plain.open("rb", buffering=0), size, recipients, seed=os.urandom(32), context=b"benchmark")
    with view:
        while view.readinto(buffer):
            pass


def pyrage_file_nowhere(plain: Path, sealed: Path, identity: str, threads: int) -> None:
    with plain.open("rb") as source:
        pyrage().encrypt_io(source, Nowhere(), [key(identity).to_public()])


def unseal_nowhere(sealed: Path, plain: Path, identity: str, threads: int) -> None:
    with sealed.open("rb") as source:
        pour(source, cast(BinaryIO, Nowhere()), identity, threads)


def pyrage_seal(plain: Path, sealed: Path, identity: str, threads: int) -> None:
    pyrage().encrypt_file(str(plain), str(sealed), [key(identity).to_public()])


def pyrage_unseal(sealed: Path, plain: Path, identity: str, threads: int) -> None:
    pyrage().decrypt_file(str(sealed), str(plain), [key(identity)])


def pyrage_seal_nowhere(plain: Path, sealed: Path, identity: str, threads: int) -> None:
    pyrage().encrypt_io(Memory(plain.stat().st_size), Nowhere(), [key(identity).to_public()])


def pyrage_unseal_nowhere(sealed: Path, plain: Path, identity: str, threads: int) -> None:
    with sealed.open("rb") as source:
        pyrage().decrypt_io(source, Nowhere(), [key(identity)])


JOBS = [seal, unseal, seal_nowhere, view_nowhere, unseal_nowhere, pyrage_file_nowhere]
JOBS += [pyrage_seal, pyrage_unseal, pyrage_seal_nowhere, pyrage_unseal_nowhere]


def work(name: str, source: str, target: str, threads: str) -> None:
    identity = sys.stdin.read()
    job = next(job for job in JOBS if job.__name__ == name)
    started, before = time.perf_counter(), time.process_time()
    job(Path(source), Path(target), identity, int(threads))
    seconds, processor = time.perf_counter() - started, time.process_time() - before
    status = Path("/proc/self/status").read_text("ascii")
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(seconds, processor, memory / 1024)


def measure(command: list[str], identity: str) -> Figure:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    with process.stdin as stdin:
        stdin.write(identity)
    printed = process.stdout.read().split()
    _, status, usage = os.wait4(process.pid, 0)
    seconds, processor, memory = time.perf_counter() - started, usage.ru_utime + usage.ru_stime, math.nan
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    if printed:
        seconds, processor, memory = map(float, printed)
    return Figure(seconds=seconds, processor=processor, memory=memory)


def compare(jobs: dict[str, list[str]], target: Path, size: int, rounds: int, identity: str) -> None:
    best: dict[str, Figure] = {}
    order = list(jobs.items())
    for turn in range(rounds):
        # Each begins a round in its turn: who comes first may be given memory that the host has yet to find.
        first = turn % len(order)
        for name, command in order[first:] + order[:first]:
            target.unlink(missing_ok=True)
            found = measure(command, identity)
            old = best.get(name, found)
            best[name] = Figure(
                seconds=min(old.seconds, found.seconds),
                processor=min(old.processor, found.processor),
                memory=min(old.memory, found.memory),
            )
    peer = best["pyrage"]
    for name, figure in best.items():
        print(f"  {name:11} {size / figure.seconds / 1e9:5.2f} GB/s {figure.memory:5.0f} MiB", end="  ")
        print(
            f"pyrage x {peer.seconds / figure.seconds:.2f}, by processor time {peer.processor / figure.processor:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512, help="megabytes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where to work")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(*options.work)
    age = shutil.which("age")
    if age is None:
        sys.exit("needs age")
    identity = Identity.generate()
    secret = identity.to_text()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        plain, sealed, target = (Path(folder, name) for name in ("plain", "sealed", "target"))
        with plain.open("wb") as out:
            for _ in range(options.size):
                out.write(os.urandom(1_000_000))
        size = plain.stat().st_size
        seal(plain, sealed, secret, 2)

        def job(function: Callable[[Path, Path, str, int], None], source: Path, threads: int = 2) -> list[str]:
            return [sys.executable, __file__, "--work", function.__name__, str(source), str(target), str(threads)]

        def own(function: Callable[[Path, Path, str, int], None], source: Path) -> dict[str, list[str]]:
            return {"own": job(function, source), "no threads": job(function, source, 1)}

        for what, jobs in {
            "seal": own(seal, plain)
            | {
                "pyrage": job(pyrage_seal, plain),
                "age": [age, "-r", identity.recipient, "-o", str(target), str(plain)],
            },
            "open": own(unseal, sealed)
            | {
                "pyrage": job(pyrage_unseal, sealed),
                "age": [age, "-d", "-i", "-", "-o", str(target), str(sealed)],
            },
            "seal from memory to nowhere": own(seal_nowhere, plain) | {"pyrage": job(pyrage_seal_nowhere, plain)},
            "seal as a parcel is written, from a file": {
                "own": job(view_nowhere, plain),
                "pyrage": job(pyrage_file_nowhere, plain),
            },
            "open from a file to nowhere": own(unseal_nowhere, sealed) | {"pyrage": job(pyrage_unseal_nowhere, sealed)},
        }.items():
            print(f"{what}, {options.size} MB")
            compare(jobs, target, size, options.rounds, secret)


if __name__ == "__main__":
    main()
