"""Archives against 7-Zip in one run: `python benchmarks/bench_archive.py [--size MB] [--rounds N] [--folder DIR]`.

Writing is compared with ``7z a -mx0``, extracting every member with ``7z x``; then 20,000 small members are written,
and the size of an archive of 1,000,000 is computed. Both sides run as processes of their own and read from the page
cache; times are the best of the rounds in seconds, start of the interpreter included, and memory is the peak in MiB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from formats.archive import ArchiveReader, Member, archive_size, write_archive
from formats.digest import chunks


def pack(folder: Path, archive: Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())

    def member(path: Path) -> tuple[Member, Callable[[], BinaryIO]]:
        status = path.stat()
        name = path.relative_to(folder).as_posix()
        return Member(name=name, size=status.st_size, mtime_ns=status.st_mtime_ns), lambda: path.open("rb")

    with archive.open("wb") as out:
        write_archive(out, map(member, paths))


def unpack(archive: Path, folder: Path) -> None:
    with archive.open("rb") as source:
        reader = ArchiveReader(source)
        for number, member in enumerate(reader.members()):
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                for data in chunks(reader.open(number)):
                    out.write(data)
            os.utime(path, ns=(member.mtime_ns, member.mtime_ns))


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / 1024


def compare(what: str, content: Path, work: Path, seven: str, rounds: int) -> None:
    own = [sys.executable, __file__]
    mine, theirs, out = work / "own.7z", work / "peer.7z", work / "out"
    commands: dict[str, tuple[list[str], Path]] = {
        "own write": ([*own, "--pack", str(content), str(mine)], mine),
        "7z a -mx0": ([seven, "a", "-mx0", str(theirs), f"{content}/."], theirs),
        "own read": ([*own, "--unpack", str(mine), str(out)], out),
        "7z x": ([seven, "x", str(mine), f"-o{out}"], out),
    }
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, (command, target) in commands.items():
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            seconds, memory = measure(command)
            best[name] = min(best.get(name, (seconds, memory)), (seconds, memory))
    shutil.rmtree(out)
    print(what)
    for name, (seconds, memory) in best.items():
        print(f"  {name:10} {seconds:6.2f} s {memory:6.0f} MiB")
    print(f"  ratio: write {best['own write'][0] / best['7z a -mx0'][0]:.2f} of 7z a -mx0", end="")
    print(f", read {best['own read'][0] / best['7z x'][0]:.2f} of 7z x")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512, help="megabytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where to work")
    parser.add_argument("--pack", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--unpack", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pack:
        return pack(*options.pack)
    if options.unpack:
        return unpack(*options.unpack)
    seven = shutil.which("7zz") or shutil.which("7z")
    if seven is None:
        sys.exit("needs 7-Zip")
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        large, small = Path(work, "large"), Path(work, "small")
        large.mkdir()
        for number in range(4):
            with (large / f"image{number}.wim").open("wb") as out:
                for _ in range(options.size // 4):
                    out.write(os.urandom(1_000_000))
        compare(f"{options.size} MB in 4 members", large, Path(work), seven, options.rounds)
        for number in range(20_000):
            path = small / f"{number // 200:03}" / f"driver{number:05}.inf"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(1000 + number % 5000))
        compare("20,000 members of 1 to 6 kB", small, Path(work), seven, options.rounds)
    for count in (250_000, 500_000, 1_000_000):
        members = [Member(name=f"folder/{n % 997}/file{n}", size=n + 1, mtime_ns=0) for n in range(count)]
        started = time.perf_counter()
        archive_size(members)
        print(f"size of {count:,} members: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
