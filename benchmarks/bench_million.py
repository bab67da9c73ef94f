"""The journey of very many small files, step by step: `python benchmarks/bench_million.py [--files N ...] [--in DIR]`.

Files of 200 to 8,000 bytes that do not compress are added as one package and verified, built and written as a parcel
and verified, received and imported at another site, and exported there. Every step is a process of its own; its
seconds, processor seconds (also for each file) and peak memory are printed. The targets: 256 MiB for every step, and at
the largest number of files at most 1.25 times the processor time a file that the smallest took. Exit code 1 where one
is missed. The peak of a child is never below that of this program, some 30 MiB.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEMORY = 256 << 20
"""Bytes of memory that a step may take."""
GROWTH = 1.25
"""So many times the processor time of a file may grow from the smallest number of files to the largest."""
SMALLEST, LARGEST = 200, 8000
"""Bytes of a file."""
IN_A_FOLDER = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a step took: ``seconds``, of which ``processor`` by the processors, and bytes of memory at its peak."""

    seconds: float
    processor: float
    peak: int


def make_files(root: Path, count: int) -> None:
    """The same files each time: of random bytes, each file with a number of its own."""
    drawn = random.Random(count)
    noise = drawn.randbytes(1 << 20)
    for number in range(count):
        folder = root / f"folder-{number // IN_A_FOLDER:04}"
        if number % IN_A_FOLDER == 0:
            folder.mkdir(parents=True)
        size = drawn.randint(SMALLEST, LARGEST)
        at = drawn.randrange(len(noise) - size)
        (folder / f"document-{number:07}.txt").write_bytes(number.to_bytes(8, "big") + noise[at : at + size - 8])


def courier(home: Path, *arguments: object) -> Cost:
    """Type a command at a site; exits where it fails."""
    command = [sys.executable, "-m", "courier", *map(str, arguments), "--home", str(home), "--quiet", "--yes"]
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{command}: {process.returncode}\n{output.read().decode(errors='replace')}")
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Cost(seconds=time.perf_counter() - begun, processor=used.ru_utime + used.ru_stime, peak=peak)


def journey(root: Path, count: int, options: Sequence[str]) -> dict[str, Cost]:
    """The journey of ``count`` files; its steps by name. ``options`` are those of ``parcel create``."""
    tree, share, discs, out = (root / name for name in ("tree", "share", "discs", "out"))
    make_files(tree, count)
    share.mkdir()
    hq, br = root / "HQ1", root / "BR1"
    for home in (hq, br):
        courier(home, "init", "--site", home.name, "--name", home.name)
        courier(home, "site", "card", "--out", root / f"{home.name}.card")
    for home, other in ((hq, br), (br, hq)):
        courier(home, "site", "trust", root / f"{other.name}.card")
        courier(home, "channel", "address", "add", other.name, share)
    steps: dict[str, Cost] = {}

    def step(name: str, home: Path, *arguments: object) -> None:
        steps[name] = courier(home, *arguments)
        cost = steps[name]
        each = cost.processor / count * 1e6
        print(
            f"  {name:18} {cost.seconds:8.1f} s {cost.processor:8.1f} s processor {each:8.0f} us a file "
            f"{cost.peak >> 20:5} MiB peak",
            flush=True,
        )

    step("package add", hq, "package", "add", tree, "--name", "Many")
    step("package verify", hq, "package", "verify", "HQ100001")
    step("parcel create", hq, "parcel", "create", "HQ100001", "--to", "BR1", *options)
    step("parcel write", hq, "parcel", "write", "HQ1-000001", "--layout", "iso", "--out", discs)
    step("parcel verify", hq, "parcel", "verify", "HQ1-000001")
    step("parcel show", hq, "parcel", "show", "HQ1-000001")
    step("parcel ship", hq, "parcel", "ship", "HQ1-000001")
    courier(hq, "channel", "sync")
    courier(br, "channel", "sync")
    step("receive + import", br, "parcel", "receive", discs)
    step("package export", br, "package", "export", "HQ100001", "--to", out)
    return steps


def main() -> None:
    """Run the journeys, and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[100_000, 1_000_000], help="numbers of files")
    parser.add_argument("--in", dest="folder", type=Path, help="folder to work in; 20 KB must be free for each file")
    parser.add_argument("--compress", default="none", help="compression of the parcel (none)")
    parser.add_argument("--encrypt", action="store_true", help="encrypt the parcel")
    parser.add_argument("--capacity", default="25GB", help="capacity of a medium (25GB)")
    options = parser.parse_args()
    create = ["--capacity", options.capacity, "--compress", options.compress]
    create.append("--encrypt" if options.encrypt else "--no-encrypt")
    missed = False
    before: tuple[int, dict[str, Cost]] | None = None
    for count in sorted(options.files):
        print(f"{count:,} files", flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-million-", dir=options.folder) as folder:
            steps = journey(Path(folder), count, create)
        missed |= any(cost.peak > MEMORY for cost in steps.values())
        if before is not None:
            for name, cost in steps.items():
                grown = cost.processor / count / (before[1][name].processor / before[0])
                print(f"  {name:18} {grown:.2f} times the processor time a file of {before[0]:,} files")
                missed |= grown > GROWTH
        before = before or (count, steps)
    if missed:
        print(f"a target was missed: {MEMORY >> 20} MiB, {GROWTH} times the time a file")
        sys.exit(1)


if __name__ == "__main__":
    main()
