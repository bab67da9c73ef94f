"""The journey at size: a file of more than 4 GiB in every layout, 20,000 small files, 1,000 volumes.

What no layout has to do with is shown at size in one of them; every layout at size is for the long tests, and at
one 256th of it for all runs.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from journey import Home, Sites, add, create, describe_tree, digest_of, exported, make_sites, noise, write
from real_trees import ILLEGAL_ON_WINDOWS, drivers, same_by_stock_tools

from courier.media.reading import LAYOUTS, Layout

GIB = 1 << 30
HUGE = 4 * GIB + 300_000_007
NEEDED = 26 * GIB
"""Bytes of disk the largest of these tests takes for a while."""


@pytest.fixture
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are not flushed: a disk that is flushed 17,000 times takes minutes, and is not what these tests prove."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def sites(tmp_path: Path, unflushed: None) -> Iterator[Sites]:
    """HQ1 and BR1, and nothing of them left afterwards: pytest would keep gigabytes."""
    yield make_sites(tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def disk_sites(disk: Path, unflushed: None) -> Sites:
    """HQ1 and BR1 on a disk, for a file that is too large for memory."""
    if shutil.disk_usage(disk).free < NEEDED:
        pytest.skip(f"needs {NEEDED / GIB:.0f} GiB of disk for temporary files")
    return make_sites(disk)


def sparse_disk(folder: Path, size: int) -> Path:
    """A sparse file of ``size`` bytes with content in a few places: in `HUGE` some are across the edges that matter."""
    folder.mkdir()
    path = folder / "disk.vhdx"
    with path.open("wb") as file:
        file.truncate(size)
        for seed, place in enumerate((0, GIB + 12_345, 2 * GIB - 50, 4 * GIB - 4096, 4 * GIB - 1, HUGE - 70_000)):
            file.seek(min(place * size // HUGE, size - 70_000))
            file.write(noise(70_000, seed))
    return path


def stored(home: Home, digest: str) -> Path:
    """The one content of that digest in the store of a home."""
    return home.path / "store" / "content" / digest[:2] / digest


def received_by_a_copy(sites: Sites, number: int, volumes: list[Path]) -> Home:
    """A receiver as BR1 is now, after it has received ``volumes``."""
    home = Home(code="BR1", path=sites.root / f"BR1-{number}")
    shutil.copytree(sites.br.path, home.path)
    assert len(home("parcel", "receive", *volumes)["imported"]) == 1
    return home


def check_layouts(sites: Sites, *, size: int, capacity: str, compress: str, layouts: tuple[Layout, ...]) -> None:
    """A file of ``size`` bytes comes out of all ``layouts`` as it went in."""
    path = sparse_disk(sites.root / "source", size)
    digest = digest_of(path)
    # As it is on the disk it has holes, which no archive carries: here all of it is to travel.
    added = sites.hq("package", "add", path.parent, "--name", "Huge", "--no-holes")
    package = f"{added['package_id']}:{added['version']}"
    parcel = create(sites.hq, package, capacity=capacity, compress=compress, redundancy="none")
    for number, layout in enumerate(layouts):
        volumes = write(sites.hq, parcel, layout, sites.root / layout)
        assert len(volumes) == (2 if compress == "none" else 1)
        if number == 0:
            sites.hq("parcel", "ship", parcel)
            sites.sync()
        home = received_by_a_copy(sites, number, volumes)
        assert stored(home, digest).stat().st_size == size
        assert digest_of(stored(home, digest)) == digest
        shutil.rmtree(home.path)
        shutil.rmtree(sites.root / layout)


def test_a_file_on_two_volumes_comes_out_of_every_layout_as_it_went_in(sites: Sites) -> None:
    check_layouts(sites, size=HUGE // 256, capacity="17MB", compress="none", layouts=LAYOUTS)


@pytest.mark.slow
def test_a_file_of_more_than_4_gib_comes_out_as_it_went_in(disk_sites: Sites) -> None:
    check_layouts(disk_sites, size=HUGE, capacity="4.4GB", compress="auto", layouts=("iso",))


@pytest.mark.long
def test_a_file_of_more_than_4_gib_comes_out_of_every_layout_as_it_went_in(disk_sites: Sites) -> None:
    check_layouts(disk_sites, size=HUGE, capacity="4.4GB", compress="none", layouts=LAYOUTS)


@pytest.mark.slow
def test_20_000_small_files_come_out_as_they_went_in(sites: Sites) -> None:
    source = drivers(sites.root / "drivers", 20_000)
    package = add(sites.hq, source)
    assert sites.hq("package", "show", package)["files"] == 20_000 + len(ILLEGAL_ON_WINDOWS)
    parcel = create(sites.hq, package, capacity="50MB")
    volumes = write(sites.hq, parcel, "iso", sites.root / "iso")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    document = sites.br("parcel", "receive", *volumes)
    assert document["imported"] == [{"package_id": "HQ100001", "version": 1, "outcome": "imported"}]
    assert exported(sites.br, package, sites.root / "out") == describe_tree(source)
    same_by_stock_tools(source, sites.root / "out")


@pytest.mark.slow
def test_1_000_volumes_are_received_in_random_order(sites: Sites) -> None:
    source = sites.root / "images"
    source.mkdir()
    for number in range(11):
        (source / f"image{number}.wim").write_bytes(noise(50_000_000, number))
    was = describe_tree(source)
    # No byte is in memory or on the disk more often than it has to be: 550 MB, and 760 MB of volumes.
    added = sites.hq("package", "add", source, "--name", "Images", "--move")
    package = f"{added['package_id']}:{added['version']}"
    parcel = create(sites.hq, package, capacity="1440KB", compress="none", redundancy="none")
    volumes = write(sites.hq, parcel, "folder", sites.root / "folder")
    assert len(volumes) >= 1000
    assert volumes[999].name == "HQ1_000001_V1000"
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    numbers = list(range(len(volumes)))
    random.Random(1000).shuffle(numbers)
    document = sites.br("parcel", "receive", *(volumes[number] for number in numbers[:600]))
    assert document["missing_volumes"] == sorted(number + 1 for number in numbers[600:])
    document = sites.br("parcel", "receive", *(volumes[number] for number in numbers[500:]))
    assert len(document["imported"]) == 1
    shutil.rmtree(sites.root / "folder")
    assert exported(sites.br, package, sites.root / "out") == was
