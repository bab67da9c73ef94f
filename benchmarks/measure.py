"""What the benchmarks share: processes that are measured, the machine they run on, and rows that compare with a target.

A `Cost` is what processes took. A `Row` is one line of `benchmarks/run.py`. Nothing of the toolkit is imported here:
the memory of a process that is started counts what its parent had at that moment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parent.parent
PIECE = 4 << 20
NEAR_FLOOR = 1.25
"""A target is met too where a step takes at most so many times what the disk takes for its bytes."""
_SECTOR = 512
_FILLER = 8 << 40
_LEFT_FREE = 768 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a step took: ``seconds`` of wall time, of which ``processor`` seconds in its processes (user and system);
    ``peak`` bytes of memory of the largest of them; ``written`` bytes handed to file systems.
    """

    seconds: float
    processor: float
    peak: int = 0
    written: int = 0
    out: str = ""


def together(*costs: Cost) -> Cost:
    """Steps one after the other."""
    return Cost(
        seconds=sum(cost.seconds for cost in costs),
        processor=sum(cost.processor for cost in costs),
        peak=max((cost.peak for cost in costs), default=0),
        written=sum(cost.written for cost in costs),
    )


def least(costs: Iterable[Cost]) -> Cost:
    """The best of several rounds of the same step: its least times, and its greatest memory."""
    rounds = list(costs)
    return Cost(
        seconds=min(cost.seconds for cost in rounds),
        processor=min(cost.processor for cost in rounds),
        peak=max(cost.peak for cost in rounds),
        written=max(cost.written for cost in rounds),
        out=rounds[-1].out,
    )


