"""Write docs/states.md from the tables of `courier.parcel.states`: ``python docs/make_states.py``.

A test compares the page with what this makes, so that it cannot fall behind.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from courier.parcel import states

PAGE = Path(__file__).with_name("states.md")

HEAD = """# States

Made by `python docs/make_states.py` from the tables in `courier/parcel/states.py`.

A parcel and each of its volumes have one state at the sender and one at each receiver. Events change the state as the
diagrams show. Each change is a line of `courier parcel log PARCEL`; an event that no arrow allows changes nothing and
is a `finding` in that log. Arrows that lead back to the same state are not in the diagrams; the tables have them.
"""

SIDES = (
    ("A parcel at its sender", states.SentState, states.SENT),
    ("A parcel at a receiver", states.ReceivedState, states.RECEIVED),
    ("A volume at the sender", states.VolumeState, states.SENT_VOLUME),
    ("A volume at the receiver", states.VolumeState, states.RECEIVED_VOLUME),
)


def _meanings(kind: type[StrEnum]) -> dict[str, str]:
    """What each state means: the string below it in the source."""
    pattern = re.compile(r'^    [A-Z_]+ = "(\w+)"\n    """(.+?)"""', re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in pattern.findall(inspect.getsource(kind))}


def _diagram(table: Mapping[tuple[StrEnum | None, StrEnum], StrEnum]) -> str:
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in table.items():
        if before != after:
            arrows.setdefault((before or "[*]", after), []).append(event)
    lines = [f"    {a} --> {b}: {', '.join(events)}" for (a, b), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def _table(kind: type[StrEnum], table: Mapping[tuple[StrEnum | None, StrEnum], StrEnum]) -> str:
    meanings = _meanings(kind)
    used = {state for pair in table.items() for state in (pair[0][0], pair[1]) if state is not None}
    rows = []
    for state in (None, *kind):
        if state is not None and state not in used:
            continue
        leads = [f"{event} → {after}" for (before, event), after in table.items() if before == state]
        name = state or "(not known yet)"
        rows.append(f"| {name} | {meanings.get(state or '', '')} | {'; '.join(leads) or 'none'} |")
    return "\n".join(["| state | meaning | events, and where they lead |", "|---|---|---|", *rows])


def make() -> str:
    """The page."""
    parts = [HEAD]
    for title, kind, table in SIDES:
        parts.append(f"\n## {title}\n\n{_diagram(table)}\n\n{_table(kind, table)}\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(make(), encoding="utf-8")
