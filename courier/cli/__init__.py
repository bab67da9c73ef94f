"""The ``courier`` command: one file a command group, thin. `main` runs it and turns errors into exit codes."""

from courier.cli.app import main

__all__ = ["main"]
