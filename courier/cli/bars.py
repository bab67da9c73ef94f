"""Bars of a plan in the terminal: each way's time on one scale, drawn by rich in letters."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from courier.cli.console import Console

WIDTH = 40
"""Columns of the longest bar."""


def say_bars(console: Console, rows: Sequence[tuple[str, int | None, str]]) -> None:
    """Print (name, value, text) of each row as a bar; a value of None has none."""
    from rich.bar import Bar
    from rich.console import Console as Terminal

    longest = max((value for _, value, _ in rows if value is not None), default=0)
    names = max((len(name) for name, _, _ in rows), default=0)
    for name, value, text in rows:
        out = io.StringIO()
        bar = Bar(size=max(longest, 1), begin=0, end=value or 0, width=WIDTH)
        Terminal(file=out, width=WIDTH, color_system=None, legacy_windows=False).print(bar)
        console.say(f"  {name:<{names}}  {_in_letters(out.getvalue().rstrip(chr(10))):<{WIDTH}}  {text}")


def _in_letters(bar: str) -> str:
    """A bar in characters that the terminal has: blocks where it can show them."""
    try:
        bar.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return "".join(" " if character == " " else "#" for character in bar)
    return bar
