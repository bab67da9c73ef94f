"""Images against xorriso in one run: `python benchmarks/bench_iso.py [--size MB] [--rounds N] [--folder DIR]`.

Writing a tree of archives of 64 MiB is compared with ``xorriso -as mkisofs -R -J``, reading every file of the image
with ``7z x -so``; then the size of an image of 2,000 files is computed. Both sides run as processes of their own and
read from the page cache; times are the best of the rounds in seconds, start of the interpreter included, memory is the
peak in MiB, and "written" is bytes given to the system for writing for each byte of content (Linux: /proc/PID/io).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from formats.digest import chunks
from formats.iso import IsoFile, IsoReader, iso_size, write_iso

ARCHIVE = 64 << 20


def opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


def master(folder: Path, image: Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [
        IsoFile(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, open=opener(path)) for path in paths
    ]
    with image.open("w+b") as out:
        write_iso(out, files, volume_id="HQ1_000042_V001", publisher="", application="", created_ns=0)
    io = Path("/proc/self/io")
    if io.exists():
        print(io.read_text().split("wchar: ")[1].split()[0])


def read(image: Path) -> None:
    with image.open("rb") as source, IsoReader(source) as reader:
        for path, _ in reader.files():
            for _ in chunks(reader.open(path)):
                pass


def measure(command: list[str]) -> tuple[float, float, str]:
    """Seconds, peak MiB and output of a process."""
    started = time.perf_counter()
    speaks = subprocess.PIPE if command[0] == sys.executable else subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=speaks, stderr=subprocess.DEVNULL, text=True)
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / 1024, output


def rounds_of(commands: dict[str, list[str]], rounds: int) -> dict[str, tuple[float, float, str]]:
    """The best round of each command, the commands taking turns."""
    results: dict[str, list[tuple[float, float, str]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            results[name].append(measure(command))
    return {name: min(found) for name, found in results.items()}


def compare(megabytes: int, rounds: int, work: Path) -> None:
    content = max(1, megabytes * 1_000_000 // ARCHIVE) * ARCHIVE
    folder = work / "tree"
    (folder / "data" / "archives").mkdir(parents=True)
    for number in range(content // ARCHIVE):
        with (folder / "data" / "archives" / f"{number:06d}.7z").open("wb") as file:
            for _ in range(ARCHIVE >> 20):  # in small pieces: a child's peak memory begins with its parent's
                file.write(os.urandom(1 << 20))
    ours, theirs = work / "ours.iso", work / "theirs.iso"
    again = [sys.executable, __file__]
    written = rounds_of(
        {
            "write_iso": [*again, "--master", str(folder), str(ours)],
            "xorriso": ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-o", str(theirs), str(folder)],
        },
        rounds,
    )
    taken = rounds_of({"IsoReader": [*again, "--read", str(ours)], "7z x -so": ["7z", "x", "-so", str(ours)]}, rounds)
    print(f"{content} bytes in {content // ARCHIVE} files, image {ours.stat().st_size} bytes")
    for name, (seconds, memory, _) in (written | taken).items():
        print(f"{name:10} {seconds:7.2f} s {content / seconds / 1e6:6.0f} MB/s {memory:6.0f} MiB")
    print(f"write_iso / xorriso: {written['write_iso'][0] / written['xorriso'][0]:.2f} of the time")
    print(f"IsoReader / 7z x:    {taken['IsoReader'][0] / taken['7z x -so'][0]:.2f} of the time")
    if written["write_iso"][2]:
        print(f"written: {int(written['write_iso'][2]) / content:.4f} bytes by byte of content")
    listing = [(f"data/archives/{number:06d}.7z", 50_000_000) for number in range(2000)]
    started = time.perf_counter()
    size = iso_size(listing)
    print(f"iso_size of 2000 files, {size} bytes: {(time.perf_counter() - started) * 1000:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=512, metavar="MB", help="content, in units of 1,000,000 bytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    parser.add_argument("--master", nargs=2, type=Path, metavar=("TREE", "IMAGE"), help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.master:
        master(*options.master)
    elif options.read:
        read(options.read)
    else:
        with tempfile.TemporaryDirectory(dir=options.folder) as work:
            compare(options.size, options.rounds, Path(work))


if __name__ == "__main__":
    main()
