"""Partition tables: sgdisk and fdisk find nothing wrong with ours, and we find whatever is wrong with one."""

from __future__ import annotations

import io
import re
import struct
import subprocess
from binascii import crc32
from pathlib import Path

import pytest
from stock import stock_tool

from formats.disk.gpt import (
    BASIC_DATA,
    EFI_SYSTEM,
    FIRST_USABLE,
    SECTOR,
    TABLE_SECTORS,
    Partition,
    protective_mbr,
    read_gpt,
    read_table,
    sectors_told,
    tables,
    uuid_of,
)
from formats.disk.hybrid import TAIL, EfiImage, make_hybrid, read_hybrid
from formats.errors import FormatError, MalformedError, TooLargeError

SECTORS = 8192


def _part(first: int, last: int, name: str = "HQ1_D00001_01") -> Partition:
    return Partition(kind=EFI_SYSTEM, unique=uuid_of(name), first=first, last=last, name=name)


def _disk(*partitions: Partition) -> bytes:
    primary, backup = tables(partitions, sectors=SECTORS, disk=uuid_of("disk"))
    whole = protective_mbr(SECTORS) + primary
    return whole.ljust((SECTORS - TABLE_SECTORS) * SECTOR, b"\0") + backup


def _said(*command: object) -> str:
    return subprocess.run([str(one) for one in command], check=True, capture_output=True, text=True).stdout


