"""Plans of very many files: their documents are large, and neither media nor memory are wasted for that."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from journey import add, make_sites, noise, write_files

from courier.parcel.content_table import ContentTable
from courier.parcel.volume_layout import archive_cost, room_for_archives
from courier.sending.plan import ParcelDraft, ParcelRequest, draft_parcel
from courier.sending.volume_source import fixed_sizes
from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import open_site
from formats.digest import sha256_hex
from formats.documents.listing import Entry, FileEntry, FolderEntry

MB = 1_000_000
LISTED = 200_000
MEMORY = 150 << 20
"""Bytes for a plan of `LISTED` files; the command alone takes some 75 MiB."""

MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:], stdout=open(sys.argv[1], "wb"))
_, status, used = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss)
"""
"""Prints the exit code and the peak of a command. A child's peak is never below its parent's: tests take much."""


@pytest.fixture(scope="module")
def draft(quick: Path) -> Iterator[ParcelDraft]:
    """The draft of a parcel of one small package, whose contents a test replaces by many others."""
    hq = make_sites(quick).hq
    add(hq, write_files(quick / "in", image_wim=noise(1000)))
    request = ParcelRequest(packages=("HQ100001",), destinations=("BR1",), media="drive", capacity=MB, encrypt=False)
    with closing(open_site(hq.path)) as site:
        yield draft_parcel(site, request)


def many(count: int, size: int) -> ContentTable:
    table = ContentTable()
    table.folder("HQ100001-1")
    for n in range(count):
        table.add(sha256_hex(b"%d" % n), size, 0, f"folder{n // 100:03}/disk{n:06}.vhdx", lambda: "store")
    return table


def least_volumes(draft: ParcelDraft, capacity: int) -> tuple[int, int]:
    """(volumes of the plan, the fewest that have room for its archives beside the documents)."""
    plan = draft.plan("drive", capacity)
    sizes = [file.size for file in plan.preview.archives]
    fixed = fixed_sizes(card=len(draft.site.card_envelope), contents=plan.preview.contents.size)
    room = room_for_archives(plan.request, len(sizes), sum(sizes), fixed)
    return plan.preview.volumes, -(-sum(archive_cost(size, capacity) for size in sizes) // room)


@settings(max_examples=12, deadline=None)
@given(count=st.integers(500, 3000), share=st.integers(100, 1000), gigabytes=st.integers(1, 60))
@example(count=3000, share=400, gigabytes=10)
@example(count=2500, share=100, gigabytes=25)
@example(count=2500, share=150, gigabytes=13)
@example(count=2500, share=100, gigabytes=5)
def test_many_contents_take_hardly_more_volumes_than_their_bytes_need(
    draft: ParcelDraft, count: int, share: int, gigabytes: int
) -> None:
    """The largest archive takes four gigabytes: on media of a few times that, one less on each would waste much."""
    capacity = gigabytes * 1000 * MB
    volumes, least = least_volumes(replace(draft, contents=many(count, capacity // share)), capacity)
    assert volumes <= least + 1 + least * 4 // 100


@settings(max_examples=12, deadline=None)
@given(count=st.integers(1, 3), times=st.integers(10, 60), gigabytes=st.integers(1, 60))
@example(count=2, times=30, gigabytes=5)
def test_contents_that_are_cut_take_hardly_more_volumes_than_their_bytes_need(
    draft: ParcelDraft, count: int, times: int, gigabytes: int
) -> None:
    """Their parts fill archives to the byte: those reckoned before the documents were known leave no room for these."""
    capacity = gigabytes * 1000 * MB
    volumes, least = least_volumes(replace(draft, contents=many(count, capacity * times)), capacity)
    assert volumes <= least + 1 + least * 4 // 100


@pytest.fixture(scope="module")
def listed(quick: Path) -> Path:
    """The home of a site with a package of very many files, of which there is the listing alone."""
    (quick / "listed").mkdir()
    hq = make_sites(quick / "listed").hq
    with closing(open_site(hq.path)) as site:
        with site.store.lock(), site.store.stage() as staging:
            listing = staging.add_listing(entries(LISTED))
            staging.commit()
        stored = StoredPackage(
            package="HQ100001",
            version=1,
            name="Images",
            listing=listing,
            created_ns=now(),
            added_ns=now(),
            origin="added",
        )
        with site.catalogue.writing() as connection:
            packages.add(connection, stored)
            packages.raise_counter(connection, "package", 1)
            packages.raise_counter(connection, "HQ100001", 1)
    return hq.path


def entries(count: int) -> Iterator[Entry]:
    for number in range(count):
        if number % 1000 == 0:
            yield FolderEntry(path=f"images-{number // 1000:06}", mtime_ns=0, mode=0o755)
        digest = sha256_hex(b"%d" % number)
        path = f"images-{number // 1000:06}/office-computer-{number % 1000:04}.wim"
        yield FileEntry(path=path, mtime_ns=number, mode=0o644, size=10 * MB, sha256=digest, blocks=digest)


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of a child is asked for as POSIX has it")
def test_the_memory_of_a_plan_is_bounded(listed: Path, tmp_path: Path) -> None:
    """Two terabytes, of which only the listing is there: a plan without compression reads no content."""
    asked = ("--to", "BR1", "--capacity", "10.2GB", "--compress", "none", "--no-encrypt", "--anyway", "a test")
    command = ("parcel", "create", "HQ100001", *asked, "--dry-run", "--json", "--home", str(listed))
    out = tmp_path / "out"
    measured = [sys.executable, "-c", MEASURED, str(out), sys.executable, "-m", "courier", *command]
    code, peak = map(int, subprocess.run(measured, check=True, stdout=subprocess.PIPE).stdout.split())
    assert code == 0
    planned = json.loads(out.read_bytes())
    assert planned["content_bytes"] == LISTED * 10 * MB
    assert 196 < len(planned["volumes"]) < 206
    assert peak * (1 if sys.platform == "darwin" else 1024) < MEMORY
