"""The option ``--seal VOLUME=SERIAL``: serial numbers of tamper seals, by volume."""

from __future__ import annotations

import re
from collections.abc import Sequence

from courier.errors import UsageError

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
