"""Writes a disc of a set as an image: an ISO image that is a disk too, or a disk with a FAT32 partition for a stick."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.deployment.standalone.disc_plan import iso_image_size
from courier.files import sync_file, writing_out
from courier.media.checked_stream import SourceFile, checked
from courier.media.writing import forget_cached
from formats.blocks import BLOCK
from formats.disk.gpt import (
    EFI_SYSTEM,
    SECTOR,
    TABLE_SECTORS,
    Partition,
    protective_mbr,
    tables,
    uuid_of,
)
from formats.disk.hybrid import TAIL, EfiImage, make_hybrid
from formats.documents.standalone import Layout
from formats.fat import FatFile, FatLayout, write_fat
from formats.iso import BootImage, IsoFile, write_iso
from formats.iso.boot import EFI
from formats.iso.boot import SECTOR as BOOT_SECTOR

PARTITION = (1 << 20) // SECTOR
"""The first sector of a stick's partition: 1 MiB, as every partitioning program aligns it."""
SUFFIX = {"iso": ".iso", "usb": ".img"}
"""How the file of an image ends, by layout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscImage:
    """What goes onto one disc: ``name`` is its volume ID, ``files`` in the order of their data.

    ``boot`` and ``mbr``: of a disc that boots, as `courier.deployment.standalone.boot_files.BootPlan` has them.
    """

    name: str
    layout: Layout
    files: tuple[SourceFile, ...]
    publisher: str
    created_ns: int
    boot: tuple[BootImage, ...] = ()
    mbr: bytes = b""

    @property
    def file_name(self) -> str:
        """Name of the image file."""
        return self.name + SUFFIX[self.layout]

    @property
    def size(self) -> int:
        """Exact bytes of the image. Raises `FormatError` for files that it cannot hold."""
        listed = [(file.path, file.size) for file in self.files]
        if self.layout == "iso":
            return iso_image_size(listed, bootable=bool(self.boot)) + TAIL
        return (PARTITION + _sectors(FatLayout(listed, kind=32)) + TABLE_SECTORS) * SECTOR


def _sectors(layout: FatLayout) -> int:
    """Sectors of a stick's partition, in whole MiB so that the image can be copied in large blocks."""
    unit = (1 << 20) // SECTOR
    return -(-layout.sectors // unit) * unit


def write_image(image: DiscImage, target: Path, progress: Callable[[int], None]) -> None:
    """Write the image to the new file ``target``, flush it, and have the system forget it, so that it is read back.

    Raises `FormatError`, `DamagedError` for a file that is not what it should be, and `OSError`.
    """
    with target.open("x+b") as out:
        written = writing_out(out, progress)
        if image.layout == "iso":
            files = [IsoFile(path=one.path, size=one.size, open=checked(one, BLOCK, written)) for one in image.files]
            blocks = write_iso(
                out,
                files,
                volume_id=image.name,
                publisher=image.publisher,
                application="courier",
                created_ns=image.created_ns,
                boot=image.boot,
            )
            efi = next((one for one in image.boot if one.platform == EFI), None)
            sizes = {one.path: one.size for one in image.files}
            make_hybrid(
                out,
                name=image.name,
                efi=EfiImage(block=blocks[efi.path], size=sizes[efi.path] // BOOT_SECTOR * BOOT_SECTOR)
                if efi
                else None,
                mbr=image.mbr,
                loader=blocks[image.boot[0].path] if image.mbr else 0,
            )
        else:
            _write_stick(image, out, written)
        out.flush()
        sync_file(out.fileno(), target)
    forget_cached(target)


def _write_stick(image: DiscImage, out: BinaryIO, progress: Callable[[int], None]) -> None:
    layout = FatLayout([(one.path, one.size) for one in image.files], kind=32)
    sectors = PARTITION + _sectors(layout) + TABLE_SECTORS
    out.truncate(sectors * SECTOR)
    partition = Partition(
        kind=EFI_SYSTEM,
        unique=uuid_of(f"{image.name} partition"),
        first=PARTITION,
        last=PARTITION + _sectors(layout) - 1,
        name=image.name,
    )
    disk = uuid_of(f"{image.name} disk")
    primary, backup = tables([partition], sectors=sectors, disk=disk)
    files = [FatFile(path=one.path, size=one.size, open=checked(one, BLOCK, progress)) for one in image.files]
    write_fat(
        out,
        layout,
        files,
        label=fat_label(image.name),
        serial=int.from_bytes(disk.bytes[:4], "big"),
        created_ns=image.created_ns,
        start=PARTITION,
    )
    out.seek(0)
    out.write(protective_mbr(sectors) + primary)
    out.seek((sectors - TABLE_SECTORS) * SECTOR)
    out.write(backup)
    out.seek(0, os.SEEK_END)


def fat_label(name: str) -> str:
    """The label of a stick, of at most 11 characters: ``HQ1D0000102`` of disc HQ1_D00001_02."""
    return name.replace("_", "")[-11:]
