"""Real things on the whole way, in one parcel: a Debian root tree, disks and images, a vendor's driver folder.

Each goes through add, create, write, receive, import and export, as root and as an ordinary user, and is compared by
stock tools: ``diff``, ``stat``, ``getfattr`` and ``du``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from journey import Sites, add, make_sites, sent
from real_trees import ILLEGAL_ON_WINDOWS, debian_root, drivers, images, same_by_stock_tools
from source_trees import as_root, ordinary_user, posix

from courier.packages.write_tree import check_native

pytestmark = [posix, pytest.mark.slow]
SET_ID = 0o6000


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The three folders; nothing of them is left afterwards."""
    root = tmp_path_factory.mktemp("real")
    debian_root(root / "rootfs", root / "downloads")
    images(root / "images", root / "rootfs" / "usr")
    drivers(root / "drivers", 2000)
    yield root
    shutil.rmtree(root, ignore_errors=True)


NAMES = ("rootfs", "images", "drivers")


def shipped(root: Path, sources: Path) -> Sites:
    """Both sites after one parcel of the three folders; what BR1 exports is in ``root / "out"``."""
    sites = make_sites(root)
    packages = {name: add(sites.hq, sources / name, name=name) for name in NAMES}
    _, volumes = sent(sites.hq, *packages.values(), out=root / "m", capacity="200MB", encrypt=False)
    sites.sync()
    imported = sites.br("parcel", "receive", *volumes)["imported"]
    assert [one["outcome"] for one in imported] == ["imported"] * len(NAMES)
    for name, package in packages.items():
        keep = ["--keep-set-id"] if name == "rootfs" else []
        sites.br("package", "export", package, "--to", root / "out" / name, *keep)
    return sites


@as_root
def test_real_things_come_out_as_they_went_in_for_root(real: Path, tmp_path: Path) -> None:
    shipped(tmp_path, real)
    for name in NAMES:
        same_by_stock_tools(real / name, tmp_path / "out" / name)
    modes = [path.lstat().st_mode & SET_ID for path in (tmp_path / "out/rootfs").rglob("*")]
    assert any(modes), "passwd has set-user-ID programs"
    shutil.rmtree(tmp_path / "out")


@contextlib.contextmanager
def owned_by_an_ordinary_user(real: Path) -> Iterator[Path]:
    """A folder with a copy of the real things that an ordinary user owns, who this process is in the block."""
    with ordinary_user() as folder:
        if os.getuid() == 0:
            os.seteuid(0)
            for name in NAMES:
                subprocess.run(["cp", "-a", real / name, folder / name], check=True)
            subprocess.run(["chown", "-Rh", f"{folder.stat().st_uid}:{folder.stat().st_gid}", folder], check=True)
            subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
            os.seteuid(folder.stat().st_uid)
            yield folder
        else:
            yield real


def test_real_things_come_out_as_they_went_in_for_an_ordinary_user(real: Path) -> None:
    with owned_by_an_ordinary_user(real) as sources:
        root = sources / "sites"
        root.mkdir()
        shipped(root, sources)
        for name in NAMES:
            same_by_stock_tools(sources / name, root / "out" / name)


def test_the_names_that_windows_cannot_keep_are_refused_there_and_kept_here(real: Path) -> None:
    from courier.errors import RefusedError

    for name in ILLEGAL_ON_WINDOWS:
        assert (real / "drivers" / name).is_file()
        with pytest.raises(RefusedError, match="Windows cannot keep this name"):
            check_native(name, windows=True)
