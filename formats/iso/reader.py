"""Reads the files of an ISO image or disc, written by us or mastered again from the same files by another tool.

A disc is small structures that describe large data, and one scratch in the structures can make the data unreachable. So
they are read with care: every number that is on the disc twice is compared, every length is bounded before it is used,
and the trees are tried in turn (Rock Ridge, Joliet, UDF, bare ISO 9660) until one can be read from end to end. What is
refused raises `MalformedError`, `TooLargeError` or `UnreadableError`. The content of files is not judged here.

Clauses are those of ECMA-119 (ISO 9660), of the Rock Ridge and System Use protocols (IEEE P1281, P1282), and of the
Joliet specification.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, cast

from formats.errors import FormatError, MalformedError, TooLargeError, UnreadableError
from formats.iso.disc import Content, Disc, DiscFile, Listing
from formats.iso.layout import BLOCK
from formats.iso.udf import udf_files

_FIRST_DESCRIPTOR = 16
_DESCRIPTORS_LOOKED_AT = 32  # number of blocks; damaged ones among them are skipped
_JOLIET = (b"%/@", b"%/C", b"%/E")
_FOLDER, _ASSOCIATED, _CONTINUED = 0x02, 0x04, 0x80  # 9.1.6
_MAX_CONTINUATIONS = 16
_VERSION = re.compile(r";[0-9]{1,5}")
_S_IFMT, _S_IFREG = 0o170000, 0o100000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """A directory record (9.1)."""

    block: int
    size: int
    flags: int
    identifier: bytes
    system_use: bytes


@dataclass(kw_only=True, slots=True)
class _SystemUse:
    """What Rock Ridge says of a record."""

    name: bytes | None = None
    is_regular: bool = True
    child: int | None = None
    is_relocated: bool = False


class _AbsentError(MalformedError):
    """The volume does not have the tree that was asked for."""


class IsoReader:
    """The files of an image on a seekable binary file or block device, which the caller closes. A context manager.

    ``volume_id`` is the label of the volume, ``HQ1_000042_V003``. Raises `MalformedError` for what is not an image or
    has no complete tree, `TooLargeError` beyond the limits of `formats.iso.disc`, and `UnreadableError` where the
    medium fails.
    """

    volume_id: str

    def __init__(self, source: BinaryIO) -> None:
        self._disc = Disc(source)
        primary, joliet = _descriptors(self._disc)
        trees: list[Callable[[], tuple[str, list[DiscFile]]]] = []
        if primary is not None:
            trees.append(lambda: (_text(primary[40:72]), _iso_files(self._disc, primary, "rock ridge")))
        if joliet is not None:
            trees.append(lambda: (_joliet_text(joliet[40:72]), _iso_files(self._disc, joliet, "joliet")))
        trees.append(lambda: udf_files(self._disc))
        if primary is not None:
            trees.append(lambda: (_text(primary[40:72]), _iso_files(self._disc, primary, "bare")))
        self.volume_id, files = _first_whole(trees)
        self._files = {file.path: file for file in sorted(files, key=lambda file: file.place)}

    def __enter__(self) -> IsoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disc.close()

    def files(self) -> list[tuple[str, int]]:
        """Path and size in bytes of every regular file, in the order of their data on the disc, empty files first."""
        return [(file.path, file.size) for file in self._files.values()]

    def open(self, path: str) -> BinaryIO:
        """A seekable stream over the data of a file; raises `KeyError` if there is no such file.

        Where the medium fails or ends, reading raises `OSError` and does not move: seek past the place and read on.
        Several threads may read streams of one reader. A stream cannot be read after its reader is closed.
        """
        return cast(BinaryIO, Content(self._disc, self._files[path]))


def _first_whole(trees: list[Callable[[], tuple[str, list[DiscFile]]]]) -> tuple[str, list[DiscFile]]:
    """What the first complete tree gives; raises what is wrong with the first tree if none is complete."""
    first: FormatError | None = None
    for tree in trees:
        try:
            return tree()
        except FormatError as error:
            if first is None or isinstance(first, _AbsentError):
                first = error
    raise first or MalformedError("no volume of ISO 9660 or UDF")


def _descriptors(disc: Disc) -> tuple[bytes | None, bytes | None]:
    """The primary and the Joliet volume descriptor (8.4, 8.5), each None if there is no good one."""
    primary = joliet = None
    for block in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + _DESCRIPTORS_LOOKED_AT):
        try:
            data = disc.structure(block, BLOCK)
        except UnreadableError:
            continue
        if data[1:6] != b"CD001":
            continue
        if data[0] == 255:
            break
        if data[128:132] != b"\0\x08\x08\0":  # blocks of 2048 bytes, little-endian and big-endian
            continue
        if data[0] == 1 and primary is None:
            primary = data
        elif data[0] == 2 and joliet is None and data[88:91] in _JOLIET:
            joliet = data
    return primary, joliet


def _iso_files(disc: Disc, descriptor: bytes, kind: str) -> list[DiscFile]:
    """The files of a tree of directory records.

    ``kind`` says which names they have: ``rock ridge``, ``joliet`` or ``bare``. Bare names are refused where there is
    Rock Ridge, because they are not the true names.
    """
    root = _record(descriptor[156:190], "root")
    listing = Listing()
    skip = None if kind == "joliet" else _skipped(_record_at(disc, root.block).system_use)
    if kind == "rock ridge" and skip is None:
        raise _AbsentError("no Rock Ridge")
    if kind == "bare" and skip is not None:
        raise _AbsentError("no names but Rock Ridge's")
    todo = deque([("", root.block, root.size)])
    while todo:
        prefix, block, size = todo.popleft()
        listing.enter(block, size, place=prefix or "/")
        extents: list[
            tuple[int, int]
        ] = []  # of the file whose records are being read; all records but its last say that another follows
        for record in _folder(disc, block, size, prefix or "/"):
            listing.count(prefix or "/")
            use = _SystemUse() if skip is None else _system_use(disc, listing, record, skip)
            if use.is_relocated or record.flags & _ASSOCIATED:
                continue
            path = prefix + listing.component(_name(record, use, kind), place=prefix or "/")
            if (
                use.child is not None
            ):  # a folder that was relocated because it lay too deep: its first record has its size
                todo.append((path + "/", use.child, _record_at(disc, use.child).size))
            elif record.flags & _FOLDER:
                todo.append((path + "/", record.block, record.size))
            elif use.is_regular:
                extents.append((record.block * BLOCK, record.size))
                if not record.flags & _CONTINUED:
                    listing.add(path, extents)
                    extents = []
    return listing.files


def _folder(disc: Disc, block: int, size: int, place: str) -> Iterator[_Record]:
    """The records of a folder without the first two, which must be its own and its parent's."""
    data = disc.structure(block, size)
    at = number = 0
    while at < len(data):
        length = data[at]
        if not length:  # records do not cross a block's edge: the rest of the block is empty (6.8.1.1)
            at += BLOCK - at % BLOCK
            continue
        if at % BLOCK + length > BLOCK:
            raise MalformedError("a directory record crosses a block's edge", place=place)
        record = _record(data[at : at + length], place)
        if number >= 2:
            yield record
        elif record.identifier != (b"\0", b"\1")[number] or (number == 0 and record.block != block):
            raise MalformedError("a folder does not begin with itself and its parent", place=place)
        at += length
        number += 1
    if number < 2:
        raise MalformedError("a folder without itself and its parent", place=place)


