"""Deterministic PAX archives (POSIX.1-2001 pax, with the extensions of star and GNU tar), written member by member.

The same members make the same bytes: nothing comes from the clock, and no field is left to chance. Extended attributes
are ``SCHILY.xattr.NAME`` records, holes are GNU's sparse format 1.0; GNU tar, bsdtar and Python's tarfile read both.
The reader of foreign archives, tarfile, reads these as well.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from formats.digest import CHUNK
from formats.errors import DigestMismatchError, IllegalNameError

BLOCK = 512
RECORD = 20 * BLOCK
"""Bytes that the length of an archive is a multiple of, as tar writes it."""
_LARGEST_OCTAL = 8**11 - 1
"""The largest number of a header field of twelve bytes: sizes of 8 GiB and more are PAX records."""
_LARGEST_ID = 8**7 - 1

_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
_HARD_LINK = b"1"


@dataclass(frozen=True, kw_only=True, slots=True)
class PaxMember:
    """One member, as ``lstat`` tells of it.

    ``mode`` has the type bits and the permission bits. ``size`` is in bytes, holes included; ``data`` are the runs
    (offset, length) that are not holes, in order, or None for a file without holes. ``target``: what a symbolic link
    holds; ``same``: the path of an earlier member that this is a further name (hard link) of. ``device``: major and
    minor number. ``attributes``: extended attributes, ACLs among them.
    """

    path: bytes
    mode: int
    mtime_ns: int
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    size: int = 0
    data: Sequence[tuple[int, int]] | None = None
    target: bytes = b""
    same: bytes = b""
    device: tuple[int, int] = (0, 0)
    attributes: Mapping[str, bytes] = field(default_factory=dict)


class Output(Protocol):
    """Where an archive is written to."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


class PaxWriter:
    """Writes members to ``out``; `close` ends the archive."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._count = 0

    def add(self, member: PaxMember, content: BinaryIO | None = None) -> None:
        """Write a member; ``content`` is a seekable file for one that has bytes.

        Raises `IllegalNameError` for a path that no archive holds, and `DigestMismatchError` where ``content`` ends
        before its size.
        """
        if not member.path or b"\0" in member.path or b"\0" in member.target:
            raise IllegalNameError("name is empty or holds a NUL", place=ascii(member.path))
        sparse = _sparse_map(member)
        stored = _stored(member, sparse)
        self._write(_headers(member, stored))
        if stored and content is not None:
            self._write(sparse)
            for offset, length in [(0, member.size)] if member.data is None else member.data:
                self._copy(content, offset, length, member)
        self._write(bytes(-stored % BLOCK))

    def close(self) -> None:
        """Write the end of the archive."""
        self._write(bytes(2 * BLOCK))
        self._write(bytes(-self._count % RECORD))

    def _write(self, data: bytes) -> None:
        if data:
            self._out.write(data)
            self._count += len(data)

    def _copy(self, content: BinaryIO, offset: int, length: int, member: PaxMember) -> None:
        content.seek(offset)
        while length:
            data = content.read(min(length, CHUNK))
            if not data:
                raise DigestMismatchError("became shorter while it was read", place=ascii(member.path))
            self._write(data)
            length -= len(data)


def member_size(member: PaxMember) -> int:
    """Bytes that `PaxWriter.add` writes for a member."""
    stored = _stored(member, _sparse_map(member))
    return len(_headers(member, stored)) + stored + -stored % BLOCK


def archive_size(members: int) -> int:
    """Bytes of an archive whose members take ``members`` bytes."""
    size = members + 2 * BLOCK
    return size + -size % RECORD


def _stored(member: PaxMember, sparse: bytes) -> int:
    """Bytes of a member's data as they stand in the archive, its ``sparse`` map among them."""
    if not stat.S_ISREG(member.mode) or member.same:
        return 0
    return member.size if member.data is None else len(sparse) + sum(length for _, length in member.data)