def test_stock_tools_find_our_tables_whole(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(_disk(_part(2048, 4095), _part(4096, SECTORS - TABLE_SECTORS - 1, "other")))
    assert "No problems found" in _said(stock_tool("sgdisk"), "-v", path)
    said = _said(stock_tool("fdisk"), "-l", path)
    assert "Disklabel type: gpt" in said
    assert re.findall(r"img\d +(\d+) +(\d+) .*EFI System", said) == [("2048", "4095"), ("4096", "8158")]


def test_a_table_reads_back_as_it_was_written() -> None:
    parts = (_part(2048, 4095), _part(4096, 5000, "n" * 36))
    found = read_gpt(io.BytesIO(_disk(*parts)), SECTORS)
    assert (found.partitions, found.disk, found.sectors) == (parts, uuid_of("disk"), SECTORS)


@pytest.mark.parametrize(
    "partitions",
    [
        [_part(FIRST_USABLE - 1, 100)],
        [_part(100, SECTORS - TABLE_SECTORS)],
        [_part(200, 100)],
        [_part(100, 200), _part(200, 300)],
    ],
)
def test_partitions_that_cannot_be_are_refused(partitions: list[Partition]) -> None:
    with pytest.raises(MalformedError):
        tables(partitions, sectors=SECTORS, disk=uuid_of("disk"))


def test_a_name_and_a_program_have_limits() -> None:
    with pytest.raises(TooLargeError):
        tables([_part(100, 200, "n" * 37)], sectors=SECTORS, disk=uuid_of("disk"))
    with pytest.raises(TooLargeError):
        protective_mbr(SECTORS, bytes(447))


def test_every_altered_byte_of_the_tables_is_found() -> None:
    good = _disk(_part(2048, 4095))
    places = [446 + 4, 446 + 8, 510, *range(512, 512 + 92), *range(1024, 1024 + 128)]
    end = len(good)
    places += [*range(end - 512, end - 512 + 92), *range(end - 512 - 128 * 128, end - 512 - 128 * 127)]
    for at in places:
        altered = bytearray(good)
        altered[at] ^= 1
        with pytest.raises(FormatError):
            read_gpt(io.BytesIO(bytes(altered)), SECTORS)
    with pytest.raises(FormatError):
        read_gpt(io.BytesIO(good[:-512]), SECTORS)


def test_a_table_that_names_sectors_beyond_its_disk_or_any_is_refused() -> None:
    def with_field(at: int, value: int) -> bytes:
        """The first table with another number in its header, and a checksum that fits."""
        data = bytearray(_disk(_part(2048, 4095)))
        data[512 + at : 512 + at + 8] = value.to_bytes(8, "little")
        data[512 + 16 : 512 + 20] = bytes(4)
        data[512 + 16 : 512 + 20] = crc32(data[512 : 512 + 92]).to_bytes(4, "little")
        return bytes(data)

    for at in (24, 32, 48, 72):  # this sector, the other table, the last usable, the entries
        for value in (1 << 63, (1 << 64) - 1):
            data = with_field(at, value)
            with pytest.raises(MalformedError):
                read_gpt(io.BytesIO(data), SECTORS)
            with pytest.raises(MalformedError):
                sectors_told(io.BytesIO(data))
            with pytest.raises(MalformedError):
                read_table(lambda offset, count, data=data: data[offset : offset + count])  # type: ignore[misc]
    with pytest.raises(MalformedError):
        read_gpt(io.BytesIO(with_field(48, SECTORS)), SECTORS)
    assert sectors_told(io.BytesIO(with_field(48, SECTORS - 40))) == SECTORS


def test_a_hybrid_names_its_efi_image_in_sectors_of_512_bytes(tmp_path: Path) -> None:
    path = tmp_path / "disc.iso"
    image = bytes(range(256)) * 8 * 500
    with path.open("w+b") as out:
        out.write(image)
        make_hybrid(out, name="HQ1_D00001_01", efi=EfiImage(block=100, size=64 * 2048))
    whole = path.read_bytes()
    assert len(whole) == len(image) + TAIL
    # Nothing beyond the 32 KiB that belong to the system was touched.
    assert whole[32768 : len(image)] == image[32768:]
    with path.open("rb") as source:
        found = read_hybrid(source)
    assert [(one.name, one.first, one.last) for one in found.partitions] == [
        ("HQ1_D00001_01 1", 64, 399),
        ("EFI", 400, 655),
        ("HQ1_D00001_01 2", 656, 1999),
    ]
    assert {one.kind for one in found.partitions} == {EFI_SYSTEM, BASIC_DATA}
    assert "No problems found" in _said(stock_tool("sgdisk"), "-v", path)
    # A stick may be larger than the image that was copied onto it.
    assert read_hybrid(io.BytesIO(whole + bytes(1 << 20))) == found


def test_the_program_of_isolinux_is_told_where_its_loader_lies() -> None:
    out = io.BytesIO(bytes(2048 * 200))
    out.seek(0, 2)
    make_hybrid(out, name="X", efi=None, mbr=b"P" * 432, loader=77)
    mbr = out.getvalue()[:512]
    assert mbr[:432] == b"P" * 432
    assert int.from_bytes(mbr[432:440], "little") == 77 * 4
    assert mbr[446 + 4] == 0xEE
    with pytest.raises(MalformedError):
        make_hybrid(io.BytesIO(bytes(2048 * 200)), name="X", efi=None, mbr=b"P" * 431, loader=77)


@pytest.mark.parametrize("field", ["backup", "entries", "partition"])
@pytest.mark.parametrize("sector", [SECTORS, 1 << 54, 1 << 62, (1 << 64) - 2])
def test_a_table_with_right_checksums_that_leads_out_of_its_disk_is_refused(field: str, sector: int) -> None:
    disk = bytearray(_disk(_part(2048, 4095)))
    for header, entries in ((SECTOR, 2 * SECTOR), (len(disk) - SECTOR, len(disk) - TABLE_SECTORS * SECTOR)):
        if field == "partition":
            struct.pack_into("<Q", disk, header + 48, sector + 1)  # the last sector that can be used
            struct.pack_into("<QQ", disk, entries + 32, sector, sector)
            struct.pack_into("<L", disk, header + 88, crc32(disk[entries : entries + 128 * 128]))
        else:
            struct.pack_into("<Q", disk, header + (32 if field == "backup" else 72), sector)
        struct.pack_into("<L", disk, header + 16, 0)
        struct.pack_into("<L", disk, header + 16, crc32(disk[header : header + 92]))
    with pytest.raises(FormatError):
        read_gpt(io.BytesIO(disk), SECTORS)
    with pytest.raises(FormatError):
        read_hybrid(io.BytesIO(disk))
