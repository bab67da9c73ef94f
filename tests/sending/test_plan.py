"""Plans: what plans also builds, and a medium is refused only for what is true of it and of every smaller one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from journey import add, create, make_sites, noise, write_files

from courier.errors import NoSpaceError
from courier.parcel.content_table import ContentTable
from courier.parcel.parity_plan import Redundancy
from courier.parcel.volume_layout import lay_out
from courier.sending.plan import ParcelDraft, ParcelPlan, ParcelRequest, draft_parcel
from courier.sending.volume_source import fixed_sizes
from courier.site.home import open_site

MB = 1_000_000


@pytest.fixture(scope="module")
def draft(quick: Path) -> Iterator[ParcelDraft]:
    """The draft of a parcel of one small package, whose contents a test replaces by others of any size."""
    hq = make_sites(quick).hq
    add(hq, write_files(quick / "in", image_wim=noise(1000)))
    request = ParcelRequest(packages=("HQ100001",), destinations=("BR1",), media="drive", capacity=MB)
    with closing(open_site(hq.path)) as site:
        yield draft_parcel(site, request)


def contents(sizes: list[int], coding: str) -> ContentTable:
    table = ContentTable()
    table.folder("HQ100001-1")
    for n, size in enumerate(sizes, 1):
        table.add(sha256=f"{n:064x}", size=size, mtime_ns=0, path=f"disk{n}.vhdx", coding=lambda: coding)
    return table


def drafted(
    draft: ParcelDraft, sizes: list[int], *, coding: str, encrypt: bool, redundancy: str, spares: int
) -> ParcelDraft:
    request = replace(draft.request, redundancy=Redundancy.parse(redundancy), spares=spares)
    recipients = draft.recipients if encrypt else ()
    return replace(draft, request=request, contents=contents(sizes, coding), recipients=recipients)


def planned(draft: ParcelDraft, capacity: int) -> ParcelPlan | None:
    try:
        return draft.plan("drive", capacity)
    except NoSpaceError:
        return None


def build_sizes(draft: ParcelDraft, plan: ParcelPlan, shares: Iterator[float]) -> None:
    """Lay out what a build gives: as many archives, each of at most its planned size."""
    archives = [(max(1, int(file.size * next(shares))), file.sha256) for file in plan.preview.archives]
    fixed = fixed_sizes(card=len(draft.site.card_envelope), contents=plan.preview.contents.size)
    lay_out(plan.request, archives, contents=plan.preview.contents, fixed=fixed)


options = {
    "coding": st.sampled_from(["store", "zstd", "lzma2"]),
    "encrypt": st.booleans(),
    "redundancy": st.sampled_from(["none", "fill", "0.5%", "5%", "50%"]),
    "spares": st.integers(0, 3),
}
capacities = st.integers(200_000, 4 * MB) | st.integers(4 * MB, 200 * MB) | st.integers(200 * MB, 60_000 * MB)
sizes = st.lists(st.integers(1, 50_000) | st.integers(50_000, 300 * MB), min_size=1, max_size=12)


@settings(max_examples=60)
@given(sizes=sizes, capacity=capacities, seed=st.integers(0, 99), **options)
@example(sizes=[110 * MB], capacity=60 * MB, seed=0, coding="store", encrypt=True, redundancy="fill", spares=0)
@example(sizes=[49_918_080], capacity=3 * MB, seed=0, coding="store", encrypt=False, redundancy="50%", spares=0)
@example(sizes=[50_000] * 12, capacity=MB, seed=0, coding="store", encrypt=False, redundancy="5%", spares=1)
@example(
    sizes=[1, 2144, 124_615_856, 351, 124_615_856, 95, 1, 5000],
    capacity=3_628_801,
    seed=0,
    coding="store",
    encrypt=False,
    redundancy="5%",
    spares=0,
)
def test_what_plans_also_builds(
    draft: ParcelDraft,
    sizes: list[int],
    capacity: int,
    seed: int,
    coding: str,
    encrypt: bool,
    redundancy: str,
    spares: int,
) -> None:
    assume(sum(sizes) / capacity < 150)
    some = drafted(draft, sizes, coding=coding, encrypt=encrypt, redundancy=redundancy, spares=spares)
    plan = planned(some, capacity)
    if plan is None:
        # Nothing but a medium that is small beside the documents and one least archive with its parity is refused.
        assert capacity < 3 * MB
        return
    chance = random.Random(seed)
    build_sizes(some, plan, iter(lambda: chance.choice([1.0, 1.0, 0.5, 0.01, chance.random()]), None))


@settings(max_examples=25)
@given(sizes=sizes, capacity=st.integers(150_000, 3 * MB) | capacities, more=st.integers(1, 9000), **options)
@example(sizes=[110 * MB], capacity=59 * MB, more=169, coding="store", encrypt=True, redundancy="fill", spares=0)
def test_a_medium_larger_than_one_that_plans_also_plans(
    draft: ParcelDraft,
    sizes: list[int],
    capacity: int,
    more: int,
    coding: str,
    encrypt: bool,
    redundancy: str,
    spares: int,
) -> None:
    assume(sum(sizes) / capacity < 150)
    some = drafted(draft, sizes, coding=coding, encrypt=encrypt, redundancy=redundancy, spares=spares)
    assume(planned(some, capacity) is not None)
    assert planned(some, capacity + capacity * more // 10_000) is not None


def test_sizes_just_below_and_above_a_whole_number_of_media_plan(draft: ParcelDraft) -> None:
    some = drafted(draft, [110 * MB], coding="store", encrypt=True, redundancy="fill", spares=0)
    found = [plan.preview.volumes for mb in range(50, 71) if (plan := planned(some, mb * MB))]
    assert len(found) == 21
    assert found == sorted(found, reverse=True)


def test_a_parcel_is_built_for_a_medium_that_its_content_nearly_fills(tmp_path: Path) -> None:
    hq = make_sites(tmp_path).hq
    package = add(hq, write_files(tmp_path / "in", image_wim=noise(11 * MB)))
    for capacity in ("5.9MB", "6MB", "6.1MB"):
        assert create(hq, package, capacity=capacity)
