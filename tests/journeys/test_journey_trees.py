"""Trees on the whole way, typed as operators do: what went in comes out, by an export and by restore.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from journey import (
    Home,
    Sites,
    add,
    create,
    describe_tree,
    digest_of,
    exported,
    make_sites,
    sent,
    write,
)
from source_trees import (
    GIB,
    facts,
    groups_of_names,
    make_deep,
    make_rich_tree,
    posix,
    read_deep,
    room_of,
    sparse_file,
)
from stock import stock_tool

from courier.files import RESERVE
from courier.media.reading import LAYOUTS

pytestmark = posix
SMALL_ROOM = 8 << 20
"""Bytes that a file with 8 KiB of data and very large holes may take, with all that is kept beside it."""


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def restored(volumes: list[Path], target: Path, *options: object) -> Path:
    """What ``restore.py`` of a volume makes of the parcel's only package."""
    stock_tool("7z")
    stock_tool("zstd")
    command = [sys.executable, volumes[0] / "restore.py", "--to", target, *options, *volumes]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    (package,) = target.iterdir()
    return package


def received(sites: Sites, volumes: list[Path]) -> dict[str, Any]:
    """Receive at the first receiver; the package is imported."""
    sites.sync()
    document: dict[str, Any] = sites.br("parcel", "receive", *volumes)
    assert [one["outcome"] for one in document["imported"]] == ["imported"]
    return document


