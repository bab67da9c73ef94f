"""Work by workers against the same work alone: `python benchmarks/bench_cluster.py [--size MIB] [--bucket] [--in DIR]`.

Builds (encrypted; compressed; with parity), verifies and imports one package alone and with `processes:N`. A line has
the wall time, the processor time of the command itself and of its workers, and the memory of the largest process. From
the processor times follows what does not depend on what else runs on the machine, the *share of ideal*: what one
process alone takes, by N times what the command and a worker's share take one after the other. With `--bucket` the
content lies in a bucket of moto's server, which is a process of its own and slow: compare with the lines of the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import Cost, courier, make_image, run, two_sites
from rows_compressed import make_system_image

WORKERS = (0, 1, 2, 4)
MIB = 1 << 20
CAPACITY = "400MB"
_OURS = """
import json, resource, sys
from courier.cli import main
words, sys.argv = sys.argv[1:], ["courier", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
def used(who):
    of = resource.getrusage(who)
    return {"processor": of.ru_utime + of.ru_stime, "peak": of.ru_maxrss << 10}
print("\\n" + json.dumps({"own": used(resource.RUSAGE_SELF), "workers": used(resource.RUSAGE_CHILDREN)}))
"""
"""Runs the command, and prints what it took itself and what its workers took, who have ended by then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a command took with ``workers``, 0 for none: processor seconds of its own and of its workers."""

    work: str
    store: str
    workers: int
    seconds: float
    own: float
    theirs: float
    peak: int
    worker_peak: int

    def share_of_ideal(self, alone: Measured) -> float:
        """Of the speed of N processes that are each as quick as one alone, where each has a processor."""
        count = max(1, self.workers)
        return (alone.own + alone.theirs) / (count * (self.own + self.theirs / count))

    def cost(self) -> Cost:
        """The same as a cost."""
        return Cost(seconds=self.seconds, processor=self.own + self.theirs, peak=max(self.peak, self.worker_peak))


def measured(work: str, store: str, workers: int, *words: object) -> Measured:
    """Run a command of the toolkit with workers."""
    cluster = ["--cluster", f"processes:{workers}"] if workers else []
    cost = run([sys.executable, "-c", _OURS, *words, *cluster, "--quiet", "--yes"])
    used = json.loads(cost.out.splitlines()[-1])
    return Measured(
        work=work,
        store=store,
        workers=workers,
        seconds=cost.seconds,
        own=used["own"]["processor"],
        theirs=used["workers"]["processor"],
        peak=used["own"]["peak"],
        worker_peak=used["workers"]["peak"],
    )


def make_package(folder: Path, size: int) -> None:
    """Images that do not shrink, one of which is cut over archives, and half as much that does."""
    folder.mkdir()
    make_image(folder / "large.wim", size // 4)
    for number in range(4):
        make_image(folder / f"image{number}.wim", size // 16)
    whole = folder.with_name("system.raw")
    make_system_image(whole, size // 2)
    with whole.open("rb") as source:
        for number in range(8):
            (folder / f"system{number}.raw").write_bytes(source.read(size // 16))
    whole.unlink()


def measure(root: Path, size: int, store: str, counts: Sequence[int] = WORKERS) -> Iterator[Measured]:
    """Every piece of work with each number of workers, on content in a store: ``folder`` or ``bucket``."""
    hq, br = _sites(root, store)
    make_package(root / "files", size)
    courier(hq)("package", "add", *sorted((root / "files").iterdir()), "--name", "Images")
    shutil.rmtree(root / "files")
    to = ("parcel", "create", "HQ100001", "--to", "BR1", "--capacity", CAPACITY)
    builds = {
        "build, encrypted": ("--encrypt", "--compress", "none", "--redundancy", "none"),
        "build, compressed": ("--no-encrypt", "--compress", "auto", "--redundancy", "none"),
        "build, 10% parity": ("--no-encrypt", "--compress", "none", "--redundancy", "10%"),
    }
    for name, options in builds.items():
        for workers in counts:
            yield measured(name, store, workers, *to, *options, "--home", hq)
            shutil.rmtree(hq / "parcels" / "out")
    for workers in counts:
        yield measured("verify", store, workers, "package", "verify", "--home", hq)
    yield from _imports(root, hq, br, store, counts)


def _imports(root: Path, hq: Path, br: Path, store: str, counts: Sequence[int]) -> Iterator[Measured]:
    if store == "bucket":
        return  # a home that is copied would share its bucket with the one it was copied from
    here, out = courier(hq), root / "out"
    here("parcel", "create", "HQ100001", "--to", "BR1", "--capacity", CAPACITY, "--encrypt", "--redundancy", "none")
    (parcel,) = (path.name for path in (hq / "parcels" / "out").iterdir() if path.is_dir())
    here("parcel", "write", parcel, "--layout", "folder", "--out", out)
    here("parcel", "ship", parcel)
    here("channel", "sync")
    courier(br)("channel", "sync")
    courier(br)("parcel", "receive", *sorted(out.iterdir()), "--hold")
    shutil.rmtree(out)
    for workers in counts:
        twin = root / "twin"
        subprocess.run(["cp", "-a", br, twin], check=True)
        yield measured("import, encrypted", store, workers, "parcel", "import", parcel, "--home", twin)
        shutil.rmtree(twin)


def _sites(root: Path, store: str) -> tuple[Path, Path]:
    hq, br = two_sites(root)
    if store == "bucket":
        shutil.rmtree(hq)
        site = courier(hq)
        site("init", "--site", "HQ1", "--name", "HQ1", "--store", "s3://images/site")
        site("site", "trust", root / "BR1.card")
        site("channel", "address", "add", "BR1", root / "share")
    return hq, br


@contextlib.contextmanager
def moto_server() -> Iterator[None]:
    """A bucket in moto's server on loopback, for all commands of the block."""
    port = 18_000 + os.getpid() % 10_000
    url = f"http://127.0.0.1:{port}"
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "courier",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _make_bucket(url)
            yield
        finally:
            server.terminate()


def _make_bucket(url: str) -> None:
    import boto3

    host, port = url.removeprefix("http://").split(":")
    for _ in range(100):
        try:
            socket.create_connection((host, int(port))).close()
        except OSError:
            time.sleep(0.2)
        else:
            boto3.client("s3", region_name="us-east-1", endpoint_url=url).create_bucket(Bucket="images")
            return
    sys.exit("moto's server does not answer")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="bytes of the package")
    parser.add_argument("--bucket", action="store_true", help="the content in a bucket too")
    parser.add_argument("--in", dest="folder", type=Path, help="folder to work in: five times the size must be free")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    print(
        f"{'work':18} {'store':7} {'workers':>7} {'wall':>8} {'command':>9} {'workers':>9} {'of ideal':>8} memory, MiB"
    )
    found = list[Measured]()
    for store in ("folder", "bucket")[: 1 + options.bucket]:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.folder))
            if store == "bucket":
                stack.enter_context(moto_server())
            alone: dict[str, Measured] = {}
            for one in measure(Path(folder) / "sites", options.size * MIB, store):
                first = alone.setdefault(one.work, one)
                share = f"{one.share_of_ideal(first):.2f}" if one.workers else ""
                print(
                    f"{one.work:18} {one.store:7} {one.workers or 'none':>7} {one.seconds:6.1f} s {one.own:7.2f} s "
                    f"{one.theirs:7.2f} s {share:>8} {one.peak // MIB}, {one.worker_peak // MIB}",
                    flush=True,
                )
                found.append(one)
    if options.json:
        figures = [{name: getattr(one, name) for name in Measured.__dataclass_fields__} for one in found]
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
