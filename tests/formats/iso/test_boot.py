"""Bootable images: stock tools read the catalogue that we wrote, and every entry starts the file that it should."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest
from iso_images import BLOCK, CREATED, iso_file, tree
from stock import stock_tool

from formats.errors import FormatError, MalformedError, TooLargeError
from formats.iso import BootImage, IsoReader, iso_size, write_iso
from formats.iso.boot import (
    BIOS,
    BOOT_RECORD_BLOCK,
    CATALOG,
    EFI,
    BootEntry,
    read_boot_record,
    read_catalog,
    with_table,
    without_table,
)

FILES = {**tree(), "isolinux/isolinux.bin": tree({"loader": 40_001})["loader"], "boot/efi.img": b"F" * 2_000_384}
BOTH = (
    BootImage(path="isolinux/isolinux.bin", platform=BIOS, sectors=4, table=True),
    BootImage(path="boot/efi.img", platform=EFI),
)


def _image(path: Path, boot: tuple[BootImage, ...]) -> dict[str, int]:
    with path.open("w+b") as out:
        return write_iso(
            out,
            [iso_file(name, data) for name, data in FILES.items()],
            volume_id="HQ1_D00001_01",
            publisher="Headquarters",
            application="courier",
            created_ns=CREATED,
            boot=boot,
        )


def _said(*command: object) -> str:
    return subprocess.run([str(one) for one in command], check=True, capture_output=True, text=True).stdout


def test_xorriso_and_isoinfo_find_both_loaders(tmp_path: Path) -> None:
    path = tmp_path / "disc.iso"
    blocks = _image(path, BOTH)
    found = _said(stock_tool("xorriso"), "-indev", f"stdio:{path}", "-report_el_torito", "plain")
    entries = re.findall(r"boot img :\s+\d+\s+(\S+)\s+y\s+none\s+0x0000\s+0x00\s+(\d+)\s+(\d+)", found)
    assert entries == [
        ("BIOS", "4", str(blocks["isolinux/isolinux.bin"])),
        ("UEFI", str(2_000_384 // 512), str(blocks["boot/efi.img"])),
    ]
    assert "/isolinux/isolinux.bin" in found
    assert "boot-info-table" in found
    said = _said(stock_tool("isoinfo"), "-d", "-i", path)
    assert "El Torito VD version 1 found, boot catalog is in sector" in said
    assert f"Bootoff {blocks['isolinux/isolinux.bin']:X} {blocks['isolinux/isolinux.bin']}" in said


@pytest.mark.parametrize("boot", [BOTH, BOTH[:1], BOTH[1:]])
def test_the_files_stay_what_they_are_and_the_size_is_foretold(tmp_path: Path, boot: tuple[BootImage, ...]) -> None:
    path = tmp_path / "disc.iso"
    blocks = _image(path, boot)
    listing = [(name, len(data)) for name, data in FILES.items()]
    assert path.stat().st_size == iso_size([*listing, (CATALOG, BLOCK)])
    with path.open("rb") as source, IsoReader(source) as reader:
        found = {name: reader.open(name).read() for name, _ in reader.files()}
        catalog = found.pop(CATALOG)
        for image in boot:
            if image.table:
                assert found[image.path] == with_table(FILES[image.path], blocks[image.path])
                assert without_table(found[image.path]) == without_table(FILES[image.path])
                found[image.path] = FILES[image.path]
        assert found == FILES
        source.seek(BOOT_RECORD_BLOCK * BLOCK)
        assert read_boot_record(source.read(BLOCK)) == blocks[CATALOG]
    assert read_catalog(catalog) == [
        BootEntry(
            platform=image.platform,
            block=blocks[image.path],
            sectors=image.sectors or len(FILES[image.path]) // 512,
        )
        for image in boot
    ]


def test_the_same_files_make_the_same_image(tmp_path: Path) -> None:
    _image(tmp_path / "one.iso", BOTH)
    _image(tmp_path / "other.iso", BOTH)
    assert (tmp_path / "one.iso").read_bytes() == (tmp_path / "other.iso").read_bytes()


@pytest.mark.parametrize(
    ("boot", "error"),
    [
        ((BOTH[1], BOTH[0]), MalformedError),
        ((BOTH[0], BOTH[0]), MalformedError),
        ((BootImage(path="missing", platform=BIOS),), MalformedError),
        ((BootImage(path="manifest-sha256.txt", platform=EFI),), MalformedError),
        ((BootImage(path="RESTORE.txt", platform=BIOS, table=True), BOTH[0]), MalformedError),
        ((BootImage(path="data/parity/000001.par", platform=BIOS, table=True),), MalformedError),
    ],
)
def test_what_cannot_boot_is_refused_before_anything_is_written(
    tmp_path: Path, boot: tuple[BootImage, ...], error: type[FormatError]
) -> None:
    with pytest.raises(error):
        _image(tmp_path / "disc.iso", boot)
    assert (tmp_path / "disc.iso").read_bytes() == b""


def test_an_efi_image_that_the_catalogue_cannot_count_is_refused() -> None:
    files = [iso_file("efi.img", bytes(33 << 20))]
    with pytest.raises(TooLargeError):
        write_iso(
            io.BytesIO(),
            files,
            volume_id="X",
            publisher="",
            application="",
            created_ns=0,
            boot=(BootImage(path="efi.img", platform=EFI),),
        )


def test_an_altered_catalogue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disc.iso"
    _image(path, BOTH)
    with path.open("rb") as source, IsoReader(source) as reader:
        catalog = reader.open(CATALOG).read()
    for at in range(32):
        altered = bytearray(catalog)
        altered[at] ^= 0x10
        with pytest.raises(MalformedError):
            read_catalog(bytes(altered))
    with pytest.raises(MalformedError):
        read_catalog(catalog[:63])
