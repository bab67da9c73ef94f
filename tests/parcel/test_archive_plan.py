"""Planning: whatever is to be shipped, archives keep their limit, contents are whole, volumes are never overfull."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from courier.errors import CourierError, NoSpaceError, UsageError
from courier.media.kinds import DRIVE, MEDIA, medium_capacity, parse_size
from courier.parcel.archive_plan import (
    ARCHIVE_LIMIT,
    LEAST_ARCHIVE,
    MOST_MEMBERS,
    Content,
    PlannedArchive,
    packed_together,
    place_on_volumes,
    plan_archives,
)
from formats.archive import archive_size
from formats.codecs import CODECS, SolidCodec
from formats.documents.packing import MAX_VOLUMES
from formats.names import check_member, check_path, fold, is_portable


def content(path: str, size: int = 10, coding: str = "store", folder: str = "HQ100001-1", seed: str = "") -> Content:
    digest = hashlib.sha256(f"{folder}/{path}/{seed}".encode()).hexdigest()
    return Content(sha256=digest, size=size, mtime_ns=0, folder=folder, path=path, coding=coding)


def plan(contents: Iterable[Content], limit: int) -> list[PlannedArchive]:
    return list(plan_archives(contents, limit))


def worst_size(archive: PlannedArchive) -> int:
    """Bytes of the archive as it would be written, were every compressed member as large as can be."""
    assert sum(archive.most) == sum(member.most for member in archive.members)
    return archive_size([m.stored(size) for m, size in zip(archive.members, archive.most, strict=True)])


def check_plan(contents: list[Content], limit: int) -> list[PlannedArchive]:
    archives = plan(contents, limit)
    assert [archive.number for archive in archives] == list(range(1, len(archives) + 1))
    members = [member for archive in archives for member in archive.members]
    for archive in archives:
        assert 1 <= len(archive.members) <= MOST_MEMBERS
        assert worst_size(archive) <= limit
    # Every byte of every content once, in order; within an archive what is packed together comes last.
    covered = {item.sha256: 0 for item in contents}
    number = {item.sha256: n for n, item in enumerate(contents)}
    order = [[number[member.content.sha256] for member in archive.members] for archive in archives]
    for archive, numbers in zip(archives, order, strict=True):
        solid = [member.content.codec.solid for member in archive.members]
        assert list(zip(solid, numbers, strict=True)) == sorted(zip(solid, numbers, strict=True))
    assert all(max(one) <= min(other) for one, other in pairwise(order))
    for member in members:
        assert member.length >= 1
        assert member.offset == covered[member.content.sha256]
        covered[member.content.sha256] += member.length
    assert list(covered.values()) == [item.size for item in contents]
    check_names([member.name for member in members])
    return archives


def check_names(names: list[str]) -> None:
    """All can be extracted into one folder, on any file system."""
    for name in names:
        check_member(name)
        assert is_portable(name)
    folded = [fold(name) for name in names]
    assert len(set(folded)) == len(folded)
    folders = {name[:at] for name in folded for at, c in enumerate(name) if c == "/"}
    assert not folders & set(folded)


components = st.text(
    st.sampled_from("aAbB.001zst \\:*éÉ\u0301\U0001f4bf\u65e5ßſK\u212a"), min_size=1, max_size=12
) | st.sampled_from(["a", "A", "a.zst", "a.001", "con", "x" * 199, "x" * 255, "\U0001f4bf" * 50, "\u65e5" * 66])
paths = st.lists(
    components.filter(lambda c: c not in (".", "..") and len(c.encode()) <= 255), min_size=1, max_size=4
).map("/".join)


@st.composite
def parcels(draw: st.DrawFn) -> list[Content]:
    found = draw(st.lists(paths, min_size=1, max_size=12, unique=True))
    result = []
    for n, path in enumerate(found):
        size = draw(st.integers(1, 200) | st.integers(60_000, 140_000) | st.just(3_000_000))
        coding = draw(st.sampled_from(list(CODECS)))
        result.append(
            content(check_path(path), size, coding, draw(st.sampled_from(["HQ100001-1", "HQ100002-7"])), str(n))
        )
    return result


@given(parcels(), st.integers(LEAST_ARCHIVE, 4 * LEAST_ARCHIVE))
@example([content("a", 10, "zstd"), content("a.zst/b")], LEAST_ARCHIVE)
@example([content("a.zst/b"), content("a", 10, "zstd")], LEAST_ARCHIVE)
@example([content("A"), content("a/b")], LEAST_ARCHIVE)
@example([content("a", 3_000_000), content("a.002/b"), content("a.003")], LEAST_ARCHIVE)
@example([content("/".join(["\U0001f4bf" * 49] * 4)[:188], 3_000_000)], LEAST_ARCHIVE)
@example([content("/".join(["\U0001f4bf" * 49] * 4)[:188], 3_000_000, "zstd")], LEAST_ARCHIVE)
@example([content("/".join(["x" * 255] * 125), 100_000)], LEAST_ARCHIVE)
def test_every_archive_keeps_its_limit_and_every_content_is_whole(contents: list[Content], limit: int) -> None:
    check_plan(contents, limit)


@pytest.mark.parametrize("slack", range(-60, 61))
def test_sizes_around_the_limit_are_cut_where_they_must(slack: int) -> None:
    for coding in CODECS:
        for parts in (1, 2, 3):
            check_plan([content("install.wim", parts * (LEAST_ARCHIVE - 600) + slack, coding)], LEAST_ARCHIVE)


def test_a_content_is_cut_only_when_it_does_not_fit_an_archive() -> None:
    whole = check_plan([content("a", 40_000), content("b", 40_000), content("c", 20_000)], LEAST_ARCHIVE)
    assert [[m.name for m in archive.members] for archive in whole] == [
        ["HQ100001-1/a"],
        ["HQ100001-1/b", "HQ100001-1/c"],
    ]
    assert [m.length for archive in whole for m in archive.members] == [40_000, 40_000, 20_000]


def test_parts_are_named_so_that_they_sort_and_join() -> None:
    image = check_plan([content("install.wim", 10 * ARCHIVE_LIMIT)], ARCHIVE_LIMIT)
    assert [m.name for a in image for m in a.members] == [f"HQ100001-1/install.wim.{n:03d}" for n in range(1, 12)]
    large = check_plan([content("disk.raw", 70_000_000, "zstd")], LEAST_ARCHIVE)
    names = [m.name for a in large for m in a.members]
    assert names == sorted(names)
    assert names[0] == "HQ100001-1/disk.raw.0001.zst"
    assert len({len(name) for name in names}) == 1


def test_a_path_that_is_not_portable_travels_under_its_digest() -> None:
    contents = [content(path) for path in ("a\\b", "con", "e\u0301", "A", "a", "x" * 255)]
    names = [m.name for a in check_plan(contents, LEAST_ARCHIVE) for m in a.members]
    assert names == [
        *[f"content/{item.sha256}" for item in contents[:3]],
        "HQ100001-1/A",
        *[f"content/{item.sha256}" for item in contents[4:]],
    ]


def test_a_long_path_does_not_make_small_parts() -> None:
    for path in ("/".join(["x" * 255] * 125), "\U0001f4bf" * 50, "x" * 180):
        archives = check_plan([content(path, 6_000_000)], LEAST_ARCHIVE)
        assert len(archives) <= 94


def test_an_archive_has_at_most_8192_members() -> None:
    archives = plan((content(f"{n:06d}", 1) for n in range(MOST_MEMBERS + 1)), ARCHIVE_LIMIT)
    assert [len(archive.members) for archive in archives] == [MOST_MEMBERS, 1]


def test_nothing_makes_no_archive() -> None:
    assert plan([], LEAST_ARCHIVE) == []
    assert place_on_volumes([], 100) == []


def small(count: int) -> Iterable[Content]:
    return (content(f"folder{n % 100:02d}/file{n:06d}.dat", 3000) for n in range(count))


def test_100_000_small_contents_are_planned() -> None:
    archives = plan(small(100_000), 64 << 20)
    assert sum(len(archive.members) for archive in archives) == 100_000
    assert len(archives) == 13
    check_names([member.name for member in archives[-1].members])


def test_what_is_held_for_each_content_is_its_name_alone() -> None:
    tracemalloc.start()
    try:
        assert sum(len(archive.members) for archive in plan_archives(small(20_000), 1 << 20)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 6 << 20
    finally:
        tracemalloc.stop()


SOLID = next(codec for codec in CODECS.values() if isinstance(codec, SolidCodec))


def groups(*contents: Content) -> list[list[int]]:
    """The lengths of what is packed together."""
    (archive,) = plan(contents, ARCHIVE_LIMIT)
    return [[member.length for member in group] for group in packed_together(archive.members)]


def test_a_solid_group_has_at_most_a_run_or_one_member() -> None:
    mib, run = 1 << 20, SOLID.run
    assert run == 64 * mib

    def solid(*sizes: int) -> list[Content]:
        return [content(f"{n}", size, SOLID.name) for n, size in enumerate(sizes)]

    assert groups(*solid(63 * mib, mib)) == [[63 * mib, mib]]
    assert groups(*solid(63 * mib, mib + 1)) == [[63 * mib], [mib + 1]]
    assert groups(*solid(run, 1)) == [[run], [1]]
    assert groups(*solid(1, run, 1, 1)) == [[1], [run], [1, 1]]
    assert groups(*solid(65 * mib, 1)) == [[65 * mib], [1]]
    assert groups(*solid(1, 1000 * mib)) == [[1], [1000 * mib]]


def test_what_is_stored_cuts_no_solid_group() -> None:
    codings = [SOLID.name, "store", SOLID.name, "zstd", SOLID.name]
    (archive,) = plan([content(f"{n}", n + 1, coding) for n, coding in enumerate(codings)], ARCHIVE_LIMIT)
    assert [[m.length for m in group] for group in packed_together(archive.members)] == [[2], [4], [1, 3, 5]]
    assert archive.most[-3:] == [sum(SOLID.bound(length) for length in (1, 3, 5)), 0, 0]


@given(st.lists(st.tuples(st.integers(1, 300), st.sampled_from(list(CODECS))), min_size=1, max_size=40))
def test_groups_are_all_members_in_order(shape: list[tuple[int, str]]) -> None:
    short: SolidCodec = type("Short", (type(SOLID),), {"run": 200})()
    with mock.patch.dict(CODECS, {SOLID.name: short}):
        (archive,) = plan([content(f"{n}", size, coding) for n, (size, coding) in enumerate(shape)], ARCHIVE_LIMIT)
        found = list(packed_together(archive.members))
        assert [member for group in found for member in group] == list(archive.members)
        for group in found:
            assert len(group) == 1 or all(member.content.codec is short for member in group)
            assert len(group) == 1 or sum(member.length for member in group) <= short.run
        for one, other in pairwise(found):
            if one[0].content.codec is other[0].content.codec is short:
                assert sum(member.length for member in one) + other[0].length > short.run


def test_the_plan_of_the_same_contents_is_the_same() -> None:
    contents = [content(f"{n}", n * 7919 % 90_000 + 1) for n in range(50)]
    assert plan(contents, LEAST_ARCHIVE) == plan(iter(contents), LEAST_ARCHIVE)


# --- volumes --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 100), max_size=60), st.integers(100, 300))
def test_no_volume_is_ever_overfull_and_none_is_empty(costs: list[int], room: int) -> None:
    volumes = place_on_volumes(costs, room)
    assert len(volumes) == len(costs)
    loads: dict[int, int] = {}
    for cost, volume in zip(costs, volumes, strict=True):
        loads[volume] = loads.get(volume, 0) + cost
    assert sorted(loads) == list(range(1, len(loads) + 1))
    assert all(load <= room for load in loads.values())
    # First fit: no two volumes could be one.
    assert len(loads) <= 1 or all(loads[n] + loads[n + 1] > room for n in range(1, len(loads)))


@given(st.lists(st.integers(1, 100), max_size=40), st.integers(100, 300))
def test_each_archive_is_on_the_first_volume_that_had_room(costs: list[int], room: int) -> None:
    free: list[int] = []
    for cost, volume in zip(costs, place_on_volumes(costs, room), strict=True):
        first = next((n for n, left in enumerate(free) if left >= cost), len(free))
        assert volume == first + 1
        if first == len(free):
            free.append(room)
        free[first] -= cost


def test_an_archive_larger_than_a_volume_is_refused_not_placed() -> None:
    with pytest.raises(NoSpaceError):
        place_on_volumes([50, 101], 100)


def test_a_parcel_has_at_most_9999_volumes() -> None:
    assert place_on_volumes([60] * MAX_VOLUMES, 100)[-1] == MAX_VOLUMES
    with pytest.raises(UsageError):
        place_on_volumes([60] * (MAX_VOLUMES + 1), 100)


def test_many_archives_on_many_volumes_are_placed() -> None:
    costs = [1 + n * 7919 % 100 for n in range(10_000)]
    volumes = place_on_volumes(costs, 1000)
    assert max(volumes) <= sum(costs) / 1000 * 1.05


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("0", 0),
        ("64GB", 64 * 10**9),
        ("64gb", 64 * 10**9),
        (" 64 GB ", 64 * 10**9),
        ("700MiB", 700 << 20),
        ("1.5TB", 1_500_000_000_000),
        ("0.1GB", 100_000_000),
        ("1.5TiB", 3 << 39),
        ("4.7GB", 4_700_000_000),
        ("1.0000000001KB", 1000),
        ("10B", 10),
        ("5KiB", 5120),
    ],
)
def test_a_size_is_read_exactly(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GB",
        "-1",
        "1,5TB",
        "1.TB",
        ".5TB",
        "1e9",
        "64 G B",
        "64PB",
        "nan",
        "0x10",
        "1_000",
        "9" * 5000,
        "1." + "1" * 5000,
    ],
)
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.hint
    assert len(caught.value.message) < 200


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    try:
        assert parse_size(text) >= 0
    except CourierError as error:
        assert isinstance(error, UsageError)


def test_media_are_named_or_measured() -> None:
    assert medium_capacity("dvd5", None) == ("dvd5", 4_700_372_992)
    assert medium_capacity("LTO9", None) == ("lto9", MEDIA["lto9"].usable_bytes)
    assert medium_capacity(None, "64GB") == (DRIVE, 64 * 10**9)
    for kind, capacity in ((None, None), ("dvd5", "64GB"), ("floppy", None), (DRIVE, None), (None, "")):
        with pytest.raises(UsageError):
            medium_capacity(kind, capacity)
