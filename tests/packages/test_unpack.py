"""Unpacking tar archives that ask for what no system makes: the member is named, and nothing is left behind."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from journey import Home, make_sites
from source_trees import as_root, posix


def archive_of(path: Path, kind: bytes, **details: object) -> Path:
    """A tar of one member called ``odd``."""
    info = tarfile.TarInfo("odd")
    info.type = kind
    for name, value in details.items():
        setattr(info, name, value)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    return path


@pytest.fixture
def hq(tmp_path: Path) -> Home:
    return make_sites(tmp_path, "HQ1").hq


ODD: dict[str, tuple[bytes, dict[str, object]]] = {
    "a link without a target": (tarfile.SYMTYPE, {"linkname": ""}),
    "a link longer than a path": (tarfile.SYMTYPE, {"linkname": "x" * 5000}),
    "a name longer than a name": (tarfile.REGTYPE, {"name": "odd" * 100}),
    "data before the beginning": (
        tarfile.REGTYPE,
        {"pax_headers": {"GNU.sparse.size": "5", "GNU.sparse.map": "-1,5"}},
    ),
}


@posix
@pytest.mark.parametrize("case", ODD)
def test_a_member_that_cannot_be_made_is_named(hq: Home, tmp_path: Path, case: str) -> None:
    kind, details = ODD[case]
    package = hq("package", "add", archive_of(tmp_path / "a.tar", kind, **details), "--name", "Odd")["package_id"]
    error = hq.fails("package", "export", package, "--to", tmp_path / "new" / "x", "--unpack", code=3)
    assert error["code"] == "unexpected-member"
    assert "a.tar: 'odd" in error["message"]
    assert "cannot be made here" in error["message"]
    (tmp_path / "new").rmdir()


@as_root
def test_a_device_that_the_system_has_no_number_for_is_named(hq: Home, tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar", tarfile.CHRTYPE, devmajor=2**20, devminor=2**21 - 1)
    package = hq("package", "add", archive, "--name", "Odd")["package_id"]
    error = hq.fails("package", "export", package, "--to", tmp_path / "x", "--unpack", code=3)
    assert "a.tar: 'odd': cannot be made here" in error["message"]
