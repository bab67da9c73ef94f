"""How long commands take to start: by processor time, in multiples of what loading SQLAlchemy takes.

The targets were set in seconds: 0.3 s for lists and a sync with nothing to do, which took 1.1 s then, and 0.2 s for the
help. What took 1.1 s there is a sync by the source of that day (2026-11-26). Here that takes 3.6 times as long as
``python -c 'import sqlalchemy'``, a yardstick that every machine has and that no work on the toolkit makes shorter.
So a second of the targets is 3.3 of it, and 0.3 s are the time of loading SQLAlchemy, once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from measure import Cost, Machine, Row, courier, least, run, two_sites

ROUNDS = 5
A_SECOND = 3.6 / 1.1
"""A second of the targets, in times of the yardstick."""


def rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """`--help`, lists, and a sync with nothing to do."""
    hq, br = two_sites(work)
    here = courier(hq)
    here("channel", "sync")
    courier(br)("channel", "sync")
    here("channel", "sync")
    program = [sys.executable, "-m", "courier"]
    rounds = range(2 if quick else ROUNDS)
    yardstick = least(run([sys.executable, "-c", "import sqlalchemy"]) for _ in rounds)

    def best(words: tuple[str, ...], home: bool) -> Cost:
        return least(here(*words) if home else run([*program, *words]) for _ in rounds)

    commands = {
        ("--version",): 0.2,
        ("--help",): 0.2,
        ("package", "list"): 0.3,
        ("parcel", "list"): 0.3,
        ("channel", "sync"): 0.3,
    }
    for words, seconds in commands.items():
        yield Row(
            item=6,
            name=f"{' '.join(words)} (target {seconds} s)",
            ours=best(words, home=not words[0].startswith("--")),
            peer=yardstick,
            peer_name="import sqlalchemy",
            target=round(seconds * A_SECOND, 2),
        )
