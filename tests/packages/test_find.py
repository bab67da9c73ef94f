"""Finding package versions by the reference an operator types."""

from __future__ import annotations

import pytest

from courier.errors import NotFoundError, UsageError
from courier.packages.find import matching_versions, parse_reference
from courier.site.catalog.packages import StoredPackage
from formats.documents.listing import ListingSummary


def held(*versions: int) -> list[StoredPackage]:
    listing = ListingSummary(sha256="0" * 64, entries=1, files=1, bytes=1, holes=0)
    return [
        StoredPackage(
            package="HQ100001", version=n, name="X", listing=listing, created_ns=0, added_ns=0, origin="added"
        )
        for n in versions
    ]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("HQ100001", ("HQ100001", None)), ("HQ100001:3", ("HQ100001", 3)), ("HQ100001:03", ("HQ100001", 3))],
)
def test_a_reference_is_an_id_and_perhaps_a_version(text: str, parsed: tuple[str, int | None]) -> None:
    assert parse_reference(text) == parsed


@pytest.mark.parametrize("text", ["", "HQ1", "hq100001", "HQ100001:", "HQ100001:0", "HQ100001:-1", "HQ100001:1.0"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


def test_the_versions_asked_for_are_found() -> None:
    assert [stored.version for stored in matching_versions(held(1, 3), "HQ100001", None)] == [1, 3]
    assert [stored.version for stored in matching_versions(held(1, 3), "HQ100001", 3)] == [3]


def test_a_version_that_is_not_held_is_named_and_so_are_those_that_are() -> None:
    with pytest.raises(NotFoundError, match="HQ100001:2 is not in the store") as caught:
        matching_versions(held(1, 3), "HQ100001", 2)
    assert "1, 3" in caught.value.hint
    with pytest.raises(NotFoundError, match="package HQ100001 is not in the store") as caught:
        matching_versions([], "HQ100001", None)
    assert "versions of" not in caught.value.hint
