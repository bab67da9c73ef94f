"""Write docs/states.md from the tables of `courier.parcel.states`: ``python docs/make_states.py``.

A test compares the page with what this makes, so that the two cannot differ.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from courier.parcel import states as tables

PAGE = Path(__file__).with_name("states.md")

HEAD = """# States

Made by `python docs/make_states.py` from the tables in `courier/parcel/states.py`.

A parcel, and each volume of it, is in one state at its sender and in one at each receiver. An event changes it as the
diagrams say; each change is a line of `courier parcel log PARCEL`. An event that no arrow allows changes nothing and is
recorded as a `finding` in that log. Arrows that lead back to the same state are only in the tables.
"""

Table = Mapping[Any, StrEnum]
"""(state before or None, event) -> state after."""

SIDES: tuple[tuple[str, type[StrEnum], Table], ...] = (
    ("A parcel at its sender", tables.SentState, tables.SENT),
    ("A parcel at a receiver", tables.ReceivedState, tables.RECEIVED),
    ("A volume at the sender", tables.VolumeState, tables.SENT_VOLUME),
    ("A volume at the receiver", tables.VolumeState, tables.RECEIVED_VOLUME),
)


def _meanings(states: type[StrEnum]) -> dict[str, str]:
    """Return what each state means: the string below it in the source."""
    pattern = re.compile(r'^    [A-Z_]+ = "(\w+)"\n    """(.+?)"""', re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in pattern.findall(inspect.getsource(states))}


def _diagram(table: Table) -> str:
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in table.items():
        if before != after:
            arrows.setdefault((before or "[*]", after), []).append(event)
    lines = [f"    {a} --> {b}: {', '.join(events)}" for (a, b), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def _table(states: type[StrEnum], table: Table) -> str:
    meanings = _meanings(states)
    used = {state for pair in table.items() for state in (pair[0][0], pair[1]) if state is not None}
    rows = []
    for state in (None, *states):
        if state is not None and state not in used:
            continue
        leads = [f"{event} → {after}" for (before, event), after in table.items() if before == state]
        name = state or "(not known yet)"
        rows.append(f"| {name} | {meanings.get(state or '', '')} | {'; '.join(leads) or 'none'} |")
    return "\n".join(["| state | meaning | events, and where they lead |", "|---|---|---|", *rows])


def make() -> str:
    """Return the page."""
    parts = [HEAD]
    for title, states, table in SIDES:
        parts.append(f"\n## {title}\n\n{_diagram(table)}\n\n{_table(states, table)}\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(make(), encoding="utf-8")
