"""Reads the files of a FAT16 or FAT32 file system. What is on the medium is not trusted: every number is bounded."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from formats.errors import MalformedError, TooLargeError, UnreadableError
from formats.fat.layout import ENTRY, MIN_CLUSTERS, SECTOR
from formats.fat.names import checksum, shown
from formats.streams import View

MAX_ENTRIES = 100_000
"""The most files and folders that are listed."""
MAX_TABLE = 256 << 20
"""Bytes of the largest allocation table that is read."""
MAX_FOLDER = 65_536 * ENTRY
_MAX_DEPTH = 64
_MAX_RUNS = 1 << 20
"""Runs of clusters of all files together; each is kept."""
_MAX_LONG = 20
"""Entries that a long name has."""
_FOLDER, _LABEL, _LONG = 0x10, 0x08, 0x0F


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    size: int
    runs: tuple[tuple[int, int], ...]
    """(byte of the volume, bytes) of each run of clusters."""


class FatReader:
    """The files of a file system that begins at byte ``base`` of ``source``, which the caller closes.

    Raises `MalformedError` for what is no file system, or one whose structures contradict each other, `TooLargeError`
    beyond the limits of this module, and `UnreadableError` where the medium fails. ``label`` is the volume's.
    """

    def __init__(self, source: BinaryIO, base: int = 0) -> None:
        self._source = source
        self._base = base
        self._read_boot_sector()
        self._table = self._read_table()
        self.label = ""
        self._files: dict[str, _File] = {}
        self._entered: set[int] = set()
        self._entries = self._count = 0
        self._list("", self._root())

    def files(self) -> list[tuple[str, int]]:
        """Path and size in bytes of every file, in the order of their data."""
        ordered = sorted(self._files.items(), key=lambda item: (item[1].runs[:1], item[0]))
        return [(path, file.size) for path, file in ordered]

    def open(self, path: str) -> BinaryIO:
        """A seekable stream over the data of a file; raises `KeyError` if there is no such file."""
        return _Data(self._source, self._files[path])

    def _at(self, offset: int, size: int) -> bytes:
        try:
            self._source.seek(self._base + offset)
            data = self._source.read(size)
        except OSError as error:
            raise UnreadableError(error.strerror or str(error), place=f"byte {offset}") from error
        if len(data) != size:
            raise MalformedError("the medium ends before it", place=f"byte {offset}")
        return data

    def _read_boot_sector(self) -> None:
        boot = self._at(0, SECTOR)
        (sector, per_cluster, reserved, fats, roots, small, _, table16, _, _, _, large, table32) = struct.unpack_from(
            "<HBHBHHBHHHLLL", boot, 11
        )
        sectors, table = small or large, table16 or table32
        if boot[510:] != b"\x55\xaa" or sector != SECTOR or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128):
            raise MalformedError("no FAT file system of 512-byte sectors", place="sector 0")
        if fats not in (1, 2) or not reserved or not table or table * SECTOR > MAX_TABLE:
            raise MalformedError("its tables have no size that can be", place="sector 0")
        self._cluster = per_cluster * SECTOR
        self._roots = roots
        self._tables_at, self._table_size = reserved * SECTOR, table * SECTOR
        self._root_at = (reserved + fats * table) * SECTOR
        self._data_at = self._root_at + -(-roots * ENTRY // SECTOR) * SECTOR
        self._clusters = (sectors * SECTOR - self._data_at) // self._cluster
        if self._clusters < MIN_CLUSTERS[16]:
            raise MalformedError("fewer clusters than FAT16 has", place="sector 0")
        self._wide = self._clusters >= MIN_CLUSTERS[32]
        self._root_cluster = int.from_bytes(boot[44:48], "little") if self._wide else 0
        if self._wide == bool(table16) or (self._clusters + 2) * (4 if self._wide else 2) > self._table_size:
            raise MalformedError("the table is too small for the clusters", place="sector 0")

    def _read_table(self) -> array[int]:
        table = array("I" if self._wide else "H", self._at(self._tables_at, self._table_size))
        if struct.pack("=H", 1) != struct.pack("<H", 1):
            table.byteswap()
        return table

    def _runs(self, first: int, most: int, *, place: str) -> list[tuple[int, int]]:
        """The runs (byte, bytes) of a chain of at most ``most`` clusters."""
        runs: list[tuple[int, int]] = []
        cluster, end = first, 0x0FFFFFF8 if self._wide else 0xFFF8
        while cluster < end:
            if not 2 <= cluster < self._clusters + 2 or most <= 0:
                raise MalformedError(f"its clusters lead to {cluster}, or in a circle", place=place)
            most -= 1
            at = self._data_at + (cluster - 2) * self._cluster
            if runs and sum(runs[-1]) == at:
                runs[-1] = runs[-1][0], runs[-1][1] + self._cluster
            else:
                runs.append((at, self._cluster))
            cluster = self._table[cluster] & (0x0FFFFFFF if self._wide else 0xFFFF)
        return runs

    def _root(self) -> bytes:
        if not self._wide:
            return self._at(self._root_at, self._roots * ENTRY)
        return self._folder(self._root_cluster, "/")

    def _folder(self, cluster: int, place: str) -> bytes:
        if cluster in self._entered:
            raise MalformedError("a folder is in the tree twice", place=place)
        self._entered.add(cluster)
        runs = self._runs(cluster, MAX_FOLDER // self._cluster + 1, place=place)
        return b"".join(self._at(at, size) for at, size in runs)

    def _list(self, above: str, data: bytes) -> None:
        if above.count("/") > _MAX_DEPTH:
            raise MalformedError("too deep", place=above)
        for name, attributes, cluster, size in self._names(data):
            path = above + name
            self._entries += 1
            if self._entries > MAX_ENTRIES:
                raise TooLargeError(f"over {MAX_ENTRIES} files and folders", place=path)
            if "/" in name or "\0" in name or path in self._files:
                raise MalformedError("a name that cannot be, or is there twice", place=path)
            if attributes & _FOLDER:
                self._list(f"{path}/", self._folder(cluster, path))
                continue
            count = -(-size // self._cluster)
            runs = self._runs(cluster, count, place=path) if size else []
            self._count += len(runs)
            if self._count > _MAX_RUNS:
                raise TooLargeError(f"its files are in over {_MAX_RUNS} runs of clusters", place=path)
            if sum(length for _, length in runs) != count * self._cluster:
                raise MalformedError("its clusters are fewer than its size", place=path)
            self._files[path] = _File(size=size, runs=tuple((self._base + at, length) for at, length in runs))

    def _names(self, data: bytes) -> Iterator[tuple[str, int, int, int]]:
        """(name, attributes, first cluster, size) of the entries of a folder."""
        long: list[bytes] = []
        check = -1
        for at in range(0, len(data) - ENTRY + 1, ENTRY):
            entry = data[at : at + ENTRY]
            if entry[0] == 0:
                return
            if entry[0] == 0xE5:
                long = []
                continue
            attributes = entry[11]
            if attributes & 0x3F == _LONG:
                if entry[0] & 0x40:
                    long, check = [], entry[13]
                if len(long) >= _MAX_LONG:
                    raise MalformedError("a long name of too many entries", place="folder")
                long.insert(0, entry[1:11] + entry[14:26] + entry[28:32])
                continue
            short = entry[:11]
            name = shown(short)
            if long and checksum(short) == check:
                name = b"".join(long).decode("utf-16-le", "replace").partition("\0")[0]
            long = []
            if attributes & _LABEL:
                self.label = short.decode("latin-1").rstrip()
            elif name not in (".", ".."):
                high, low, size = int.from_bytes(entry[20:22], "little"), entry[26:28], entry[28:]
                cluster = (high << 16 if self._wide else 0) | int.from_bytes(low, "little")
                yield name, attributes, cluster, int.from_bytes(size, "little")


class _Data(View):
    """The data of a file; the source is used by one thread at a time."""

    def __init__(self, source: BinaryIO, file: _File) -> None:
        super().__init__(file.size)
        self._source = source
        self._runs = file.runs
        self._starts = [0, *accumulate(length for _, length in file.runs)][:-1]

    def _fill(self, into: memoryview) -> int:
        number = bisect_right(self._starts, self._position) - 1
        at, length = self._runs[number]
        within = self._position - self._starts[number]
        self._source.seek(at + within)
        data = self._source.read(min(len(into), length - within, self.size - self._position))
        if not data:
            raise UnreadableError("the medium ends before the file does", place=f"byte {at + within}")
        into[: len(data)] = data
        return len(data)
