"""The journey of one large file against stock tools, in one run: time ratios, and each command's peak memory.

    python benchmarks/bench_journey.py [--size 4GiB] [--in FOLDER]

Create and write are compared with ``7z a -mx0 -v512m``, ``sha256sum`` and ``xorriso -as mkisofs`` one after the other,
receive and import with ``sha256sum -c`` and ``7z x``. Our commands flush all bytes to the disk before they end; the
stock tools do not, so their output is flushed in a step that counts too (``flush``). The file does not compress. Every
step is a process of its own, which gives its peak memory (below some 25 MiB it is this program's). The target is
256 MiB for each step (exit code 1 when one is over).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.media.kinds import parse_size

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 256 << 20
PIECE = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a step took: seconds of wall time, and bytes of memory at its peak."""

    seconds: float
    peak: int


def measured(command: Sequence[object], *, cwd: Path | None = None) -> Cost:
    """Run a command to its end; raises when it fails. The peak is that of this child alone."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{command}: {process.returncode}\n{output.read().decode(errors='replace')}")
    return Cost(seconds=time.perf_counter() - started, peak=usage.ru_maxrss * 1024)


def together(*costs: Cost) -> Cost:
    """Steps one after the other."""
    return Cost(seconds=sum(cost.seconds for cost in costs), peak=max(cost.peak for cost in costs))


def make_image(path: Path, size: int) -> None:
    """A file that does not compress."""
    with path.open("wb") as out:
        for at in range(0, size, PIECE):
            out.write(os.urandom(min(PIECE, size - at)))


def courier(home: Path) -> Callable[..., Cost]:
    """Types commands at a site."""
    return lambda *arguments: measured(
        [sys.executable, "-m", "courier", *arguments, "--home", home, "--quiet", "--yes"]
    )


def ours(root: Path, image: Path, *, encrypt: bool) -> dict[str, Cost]:
    """The journey of the image; its steps by name."""
    hq, br = courier(root / "HQ1"), courier(root / "BR1")
    share = root / "share"
    share.mkdir()
    for site, code in ((hq, "HQ1"), (br, "BR1")):
        site("init", "--site", code, "--name", code)
        site("site", "card", "--out", root / f"{code}.card")
    for site, code in ((hq, "BR1"), (br, "HQ1")):
        site("site", "trust", root / f"{code}.card")
        site("channel", "address", "add", code, share)
    steps = {"add": hq("package", "add", image, "--name", "Image")}
    seal = "--encrypt" if encrypt else "--no-encrypt"
    # Media of 540 MB hold one archive of half a gigabyte each, as the peer's volumes do.
    options = ("--to", "BR1", "--capacity", "540MB", "--redundancy", "none", seal)
    steps["create"] = hq("parcel", "create", "HQ100001", *options)
    steps["write"] = hq("parcel", "write", "HQ1-000001", "--layout", "iso", "--out", root / "iso")
    hq("parcel", "ship", "HQ1-000001")
    hq("channel", "sync")
    br("channel", "sync")
    steps["receive + import"] = br("parcel", "receive", root / "iso")
    return steps


def stock(root: Path, image: Path) -> dict[str, Cost]:
    """What an operator does with stock tools; its steps by name."""
    parts, discs, out = root / "parts", root / "discs", root / "out"
    for folder in (parts, discs, out):
        folder.mkdir()
    steps = {"7z a -mx0 -v512m": measured(["7z", "a", "-mx0", "-v512m", parts / "image.7z", image])}
    names = sorted(path.name for path in parts.iterdir())
    sums = f"sha256sum {' '.join(names)} > SHA256SUMS"
    steps["sha256sum"] = measured(["sh", "-c", sums], cwd=parts)
    burned = [
        measured(["xorriso", "-as", "mkisofs", "-R", "-J", "-o", discs / f"{name}.iso", parts / name]) for name in names
    ]
    steps["xorriso"] = together(*burned)
    steps["flush made"] = measured(["sync", *parts.iterdir(), *discs.iterdir()])
    steps["sha256sum -c"] = measured(["sha256sum", "-c", "SHA256SUMS"], cwd=parts)
    steps["7z x"] = measured(["7z", "x", f"-o{out}", parts / names[0]])
    steps["flush extracted"] = measured(["sync", *out.iterdir()])
    return steps


def show(title: str, steps: dict[str, Cost], size: int) -> None:
    """One line a step."""
    print(title)
    for name, cost in steps.items():
        print(f"  {name:18} {cost.seconds:7.1f} s {size / cost.seconds / 1e6:7.0f} MB/s {cost.peak >> 20:5} MiB peak")


def ratio(name: str, here: Sequence[Cost], peer: Sequence[Cost], target: float) -> None:
    """Our time in units of the peers' time."""
    value = together(*here).seconds / together(*peer).seconds
    print(f"{name:32} {value:.2f}x the time of the stock tools (target {target}x)")


def main() -> None:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="4GiB", help="bytes of the image (4GiB)")
    parser.add_argument("--in", dest="folder", type=Path, help="folder to work in; five times the size must be free")
    options = parser.parse_args()
    size = parse_size(options.size)
    missing = [tool for tool in ("7z", "xorriso", "sha256sum") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"not on this machine: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="bench-journey-", dir=options.folder) as folder:
        root = Path(folder)
        image = root / "image.wim"
        make_image(image, size)
        (root / "stock").mkdir()
        theirs = stock(root / "stock", image)
        shutil.rmtree(root / "stock")
        show(f"Stock tools, {options.size}", theirs, size)
        peaks = []
        for encrypt in (False, True):
            place = root / "ours"
            place.mkdir()
            steps = ours(place, image, encrypt=encrypt)
            shutil.rmtree(place)
            show(f"courier, {'encrypted' if encrypt else 'not encrypted'}, {options.size}", steps, size)
            made = [theirs[name] for name in ("7z a -mx0 -v512m", "sha256sum", "xorriso", "flush made")]
            taken = [theirs[name] for name in ("sha256sum -c", "7z x", "flush extracted")]
            ratio("create + write, ISO images", (steps["create"], steps["write"]), made, 0.8 if encrypt else 0.6)
            ratio("receive + import", (steps["receive + import"],), taken, 0.7)
            peaks += [(cost.peak, name) for name, cost in steps.items()]
        peak, name = max(peaks)
        print(f"peak memory of any step: {peak >> 20} MiB ({name}); target {LIMIT >> 20} MiB")
        if peak > LIMIT:
            sys.exit(1)


if __name__ == "__main__":
    main()
