"""The search for the largest archives that fit: it ends soon, and comes close to the largest size there is."""

from __future__ import annotations

import pytest

from courier.errors import NoSpaceError
from courier.parcel.archive_plan import ARCHIVE_LIMIT, LEAST_ARCHIVE
from courier.sending.largest_fit import STEP, STEPS, TooLarge, largest_fit


class Medium:
    """A medium that takes archives of some sizes only, and counts how often it is asked."""

    def __init__(self, fits: range, *, hint: int = ARCHIVE_LIMIT) -> None:
        self.fits, self.hint, self.asked = fits, hint, 0

    def attempt(self, limit: int) -> int | TooLarge:
        self.asked += 1
        if limit < self.fits.start:
            raise NoSpaceError("too many", hint="-")
        return limit if limit in self.fits else TooLarge(most=self.hint, error=NoSpaceError("too large", hint="-"))


SIZES = [LEAST_ARCHIVE, 100_000, 3 << 20, 5 << 20, 1 << 30, ARCHIVE_LIMIT - 3]


@pytest.mark.parametrize("largest", SIZES)
@pytest.mark.parametrize("least", ["any", "hardly smaller"])
def test_the_largest_size_is_nearly_found_in_few_attempts(largest: int, least: str) -> None:
    start = largest - max(largest // STEPS, STEP) * 2 if least == "hardly smaller" else 0
    medium = Medium(range(start, largest + 1))
    found = largest_fit(ARCHIVE_LIMIT, medium.attempt, least=LEAST_ARCHIVE)
    assert largest - max(largest // STEPS * 2, STEP) <= found <= largest
    assert medium.asked <= 35


def test_a_size_that_is_told_to_be_the_largest_is_taken_at_once() -> None:
    medium = Medium(range(5 << 20), hint=4 << 20)
    assert largest_fit(ARCHIVE_LIMIT, medium.attempt, least=LEAST_ARCHIVE) == 4 << 20
    assert medium.asked == 2


@pytest.mark.parametrize(("fits", "why"), [(range(0), "too large"), (range(1 << 40, 1 << 40), "too many")])
def test_where_no_size_fits_it_says_why(fits: range, why: str) -> None:
    medium = Medium(fits)
    with pytest.raises(NoSpaceError, match=why):
        largest_fit(ARCHIVE_LIMIT, medium.attempt, least=LEAST_ARCHIVE)
    assert medium.asked <= 35
