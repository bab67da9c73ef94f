"""A listing of the store that is lost or damaged: what is said of it, and that other packages do not suffer."""

from __future__ import annotations

from pathlib import Path

import pytest
from journey import Home, add, make_home, noise, write_files

from courier.cli.console import SHOWN


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path, "HQ1")


def lose_listing(home: Home, package: str) -> None:
    """Delete the listing of a version from the store."""
    listing = home("package", "show", package)["listing"]
    (home.path / "store/listings" / listing).unlink()


def test_every_version_is_verified_where_one_has_lost_its_listing(home: Home, tmp_path: Path) -> None:
    first = add(home, write_files(tmp_path / "first", a=b"first"))
    add(home, write_files(tmp_path / "second", b=noise(2_000)))
    third = add(home, write_files(tmp_path / "third", c=b"third"))
    lose_listing(home, first)
    home.spoil(noise(2_000), b"x" + noise(2_000)[1:])
    found = home("package", "verify", code=4)["packages"]
    assert [package["state"] for package in found] == ["damaged", "damaged", "good"]
    (lost,), (spoilt,), _ = (package["problems"] for package in found)
    assert lost["path"] == "" and "listing" in lost["problem"]
    assert spoilt["path"] == "b"
    assert "  its listing: " in home.says("package", "verify", first, code=4)
    assert home("package", "verify", third)["packages"][0]["state"] == "good"


def test_a_version_is_removed_though_another_has_lost_its_listing(home: Home, tmp_path: Path) -> None:
    first = add(home, write_files(tmp_path / "first", a=b"first"))
    second = add(home, write_files(tmp_path / "second", b=b"second"))
    lose_listing(home, first)
    before = home.contents()
    removed = home("package", "remove", second)
    assert [package["package_id"] for package in removed["removed"]] == [second.split(":")[0]]
    assert removed["freed"] == 0 and "listing" in removed["unfreed"]
    assert home.contents() == before
    # Without the one that is damaged, what both needed can go.
    again = home("package", "remove", first)
    assert again["unfreed"] == "" and home.contents() == []


def test_content_that_is_only_missing_is_not_called_damaged(home: Home, tmp_path: Path) -> None:
    package = add(home, write_files(tmp_path / "first", a=b"first"))
    for pack in (home.path / "store").rglob("*"):
        if pack.is_file() and "listing" not in str(pack):
            pack.unlink()
    said = home.says("package", "verify", package, code=4)
    assert "1 file missing" in said and "1 file of the store is missing" in said
    assert "check this disk" not in said


def test_a_package_with_many_damaged_files_is_told_in_few_lines(home: Home, tmp_path: Path) -> None:
    files = {f"f{n:03}": noise(2_000, n) for n in range(SHOWN + 5)}
    package = add(home, write_files(tmp_path / "many", **files))
    for content in files.values():
        home.spoil(content, b"x" + content[1:])
    printed = home.says("package", "verify", package, code=4)
    assert "f019" in printed and "f020" not in printed
    assert "and 5 more; all of them: --json" in printed


def test_a_damaged_listing_is_called_one_and_adding_its_package_again_puts_it_right(home: Home, tmp_path: Path) -> None:
    files = write_files(tmp_path / "in", a=b"first", b=noise(2_000))
    package = add(home, files)
    listing = home.path / "store/listings" / home("package", "show", package)["listing"]
    was = listing.read_bytes()
    listing.write_bytes(was[:-1] + b"?")
    said = home.says("package", "verify", package, code=4)
    assert f"{package}  1 listing damaged" in said
    assert "1 listing of the store is damaged" in said
    assert "1 file" not in said
    assert not listing.exists()
    home("package", "add", files, "--name", "again")
    assert listing.read_bytes() == was
    assert home("package", "verify", package)["packages"][0]["state"] == "good"
