"""Work by workers against the same work alone, and a shared catalogue under operators."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from bench_cluster import MIB, Measured, measure
from measure import ROOT, Cost, Machine, Row, run

SHARE = 0.7
"""The least share of ideal that two workers reach where their work is long enough to pay for their start."""


def rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """Builds, verification and an import with one, two and four processes."""
    alone: dict[str, Measured] = {}
    for one in measure(work / "sites", (128 if quick else 1024) * MIB, "folder"):
        first = alone.setdefault(one.work, one)
        if one.workers:
            yield Row(
                item=9,
                name=f"{one.work}: {one.workers} workers, share of ideal",
                ours=one.cost(),
                peer=first.cost(),
                peer_name="the command alone",
                value=one.share_of_ideal(first),
                unit="of ideal",
                target=SHARE if one.workers == 2 and one.work != "verify" and not quick else 0,
                at_least=True,
            )


def catalogue_rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """200 commands a minute against a catalogue in PostgreSQL."""
    words = [
        sys.executable,
        ROOT / "benchmarks" / "bench_catalogue.py",
        "--seconds",
        30 if quick else 120,
        "--in",
        work,
    ]
    # Its exit code says whether its target was met, and that is judged here.
    ran = run(["sh", "-c", '"$@" || [ $? -eq 1 ]', "sh", *words])
    found = re.search(r"^all +\d+ +\d+ ms +(\d+) ms", ran.out, re.MULTILINE)
    if found is None:
        sys.exit(ran.out)
    seconds = int(found[1]) / 1000
    cost = Cost(seconds=seconds, processor=ran.processor, peak=ran.peak)
    yield Row(item=9, name="200 commands a minute, p99", ours=cost, value=seconds, unit="s", target=1.0, limit=0)
