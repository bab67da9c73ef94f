"""The ``courier`` command: one file a command group, thin. `main` runs it and turns errors into exit codes."""

from courier.cli.run import main

__all__ = ["main"]
