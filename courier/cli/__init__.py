"""The ``courier`` command: one file a command group, thin. `main` runs it and turns errors into exit codes."""

from __future__ import annotations

import atexit
import gc
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line in a process of its own, and end it."""
    # A process that ends gives all its memory back at once. What Python would look for in it, module by module, is what
    # nobody uses any more: a fifth of the time of a short command.
    atexit.register(gc.freeze)
    from courier.cli.app import main as run

    run()
