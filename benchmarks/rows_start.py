"""How long commands take to start: by processor time, in multiples of `courier --version`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from measure import Cost, Machine, Row, courier, least, run, two_sites

ROUNDS = 5
SECONDS = 0.3


def rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """`--help`, lists, and a sync with nothing to do."""
    hq, br = two_sites(work)
    here = courier(hq)
    here("channel", "sync")
    courier(br)("channel", "sync")
    here("channel", "sync")
    program = [sys.executable, "-m", "courier"]

    def best(words: tuple[str, ...], home: bool) -> Cost:
        return least(here(*words) if home else run([*program, *words]) for _ in range(2 if quick else ROUNDS))

    version = best(("--version",), home=False)
    yield Row(item=6, name="--version", ours=version)
    commands = {
        ("--help",): 0.2,
        ("package", "list"): SECONDS,
        ("parcel", "list"): SECONDS,
        ("channel", "sync"): SECONDS,
    }
    for words, seconds in commands.items():
        cost = best(words, home=words != ("--help",))
        yield Row(
            item=6,
            name=f"{' '.join(words)}, times --version (target {seconds} s)",
            ours=cost,
            peer=version,
            peer_name="courier --version",
            # What was 0.29 s for `--version` when the targets were set.
            target=round(seconds / 0.29, 2),
            enough=seconds,
        )
