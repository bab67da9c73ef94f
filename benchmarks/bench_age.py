"""Encryption compared with pyrage and stock age in one run: `python benchmarks/bench_age.py [--size MB] [--rounds N]`.

A file of random bytes is encrypted and decrypted in three ways. From file to file, also by pyrage's `encrypt_file` and
`decrypt_file` and by ``age``. With nothing written, also by pyrage's `encrypt_io` and `decrypt_io`: what encryption
takes beside the writing that goes on anyway. From memory with nothing written, also by the primitive alone,
ChaCha20-Poly1305 over chunks in one thread and in two: no encryption can be faster, and how far it is from pyrage
depends on the processor.

Each job is a process of its own and reads what the page cache holds, 4 MiB at a time, as the writers of media do. Times
are the best of the rounds; those of Python are without the start of the interpreter. GB are 10^9 bytes, and memory is
the peak of the whole process in MiB.
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
from threading import Thread
from typing import Any, BinaryIO, cast

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from formats.age import CHUNK, EncryptedView, Identity, open_encrypted


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """What a job took, or the best of its rounds: seconds, seconds of processor time, and peak MiB (NaN if unknown)."""

    seconds: float
    processor: float
    memory: float


class Discard(io.RawIOBase):
    """A stream that discards what is written."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return len(data)


class Memory(io.RawIOBase):
    """A stream of ``size`` bytes: one MiB again and again."""

    def __init__(self, size: int) -> None:
        self.data = memoryview(os.urandom(1 << 20))
        self.left = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return offset

    def readinto(self, buffer: Any, /) -> int:
        count = min(len(buffer), len(self.data), self.left)
        buffer[:count] = self.data[:count]
        self.left -= count
        return count


def pyrage() -> Any:
    return importlib.import_module("pyrage")


def key(identity: str) -> Any:
    return pyrage().x25519.Identity.from_str(identity)


def pour(reader: BinaryIO, out: BinaryIO) -> None:
    buffer = memoryview(bytearray(4 << 20))
    while count := reader.readinto(buffer):  # type: ignore[attr-defined]
        out.write(buffer[:count])


def encrypted_view(plain: BinaryIO, size: int, identity: str) -> EncryptedView:
    return EncryptedView(
        plain, size, [Identity.from_text(identity).recipient], seed=os.urandom(32), context=b"benchmark"
    )


def encrypt(plain: Path, encrypted: Path, identity: str) -> None:
    with encrypted.open("wb", buffering=0) as out:
        pour(encrypted_view(plain.open("rb", buffering=0), plain.stat().st_size, identity), out)


def encrypt_nowhere(plain: Path, encrypted: Path, identity: str) -> None:
    pour(encrypted_view(plain.open("rb", buffering=0), plain.stat().st_size, identity), cast(BinaryIO, Discard()))


def encrypt_memory(plain: Path, encrypted: Path, identity: str) -> None:
    size = plain.stat().st_size
    pour(encrypted_view(cast(BinaryIO, Memory(size)), size, identity), cast(BinaryIO, Discard()))


def decrypt(encrypted: Path, plain: Path, identity: str) -> None:
    with encrypted.open("rb", buffering=0) as source, plain.open("wb", buffering=0) as out:
        pour(open_encrypted(source, [Identity.from_text(identity)]), out)


def decrypt_nowhere(encrypted: Path, plain: Path, identity: str) -> None:
    with encrypted.open("rb", buffering=0) as source:
        pour(open_encrypted(source, [Identity.from_text(identity)]), cast(BinaryIO, Discard()))


def primitive(plain: Path, threads: int) -> None:
    """Encrypt the chunks of a file of this size in memory, by so many threads: the least that encryption takes."""
    cipher = ChaCha20Poly1305(os.urandom(32))

    def work(count: int) -> None:
        chunk, encrypted = bytes(CHUNK), bytearray(CHUNK + 16)
        for number in range(count):
            cipher.encrypt_into(number.to_bytes(12, "big"), chunk, None, encrypted)

    workers = [Thread(target=work, args=(plain.stat().st_size // CHUNK // threads,)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def primitive_one(plain: Path, encrypted: Path, identity: str) -> None:
    primitive(plain, 1)


def primitive_two(plain: Path, encrypted: Path, identity: str) -> None:
    primitive(plain, 2)


def pyrage_file_nowhere(plain: Path, encrypted: Path, identity: str) -> None:
    with plain.open("rb") as source:
        pyrage().encrypt_io(source, Discard(), [key(identity).to_public()])


def pyrage_encrypt(plain: Path, encrypted: Path, identity: str) -> None:
    pyrage().encrypt_file(str(plain), str(encrypted), [key(identity).to_public()])


def pyrage_decrypt(encrypted: Path, plain: Path, identity: str) -> None:
    pyrage().decrypt_file(str(encrypted), str(plain), [key(identity)])


def pyrage_memory(plain: Path, encrypted: Path, identity: str) -> None:
    pyrage().encrypt_io(Memory(plain.stat().st_size), Discard(), [key(identity).to_public()])


def pyrage_decrypt_nowhere(encrypted: Path, plain: Path, identity: str) -> None:
    with encrypted.open("rb") as source:
        pyrage().decrypt_io(source, Discard(), [key(identity)])


JOBS = [encrypt, decrypt, encrypt_nowhere, encrypt_memory, decrypt_nowhere, primitive_one, primitive_two]
JOBS += [pyrage_encrypt, pyrage_decrypt, pyrage_file_nowhere, pyrage_memory, pyrage_decrypt_nowhere]


def work(name: str, source: str, target: str) -> None:
    identity = sys.stdin.read()
    job = next(job for job in JOBS if job.__name__ == name)
    started, before = time.perf_counter(), time.process_time()
    job(Path(source), Path(target), identity)
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
        # Each job begins a round in turn, because the first may be slowed by memory that the host must find.
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
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(*options.work)
    age = shutil.which("age")
    if age is None:
        sys.exit("needs age")
    identity = Identity.generate()
    secret = identity.to_text()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        plain, encrypted, target = (Path(folder, name) for name in ("plain", "encrypted", "target"))
        with plain.open("wb") as out:
            for _ in range(options.size):
                out.write(os.urandom(1_000_000))
        size = plain.stat().st_size
        encrypt(plain, encrypted, secret)

        def job(function: Callable[[Path, Path, str], None], source: Path) -> list[str]:
            return [sys.executable, __file__, "--work", function.__name__, str(source), str(target)]

        for what, jobs in {
            "encrypt, file to file": {
                "own": job(encrypt, plain),
                "pyrage": job(pyrage_encrypt, plain),
                "age": [age, "-r", identity.recipient, "-o", str(target), str(plain)],
            },
            "decrypt, file to file": {
                "own": job(decrypt, encrypted),
                "pyrage": job(pyrage_decrypt, encrypted),
                "age": [age, "-d", "-i", "-", "-o", str(target), str(encrypted)],
            },
            "encrypt, file to nowhere": {"own": job(encrypt_nowhere, plain), "pyrage": job(pyrage_file_nowhere, plain)},
            "decrypt, file to nowhere": {
                "own": job(decrypt_nowhere, encrypted),
                "pyrage": job(pyrage_decrypt_nowhere, encrypted),
            },
            "encrypt, memory to nowhere": {
                "own": job(encrypt_memory, plain),
                "primitive": job(primitive_one, plain),
                "primitive 2": job(primitive_two, plain),
                "pyrage": job(pyrage_memory, plain),
            },
        }.items():
            print(f"{what}, {options.size} MB")
            compare(jobs, target, size, options.rounds, secret)


if __name__ == "__main__":
    main()
