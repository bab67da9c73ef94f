"""The search for the largest archives that a medium takes. Pure: what is tried is a function that is given.

Archives that are too large leave a part of each volume empty, or do not fit at all. Smaller ones are more, and each is
told of in the documents that every volume carries: so those that are too small leave no room, either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from courier.errors import NoSpaceError

Fit = TypeVar("Fit")

STEPS, STEP = 64, 4 << 10
"""How close the search comes to the largest size that fits: a part of it, bytes at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TooLarge:
    """Archives of a size do not fit. Larger ones than ``most`` bytes will not, either; ``error`` says why."""

    most: int
    error: NoSpaceError


def largest_fit(limit: int, attempt: Callable[[int], Fit | TooLarge], *, least: int) -> Fit:
    """Return what ``attempt`` makes of the largest size that fits, from ``limit`` bytes down to ``least``.

    ``attempt`` raises `NoSpaceError` where archives of that size are too many for the medium; so does this where no
    size fits. It goes down in steps that double, and then halves the last one: some thirty attempts at most.
    """
    step, high, stepped = _finest(limit), 0, False
    fit: Fit | None = None
    while True:
        try:
            found = attempt(limit)
        except NoSpaceError as error:
            if not high:
                raise
            why = error
            break
        if not isinstance(found, TooLarge):
            if not stepped:
                return found
            fit = found
            break
        high, why, next_one = limit, found.error, max(limit - step, least)
        if high == least or found.most < least:
            raise why
        stepped = found.most >= next_one
        limit = min(found.most, next_one)
        step = 2 * step if stepped else _finest(limit)
    # ``high`` is too large; ``limit`` fits, or is too small.
    while high - limit > _finest(high):
        middle = (limit + high) // 2
        try:
            found = attempt(middle)
        except NoSpaceError as error:
            limit, why = middle, error
            continue
        if isinstance(found, TooLarge):
            high = middle
        else:
            limit, fit = middle, found
    if fit is None:
        raise why
    return fit


def _finest(limit: int) -> int:
    return max(limit // STEPS, STEP)
