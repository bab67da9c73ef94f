"""The options ``--seal VOLUME=SERIAL`` and ``--seals-file FILE``: serial numbers of tamper seals, by volume."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from courier.errors import NotFoundError, UsageError
from formats.documents.fields import MAX_SEAL

SEALS_FILE = Annotated[
    Path | None,
    typer.Option("--seals-file", metavar="FILE", help="File with a line VOLUME=SERIAL for each seal, beside --seal."),
]
MAX_LINES = 20_000
IN_FILE = "it has a line like 3=A0012345 for each volume"
"""What a file of seals looks like, for hints."""


def read_seals(texts: Sequence[str] | None, file: Path | None = None) -> dict[int, str]:
    """Serial numbers by volume, from texts like ``3=A0012345`` and from a file that has one on each line.

    Empty lines count for nothing. Raises `UsageError` that names the option, or file and line, also for two serial
    numbers on one volume; `NotFoundError` where there is no such file.
    """
    given = [("--seal", text, "write it like --seal 3=A0012345") for text in texts or ()]
    if file is not None:
        given += [(f"{file}, line {number}:", line, IN_FILE) for number, line in _lines(file)]
    seals: dict[int, str] = {}
    for where, text, hint in given:
        number, serial = _read_seal(where, text, hint)
        if seals.setdefault(number, serial) != serial:
            raise UsageError(
                f"{where.rstrip(':')}: volume {number} has {seals[number]} and {serial}",
                hint="give one serial number for a volume",
            )
    return seals


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file of seals that are not empty, with their numbers."""
    try:
        with file.open(encoding="utf-8-sig") as source:
            lines = list(itertools.islice(source, MAX_LINES + 1))
    except FileNotFoundError:
        raise NotFoundError(f"{file} does not exist", hint=IN_FILE) from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text file", hint=IN_FILE) from None
    if len(lines) > MAX_LINES:
        raise UsageError(f"{file} has more than {MAX_LINES:,} lines", hint=IN_FILE)
    return ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())


def _read_seal(where: str, text: str, hint: str) -> tuple[int, str]:
    """(volume, serial number) of a text like ``3=A0012345``. Raises `UsageError`."""
    number, equals, serial = text.partition("=")
    if not equals or not re.fullmatch("[0-9]{1,4}", number) or not int(number) or not serial.strip():
        raise UsageError(f"{where} {text[:60]!r} is not a volume and a serial number", hint=hint)
    if len(serial.strip()) > MAX_SEAL:
        raise UsageError(
            f"{where} {number}={serial[:30]}...: {len(serial)} characters",
            hint=f"a serial number has {MAX_SEAL} characters at most",
        )
    return int(number), serial.strip()
