"""The table of a parcel's contents gives back what was put into it."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from courier.parcel.archive_plan import Content
from courier.parcel.content_table import ContentTable
from formats.codecs import CODECS
from formats.documents.listing import FIRST_TIME, LAST_TIME
from formats.holes import hole_bytes

paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


def content(number: int, *, path: str, size: int = 5, mtime_ns: int = 0, coding: str = "store") -> Content:
    return Content(
        sha256=hashlib.sha256(b"%d" % number).hexdigest(),
        size=size,
        mtime_ns=mtime_ns,
        folder="HQ100001-1",
        path=path,
        coding=coding,
        holes=(4096, 8192) if size == 12_288 else (),
    )


contents = st.builds(
    content,
    st.integers(0, 30),
    path=paths,
    size=st.sampled_from([1, 12_288, 1 << 62]),
    mtime_ns=st.sampled_from([0, FIRST_TIME, LAST_TIME, 10**18]),
    coding=st.sampled_from(list(CODECS)),
)


def put(table: ContentTable, one: Content) -> None:
    table.add(one.sha256, one.size, one.mtime_ns, one.path, lambda: one.coding, one.holes)


@given(st.lists(contents, max_size=20))
def test_each_content_comes_back_once_in_order(given_contents: list[Content]) -> None:
    table = ContentTable()
    table.folder("HQ100001-1")
    for one in given_contents:
        put(table, one)
    first = {one.sha256: one for one in reversed(given_contents)}
    expected = [one for n, one in enumerate(given_contents) if one.sha256 not in {o.sha256 for o in given_contents[:n]}]
    assert list(table) == list(table) == expected == [first[one.sha256] for one in expected]
    assert len(table) == len(expected)
    assert table.bytes == sum(one.size for one in expected)
    assert table.allocated == sum(one.size - hole_bytes(one.holes) for one in expected)
    assert table.all_as_is == all(one.codec.as_is for one in expected)
    assert all(one in table for one in expected)


def test_thousands_of_paths_in_several_folders_come_back() -> None:
    table = ContentTable()
    for package in (1, 2, 3):
        table.folder(f"HQ10000{package}-1")
        for n in range(1500 if package != 2 else 0):
            put(table, content(package * 10_000 + n, path=f"a folder/{n}.txt"))
    found = [f"{one.folder}/{one.path}" for one in table]
    assert found == [f"HQ10000{package}-1/a folder/{n}.txt" for package in (1, 3) for n in range(1500)]


def test_the_coding_is_asked_only_of_a_content_that_is_new() -> None:
    table = ContentTable()
    table.folder("HQ100001-1")
    put(table, content(1, path="a"))
    table.add(content(1, path="b").sha256, 5, 0, "b", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert [one.path for one in table] == ["a"]


def test_a_table_of_nothing_is_empty() -> None:
    assert list(ContentTable()) == []