def without_set_id(tree: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    return {name: (kind, mode if mode is None else int(str(mode)) & 0o1777, *rest)
            for name, (kind, mode, *rest) in tree.items()}  # fmt: skip


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
def test_a_rich_tree_comes_out_as_it_went_in(sites: Sites, encrypted: bool) -> None:
    (sites.root / "rich").mkdir()
    source = make_rich_tree(sites.root / "rich")
    (source / "run.sh").chmod(0o4755)
    before = facts(source)
    package = add(sites.hq, source)
    _, volumes = sent(sites.hq, package, out=sites.root / "m", encrypt=encrypted, capacity="3MB")
    received(sites, volumes)
    sites.br("package", "export", package, "--to", sites.root / "kept", "--keep-set-id")
    assert facts(sites.root / "kept") == before
    document = sites.br("package", "export", package, "--to", sites.root / "out")
    assert (document["links_outside"], document["set_id_dropped"]) == (2, 1)
    assert facts(sites.root / "out") == without_set_id(before)
    identity = ("--identity", sites.br.path / "keys" / "recipient.key") if encrypted else ()
    assert facts(restored(volumes, sites.root / "by hand", *identity)) == without_set_id(before)


def test_file_systems_without_hard_links_get_copies_from_restore_py_too(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sites.root / "links"
    source.mkdir()
    for name, data in (("a", b"content"), ("empty", b"")):
        (source / name).write_bytes(data)
        (source / f"{name} too").hardlink_to(source / name)
        (source / name).chmod(0o600)
        os.utime(source / name, ns=(7, 7_000_000_123))
    _, volumes = sent(sites.hq, add(sites.hq, source), out=sites.root / "m", encrypt=False)
    assert groups_of_names(restored(volumes, sites.root / "linked")) == groups_of_names(source)
    script = volumes[0] / "restore.py"
    # As on a system without hard links.
    none = "def none(*_):\n    raise OSError(1, 'not permitted')\n\n\nos.link = none\nDONE, "
    script.write_text(script.read_text().replace("DONE, ", none, 1))
    copied = restored(volumes, sites.root / "copied")
    assert groups_of_names(copied) == set()
    alone = {name: fact[:4] for name, fact in facts(source).items()}
    assert {name: fact[:4] for name, fact in facts(copied).items()} == alone


# --- packages without any bytes -------------------------------------------------------------------------------------


def empty_files(root: Path) -> None:
    (root / "d").mkdir(parents=True)
    for name, mode in (("a", 0o600), ("d/b", 0o755)):
        (root / name).touch()
        (root / name).chmod(mode)
    (root / "c").hardlink_to(root / "a")


def folders_and_links(root: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    (root / "d").chmod(0o1777)
    (root / "to e").symlink_to("d/e")
    (root / "away").symlink_to("/etc")


@pytest.mark.parametrize("make", [empty_files, folders_and_links])
@pytest.mark.parametrize(
    "options",
    [{}, {"encrypt": True}, {"encrypt": False, "redundancy": "10%"}, {"key_by_network": True}],
    ids=["default", "encrypted", "redundancy", "network"],
)
def test_a_package_without_a_byte_ships(sites: Sites, make: Any, options: dict[str, Any]) -> None:
    make(sites.root / "source")
    package = add(sites.hq, sites.root / "source")
    given = dict(options)
    more = ["--key-by-network"] if given.pop("key_by_network", False) else []
    encrypt = given.pop("encrypt", None)
    flags = [*more, *([] if encrypt is None else ["--encrypt" if encrypt else "--no-encrypt"])]
    flags += [str(text) for key, value in given.items() for text in (f"--{key.replace('_', '-')}", value)]
    parcel = sites.hq("parcel", "create", package, "--to", "BR1", "--capacity", "863KB", *flags)["parcel_id"]
    for layout in LAYOUTS:
        assert write(sites.hq, parcel, layout, sites.root / layout)
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    sites.sync()
    volumes = sorted((sites.root / "folder").iterdir())
    document = sites.br("parcel", "receive", *volumes)
    assert [one["outcome"] for one in document["imported"]] == ["imported"]
    assert exported(sites.br, package, sites.root / "out") == describe_tree(sites.root / "source")
    sites.sync(sites.br, sites.hq)
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    if not more:
        identity = () if encrypt is False else ("--identity", sites.br.path / "keys" / "recipient.key")
        assert describe_tree(restored(volumes, sites.root / "by hand", *identity)) == describe_tree(
            sites.root / "source"
        )
    for layout in LAYOUTS:
        home = Home(code="BR1", path=sites.root / f"BR1-{layout}")
        shutil.copytree(sites.br.path, home.path)
        home("parcel", "verify", *sorted((sites.root / layout).iterdir()))


def test_there_is_nothing_for_a_spare_volume_to_restore(sites: Sites) -> None:
    folders_and_links(sites.root / "source")
    package = add(sites.hq, sites.root / "source")
    error = sites.hq.fails(
        "parcel", "create", package, "--to", "BR1", "--capacity", "863KB", "--spare-volumes", "1", code=2
    )
    assert "no bytes that a spare volume could restore" in error["message"]


# --- holes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compress", "size"),
    [("none", GIB // 4), ("auto", GIB // 4), pytest.param("none", 2 * GIB, marks=pytest.mark.long)],
    ids=["none", "auto", "2-gib"],
)
def test_holes_take_no_room_anywhere_on_the_way(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, compress: str, size: int
) -> None:
    """The disks have less room than the file has bytes, and are asked before and after each step."""
    source = sites.root / "source"
    source.mkdir()
    sparse_file(source / "disk.vhdx", size)
    digest = digest_of(source / "disk.vhdx")
    monkeypatch.setattr("courier.files.free_space", lambda _: RESERVE + (64 << 20))
    document = sites.hq("package", "add", source, "--name", "Disk")
    assert (document["bytes"], document["bytes_in_holes"]) == (size, size - 8192)
    assert room_of(sites.hq.path / "store") < SMALL_ROOM
    parcel = create(sites.hq, "HQ100001", compress=compress, capacity="20MB", encrypt=False)
    volumes = write(sites.hq, parcel, "folder", sites.root / "m")
    sites.hq("parcel", "ship", parcel)
    assert sum(path.stat().st_size for volume in volumes for path in volume.rglob("*.7z")) < SMALL_ROOM
    received(sites, volumes)
    assert room_of(sites.br.path) < 2 * SMALL_ROOM
    sites.br("package", "export", "HQ100001", "--to", sites.root / "out")
    by_hand = restored(volumes, sites.root / "by hand")
    for path in (sites.root / "out/disk.vhdx", by_hand / "disk.vhdx"):
        assert room_of(path) < SMALL_ROOM
        assert (path.stat().st_size, digest_of(path)) == (size, digest)


def test_without_holes_zeros_are_data(sites: Sites) -> None:
    source = sites.root / "source"
    source.mkdir()
    sparse_file(source / "disk.vhdx", 32 << 20)
    document = sites.hq("package", "add", source, "--name", "Disk", "--no-holes")
    assert (document["bytes"], document["bytes_in_holes"]) == (32 << 20, 0)
    parcel = create(sites.hq, "HQ100001", compress="none", capacity="100MB", encrypt=False)
    (volume,) = write(sites.hq, parcel, "folder", sites.root / "m")
    assert sum(path.stat().st_size for path in volume.rglob("*.7z")) > 32 << 20
    sites.hq("package", "export", "HQ100001", "--to", sites.root / "out")
    assert room_of(sites.root / "out") >= 32 << 20
    assert exported(sites.hq, "HQ100001", sites.root / "again") == describe_tree(source)


def test_a_parcel_whose_hole_map_lies_still_gives_the_right_bytes(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map is advice where to save room; whoever made it up cannot change a byte by it."""
    source = sites.root / "source"
    source.mkdir()
    data = os.urandom(1 << 20)
    with sparse_file(source / "disk.vhdx", 32 << 20).open("r+b") as file:
        file.write(data)
    digest = digest_of(source / "disk.vhdx")
    monkeypatch.setattr("courier.packages.read_tree.find_holes", lambda *_: ((0, 8 << 20), ((8 << 20) + 4096, 4096)))
    package = add(sites.hq, source)
    assert sites.hq("package", "show", package)["bytes_in_holes"] == (8 << 20) + 4096
    _, volumes = sent(sites.hq, package, out=sites.root / "m", encrypt=False, capacity="3MB")
    received(sites, volumes)
    sites.br("package", "export", package, "--to", sites.root / "out")
    assert digest_of(sites.root / "out/disk.vhdx") == digest
    assert digest_of(restored(volumes, sites.root / "by hand") / "disk.vhdx") == digest


# --- deep and long --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [["d"] * 511, ["d"] * 512, ["n" * 199] * 20], ids=["511-folders", "512-folders", "4000-bytes"]
)
def test_deep_folders_and_long_paths_ship(sites: Sites, names: list[str]) -> None:
    make_deep(sites.root / "source", names)
    package = add(sites.hq, sites.root / "source")
    _, volumes = sent(sites.hq, package, out=sites.root / "m", encrypt=False)
    received(sites, volumes)
    target = sites.root / "/".join(["t" * 200] * 15)
    assert sites.br("package", "export", package, "--to", target)
    assert read_deep(target, names) == b"leaf"
    assert read_deep(restored(volumes, sites.root / "r"), names) == b"leaf"
