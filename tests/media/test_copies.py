"""The only volume of a parcel carries its documents twice: no other could stand in for a damaged one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from journey import FIXTURES, Sites, add, create, make_sites, sent, write

from courier.media import volume_files as volume

DOCUMENTS = (volume.PACKING_LIST, volume.contents_path(encrypted=True), volume.BLOCKS)


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def only(sites: Sites, layout: str = "folder", **options: Any) -> Path:
    """The one volume of a parcel, shipped."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    _, (path,) = sent(sites.hq, package, out=sites.root / "out", layout=layout, capacity="9MB", **options)
    sites.sync()
    return path


def altered(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("layout", ["folder", "iso", "tape"])
@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_damaged_on_the_only_volume_is_taken_from_its_copy(sites: Sites, document: str, layout: str) -> None:
    path = only(sites, layout)
    if layout == "iso":
        plain = write(sites.hq, "HQ1-000001", "folder", sites.root / "plain")[0]
        text, image = (plain / document).read_bytes(), path.read_bytes()
        assert image.count(text) == 2
        path.write_bytes(altered(image, image.index(text) + len(text) // 2))
    else:
        file = path / document if layout == "folder" else next(path.glob(f"*-{document.replace('/', '+')}"))
        file.write_bytes(altered(file.read_bytes(), file.stat().st_size // 2))
    (found,) = sites.br.ran("parcel", "verify", path, code=4).document["volumes"]
    assert any(f"{document} is " in text and "its copy there is used" in text for text in found["problems"])
    done = sites.br("parcel", "receive", path)
    assert done["state"] == "Imported"
    assert any("its copy there is used" in text for text in done["volumes"][0]["findings"])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_where_both_are_damaged_nothing_is_taken_and_the_way_on_is_said(sites: Sites, document: str) -> None:
    path = only(sites)
    for name in (document, volume.copy_path(document)):
        (path / name).write_bytes(altered((path / name).read_bytes(), 40))
    error = sites.br.ran("parcel", "receive", path, code=None).error
    assert error["hint"]
    assert sites.br("package", "list")["packages"] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_damaged_copy_is_noted_and_does_no_harm(sites: Sites, document: str) -> None:
    path = only(sites)
    (path / volume.copy_path(document)).unlink()
    (found,) = sites.br("parcel", "verify", path)["volumes"]
    assert f"{volume.copy_path(document)} is missing, damaged or altered on this medium" in found["notes"]
    assert sites.br("parcel", "receive", path)["state"] == "Imported"


def test_the_copies_stand_last_and_only_where_they_have_room_and_are_needed(sites: Sites) -> None:
    path = only(sites)
    assert len(list((path / "courier" / "copy").iterdir())) == 3
    several = write(sites.hq, create(sites.hq, "HQ100001", capacity="900KB"), "folder", sites.root / "several")
    assert len(several) > 1
    assert not [item for item in several if (item / "courier" / "copy").exists()]
    few, many = 900_000, 9_000_000
    plan = ("parcel", "create", "HQ100001", "--to", "BR1", "--redundancy", "none", "--dry-run", "--capacity")
    while many - few > 100:
        middle = (few + many) // 2
        few, many = (middle, many) if len(sites.hq(*plan, middle)["volumes"]) > 1 else (few, middle)
    tight = create(sites.hq, "HQ100001", capacity=str(many), redundancy="none")
    (disc,) = write(sites.hq, tight, "iso", sites.root / "tight")
    assert disc.stat().st_size <= many
    (folder,) = write(sites.hq, tight, "folder", sites.root / "tight")
    assert not (folder / "courier" / "copy").exists()


def test_the_restore_script_uses_them(sites: Sites) -> None:
    path = only(sites, encrypt=False)
    for document in (volume.PACKING_LIST, volume.contents_path(encrypted=False)):
        (path / document).write_bytes(b"scratched")
    to = sites.root / "restored"
    subprocess.run([sys.executable, path / "restore.py", "--to", to, path], check=True, capture_output=True)
    assert [file.read_bytes() for file in to.rglob("boot.wim")] == [(FIXTURES / "boot.wim").read_bytes()]
