"""Planning a delta of very many files: in little memory, and in time that does not grow with their square."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from courier.parcel.content_table import ContentTable
from courier.progress import SILENT
from courier.sending import delta
from courier.sending.delta_bases import LEAST, MOST_ALIKE, Candidate, Candidates, HeldVersion, Wanted
from courier.sending.held_whole import HeldWhole

FILES = 20_000
BASE = HeldVersion(package="HQ100001", version=1, listing="a" * 64)


def digest(number: int, version: int) -> str:
    return hashlib.sha256(f"{number} {version}".encode()).hexdigest()


def path(number: int) -> str:
    return f"drivers/vendor-{number // 997:04d}/device_{number:07d}.sys"


def contents(size: int, changed: range) -> ContentTable:
    table = ContentTable()
    table.folder("HQ100001-2")
    for number in range(FILES):
        sha256 = digest(number, 2 if number in changed else 1)
        table.add(sha256=sha256, size=size, mtime_ns=0, path=path(number), coding=lambda: "store")
    return table


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    path: str
    size: int
    sha256: str


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The jobs that the planner would have tried, where the destination holds version 1 of every file."""
    found: list[Any] = []

    def files(*_: object) -> Iterator[File]:
        return (File(path=path(number), size=LEAST, sha256=digest(number, 1)) for number in range(FILES))

    def recipes(_: object, jobs: list[Any], __: object) -> tuple[list[Any], list[Any]]:
        found.extend(jobs)
        return [], []

    monkeypatch.setattr(delta, "_files", files)
    monkeypatch.setattr(delta, "_cost", lambda _, content, __: content.size)
    monkeypatch.setattr(delta, "make_recipes", recipes)
    return found


def plan(table: ContentTable) -> delta.DeltaPlan:
    site = cast("Any", SimpleNamespace(store=SimpleNamespace(has=lambda *_: True)))
    made, _ = delta._plan(site, table, [BASE], {BASE: cast("Any", None)}, compress="none", progress=SILENT)
    assert made is not None
    return made


def test_a_plan_takes_some_bytes_for_each_file_that_is_held(tried: list[Any]) -> None:
    table = contents(LEAST, range(100))
    tracemalloc.start()
    try:
        made = plan(table)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(made.left_out) == FILES - 100
    assert made.left_out_bytes == made.saved == (FILES - 100) * LEAST
    assert [job.content.path for job in tried] == [path(number) for number in range(100)]
    assert [job.bases for job in tried] == [((digest(number, 1), LEAST),) for number in range(100)]
    # At a million files this is some 150 MiB; in dictionaries it took a gigabyte. The first few have a dictionary too.
    assert peak < 150 * FILES + (4 << 20)
    assert len(made.travelling(table)) == 100
    assert sorted(made.base_contents()) == sorted((digest(number, 1), LEAST) for number in range(100, FILES))


def test_only_the_largest_contents_are_compared_where_very_many_have_changed(
    tried: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "MOST_CHANGED", 10)
    table = ContentTable()
    table.folder("HQ100001-2")
    for number in range(FILES):
        size = LEAST + (number == 7_000) if number % 2 else LEAST - 1
        version = 2 if number < 8_000 else 1
        table.add(sha256=digest(number, version), size=size, mtime_ns=0, path=path(number), coding=lambda: "store")
    table.add(sha256=digest(7_000, 3), size=LEAST + 9, mtime_ns=0, path=path(7_000), coding=lambda: "store")
    plan(table)
    assert len(tried) == 10
    assert path(7_000) in [job.content.path for job in tried]
    assert all(job.content.size >= LEAST for job in tried)


def test_very_many_names_that_are_alike_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = [0]
    add = Candidates._add

    def count(self: Candidates, wanted: str, order: tuple[int, int, int], candidate: Candidate) -> None:
        counted[0] += 1
        add(self, wanted, order, candidate)

    monkeypatch.setattr(Candidates, "_add", count)
    many = 2_000
    names = [f"IMG_{number:05d}.jpg" for number in range(many)]
    found = Candidates(
        Wanted(sha256=digest(number, 2), size=LEAST, package="HQ100001", path=name) for number, name in enumerate(names)
    )
    for number, name in enumerate(names):
        found.look(0, "HQ100001", name, LEAST, digest(number, 1))
    assert counted[0] <= many * MOST_ALIKE
    # The same file in the older version is found all the same.
    assert [one.sha256 for one in found.of(digest(1_234, 2))] == [digest(1_234, 1)]


def test_the_first_version_that_has_a_content_counts() -> None:
    whole = HeldWhole(contents(5, range(0)))
    assert whole.is_wanted(digest(3, 1)) and not whole.is_wanted(digest(3, 2))
    whole.note(digest(3, 1), 4)
    whole.note(digest(3, 1), 1)
    whole.note(digest(3, 2), 0)
    assert (len(whole), whole.bytes, whole.version(3), whole.version(2)) == (1, 5, 4, None)
    assert list(whole) == [(digest(3, 1), 5)]
    assert digest(3, 1) in whole and digest(2, 1) not in whole and None not in whole
