"""The sizes of planned archives by their sums are those that planning them anew gives."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from courier.parcel.archive_plan import LEAST_ARCHIVE, Content, plan_archives
from courier.parcel.archive_sizes import ArchiveSizes
from formats.archive import archive_size
from formats.codecs import CODECS


def content(number: int, size: int, coding: str) -> Content:
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    path = f"{'x' * (number % 40)}/é{number}" if number % 3 else f"file {number}"
    return Content(sha256=digest, size=size, mtime_ns=0, folder="HQ100001-1", path=path, coding=coding)


def sizes_anew(contents: list[Content], limit: int) -> list[int]:
    found = plan_archives(contents, limit)
    return [
        archive_size([member.stored(size) for member, size in zip(one.members, one.most, strict=True)]) for one in found
    ]


@given(
    st.lists(st.tuples(st.integers(1, 90_000), st.sampled_from(list(CODECS))), min_size=1, max_size=30),
    st.integers(LEAST_ARCHIVE, 20 * LEAST_ARCHIVE),
    st.lists(st.integers(LEAST_ARCHIVE, 20 * LEAST_ARCHIVE), min_size=1, max_size=5),
)
def test_other_limits_by_sums_are_as_planned_anew(shape: list[tuple[int, str]], first: int, limits: list[int]) -> None:
    contents = [content(n, size, coding) for n, (size, coding) in enumerate(shape)]
    counted = ArchiveSizes()
    archives = [archive for archive, _ in counted.count(plan_archives(contents, first))]
    assert counted.sizes == sizes_anew(contents, first)
    assert counted.content == sum(size for size, _ in shape)
    assert counted.packed == sum(
        size
        for archive in archives
        for member, size in zip(archive.members, archive.most, strict=True)
        if not member.content.codec.as_is
    )
    cut = any(member.length < member.content.size for archive in archives for member in archive.members)
    for limit in limits:
        by_sums = counted.at(limit)
        assert by_sums is None or by_sums == sizes_anew(contents, limit)
        if not cut and limit >= first and not any(CODECS[coding].solid for _, coding in shape):
            assert by_sums is not None