def _sparse_map(member: PaxMember) -> bytes:
    """The map that stands before the data of a sparse file: GNU sparse format 1.0."""
    if member.data is None:
        return b""
    # A run of no bytes at the very end tells GNU tar that the file ends with a hole.
    ends = not member.data or sum(member.data[-1]) < member.size
    runs = [*member.data, (member.size, 0)] if ends else member.data
    numbers = [len(runs), *(number for run in runs for number in run)]
    text = b"".join(b"%d\n" % number for number in numbers)
    return text + bytes(-len(text) % BLOCK)


def _headers(member: PaxMember, stored: int) -> bytes:
    """The extended header, where one is needed, and the header of a member whose data have ``stored`` bytes."""
    records: dict[str, bytes] = {}
    seconds, rest = divmod(member.mtime_ns, 10**9)
    if rest or not 0 <= seconds <= _LARGEST_OCTAL:
        records["mtime"] = _time(member.mtime_ns)
    path = member.path + (b"/" if stat.S_ISDIR(member.mode) else b"")
    if member.data is not None:
        records |= {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0"}
        records |= {"GNU.sparse.name": path, "GNU.sparse.realsize": b"%d" % member.size}
    if len(path) > 100 or not path.isascii():
        records["path"] = path
    link = member.same or member.target
    if len(link) > 100 or not link.isascii():
        records["linkpath"] = link
    if stored > _LARGEST_OCTAL:
        records["size"] = b"%d" % stored
    for key, number in (("uid", member.uid), ("gid", member.gid)):
        if number > _LARGEST_ID:
            records[key] = b"%d" % number
    for key, text in (("uname", member.user), ("gname", member.group)):
        raw = text.encode("utf-8", "surrogateescape")
        if len(raw) > 31 or not raw.isascii():
            records[key] = raw
    for key, value in sorted(member.attributes.items()):
        records[f"SCHILY.xattr.{key}"] = value
    extended = _extended(records)
    kind = _HARD_LINK if member.same else _TYPES[stat.S_IFMT(member.mode)]
    return extended + _header(member, path, link, kind, stored, max(0, min(seconds, _LARGEST_OCTAL)))


def _time(ns: int) -> bytes:
    sign, magnitude = (b"-", -ns) if ns < 0 else (b"", ns)
    return sign + b"%d.%09d" % divmod(magnitude, 10**9)


def _extended(records: Mapping[str, bytes]) -> bytes:
    if not records:
        return b""
    body = b"".join(_record(key.encode("utf-8", "surrogateescape"), records[key]) for key in sorted(records))
    header = _block(name=b"././@PaxHeader", mode=0o644, size=len(body), kind=b"x")
    return header + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    while rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _header(member: PaxMember, path: bytes, link: bytes, kind: bytes, stored: int, seconds: int) -> bytes:
    return _block(
        name=path,
        mode=stat.S_IMODE(member.mode),
        ids=(min(member.uid, _LARGEST_ID), min(member.gid, _LARGEST_ID)),
        size=min(stored, _LARGEST_OCTAL),
        seconds=seconds,
        kind=kind,
        link=link,
        user=member.user.encode("ascii", "replace"),
        group=member.group.encode("ascii", "replace"),
        device=member.device,
    )


def _block(
    *,
    name: bytes,
    mode: int,
    size: int,
    kind: bytes,
    ids: tuple[int, int] = (0, 0),
    seconds: int = 0,
    link: bytes = b"",
    user: bytes = b"",
    group: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """A ustar header; what does not fit is cut, as its PAX record says it whole."""
    fields = [
        name[:100].ljust(100, b"\0"),
        b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, *ids, size, seconds),
        b" " * 8,
        kind,
        link[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        user[:31].ljust(32, b"\0"),
        group[:31].ljust(32, b"\0"),
        b"%07o\0%07o\0" % device,
        bytes(155 + 12),
    ]
    data = bytearray(b"".join(fields))
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)
