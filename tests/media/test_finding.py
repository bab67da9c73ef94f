"""Where volumes are found: nested, under other names, in images of images; and what is said of all that is none."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from journey import FIXTURES, Home, Sites, add, create, make_sites, write
from stock import stock_tool

from courier.media.finding import find_media
from courier.media.reading import FolderMedium
from courier.media.true_names import true_names, volumes_among, written_as


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """Two sites, and a parcel of several volumes in both layouts."""
    sites = make_sites(tmp_path_factory.mktemp("sites"))
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    for layout in ("folder", "iso"):
        write(sites.hq, parcel, layout, sites.root / layout)
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    return sites


@pytest.fixture
def br(made: Sites, tmp_path: Path) -> Home:
    """The receiver, in a copy of its own."""
    shutil.copytree(made.br.path, tmp_path / "BR1")
    return Home(code="BR1", path=tmp_path / "BR1")


def received(br: Home, *paths: Path) -> dict[str, Any]:
    """What receiving gives, which must bring the whole parcel."""
    document = br("parcel", "receive", *paths)
    assert document["state"] == "Imported"
    return document


def image(target: Path, source: Path, *options: str) -> Path:
    """An ISO image of a folder, by genisoimage."""
    command = [stock_tool("genisoimage"), "-quiet", *options, "-o", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


# --- nested places ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["folder", "iso"])
def test_volumes_two_folders_down_are_found(made: Sites, br: Home, tmp_path: Path, layout: str) -> None:
    (tmp_path / "drive").mkdir()
    shutil.copytree(made.root / layout, tmp_path / "drive" / "From HQ")
    (tmp_path / "drive" / "Pictures").mkdir()
    received(br, tmp_path / "drive")


@pytest.mark.parametrize("options", [("-R",), ("-J", "-joliet-long"), ("-udf",)], ids=["rock ridge", "joliet", "udf"])
def test_an_image_that_holds_volume_folders_gives_each_of_them(
    made: Sites, br: Home, tmp_path: Path, options: tuple[str, ...]
) -> None:
    received(br, image(tmp_path / "all.iso", made.root / "folder", *options))


def test_an_image_that_holds_images_of_volumes_gives_each_of_them(made: Sites, br: Home, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    shutil.copytree(made.root / "iso", tmp_path / "tree" / "discs")
    disc = image(tmp_path / "all.iso", tmp_path / "tree", "-R")
    document = received(br, disc)
    assert {one["path"].split(":")[0] for one in document["volumes"]} == {str(disc)}


def test_an_image_by_xorriso_in_a_folder_is_looked_into_as_well(made: Sites, br: Home, tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    command = [stock_tool("xorriso"), "-as", "mkisofs", "-R", "-o", str(tmp_path / "drive" / "all.iso")]
    subprocess.run([*command, str(made.root / "folder")], check=True, capture_output=True)
    received(br, tmp_path / "drive")


# --- other names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["1", "2", "3"])
def test_an_image_with_bare_iso_names_is_a_volume(made: Sites, br: Home, tmp_path: Path, level: str) -> None:
    """Level 1 has names of 8 and 3 characters; none has small letters."""
    discs = [
        image(tmp_path / f"{folder.name}.iso", folder, "-iso-level", level)
        for folder in (made.root / "folder").iterdir()
    ]
    received(br, *discs)


def in_capitals(folder: Path, target: Path) -> Path:
    """A copy of a folder as DOS tools make it."""
    for path in folder.rglob("*"):
        copy = target / path.relative_to(folder).as_posix().upper()
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    return target


def test_a_copy_in_capitals_is_a_volume_and_verifies_as_one(made: Sites, br: Home, tmp_path: Path) -> None:
    drive = in_capitals(made.root / "folder", tmp_path / "drive")
    verified = br("parcel", "verify", drive)["volumes"]
    assert len(verified) == len(list(drive.iterdir())) > 1
    assert [(one["state"], one["problems"], one["notes"]) for one in verified] == [("good", [], [])] * len(verified)
    received(br, drive)


def test_every_file_of_a_volume_is_known_under_every_name_that_tools_write(made: Sites) -> None:
    for folder in (made.root / "folder").iterdir():
        paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        for way in range(1, 4):
            names = {written_as(path)[way]: path for path in paths}
            assert {true: names[name] for true, name in true_names(names).items()} == {path: path for path in paths}
            assert volumes_among(f"x/{name}" for name in names) == ["x/"]


def test_names_on_a_volume_that_has_its_own_are_left_as_they_are() -> None:
    """Otherwise a file that does not belong there could hide behind one that does."""
    paths = ["bagit.txt", "BAGIT.TXT", "DATA/ARCHIVES/000001.7Z"]
    assert true_names(paths) == {path: path for path in paths}


# --- what is no volume ------------------------------------------------------------------------------------------------


def raw(data: bytes) -> bytes:
    """Sectors of 2,352 bytes, as a raw copy of a CD has them."""
    sync = b"\0" + b"\xff" * 10 + b"\0"
    return b"".join(sync + bytes(3) + b"\1" + data[at : at + 2048] + bytes(288) for at in range(0, len(data), 2048))


def packed(disc: Path, target: Path, command: str) -> None:
    """A disc image packed by a stock tool."""
    if command == "zip":
        subprocess.run([stock_tool("zip"), "-q", "-j", str(target), str(disc)], check=True)
    else:
        with target.open("wb") as out:
            subprocess.run([stock_tool(command), "-c", str(disc)], check=True, stdout=out)


FORMS: dict[str, tuple[Callable[[Path, Path], object], str, str]] = {
    "disc.iso.gz": (lambda disc, target: packed(disc, target, "gzip"), "compressed (gzip)", "gzip -dk"),
    "disc.iso.zst": (lambda disc, target: packed(disc, target, "zstd"), "compressed (Zstandard)", "zstd -d"),
    "disc.iso.zip": (lambda disc, target: packed(disc, target, "zip"), "ZIP archive", "unzip"),
    "disc.bin": (lambda disc, target: target.write_bytes(raw(disc.read_bytes())), "2,352 bytes", "bchunk"),
    "misnamed.iso": (lambda disc, target: target.write_bytes(gzip.compress(disc.read_bytes())), "gzip", "gzip -dk"),
}


@pytest.mark.parametrize("name", FORMS)
def test_an_image_in_another_form_is_told_with_what_to_do(made: Sites, br: Home, tmp_path: Path, name: str) -> None:
    make, what, command = FORMS[name]
    disc, *others = sorted((made.root / "iso").iterdir())
    (tmp_path / "drive").mkdir()
    form = tmp_path / "drive" / name
    make(disc, form)
    for path in form, tmp_path / "drive":
        error = br.fails("parcel", "receive", path, code=2)
        assert (error["code"], what in error["message"], command in error["hint"]) == ("not-a-volume", True, True)
        assert str(form) in error["message"]
    for other in others:
        shutil.copy(other, tmp_path / "drive")
    (note,) = br("parcel", "receive", tmp_path / "drive", code=None)["notes"]
    assert what in note
    assert command in note


@pytest.mark.parametrize("command", [("parcel", "receive"), ("parcel", "verify"), ("catalog", "rebuild")])
def test_a_foreign_image_beside_volumes_is_a_note(
    made: Sites, br: Home, tmp_path: Path, command: tuple[str, ...]
) -> None:
    drive = tmp_path / "drive"
    shutil.copytree(made.root / "iso", drive)
    shutil.copy(FIXTURES / "bootable.iso", drive / "debian.iso")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "readme.txt").write_text("read me")
    image(drive / "other.iso", tmp_path / "tree")
    said = br.says(*command, drive)
    assert said.count("is an image of something else") == 2
    assert str(drive / "debian.iso") in said
    assert len(br(*command, drive)["volumes"]) == len(list((made.root / "iso").iterdir()))


def test_a_folder_of_foreign_images_alone_is_refused(br: Home, tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    shutil.copy(FIXTURES / "bootable.iso", tmp_path / "drive" / "debian.iso")
    error = br.fails("parcel", "receive", tmp_path / "drive", code=3)
    assert (error["code"], "debian.iso" in error["message"]) == ("not-a-volume", True)


# --- what may not be read ---------------------------------------------------------------------------------------------


def close(monkeypatch: pytest.MonkeyPatch, *closed: Path) -> None:
    """This user may not look into these folders (the tests may run as root, who may)."""
    real, real_access = os.scandir, os.access

    def scandir(path: Any = ".") -> Any:
        if not isinstance(path, int) and Path(path) in closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "access", lambda path, mode, **more: Path(path) not in closed and real_access(path, mode))


def test_volumes_that_may_not_be_read_are_said_to_be_so_and_the_others_are_taken(
    made: Sites, br: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made.root / "folder", tmp_path / "drive")
    first, *others = sorted((tmp_path / "drive").iterdir())
    close(monkeypatch, first)
    for path in first, tmp_path / "drive":
        error = br.fails("parcel", "receive", path, code=3)
        assert (error["code"], str(first) in error["message"]) == ("permission", True)
        assert "permissions" in error["hint"]
    assert len(br("parcel", "receive", tmp_path / "drive", code=3)["volumes"]) == len(others)


@pytest.mark.parametrize("part", ["data", "courier"])
def test_a_part_of_a_volume_that_may_not_be_read_is_no_damage(
    made: Sites, br: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    shutil.copytree(made.root / "folder", tmp_path / "drive")
    first = min((tmp_path / "drive").iterdir())
    close(monkeypatch, first / part)
    assert br.fails("parcel", "receive", first, code=3)["code"] == "permission"


def test_a_folder_of_others_beside_volumes_is_a_note_and_alone_an_error(
    made: Sites, br: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = tmp_path / "drive"
    (drive / "anna").mkdir(parents=True)
    close(monkeypatch, drive / "anna")
    error = br.fails("parcel", "receive", drive, code=3)
    assert (error["code"], str(drive / "anna") in error["message"]) == ("permission", True)
    shutil.copytree(made.root / "folder", drive, dirs_exist_ok=True)
    notes: list[str] = []
    assert len(find_media(drive, notes.append)) == len(list((made.root / "folder").iterdir()))
    assert [str(drive / "anna") in note for note in notes] == [True]


@pytest.mark.parametrize("other", ["lost+found", "System Volume Information", ".Trashes", "anna"])
def test_a_volume_at_the_top_of_a_drive_is_read_beside_folders_that_nobody_may_look_into(
    made: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    drive = tmp_path / "drive"
    shutil.copytree(min((made.root / "folder").iterdir()), drive)
    alone = [(name, size) for name, size, _ in FolderMedium(drive).walk()]
    (drive / other).mkdir()
    close(monkeypatch, drive / other)
    (medium,) = find_media(drive)
    assert [(name, size) for name, size, _ in medium.walk()] == alone
    assert len(alone) > 5