def _record(data: bytes, place: str) -> _Record:
    if len(data) < 34 or data[0] != len(data) or not 1 <= data[32] <= len(data) - 33:
        raise MalformedError("a directory record has impossible lengths", place=place)
    if data[1] or data[26] or data[27]:
        raise MalformedError("a file that is interleaved, or has an attribute record", place=place)
    end = 33 + data[32]
    return _Record(
        block=_both(data, 2, place),
        size=_both(data, 10, place),
        flags=data[25],
        identifier=data[33:end],
        system_use=data[end + (data[32] + 1) % 2 :],
    )


def _record_at(disc: Disc, block: int) -> _Record:
    """The first record of a folder, which describes the folder itself."""
    data = disc.structure(block, BLOCK)
    return _record(data[: data[0]], f"block {block}")


def _skipped(system_use: bytes) -> int | None:
    """Bytes before Rock Ridge in each record, by the SP entry of the root (P1281 5.3); None without it."""
    if len(system_use) >= 7 and system_use[:6] == b"SP\x07\x01\xbe\xef":
        return system_use[6]
    return None


def _system_use(disc: Disc, listing: Listing, record: _Record, skip: int) -> _SystemUse:
    """The Rock Ridge entries of a record and of the areas it is continued in."""
    use = _SystemUse()
    place = f"block {record.block}"
    area = record.system_use[skip:]
    name: bytes | None = None
    for _ in range(_MAX_CONTINUATIONS):
        following: tuple[int, int, int] | None = None
        while len(area) >= 4 and area[0]:
            signature, length = area[:2], area[2]
            if not 4 <= length <= len(area):
                raise MalformedError("a Rock Ridge entry has an impossible length", place=place)
            value = area[4:length]
            area = area[length:]
            if signature == b"ST":
                break
            if signature == b"NM" and value and not value[0] & 0x06:
                name = (name or b"") + value[1:]
            elif signature == b"CE":
                following = _both(value, 0, place), _both(value, 8, place), _both(value, 16, place)
            elif signature == b"CL":
                use.child = _both(value, 0, place)
            elif signature == b"RE":
                use.is_relocated = True
            elif signature == b"SL":
                use.is_regular = False
            elif signature == b"PX" and not record.flags & _FOLDER:
                use.is_regular = use.is_regular and _both(value, 0, place) & _S_IFMT == _S_IFREG
        if following is None:
            use.name = name
            return use
        block, offset, length = following
        if offset + length > BLOCK:
            raise MalformedError("a continuation crosses a block's edge", place=f"block {block}")
        listing.charge(length)
        area = disc.structure(block, offset + length)[offset:]
    raise TooLargeError(f"a record is continued more than {_MAX_CONTINUATIONS} times", place=place)


def _both(data: bytes, at: int, place: str) -> int:
    """A number in both byte orders (7.3.3)."""
    little, big = data[at : at + 4], data[at + 4 : at + 8]
    if len(big) < 4 or little != big[::-1]:
        raise MalformedError("a number has two values in its two byte orders", place=place)
    return int.from_bytes(little, "little")


def _name(record: _Record, use: _SystemUse, kind: str) -> str:
    try:
        if use.name is not None:
            return use.name.decode()
        name = record.identifier.decode("utf-16-be" if kind == "joliet" else "ascii")
    except UnicodeDecodeError:
        raise MalformedError("a name that cannot be decoded", place=ascii(record.identifier)) from None
    if record.flags & _FOLDER:
        return name
    return _VERSION.sub("", name) if kind == "joliet" else _VERSION.sub("", name).removesuffix(".")


def _text(field: bytes) -> str:
    return field.decode("ascii", "replace").rstrip(" \0")


def _joliet_text(field: bytes) -> str:
    return field.decode("utf-16-be", "replace").rstrip(" \0")