def run(command: Sequence[object], *, cwd: Path | None = None, processors: Iterable[int] | None = None) -> Cost:
    """Run a command to its end, on these ``processors`` only where they are given; exits where it fails."""
    # An installed program has its modules compiled.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(_compiled())}
    warm_memory()
    words = [str(part) for part in command]
    if processors is not None:
        words = ["taskset", "-c", ",".join(map(str, processors)), *words]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(words, cwd=cwd, env=environment, stdout=out, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode(errors="replace")
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{words}: {process.returncode}\n{text}{errors.read().decode(errors='replace')}")
    return Cost(
        seconds=seconds,
        processor=used.ru_utime + used.ru_stime,
        peak=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        written=used.ru_oublock * _SECTOR,
        out=text,
    )


@cache
def _compiled() -> Path:
    return Path(tempfile.gettempdir(), f"benchmarks-compiled-{os.getuid()}")


_fillers: list[BinaryIO] = []


def keep_memory_warm(folder: Path) -> None:
    """Have `warm_memory` fill what is free, with a file without blocks in ``folder``, from now on."""
    path = folder / "filler"
    with path.open("wb") as out:
        out.truncate(_FILLER)
    _fillers.append(path.open("rb", buffering=0))
    path.unlink()


def warm_memory() -> None:
    """Fill free memory with what the system may drop at any time, so that no side pays for memory never used before.

    The host of a virtual machine finds memory when it is touched first, and takes back what is free: a gigabyte that is
    written there into memory that was free takes 2.5 s, and 0.4 s where memory was in use.
    """
    if not _fillers:
        return
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemFree:"))
    buffer = bytearray(PIECE)
    for _ in range(max(0, free - _LEFT_FREE) // PIECE):
        _fillers[0].readinto(buffer)  # type: ignore[attr-defined]


def courier(home: Path, *, processors: Iterable[int] | None = None) -> Callable[..., Cost]:
    """What runs the command at a site."""

    def type_in(*arguments: object) -> Cost:
        words = [sys.executable, "-m", "courier", *arguments, "--home", home, "--quiet", "--yes"]
        return run(words, processors=processors)

    return type_in


def two_sites(root: Path, *, catalogue: str = "") -> tuple[Path, Path]:
    """The homes of two new sites, HQ1 and BR1, that know each other and share a folder.

    ``catalogue``: the address of the database that HQ1 keeps its catalogue in; empty for a file in its home.
    """
    root.mkdir(parents=True, exist_ok=True)
    share = root / "share"
    share.mkdir()
    homes = root / "HQ1", root / "BR1"
    for home in homes:
        site = courier(home)
        where = ("--catalogue", catalogue) if catalogue and home == homes[0] else ()
        site("init", "--site", home.name, "--name", home.name, *where)
        site("site", "card", "--out", root / f"{home.name}.card")
    for home, other in (homes, homes[::-1]):
        site = courier(home)
        site("site", "trust", root / f"{other.name}.card")
        site("channel", "address", "add", other.name, share)
    return homes


def flush(*paths: Path) -> Cost:
    """Flush files, and all files in folders, to the disk: what stock tools leave to the system."""
    began = time.perf_counter()
    used = os.times()
    for path in paths:
        for one in [path] if path.is_file() else (one for one in sorted(path.rglob("*")) if one.is_file()):
            handle = os.open(one, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
    after = os.times()
    processor = after.user + after.system - used.user - used.system
    return Cost(seconds=time.perf_counter() - began, processor=processor)


def make_image(path: Path, size: int) -> None:
    """A file that does not compress."""
    with path.open("wb") as out:
        for at in range(0, size, PIECE):
            out.write(os.urandom(min(PIECE, size - at)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What a reader needs to judge ratios: the processor, its SHA instructions, and speeds in bytes a second.

    ``write`` includes the flush at the end, ``read`` comes from the disk and not from memory.
    """

    processor: str
    processors: int
    sha: bool
    openssl: float
    write: float
    read: float

    def floor(self, *, written: int, read: int) -> float:
        """The seconds that the disk takes for so many bytes written and flushed, and read back."""
        return written / self.write + read / self.read


def look_at_machine(folder: Path, size: int) -> Machine:
    """Measure with a file of ``size`` bytes in ``folder``."""
    facts = _cpuinfo()
    path = folder / "probe"
    piece = memoryview(os.urandom(PIECE))
    warm_memory()
    began = time.perf_counter()
    with path.open("wb", buffering=0) as out:
        for _ in range(size // PIECE):
            out.write(piece)
        os.fsync(out.fileno())
    write = size / (time.perf_counter() - began)
    with path.open("rb", buffering=0) as source:
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        buffer = bytearray(PIECE)
        began = time.perf_counter()
        while source.readinto(buffer):
            pass
    read = size / (time.perf_counter() - began)
    speed = size / run(["openssl", "dgst", "-sha256", path]).seconds
    path.unlink()
    return Machine(
        processor=facts.get("model name", "unknown"),
        processors=len(os.sched_getaffinity(0)),
        sha="sha_ni" in facts.get("flags", "").split() or "sha2" in facts.get("Features", "").split(),
        openssl=speed,
        write=write,
        read=read,
    )


@cache
def _cpuinfo() -> Mapping[str, str]:
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    return facts


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table: our cost and that of the peer, and the ``target`` that their ratio has.

    ``at_least``: the ratio is a speed, the peer's time by ours, and must reach the target; else it is a share of time.
    ``floor`` is in seconds, 0 where the disk is no bound.
    ``limit`` is the most bytes of memory, 0 for none.
    ``value`` is the figure itself where there is no peer, in ``unit``.
    """

    item: int
    name: str
    ours: Cost
    peer: Cost | None = None
    peer_name: str = ""
    target: float = 0
    at_least: bool = False
    floor: float = 0
    limit: int = 256 << 20
    value: float | None = None
    unit: str = ""

    @property
    def ratio(self) -> float | None:
        """By wall time, or the value itself."""
        if self.value is not None or self.peer is None:
            return self.value
        return _ratio(self.ours.seconds, self.peer.seconds, at_least=self.at_least)

    @property
    def processor_ratio(self) -> float | None:
        """By processor time: what counts where other work runs on the machine. Two processors save none."""
        if self.peer is None:
            return None
        return _ratio(self.ours.processor, self.peer.processor, at_least=self.at_least)

    @property
    def met(self) -> bool:
        """Whether the ratio reaches its target, or the step takes little more than the disk does."""
        if self.limit and self.ours.peak > self.limit:
            return False
        if not self.target or self.ratio is None:
            return True
        if self.at_least:
            return self.ratio >= self.target
        return self.ratio <= self.target or self.ours.seconds <= NEAR_FLOOR * self.floor

    def document(self) -> dict[str, object]:
        """The row as JSON has it; times in seconds, sizes in bytes."""
        return {
            "item": self.item,
            "name": self.name,
            "seconds": round(self.ours.seconds, 3),
            "processor_seconds": round(self.ours.processor, 3),
            "peer": self.peer_name,
            "peer_seconds": None if self.peer is None else round(self.peer.seconds, 3),
            "peer_processor_seconds": None if self.peer is None else round(self.peer.processor, 3),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "processor_ratio": None if self.processor_ratio is None else round(self.processor_ratio, 4),
            "unit": self.unit or ("times as fast" if self.at_least else "of the time"),
            "target": self.target or None,
            "at_least": self.at_least,
            "met": self.met,
            "floor_seconds": round(self.floor, 3),
            "peak": self.ours.peak,
            "peer_peak": None if self.peer is None else self.peer.peak,
            "peak_limit": self.limit or None,
            "written": self.ours.written,
        }


def _ratio(ours: float, peer: float, *, at_least: bool) -> float | None:
    above, below = (peer, ours) if at_least else (ours, peer)
    return above / below if below else None


def shown(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, each printed as a line of a table as soon as it is there."""
    heads = f"{'ours':>9} {'peer':>9} {'ratio':>7} {'by cpu':>7} {'target':>7} {'':4} {'floor':>8} peak"
    print(f"{'':2} {'what':48} {heads}", flush=True)
    for row in rows:
        peer = "" if row.peer is None else f"{row.peer.seconds:.2f} s"
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
        by_processor = "" if row.processor_ratio is None else f"{row.processor_ratio:.3g}"
        target = f"{'>=' if row.at_least else '<='}{row.target:g}" if row.target else ""
        floor = f"{row.floor:.2f} s" if row.floor else ""
        print(
            f"{row.item:2} {row.name:48} {row.ours.seconds:7.2f} s {peer:>9} {ratio:>7} {by_processor:>7} {target:>7} "
            f"{'met' if row.met else 'NOT':4} {floor:>8} {row.ours.peak >> 20} MiB",
            flush=True,
        )
        yield row
