"""``courier demo``: two sites on this machine, a real image, the whole journey."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from courier.cli.command import command
from courier.cli.console import Console


def add_demo(top: typer.Typer) -> None:
    """Add ``demo`` to the top level."""
    command(top, "demo")(demo)


def demo(
    console: Console,
    *,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="Keep everything in this folder.")] = None,
) -> None:
    """Send a real image from one site to another on this machine, step by step."""
    from courier.cli.demo_journey import run_demo

    outcome = run_demo(console, keep)
    console.result(outcome)
