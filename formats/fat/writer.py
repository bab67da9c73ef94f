"""Writes a FAT file system of files that are known beforehand, in one pass. The same input gives the same bytes."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from formats.errors import DigestMismatchError, IllegalNameError
from formats.fat.layout import ENTRY, FATS, ROOT_ENTRIES, SECTOR, FatFile, FatLayout, Folder
from formats.fat.names import long_entries

_COPY = 1 << 20
_MEDIA = 0xF8
_INFO_SECTOR, _BACKUP_SECTOR = 1, 6
_FOLDER, _LABEL, _ARCHIVE = 0x10, 0x08, 0x20
_END = {16: 0xFFFF, 32: 0x0FFFFFFF}


def write_fat(
    out: BinaryIO,
    layout: FatLayout,
    files: Sequence[FatFile],
    *,
    label: str,
    serial: int,
    created_ns: int,
    start: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the volume of ``layout``, made of these files in this order, into ``out``, which can seek.

    It begins at the sector ``start`` of ``out``, and of the disk. ``label`` has 1 to 11 characters A-Z 0-9 _ -;
    ``serial`` has 32 bits. Every date is ``created_ns`` (nanoseconds since 1970), in UTC. ``progress`` is told the
    bytes of every piece of a file copied. Raises `DigestMismatchError` for a file of another size.
    """
    if not 1 <= len(label) <= 11 or not all(c.isascii() and (c.isupper() or c.isdigit() or c in "_-") for c in label):
        raise IllegalNameError("a label has 1 to 11 characters A-Z 0-9 _ -", place=ascii(label))
    base = start * SECTOR
    stamp = _stamp(created_ns)
    boot = _boot_sector(layout, label, serial, start)
    out.seek(base)
    out.write(boot.ljust(layout.reserved * SECTOR, b"\0"))
    if layout.kind == 32:
        info = _info_sector(layout)
        for at, sector in ((_INFO_SECTOR, info), (_BACKUP_SECTOR, boot), (_BACKUP_SECTOR + 1, info)):
            out.seek(base + at * SECTOR)
            out.write(sector)
    out.seek(base + layout.reserved * SECTOR)
    table = _table(layout)
    for _ in range(FATS):
        out.write(table)
    for _, folder, above in layout.folders():
        data = _folder(layout, folder, above, label, stamp)
        if folder.cluster:
            out.seek(base + layout.offset(folder.cluster))
            out.write(data.ljust(folder.clusters * layout.cluster_bytes, b"\0"))
        else:
            out.seek(base + layout.root_sector * SECTOR)
            out.write(data.ljust(ROOT_ENTRIES * ENTRY, b"\0"))
    for file in files:
        if file.size:
            out.seek(base + layout.offset(layout.first[file.path]))
        _copy(file, out, progress)
        out.write(bytes(-file.size % layout.cluster_bytes))
    end = base + layout.size
    if out.seek(0, 2) < end:
        out.seek(end - 1)
        out.write(b"\0")


def _copy(file: FatFile, out: BinaryIO, progress: Callable[[int], None]) -> None:
    left = file.size
    with file.open() as source:
        while data := source.read(min(_COPY, left + 1)):
            left -= len(data)
            if left < 0:
                break
            out.write(data)
            progress(len(data))
    if left:
        raise DigestMismatchError(f"not the {file.size} bytes that it has in the list", place=file.path)


def _boot_sector(layout: FatLayout, label: str, serial: int, start: int) -> bytes:
    """The first sector: the BIOS parameter block, and no program (pages 9 to 12)."""
    is_large = layout.kind == 32 or layout.sectors > 0xFFFF
    head = struct.pack(
        "<3s8sHBHBHHBHHHLL",
        b"\xeb\x58\x90" if layout.kind == 32 else b"\xeb\x3c\x90",
        b"COURIER ",
        SECTOR,
        layout.cluster_sectors,
        layout.reserved,
        FATS,
        ROOT_ENTRIES if layout.kind == 16 else 0,
        0 if is_large else layout.sectors,
        _MEDIA,
        layout.table_sectors if layout.kind == 16 else 0,
        63,
        255,
        start,
        layout.sectors if is_large else 0,
    )
    if layout.kind == 32:
        head += struct.pack("<LHHLHH12x", layout.table_sectors, 0, 0, layout.root.cluster, _INFO_SECTOR, _BACKUP_SECTOR)
    kind = f"FAT{layout.kind}".ljust(8).encode()
    head += struct.pack("<BBBL11s8s", 0x80, 0, 0x29, serial & 0xFFFFFFFF, label.ljust(11).encode(), kind)
    return head.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def _info_sector(layout: FatLayout) -> bytes:
    free = layout.clusters - (layout.used - 2)
    following = layout.used if free else 0xFFFFFFFF
    return struct.pack("<L480xLLL12xL", 0x41615252, 0x61417272, free, following, 0xAA550000)


def _table(layout: FatLayout) -> bytes:
    """One copy of the allocation table: each run points from cluster to cluster to its end."""
    end = _END[layout.kind]
    code = "I" if layout.kind == 32 else "H"
    table = array(code, bytes(layout.table_sectors * SECTOR))
    if table.itemsize != layout.kind // 8:
        raise AssertionError("the platform's integers have other sizes")
    table[0], table[1] = end & ~0xFF | _MEDIA, end
    runs = [(folder.cluster, folder.clusters) for _, folder, _ in layout.folders() if folder.cluster]
    for _, folder, _ in layout.folders():
        runs += [(layout.first[path], layout.length(size)) for path, size in folder.files.values() if size]
    for first, count in runs:
        table[first : first + count] = array(code, [*range(first + 1, first + count), end])
    if struct.pack("=H", 1) != struct.pack("<H", 1):
        table.byteswap()
    return table.tobytes()


def _folder(layout: FatLayout, folder: Folder, above: Folder, label: str, stamp: tuple[int, int]) -> bytes:
    if folder is layout.root:
        pieces = [_entry(label.ljust(11).encode(), _LABEL, 0, 0, stamp)]
    else:
        # The folder above is called cluster 0 where it is the root (page 33).
        parent = 0 if above is layout.root else above.cluster
        pieces = [
            _entry(b".".ljust(11), _FOLDER, folder.cluster, 0, stamp),
            _entry(b"..".ljust(11), _FOLDER, parent, 0, stamp),
        ]
    for name in folder.names():
        short = folder.short[name]
        pieces.append(long_entries(name, short))
        if name in folder.folders:
            pieces.append(_entry(short, _FOLDER, folder.folders[name].cluster, 0, stamp))
        else:
            path, size = folder.files[name]
            pieces.append(_entry(short, _ARCHIVE, layout.first.get(path, 0), size, stamp))
    return b"".join(pieces)


def _entry(short: bytes, attributes: int, cluster: int, size: int, stamp: tuple[int, int]) -> bytes:
    day, time = stamp
    fields = (short, attributes, 0, 0, time, day, day, cluster >> 16, time, day, cluster & 0xFFFF, size)
    return struct.pack("<11sBBBHHHHHHHL", *fields)


def _stamp(created_ns: int) -> tuple[int, int]:
    """A moment as FAT has it: day and time, in steps of 2 seconds, in the years 1980 to 2107."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=created_ns // 1_000_000_000)
    year = min(max(moment.year, 1980), 2107)
    return (year - 1980) << 9 | moment.month << 5 | moment.day, moment.hour << 11 | moment.minute << 5 | (
        moment.second // 2
    )
