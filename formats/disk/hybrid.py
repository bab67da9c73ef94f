"""Makes an ISO image one that can be copied to a stick too: a protective MBR, and a GPT that names its EFI image.

The first 32 KiB of an image belong to the system (ECMA-119 6.2.1), so MBR and GPT fit before its descriptors. The
backup of the GPT stands behind its last block, and the EFI system partition is a file of the image.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from formats.disk.gpt import (
    BASIC_DATA,
    EFI_SYSTEM,
    FIRST_USABLE,
    NO_DRIVE_LETTER,
    READ_ONLY,
    SECTOR,
    TABLE_SECTORS,
    Gpt,
    Partition,
    protective_mbr,
    read_gpt,
    sectors_told,
    tables,
    uuid_of,
)
from formats.errors import MalformedError

BLOCK = 2048
"""Bytes of a block of the image."""
TAIL = -(-TABLE_SECTORS * SECTOR // BLOCK) * BLOCK
"""Bytes that an image grows by: the backup of the GPT, in whole blocks."""
ISOLINUX_MBR = 432
"""Bytes of the program ``isohdpfx.bin`` of ISOLINUX; where the loader lies is written behind it."""
_FIRST_CONTENT = 64
"""The first sector that an image uses: the 32 KiB before it belong to the system."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EfiImage:
    """Where the EFI image lies in the ISO image: its first block, and its bytes, a multiple of 512."""

    block: int
    size: int


def make_hybrid(image: BinaryIO, *, name: str, efi: EfiImage | None, mbr: bytes = b"", loader: int = 0) -> None:
    """Write MBR and GPT into ``image``, which is open for reading and writing and holds an ISO image and no more.

    ``name`` is that of the volume; the GUIDs follow from it. ``mbr`` is the program of ISOLINUX for a BIOS that starts
    from a stick, and ``loader`` the block of ``isolinux.bin``, which it starts. Raises `MalformedError` for a program
    of another length.
    """
    size = image.seek(0, 2)
    if size % BLOCK:
        raise MalformedError(f"{size} bytes are no whole number of blocks")
    sectors = (size + TAIL) // SECTOR
    code = b""
    if mbr:
        if len(mbr) != ISOLINUX_MBR:
            raise MalformedError(f"{len(mbr)} bytes, where the program has {ISOLINUX_MBR}", place="isohdpfx.bin")
        # Where isolinux.bin begins, in sectors (isohybrid.c of syslinux 6), then a signature of the disk.
        code = mbr + struct.pack("<Q", loader * BLOCK // SECTOR) + uuid_of(f"{name} disk").bytes[:4]
    primary, backup = tables(_partitions(name, efi, size // SECTOR), sectors=sectors, disk=uuid_of(f"{name} disk"))
    image.write(bytes(TAIL - len(backup)) + backup)
    image.seek(0)
    image.write(protective_mbr(sectors, code) + primary)
    image.seek(0, 2)


def _partitions(name: str, efi: EfiImage | None, end: int) -> list[Partition]:
    """The EFI image, and what lies before and behind it, so that no program takes that for free space."""
    first = efi.block * BLOCK // SECTOR if efi else end
    behind = first + efi.size // SECTOR if efi else end
    areas = [(BASIC_DATA, _FIRST_CONTENT, first, f"{name} 1"), (BASIC_DATA, behind, end, f"{name} 2")]
    if efi:
        areas.insert(1, (EFI_SYSTEM, first, behind, "EFI"))
    return [
        Partition(
            kind=kind,
            unique=uuid_of(f"{name} {begin}"),
            first=begin,
            last=stop - 1,
            name=label,
            attributes=READ_ONLY | NO_DRIVE_LETTER if kind == BASIC_DATA else READ_ONLY,
        )
        for kind, begin, stop, label in areas
        if FIRST_USABLE <= begin < stop
    ]


def read_hybrid(image: BinaryIO) -> Gpt:
    """The GPT of a hybrid image or of a stick that it was copied to, which may be larger.

    Raises as `read_gpt` does.
    """
    return read_gpt(image, sectors_told(image))
