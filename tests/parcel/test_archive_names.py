"""Members are named once: archives for other limits are the same as if all names had been looked for anew."""

from __future__ import annotations

import hashlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.parcel import archive_plan
from courier.parcel.archive_names import ArchiveNames
from courier.parcel.archive_plan import LEAST_ARCHIVE, Content, plan_archives
from courier.parcel.content_table import ContentTable
from courier.parcel.made_anew import MadeAnew
from formats.codecs import CODECS

PATHS = st.sampled_from(["a", "A", "a.zst", "a/b", "con", "é", "x" * 199, "b.001", "c", "d/e/f"])


def table_of(contents: list[Content]) -> ContentTable:
    table = ContentTable()
    for folder in sorted({content.folder for content in contents}):
        table.folder(folder)
        for content in (one for one in contents if one.folder == folder):
            table.add(content.sha256, content.size, content.mtime_ns, content.path, partial(str, content.coding))
    return table


@st.composite
def contents(draw: st.DrawFn) -> list[Content]:
    found = draw(st.lists(st.tuples(st.sampled_from(["P-1", "P-2"]), PATHS), min_size=1, max_size=12))
    return [
        Content(
            sha256=hashlib.sha256(f"{n}".encode()).hexdigest(),
            size=draw(st.integers(1, 3000) | st.integers(LEAST_ARCHIVE - 2000, 3 * LEAST_ARCHIVE)),
            mtime_ns=n,
            folder=folder,
            path=path,
            coding=draw(st.sampled_from(list(CODECS))),
        )
        for n, (folder, path) in enumerate(found)
    ]


@given(contents(), st.lists(st.integers(LEAST_ARCHIVE, 5 * LEAST_ARCHIVE), min_size=2, max_size=4))
def test_archives_for_one_limit_after_another_are_those_of_each_alone(found: list[Content], limits: list[int]) -> None:
    table = table_of(found)
    names = ArchiveNames(table)
    for limit in limits:
        expected = list(plan_archives(table, limit))
        assert list(names.archives(limit)) == expected
        planned = names.planned(limit, len(expected))
        assert list(planned) == list(planned) == expected


def test_archives_that_were_forgotten_are_not_made_anew() -> None:
    table = table_of([Content(sha256=f"{1:064x}", size=1, mtime_ns=0, folder="P-1", path="a", coding="store")])
    planned = ArchiveNames(table).planned(LEAST_ARCHIVE, 1)
    assert isinstance(planned, MadeAnew)
    planned.forget()
    assert len(planned) == 1
    with pytest.raises(ValueError, match="forgotten"):
        list(planned)


def test_names_are_looked_for_once_where_no_content_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(
        [
            Content(sha256=f"{n:064x}", size=n + 1, mtime_ns=0, folder="P-1", path=f"{n}", coding="store")
            for n in range(100)
        ]
    )
    names, asked = ArchiveNames(table), list[str]()

    def is_portable(name: str) -> bool:
        asked.append(name)
        return True

    monkeypatch.setattr(archive_plan, "is_portable", is_portable)
    first = list(names.archives(LEAST_ARCHIVE))
    assert list(names.archives(LEAST_ARCHIVE)) == first
    assert len(asked) == len(table)


def test_names_that_were_not_all_looked_for_do_not_count() -> None:
    table = table_of(
        [
            Content(sha256=f"{n:064x}", size=40_000, mtime_ns=0, folder="P-1", path=f"{n}", coding="store")
            for n in range(10)
        ]
    )
    names = ArchiveNames(table)
    next(names.archives(LEAST_ARCHIVE))
    assert list(names.archives(LEAST_ARCHIVE)) == list(plan_archives(table, LEAST_ARCHIVE))
