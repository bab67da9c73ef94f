"""Which archives each package of a parcel needs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from courier.parcel.package_needs import NEEDS, indices, needs_of, read_needs, write_needs
from formats.digest import sha256_hex
from formats.documents.packing import PackingList

A, B, C = (sha256_hex(bytes([n])) for n in range(3))


def packing(archives: int, contents: str = A) -> PackingList:
    return cast(PackingList, SimpleNamespace(contents=SimpleNamespace(sha256=contents), archives=[None] * archives))


def test_shared_and_cut_contents_are_needed_by_each_package_that_has_them() -> None:
    needs = needs_of(
        [(("HQ100001", 1), [A, B]), (("HQ100002", 1), [B, C, C]), (("HQ100003", 1), [])],
        [(0, [A]), (1, [B]), (2, [C]), (3, [C])],
    )
    assert needs == {("HQ100001", 1): ((0, 1),), ("HQ100002", 1): ((1, 3),), ("HQ100003", 1): ()}
    assert indices(needs["HQ100002", 1]) == [1, 2, 3]


def test_what_was_kept_is_read_again_and_what_is_of_other_contents_or_damaged_is_not(tmp_path: Path) -> None:
    needs = {("HQ100001", 1): ((0, 1), (3, 3)), ("HQ100002", 7): ()}
    assert read_needs(tmp_path, packing(4)) is None
    write_needs(tmp_path, packing(4), needs)
    assert read_needs(tmp_path, packing(4)) == needs
    assert read_needs(tmp_path, packing(4, contents=B)) is None
    assert read_needs(tmp_path, packing(3)) is None
    for bad in (b"", b"{}", b"[1]", (tmp_path / NEEDS).read_bytes()[:-3]):
        (tmp_path / NEEDS).write_bytes(bad)
        assert read_needs(tmp_path, packing(4)) is None
