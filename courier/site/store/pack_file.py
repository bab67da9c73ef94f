"""The files of packs: records of small contents one after the other, and the marks of those that are gone.

A record is the SHA-256 of a content (32 bytes), its length (8 bytes, big-endian) and its bytes. A pack never changes
once it has its name, ``NAME.pack``. Beside it, ``NAME.gone`` holds the offsets (8 bytes each, big-endian) of contents
that the store no longer has, though their records still take room: whoever reads the packs anew leaves these out.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from courier.files import sync_file, writing_out

LARGEST = 64 << 10
"""Bytes of the largest content that is packed; larger ones are files of their own."""
PACK_SIZE = 64 << 20
"""Bytes after which a pack is closed and the next one begun."""
HEADER = struct.Struct(">32sQ")
PACK, GONE = ".pack", ".gone"
_MARK = struct.Struct(">Q")
_BUFFER = 1 << 20


def new_name() -> str:
    """A name for a pack that no pack had before: whoever looked up a place in a pack never meets another pack there."""
    return secrets.token_hex(8)


def sizes(folder: Path) -> dict[str, int]:
    """The bytes of each pack of a folder, by its name and in its order; other files are not ours."""
    found = {}
    with os.scandir(folder) as items:
        for item in items:
            name, dot, suffix = item.name.partition(".")
            if dot + suffix == PACK and name:
                try:
                    found[name] = item.stat().st_size
                except FileNotFoundError:
                    continue
    return dict(sorted(found.items()))


def read_records(source: BinaryIO, gone: Container[int] = ()) -> Iterator[tuple[bytes, int, int]]:
    """SHA-256, offset and length of each content of a pack whose bytes are as they were packed.

    ``gone``: offsets that are left out. What a kill or a disk cut short at the end, and what differs from its SHA-256
    or cannot be read, is left out too.
    """
    at = 0
    while len(header := _read(source, at, HEADER.size)) == HEADER.size:
        digest, length = HEADER.unpack(header)
        at += HEADER.size
        if length > LARGEST:
            return  # no record begins here, so nobody can tell where the next one does
        if at not in gone and hashlib.sha256(_read(source, at, length)).digest() == digest:
            yield digest, at, length
        at += length


def _read(source: BinaryIO, at: int, length: int) -> bytes:
    try:
        if source.tell() != at:
            source.seek(at)
        return source.read(length)
    except OSError:
        return b""


def read_marks(path: Path) -> set[int]:
    """The offsets in a file of marks; a mark that a kill cut short does not count."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return set()
    return {offset for (offset,) in _MARK.iter_unpack(data[: len(data) // _MARK.size * _MARK.size])}


def add_marks(path: Path, offsets: Iterable[int]) -> None:
    """Add offsets to a file of marks, on stable storage."""
    with path.open("ab") as out:
        whole = out.tell() // _MARK.size * _MARK.size
        if whole != out.tell():
            out.truncate(whole)  # a kill cut the last mark short
        for offset in offsets:
            out.write(_MARK.pack(offset))
        out.flush()
        sync_file(out.fileno(), path)


class PackWriter:
    """Writes records into packs in a folder, of `PACK_SIZE` bytes and one record at most. Not flushed to the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._out: BinaryIO | None = None
        self._at = 0
        self.names: list[str] = []

    def path(self, name: str) -> Path:
        """The file of a pack that was written here."""
        return self._folder / f"{name}{PACK}"

    def add(self, digest: bytes, data: bytes) -> tuple[int, int]:
        """Write a record; return the number of its pack (an index of ``names``) and the offset of its bytes."""
        if self._out is None or self._at >= PACK_SIZE:
            self._begin()
        assert self._out is not None
        self._out.write(HEADER.pack(digest, len(data)) + data)
        offset = self._at + HEADER.size
        self._at = offset + len(data)
        self._written(HEADER.size + len(data))
        return len(self.names) - 1, offset

    def _begin(self) -> None:
        self.close()
        self.names.append(new_name())
        self._out = self.path(self.names[-1]).open("wb", buffering=_BUFFER)
        self._at = 0
        self._written = writing_out(self._out)

    def close(self) -> None:
        """Close the pack that is open."""
        if self._out is not None:
            self._out.close()
            self._out = None
