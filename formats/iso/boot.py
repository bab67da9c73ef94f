"""What makes an image bootable: the catalogue of El Torito 1.0, and the boot information table of a loader. Pure bytes.

A bootable image has a boot record in block 17, which names the block of the catalogue, an ordinary file. The first
entry of the catalogue is for BIOS where there is one for BIOS; one for EFI (platform 0xEF, UEFI 2.10, 13.3.2.1) stands
in a section of its own after it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from formats.errors import MalformedError, TooLargeError
from formats.iso.layout import BLOCK

CATALOG = "boot.cat"
"""Path of the boot catalogue in the image."""
BOOT_RECORD_BLOCK = 17
"""Block of the boot record: firmware looks nowhere else (El Torito, 2.0)."""
SYSTEM_IDENTIFIER = b"EL TORITO SPECIFICATION"
EFI: Literal[0xEF] = 0xEF
BIOS: Literal[0] = 0
SECTOR = 512
"""Bytes of a virtual sector, in which the catalogue counts."""
MAX_EFI_IMAGE = 0xFFFF * SECTOR
"""Bytes of the largest image for EFI: the catalogue counts its sectors with 16 bits."""
TABLE_START, TABLE_END = 8, 64
"""The bytes of a loader that are its boot information table."""

_BOOTABLE = 0x88
_LAST_SECTION = 0x91
_KEY = b"\x55\xaa"
_PRIMARY_DESCRIPTOR = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class BootImage:
    """A file of the image that firmware starts.

    ``sectors``: how many sectors of 512 bytes are loaded; None for all. ``table``: its bytes 8 to 63 are filled with a
    boot information table, which tells the loader where it is.
    """

    path: str
    platform: Literal[0, 0xEF]
    sectors: int | None = None
    table: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BootEntry:
    """An entry of a catalogue as it was read: ``block`` of the image, and sectors of 512 bytes to load."""

    platform: int
    block: int
    sectors: int


def check_boot(images: Sequence[BootImage], sizes: Mapping[str, int]) -> None:
    """Raise `MalformedError` or `TooLargeError` unless there are one or two images, BIOS first, each a file of these.

    ``sizes``: bytes of each file by path.
    """
    if [image.platform for image in images] not in ([BIOS], [EFI], [BIOS, EFI]):
        raise MalformedError("one boot image for BIOS, one for EFI, or both in this order")
    for image in images:
        size = sizes.get(image.path, 0)
        if not size:
            raise MalformedError("a boot image is no file, or empty", place=image.path)
        if image.sectors is None and size > MAX_EFI_IMAGE:
            raise TooLargeError(f"{size} bytes, where a boot image has {MAX_EFI_IMAGE} at most", place=image.path)
        if image.table and size < TABLE_END:
            raise MalformedError("too small for a boot information table", place=image.path)


def catalog(images: Sequence[BootImage], blocks: Mapping[str, int], sizes: Mapping[str, int]) -> bytes:
    """The boot catalogue, one block; ``blocks`` and ``sizes`` of the files by path."""
    entry = _validation(images[0].platform) + _entry(images[0], blocks, sizes)
    for image in images[1:]:
        entry += struct.pack("<BBH28x", _LAST_SECTION, image.platform, 1) + _entry(image, blocks, sizes)
    return entry.ljust(BLOCK, b"\0")


def _validation(platform: int) -> bytes:
    entry = struct.pack("<BBH24sH", 1, platform, 0, b"", 0) + _KEY
    return entry[:28] + struct.pack("<H", -sum(struct.unpack("<16H", entry)) & 0xFFFF) + _KEY


def _entry(image: BootImage, blocks: Mapping[str, int], sizes: Mapping[str, int]) -> bytes:
    sectors = -(-sizes[image.path] // SECTOR) if image.sectors is None else image.sectors
    return struct.pack("<BBHBxHL20x", _BOOTABLE, 0, 0, 0, sectors, blocks[image.path])


def read_catalog(data: bytes) -> list[BootEntry]:
    """The bootable entries of a catalogue. Raises `MalformedError` for what is none."""
    if len(data) < 64 or data[0] != 1 or data[30:32] != _KEY or sum(struct.unpack("<16H", data[:32])) & 0xFFFF:
        raise MalformedError("not a boot catalogue", place=CATALOG)
    found = [_read_entry(data[1], data[32:64])]
    at = 64
    while at + 32 <= len(data) and data[at] in (0x90, _LAST_SECTION):
        last, platform, count = struct.unpack_from("<BBH", data, at)
        for _ in range(count):
            at += 32
            if at + 32 > len(data):
                raise MalformedError("ends within a section", place=CATALOG)
            found.append(_read_entry(platform, data[at : at + 32]))
        at += 32
        if last == _LAST_SECTION:
            break
    return [entry for entry in found if entry.block]


def _read_entry(platform: int, data: bytes) -> BootEntry:
    sectors, block = struct.unpack_from("<HL", data, 6)
    return BootEntry(platform=platform, block=block if data[0] == _BOOTABLE else 0, sectors=sectors)


def with_table(loader: bytes, block: int) -> bytes:
    """A loader that lies at ``block``, its boot information table filled in (as of mkisofs: ``-boot-info-table``).

    The table has the block of the primary volume descriptor, the loader's own block, its bytes, and the sum of its
    32-bit words from byte 64 on, each 32 bits, little-endian; then zeros.
    """
    rest = loader[TABLE_END:]
    words = rest + bytes(-len(rest) % 4)
    total = sum(struct.unpack(f"<{len(words) // 4}L", words)) & 0xFFFFFFFF
    table = struct.pack("<4L40x", _PRIMARY_DESCRIPTOR, block, len(loader), total)
    return loader[:TABLE_START] + table + rest


def without_table(loader: bytes) -> bytes:
    """A loader with zeros for its boot information table, as it is compared."""
    return loader[:TABLE_START] + bytes(TABLE_END - TABLE_START) + loader[TABLE_END:]


def read_boot_record(block: bytes) -> int | None:
    """The block of the catalogue, from the bytes of block 17; None where that is no boot record of El Torito."""
    if block[:7] != b"\0CD001\1" or block[7:39].rstrip(b"\0") != SYSTEM_IDENTIFIER:
        return None
    return int.from_bytes(block[71:75], "little")
