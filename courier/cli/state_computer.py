"""What the commands of ``courier state`` share."""

from __future__ import annotations

from typing import Annotated

import typer

COMPUTER = Annotated[str, typer.Argument(metavar="COMPUTER", help="Name of a computer.")]
SHOWN = 20
"""Lines of what is left out, or kept aside, that are printed; the JSON document has more."""
