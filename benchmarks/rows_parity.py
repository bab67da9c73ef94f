"""Parity: against par2cmdline-turbo as it comes, and what `--redundancy fill` adds to a parcel of a disc."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bench_parity import make, par2_binary
from measure import ROOT, Cost, Machine, Row, courier, least, make_image, run, together, two_sites

DISC = 4_700_000_000


def rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """One volume with fill and with a share; then create and write with fill and without."""
    size = (200 if quick else 2000) << 20
    archives = work / "archives"
    archives.mkdir()
    make(archives, size)
    names = sorted(path.name for path in archives.glob("*.7z"))
    program = [sys.executable, ROOT / "benchmarks" / "bench_parity.py"]
    peers: list[Cost] = []
    ours: dict[str, list[Cost]] = {"fill": [], "asked": []}
    for _ in range(1 if quick else 2):
        for path in archives.glob("*.par2"):
            path.unlink()
        peers.append(run([par2_binary(), "create", "-qq", "-r10", "set.par2", *names], cwd=archives))
        for name, costs in ours.items():
            costs.append(run([*program, "--encode", name], cwd=archives))
    for name, costs in ours.items():
        yield Row(
            item=4,
            name=f"parity of one volume, {'fill' if name == 'fill' else '--redundancy 9.09%'}",
            ours=least(costs),
            peer=least(peers),
            peer_name="par2 create -r10",
            target=4,
            at_least=True,
        )
    shutil.rmtree(archives)

    image, found = work / "image.wim", dict[str, Cost]()
    size = (100 << 20) if quick else DISC * 9 // 10 >> 20 << 20
    make_image(image, size)
    for redundancy in ("none", "fill"):
        hq, _ = two_sites(work / redundancy)
        here = courier(hq)
        here("package", "add", image, "--name", "Image")
        capacity = ("--capacity", "120MB") if quick else ("--media", "dvd5")
        options = ("--to", "BR1", *capacity, "--redundancy", redundancy, "--no-encrypt", "--compress", "none")
        create = here("parcel", "create", "HQ100001", *options)
        write = here("parcel", "write", "HQ1-000001", "--layout", "iso", "--out", work / redundancy / "iso")
        found[redundancy] = together(create, write)
        shutil.rmtree(work / redundancy)
    image.unlink()
    yield Row(
        item=4,
        name="disc: create + write, fill against none",
        ours=found["fill"],
        peer=found["none"],
        peer_name="the same with --redundancy none",
        target=1.25,
    )
