"""What is amiss with a deployment or a sequence: all of it at once, each with what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is amiss.

    ``code`` tells scripts what it is. ``step`` is the number of the step in the sequence, from 1, or None where it
    concerns the whole. ``message`` says what is wrong and where, ``remedy`` what to do, each in one line. ``refuses``:
    False for what is only to be known.
    """

    code: str
    step: int | None
    message: str
    remedy: str
    refuses: bool = True
