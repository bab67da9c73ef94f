"""The options ``--seal VOLUME=SERIAL`` and ``--seals-file FILE``: serial numbers of tamper seals, by volume."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from courier.errors import NotFoundError, UsageError

SEALS_FILE = Annotated[
    Path | None,
    typer.Option("--seals-file", metavar="FILE", help="File with a line VOLUME=SERIAL for each seal, beside --seal."),
]
MAX_LINES = 20_000
MAX_SERIAL = 200
"""Longest serial number of a seal, in characters."""


def read_seals(texts: Sequence[str] | None) -> dict[int, str]:
    """Serial numbers by volume, from texts like ``3=A0012345``. Raises `UsageError`, also for two on one volume."""
    seals: dict[int, str] = {}
    for text in texts or ():
        number, serial = read_seal(text)
        if seals.setdefault(number, serial) != serial:
            raise UsageError(
                f"--seal: volume {number} has {seals[number]} and {serial}", hint="give one serial number for a volume"
            )
    return seals


def seals_in_file(path: Path | None) -> list[str]:
    """The lines of a file of seals, one ``VOLUME=SERIAL`` each; empty lines count for nothing. None: no file.

    Raises `NotFoundError`, and `UsageError` for what is no text file of seals.
    """
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [line.strip() for line in itertools.islice(file, MAX_LINES + 1)]
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", hint="it has a line like 3=A0012345 for each volume") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text file", hint="write a line like 3=A0012345 for each volume") from None
    if len(lines) > MAX_LINES:
        raise UsageError(f"{path} has more than {MAX_LINES:,} lines", hint="a line for each volume")
    return [line for line in lines if line]


def read_seal(text: str) -> tuple[int, str]:
    """(volume, serial number) of a text like ``3=A0012345``. Raises `UsageError`."""
    number, equals, serial = text.partition("=")
    if not equals or not re.fullmatch("[0-9]{1,4}", number) or not int(number) or not serial.strip():
        hint = "write it like --seal 3=A0012345"
        raise UsageError(f"--seal {text[:60]!r} is not a volume and a serial number", hint=hint)
    if len(serial) > MAX_SERIAL:
        hint = f"a serial number has {MAX_SERIAL} characters at most"
        raise UsageError(f"--seal {number}={serial[:30]}...: {len(serial)} characters", hint=hint)
    return int(number), serial.strip()
