"""A parcel of ``--compress best``: solid groups of LZMA2 that every 7-Zip opens, sent, damaged, mended and restored.

A run is 100,000 bytes here, so that small contents make several groups, and one a group of many runs.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import py7zr
import pytest
from journey import (
    Sites,
    add,
    change_byte,
    create,
    describe_tree,
    digest_of,
    digests_of,
    exported,
    make_sites,
    noise,
    sent,
    write,
)
from py7zr.io import BytesIOFactory
from stock import stock_tool

from courier.parcel.recipes import ArchiveRecipe
from courier.sending.solid_packing import PackedRun, Run, SolidPacking
from formats.codecs import LZMA2, SolidCodec

RUN = 100_000
BEST = ("--capacity", "1.5MB", "--no-encrypt", "--compress", "best")


def words(size: int, seed: int) -> bytes:
    """Text that shrinks to less than half."""
    rng = random.Random(seed)
    return b" ".join(b"%x" % rng.randrange(1 << 16) * 2 for _ in range(size // 8)).ljust(size, b".")[:size]


def tree(root: Path) -> Path:
    """Contents of all kinds: small, at the edges of a run and of several, cut over archives, and some that are stored.

    On media of 1.5 MB they make several archives, and most of these have several groups.
    """
    contents = {
        "a/small": b"s",
        "a/empty": b"",
        "a/again": words(5000, 1),
        "b/noise": noise(70_000, 1),
        "b/one less": words(RUN - 1, 2),
        "b/run": words(RUN, 3),
        "b/one more": words(RUN + 1, 4),
        "c/large.wim": words(2_400_000, 5),
        "c/noise.wim": noise(1_100_000, 2),
        "d/again": words(5000, 1),
        **{f"e/driver {n:02}.inf": words(100 + n * 300, n) for n in range(60)},
        "z/noise": noise(5000, 3),
    }
    for path, data in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    os.utime(root / "a/small", ns=(1, 1_700_000_000_123_456_789))
    return root


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(LZMA2), "run", RUN)


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def stock(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def archives_on(volumes: list[Path]) -> list[Path]:
    return sorted(
        (path for volume in volumes for path in volume.glob("data/archives/*.7z")), key=lambda path: path.name
    )


def members_by_stock(archive: Path, out: Path) -> dict[str, bytes]:
    assert "Everything is Ok" in stock(stock_tool("7z"), "t", archive)
    stock(stock_tool("7z"), "x", archive, f"-o{out}")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def members_by_py7zr(archive: Path) -> dict[str, bytes]:
    factory = BytesIOFactory(1 << 30)
    with py7zr.SevenZipFile(archive) as source:
        source.extractall(factory=factory)
    return {name: data.read() for name, data in factory.products.items()}


@pytest.mark.parametrize("layout", ["folder", "iso"])
@pytest.mark.parametrize("encrypt", [False, True])
def test_a_package_comes_out_at_the_other_site_as_it_went_in(sites: Sites, layout: str, encrypt: bool) -> None:
    source = tree(sites.root / "source")
    package = add(sites.hq, source)
    _, volumes = sent(
        sites.hq, package, out=sites.root / "m", layout=layout, compress="best", encrypt=encrypt, capacity="1.5MB"
    )
    assert len(volumes) > 1
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    assert exported(sites.br, package, sites.root / "out") == describe_tree(source)


def test_volume_by_volume_it_is_imported_from_the_spool(sites: Sites) -> None:
    source = tree(sites.root / "source")
    package = add(sites.hq, source)
    _, volumes = sent(sites.hq, package, out=sites.root / "m", compress="best", encrypt=False, capacity="1.5MB")
    sites.sync()
    for volume in reversed(volumes):
        sites.br("parcel", "verify", volume)
        sites.br("parcel", "receive", volume)
    assert exported(sites.br, package, sites.root / "out") == describe_tree(source)


def test_stock_tools_take_out_every_byte_in_one_step(sites: Sites) -> None:
    source = tree(sites.root / "source")
    package = add(sites.hq, source)
    _, volumes = sent(sites.hq, package, out=sites.root / "m", compress="best", encrypt=False, capacity="1.5MB")
    found: dict[str, bytes] = {}
    solid = 0
    for archive in archives_on(volumes):
        members = members_by_stock(archive, sites.root / f"out-{archive.stem}")
        assert members == members_by_py7zr(archive)
        found |= members
        solid += "Method = LZMA2" in stock(stock_tool("7z"), "l", "-slt", archive)
    assert solid > 1
    prefix = package.replace(":", "-")
    for path in sorted(path for path in source.rglob("*") if path.is_file() and path.stat().st_size):
        name = f"{prefix}/{path.relative_to(source).as_posix()}"
        parts = [found[part] for part in sorted(found) if part == name or part.startswith(f"{name}.0")]
        if path.name != "again":  # one content, under the name of its first file
            assert b"".join(parts) == path.read_bytes()


def test_a_lost_block_is_mended_from_parity(sites: Sites) -> None:
    source = tree(sites.root / "source")
    package = add(sites.hq, source)
    _, volumes = sent(
        sites.hq, package, out=sites.root / "m", compress="best", encrypt=False, capacity="20MB", redundancy="30%"
    )
    (archive,) = archives_on(volumes)
    change_byte(archive, archive)
    sites.sync()
    verdict = sites.br("parcel", "verify", *volumes, code=4)
    assert verdict["volumes"][0]["damaged_blocks"] == 1
    sites.br("parcel", "receive", *volumes)
    assert exported(sites.br, package, sites.root / "out") == describe_tree(source)


def test_the_script_on_a_volume_restores_it_alone(sites: Sites) -> None:
    source = tree(sites.root / "source")
    package = add(sites.hq, source)
    _, volumes = sent(sites.hq, package, out=sites.root / "m", compress="best", encrypt=False, capacity="1.5MB")
    command = [sys.executable, "-I", "-S", volumes[0] / "restore.py", "--to", sites.root / "out", *volumes]
    said = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    assert "restored" in said.stdout
    assert describe_tree(sites.root / "out" / package.replace(":", "-")) == describe_tree(source)
    text = (volumes[0] / "RESTORE.txt").read_text()
    assert "7-Zip" in text


def test_what_was_discarded_is_made_again_to_the_byte(sites: Sites) -> None:
    package = add(sites.hq, tree(sites.root / "source"))
    parcel = create(sites.hq, package, compress="best", encrypt=False, capacity="1.5MB")
    before = [digests_of(volume) for volume in write(sites.hq, parcel, "folder", sites.root / "before")]
    packs = sites.hq.path / "parcels" / "out" / parcel / "packs"
    kept = digests_of(packs)
    assert kept
    for pack in packs.iterdir():
        pack.unlink()
    after = [digests_of(volume) for volume in write(sites.hq, parcel, "folder", sites.root / "after")]
    assert after == before
    assert digests_of(packs) == kept


def test_a_build_that_was_stopped_goes_on_with_what_is_not_finished(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = add(sites.hq, tree(sites.root / "source"))
    pack, lock, begun = SolidPacking.pack, threading.Lock(), 0

    def stopping(self: SolidPacking, runs: Sequence[tuple[SolidCodec, Run]]) -> Iterator[PackedRun]:
        nonlocal begun
        with lock:
            begun += 1
            stop = begun == 3
        for number, run in enumerate(pack(self, runs)):
            if stop and number:
                run.data.close()
                raise KeyboardInterrupt
            yield run

    arguments = ("parcel", "create", package, "--to", "BR1", *BEST)
    with monkeypatch.context() as patch:
        patch.setattr(SolidPacking, "pack", stopping)
        sites.hq.ran(*arguments, code=None)
    out = sites.hq.path / "parcels" / "out"
    (folder,) = out.glob("HQ1-*")
    finished = {path: path.stat().st_mtime_ns for path in (folder / "recipes").glob("*.json")}
    assert finished
    assert sites.hq(*arguments)["parcel_id"] == folder.name
    recipes = sorted((folder / "recipes").glob("*.json"))
    assert len(finished) < len(recipes)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    # The same as what is built in one go, but for the name of the parcel.
    other = sites.hq(*arguments)["parcel_id"]
    for number in range(1, len(recipes) + 1):
        assert ArchiveRecipe.load(folder, number) == ArchiveRecipe.load(out / other, number)
    assert digests_of(folder / "packs") == digests_of(out / other / "packs")


def test_the_plan_promises_no_less_than_the_build_takes(sites: Sites) -> None:
    package = add(sites.hq, tree(sites.root / "source"))
    arguments = ("parcel", "create", package, "--to", "BR1", *BEST)
    plan = sites.hq(*arguments, "--dry-run")
    parcel = sites.hq(*arguments)["parcel_id"]
    volumes = write(sites.hq, parcel, "folder", sites.root / "m")
    assert len(volumes) <= len(plan["volumes"])
    archives = archives_on(volumes)
    assert len(archives) == len(plan["archives"])
    for path, planned in zip(archives, plan["archives"], strict=True):
        assert path.stat().st_size <= planned["bytes"]
    for volume in volumes:
        assert sum(path.stat().st_size for path in volume.rglob("*") if path.is_file()) <= 1_500_000


@pytest.mark.parametrize("path", ["c/large.wim", "b/run", "a/again"])
def test_content_that_changed_in_the_store_is_named_and_nothing_is_built(sites: Sites, path: str) -> None:
    source = tree(sites.root / "source")
    package = add(sites.hq, source)
    data = (source / path).read_bytes()
    other = bytearray(data)
    other[len(data) // 2] ^= 1
    large = [item for item in sites.hq.large_files() if item.name == digest_of(source / path)]
    if large:
        large[0].chmod(0o600)
        large[0].write_bytes(other)
    else:
        sites.hq.spoil(data, bytes(other))
    error = sites.hq.fails("parcel", "create", package, "--to", "BR1", "--compress", "best", "--media", "dvd5", code=4)
    assert path in error["message"]
