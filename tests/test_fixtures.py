"""The images in fixtures/ are what their README says, by the word of the tools that made them."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from stock import stock_tool

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
IMAGES = [line.split("  ")[1] for line in (FIXTURES / "SHA256SUMS").read_text().splitlines()]
MADE = 1_780_000_000


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every tree the images are made of."""
    folder = tmp_path_factory.mktemp("trees")
    subprocess.run([sys.executable, FIXTURES / "make.py", "--tree", folder], check=True)
    return folder


def holds(root: Path) -> dict[str, bytes | None]:
    """Path -> content below ``root``; None for a folder."""
    return {p.relative_to(root).as_posix(): None if p.is_dir() else p.read_bytes() for p in root.rglob("*")}


def output(*command: str | Path) -> str:
    """What a stock tool prints; a failing tool fails the test."""
    return subprocess.run(command, check=True, text=True, capture_output=True, cwd=FIXTURES).stdout


def test_the_sums_are_those_of_every_image() -> None:
    output(stock_tool("sha256sum"), "--check", "--strict", "SHA256SUMS")
    documents = {"README.md", "make.py", "SHA256SUMS"}
    found = {p.relative_to(FIXTURES).as_posix() for p in FIXTURES.rglob("*") if p.is_file()}
    assert {name for name in found if not name.endswith(".pyc")} - documents == set(IMAGES)


def test_the_readme_names_every_image() -> None:
    readme = (FIXTURES / "README.md").read_text()
    for name in IMAGES:
        assert f"`{Path(name).name}`" in readme or f"`{name}`" in readme


def test_a_clone_stays_small() -> None:
    assert sum((FIXTURES / name).stat().st_size for name in IMAGES) < 3_000_000


def test_the_demo_image_fills_three_volumes_even_compressed() -> None:
    image = (FIXTURES / "boot.wim").read_bytes()
    assert len(zlib.compress(image, 9)) > 550_000


@pytest.mark.parametrize(
    ("image", "number", "tree"),
    [
        ("boot.wim", "1", "boot"),
        ("install.esd", "1", "install-1"),
        ("install.esd", "2", "install-2"),
        ("split/install.swm", "1", "drivers"),
    ],
)
def test_a_wim_holds_its_tree(trees: Path, tmp_path: Path, image: str, number: str, tree: str) -> None:
    parts = ["--ref=split/install*.swm"] if image.endswith(".swm") else []
    output(stock_tool("wimverify"), image, *parts)
    output(stock_tool("wimapply"), image, number, tmp_path / "out", *parts)
    assert holds(tmp_path / "out") == holds(trees / tree)
    assert {p.stat().st_mtime for p in (tmp_path / "out").rglob("*")} == {float(MADE)}


@pytest.mark.parametrize(
    ("image", "compression", "images"),
    [("boot.wim", "LZX", 1), ("install.esd", "LZMS", 2), ("split/install.swm", "XPRESS", 1)],
)
def test_a_wim_is_of_its_kind(image: str, compression: str, images: int) -> None:
    header = output(stock_tool("wimlib-imagex"), "info", image, "--header")
    assert f"WIM_HDR_FLAG_COMPRESS_{compression} is set" in header
    assert re.search(rf"Image Count += {images}\n", header)


def test_the_disc_boots_and_holds_its_tree_under_both_name_systems(trees: Path, tmp_path: Path) -> None:
    xorriso, isoinfo = stock_tool("xorriso"), stock_tool("isoinfo")
    boot = output(xorriso, "-indev", "bootable.iso", "-report_el_torito", "plain")
    assert re.search(r"El Torito boot img : +1 +BIOS +y +none", boot)
    assert re.search(r"El Torito img path : +1 +/boot/cdboot.bin", boot)
    output(xorriso, "-osirrox", "on", "-indev", "bootable.iso", "-extract", "/", tmp_path / "out")
    extracted = holds(tmp_path / "out")
    added = {"boot", "boot/cdboot.bin", "boot/boot.cat"}
    assert added < extracted.keys()
    assert {name: content for name, content in extracted.items() if name not in added} == holds(trees / "disc")
    joliet = {name.removeprefix("/") for name in output(isoinfo, "-J", "-f", "-i", "bootable.iso").splitlines()}
    assert joliet == extracted.keys()


def test_the_disk_holds_its_tree(trees: Path, tmp_path: Path) -> None:
    output(stock_tool("mcopy"), "-s", "-n", "-i", "disk.raw@@65536", "::/*", tmp_path)
    assert holds(tmp_path) == holds(trees / "disk")


def test_the_qcow2_disk_is_the_raw_one() -> None:
    assert "Images are identical" in output(stock_tool("qemu-img"), "compare", "disk.raw", "disk.qcow2")
