"""Plans of a million files and a loaded channel server: the benchmarks of their own, and the figures they print."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from measure import ROOT, Cost, Machine, Row, run


def _own(name: str, *options: object) -> Cost:
    """Run a benchmark of its own, whatever it says of its targets."""
    command = [sys.executable, ROOT / "benchmarks" / name, *options]
    # Its exit code says whether its targets were met, and that is judged here.
    return run(["sh", "-c", '"$@" || [ $? -eq 1 ]', "sh", *command])


def _figure(cost: Cost, pattern: str) -> float:
    found = re.search(pattern, cost.out)
    if found is None:
        sys.exit(f"no figure like {pattern!r} in:\n{cost.out}")
    return float(found[1].replace(",", ""))


def plan_rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """10 TB in 1,000,000 files."""
    files = 20_000 if quick else 1_000_000
    ran = _own("bench_plan.py", "--files", files, "--in", work)
    cost = Cost(
        seconds=_figure(ran, r"planned in ([\d.]+) s"),
        processor=_figure(ran, r"([\d.]+) s of processor time"),
        peak=int(_figure(ran, r"peak memory ([\d.]+) MiB")) << 20,
    )
    yield Row(
        item=7,
        name=f"plan of {files} files, seconds",
        ours=cost,
        value=cost.processor,
        unit="s of processor time",
        target=30,
    )


def channel_rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """200 sites, 10,000 messages."""
    sites, messages = (20, 400) if quick else (200, 10_000)
    ran = _own("bench_channel.py", "--sites", sites, "--messages", messages, "--folder", work)
    if "none lost, none doubled in effect" not in ran.out:
        sys.exit(ran.out)
    cost = Cost(
        seconds=_figure(ran, r"settled after ([\d.]+) s"),
        processor=ran.processor,
        peak=int(_figure(ran, r"([\d.]+) at most")) << 20,
    )
    yield Row(
        item=8, name=f"{messages} messages, {sites} sites, seconds", ours=cost, value=cost.seconds, unit="s", target=60
    )
