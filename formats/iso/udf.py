"""Reads the UDF tree of an image, which often survives a scratch where ISO 9660 and Joliet begin.

UDF has up to three anchors, a copy of its volume descriptors, and a CRC in every structure. What our images and every
mastered disc have is read: one partition of plain blocks (ECMA-167 3rd edition; UDF 1.02 to 2.60). The metadata
partitions, sparing tables and virtual partitions of rewritable media are not.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from formats.errors import FormatError, MalformedError, TooLargeError
from formats.iso.disc import MAX_FOLDER, Disc, DiscFile, Listing
from formats.iso.layout import BLOCK

_ANCHOR, _PARTITION, _LOGICAL_VOLUME, _TERMINATOR, _FILE_SET, _NAME, _ENTRY, _LONG_ENTRY = (
    2,
    5,
    6,
    8,
    256,
    257,
    261,
    266,
)
_SEQUENCE_BLOCKS = 64
_FOLDER_TYPE, _FILE_TYPE = 4, 5  # 4/14.6.6
_IS_FOLDER, _IS_DELETED, _IS_PARENT = 0x02, 0x04, 0x08  # 4/14.4.3


@dataclass(frozen=True, kw_only=True, slots=True)
class _Volume:
    """The label of the volume, the first block and the length in blocks of its partition, and its file set's block."""

    name: str
    start: int
    length: int
    file_set: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A file or folder: its type, its size in bytes, (byte offset, bytes) of its extents."""

    kind: int
    size: int
    extents: list[tuple[int, int]]


def udf_files(disc: Disc) -> tuple[str, list[DiscFile]]:
    """The label of the volume and its regular files; raises a `FormatError` if the tree is not complete."""
    volume = _volume(disc)
    file_set = _tagged(disc, volume, volume.file_set, _FILE_SET)
    listing = Listing()
    todo = deque([("", _block_of(volume, file_set[400:416]))])
    while todo:
        prefix, block = todo.popleft()
        entry = _entry(disc, volume, block)
        if entry.kind != _FOLDER_TYPE:
            raise MalformedError("not a folder", place=prefix or "/")
        listing.enter(block, entry.size, place=prefix or "/")
        for name, flags, child in _names(_content(disc, entry), volume, prefix or "/"):
            listing.count(prefix or "/")
            path = prefix + listing.component(name, place=prefix or "/")
            if flags & _IS_FOLDER:
                todo.append((path + "/", child))
                continue
            file = _entry(disc, volume, child)
            if file.kind == _FILE_TYPE:
                listing.add(path, file.extents)
    return volume.name, listing.files


def _volume(disc: Disc) -> _Volume:
    """The volume, by the first good anchor and the first good sequence of descriptors (3/8.4.2)."""
    last = disc.size() // BLOCK - 1
    first: FormatError | None = None
    for block in (256, last, last - 256):
        if block < 0:
            continue
        try:
            anchor = _check(disc.structure(block, BLOCK), _ANCHOR, block)
        except FormatError as error:
            first = first or error
            continue
        for at in (16, 24):
            length, start = struct.unpack_from("<II", anchor, at)
            try:
                return _sequence(disc, start, min(length // BLOCK, _SEQUENCE_BLOCKS))
            except FormatError as error:
                first = first or error
    raise first or MalformedError("no UDF volume")


def _sequence(disc: Disc, start: int, blocks: int) -> _Volume:
    partition = logical = None
    for block in range(start, start + blocks):
        data = disc.structure(block, BLOCK)
        kind = int.from_bytes(data[:2], "little")
        if kind == _TERMINATOR:
            break
        if kind == _PARTITION:
            partition = _check(data, _PARTITION, block)
        elif kind == _LOGICAL_VOLUME:
            logical = _check(data, _LOGICAL_VOLUME, block)
    if partition is None or logical is None:
        raise MalformedError("no UDF partition or logical volume", place=f"block {start}")
    block_size, table_length, maps = struct.unpack_from("<I", logical, 212) + struct.unpack_from("<II", logical, 264)
    if block_size != BLOCK or (table_length, maps) != (6, 1) or logical[440:442] != b"\1\6":
        raise MalformedError("a UDF volume of another kind than on mastered discs", place=f"block {start}")
    name = logical[84:212]
    return _Volume(
        name=_characters(name[: min(name[127], 127)]),
        start=int.from_bytes(partition[188:192], "little"),
        length=int.from_bytes(partition[192:196], "little"),
        file_set=int.from_bytes(logical[252:256], "little"),
    )


def _check(data: bytes, kind: int, location: int | None) -> bytes:
    """Return ``data`` if it begins with a descriptor of this kind and location that has its CRC (3/7.2)."""
    if len(data) < 16:
        raise MalformedError("a UDF descriptor is cut off")
    found, _, checksum, _, _, crc, length, place = struct.unpack_from("<HHBBHHHI", data)
    if (
        found != kind
        or checksum != (sum(data[:16]) - checksum) & 0xFF
        or crc != crc_hqx(data[16 : 16 + length], 0)
        or (location is not None and place != location)
    ):
        raise MalformedError(
            f"no good UDF descriptor of kind {kind}", place="" if location is None else f"block {location}"
        )
    return data


def _tagged(disc: Disc, volume: _Volume, block: int, kind: int) -> bytes:
    """The descriptor in a block of the partition."""
    return _check(disc.structure(volume.start + block, BLOCK), kind, block)


def _block_of(volume: _Volume, address: bytes) -> int:
    """The block of the partition that a long allocation descriptor names (4/14.14.2)."""
    _, block, partition = struct.unpack_from("<IIH", address)
    if partition or block >= volume.length:
        raise MalformedError("an address outside the partition")
    return int(block)


def _entry(disc: Disc, volume: _Volume, block: int) -> _Entry:
    """The file entry in a block of the partition (4/14.9, 4/14.17)."""
    place = f"block {volume.start + block}"
    data = disc.structure(volume.start + block, BLOCK)
    is_long = data[:2] == _LONG_ENTRY.to_bytes(2, "little")
    _check(data, _LONG_ENTRY if is_long else _ENTRY, block)
    lengths = 208 if is_long else 168
    attributes, length = struct.unpack_from("<II", data, lengths)
    at = lengths + 8 + attributes
    if at + length > BLOCK:
        raise MalformedError("a file entry is longer than its block", place=place)
    size = int.from_bytes(data[56:64], "little")
    addressing = data[34] & 0x07
    if addressing == 3:  # the data are in the entry itself
        extents = [((volume.start + block) * BLOCK + at, length)]
    elif addressing in (0, 1):
        extents = list(_extents(data[at : at + length], volume, 8 if addressing == 0 else 16, place))
    else:
        raise MalformedError("a file entry with addresses of an unknown kind", place=place)
    if sum(length for _, length in extents) != size:
        raise MalformedError("a file's extents do not make its size", place=place)
    return _Entry(kind=data[27], size=size, extents=extents)


def _extents(data: bytes, volume: _Volume, step: int, place: str) -> Iterator[tuple[int, int]]:
    """Byte offset and bytes of each short or long allocation descriptor (4/14.14)."""
    for at in range(0, len(data) - step + 1, step):
        length, block = struct.unpack_from("<II", data, at)
        if not length:
            return
        if length >> 30 or block + -(-length // BLOCK) > volume.length:
            raise MalformedError("an extent that is not recorded, or outside the partition", place=place)
        yield (volume.start + block) * BLOCK, length


def _content(disc: Disc, entry: _Entry) -> bytes:
    """The bytes of a folder."""
    if entry.size > MAX_FOLDER:
        raise TooLargeError(f"a folder of {entry.size} bytes, where {MAX_FOLDER} are read")
    return b"".join(
        disc.structure(offset // BLOCK, offset % BLOCK + length)[offset % BLOCK :] for offset, length in entry.extents
    )


def _names(data: bytes, volume: _Volume, place: str) -> Iterator[tuple[str, int, int]]:
    """Name, flags and entry block of each file identifier in a folder (4/14.4)."""
    at = 0
    while at < len(data):
        if at + 38 > len(data):
            raise MalformedError("a UDF name is cut off", place=place)
        end = at + 38 + data[at + 19] + int.from_bytes(data[at + 36 : at + 38], "little")
        following = end + -end % 4
        _check(data[at:following], _NAME, None)
        flags = data[at + 18]
        if not flags & (_IS_DELETED | _IS_PARENT):
            yield _characters(data[end - data[at + 19] : end]), flags, _block_of(volume, data[at + 20 : at + 36])
        at = following


def _characters(text: bytes) -> str:
    """Decode OSTA Compressed Unicode (UDF 2.60, 2.1.1)."""
    try:
        if text[:1] == b"\x08":
            return text[1:].decode("latin-1")
        if text[:1] == b"\x10":
            return text[1:].decode("utf-16-be")
    except UnicodeDecodeError:
        pass
    raise MalformedError("a UDF name that cannot be decoded", place=ascii(text))
