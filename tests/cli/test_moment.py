"""Times of options are in UTC, and what no clock or catalogue can hold is refused in words."""

from __future__ import annotations

import pytest

from courier.cli.moment import parse_moment
from courier.errors import UsageError


def test_a_time_without_a_zone_is_utc() -> None:
    assert parse_moment("1970-01-02T00:00", "--expires") == 86_400 * 10**9
    assert parse_moment("1970-01-02T02:00+02:00", "--expires") == 86_400 * 10**9
    assert parse_moment("2261-12-31T23:59:59", "--expires") is not None
    assert parse_moment(None, "--expires") is None


@pytest.mark.parametrize(
    "text", ["soon", "", "0001-01-01", "1969-12-31T23:59", "2262-01-01", "9999-12-31T23:59", "0001-01-01T00:00+14:00"]
)
def test_a_time_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--expires"):
        parse_moment(text, "--expires")
