"""A plan of 10 TB in 1,000,000 files on some 1,000 media: `python benchmarks/bench_plan.py [--files N] [--in DIR]`.

Only the listing of the package is made, not its bytes: a plan without compression reads none. ``courier parcel create
--dry-run`` runs as a process of its own; its time, processor time and peak memory are printed, beside those of
``courier --version`` in the same run. Exit code 1 where it takes more processor time or memory than its targets.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import create_site
from courier.site.peers import pin_card
from formats.digest import sha256_hex
from formats.documents.listing import Entry, FileEntry, FolderEntry

SIZE = 10_000_000
"""Bytes of a file."""
IN_A_FOLDER = 1000
ON_A_VOLUME = 1000
SECONDS, MEMORY = 30.0, 256 << 20
"""The targets: processor seconds, and bytes of memory."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A process that ran: ``seconds``, of which ``processor`` by the processors; ``peak`` bytes; what it printed."""

    seconds: float
    processor: float
    peak: int
    out: str


def entries(count: int) -> Iterator[Entry]:
    """The listing of ``count`` files, each of another content."""
    for number in range(count):
        folder, place = divmod(number, IN_A_FOLDER)
        if not place:
            yield FolderEntry(path=f"images-{folder:06}", mtime_ns=0, mode=0o755)
        digest = sha256_hex(str(number).encode())
        path = f"images-{folder:06}/office-computer-{place:04}.wim"
        yield FileEntry(path=path, mtime_ns=number, mode=0o644, size=SIZE, sha256=digest, blocks=digest)


def make_sites(root: Path, count: int) -> Path:
    """A site with the package HQ100001, which knows the site BR1; its home."""
    hq, br = (create_site(root / code, code=code, name=code) for code in ("HQ1", "BR1"))
    pin_card(hq, br.card_envelope, fingerprint=br.card.fingerprint)
    br.close()
    with hq.store.lock(), hq.store.stage() as staging:
        listing = staging.add_listing(entries(count))
        staging.commit()
    moment = now()
    stored = StoredPackage(
        package="HQ100001",
        version=1,
        name="Images",
        listing=listing,
        created_ns=moment,
        added_ns=moment,
        origin="added",
    )
    with hq.catalogue.writing() as connection:
        packages.add(connection, stored)
        packages.raise_counter(connection, "package", 1)
        packages.raise_counter(connection, "HQ100001", 1)
    hq.close()
    return root / "HQ1"


def courier(*arguments: object) -> Ran:
    """Run the command in a process of its own; exits where it fails."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, "-m", "courier", *map(str, arguments)], stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"courier {arguments[0]} ended with {process.returncode}")
        out.seek(0)
        text = out.read().decode()
    return Ran(
        seconds=time.perf_counter() - begun,
        processor=used.ru_utime + used.ru_stime,
        peak=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        out=text,
    )


def main() -> None:
    """Make the listing, plan, and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000, help="files of 10 MB each (1000000)")
    parser.add_argument("--in", dest="folder", type=Path, help="folder to work in; 500 MB must be free for the listing")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path[1:]))
    with tempfile.TemporaryDirectory(prefix="bench-plan-", dir=options.folder) as folder:
        home = make_sites(Path(folder), options.files)
        peer = courier("--version")
        asked = ("--to", "BR1", "--capacity", ON_A_VOLUME * SIZE * 102 // 100, "--compress", "none", "--no-encrypt")
        ran = courier(
            "parcel", "create", "HQ100001", *asked, "--anyway", "benchmark", "--dry-run", "--json", "--home", home
        )
    volumes = len(json.loads(ran.out)["volumes"])
    print(f"{options.files:,} files, {options.files * SIZE / 1e12:.2f} TB, {volumes:,} volumes")
    print(f"planned in {ran.seconds:.1f} s, {ran.processor:.1f} s of processor time (target {SECONDS:.0f} s)")
    print(f"{ran.processor / peer.processor:.0f} times `courier --version`, {peer.processor:.2f} s")
    print(f"peak memory {ran.peak >> 20} MiB (target {MEMORY >> 20} MiB)")
    if ran.processor > SECONDS or ran.peak > MEMORY:
        sys.exit(1)


if __name__ == "__main__":
    main()
