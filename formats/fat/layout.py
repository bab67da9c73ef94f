"""Where everything lies in a FAT file system that is made anew. Pure arithmetic over names and sizes.

A volume has reserved sectors, two copies of the allocation table, for FAT16 the root folder, and then clusters: folders
first, then the files in the order given, each in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from formats.errors import IllegalNameError, TooLargeError
from formats.fat.names import entries_of_name, short_names
from formats.names import fold, is_portable

SECTOR = 512
ENTRY = 32
"""Bytes of an entry of a folder."""
MAX_FILE = (1 << 32) - 1
"""Bytes in the largest file."""
MAX_NAME = 255
"""Characters in the longest name."""
FATS = 2
ROOT_ENTRIES = 512
"""Entries of the root folder of FAT16, which cannot grow."""
MIN_CLUSTERS = {16: 4085, 32: 65525}
"""A volume of fewer clusters than this is taken for the next smaller kind (page 14)."""
_MARGIN = 16  # other programs are off by a few (page 15)
_MOST_CLUSTERS = {16: 65524, 32: 0x0FFFFFF5}
_RESERVED = {16: 1, 32: 32}
_ALIGN = 8  # sectors: tables and clusters begin at multiples of 4 KiB of the volume
_WANTED_CLUSTERS = 1 << 20
"""Clusters grow until there are no more than so many of them: a table of 4 MiB."""
_LARGEST_CLUSTER = 64  # sectors

Kind = Literal[16, 32]


@dataclass(frozen=True, kw_only=True, slots=True)
class FatFile:
    """A file to write: its path, its size in bytes, and what opens a stream of exactly so many bytes."""

    path: str
    size: int
    open: Callable[[], BinaryIO]


@dataclass(kw_only=True, slots=True)
class Folder:
    """A folder: its files by name (path, size), its folders by name, the short name of each, and its first cluster."""

    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    folders: dict[str, Folder] = field(default_factory=dict)
    short: dict[str, bytes] = field(default_factory=dict)
    cluster: int = 0
    clusters: int = 0

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted([*self.files, *self.folders])

    def entries(self, *, is_root: bool) -> int:
        """Entries that it has: its label or the two dots, and those of each name."""
        return (1 if is_root else 2) + sum(entries_of_name(name, self.short[name]) for name in self.names())


class FatLayout:
    """The layout of a volume of these files (path and size in bytes), of 512-byte sectors.

    ``first`` gives the first cluster of each file that is not empty. Raises `IllegalNameError` for a path that is not
    portable ASCII, or is there twice but for case, and `TooLargeError` for what a volume of this kind cannot hold.
    """

    def __init__(self, files: Iterable[tuple[str, int]], *, kind: Kind, least: int = 0) -> None:
        """``least``: bytes that the volume has at least."""
        self.kind = kind
        listed = list(files)
        self.root = _tree(listed)
        self._folders = list(_walk(self.root))
        self.cluster_sectors = 1
        while (needed := self._clusters_needed(listed)) > self._wanted and self.cluster_sectors < _LARGEST_CLUSTER:
            self.cluster_sectors *= 2
        self.clusters = max(needed, MIN_CLUSTERS[kind] + _MARGIN, least // (self.cluster_sectors * SECTOR))
        if self.clusters > _MOST_CLUSTERS[kind]:
            raise TooLargeError(f"{self.clusters} clusters, where FAT{kind} has {_MOST_CLUSTERS[kind]} at most")
        table = -(-(self.clusters + 2) * kind // 8 // SECTOR) if kind == 32 else -(-(self.clusters + 2) * 2 // SECTOR)
        self.table_sectors = -(-table // _ALIGN) * _ALIGN
        root = ROOT_ENTRIES * ENTRY // SECTOR if kind == 16 else 0
        reserved = _RESERVED[kind]
        # The clusters begin at a multiple of 4 KiB.
        self.reserved = reserved + -(reserved + FATS * self.table_sectors + root) % _ALIGN
        self.root_sector = self.reserved + FATS * self.table_sectors
        self.data_sector = self.root_sector + root
        self.sectors = self.data_sector + self.clusters * self.cluster_sectors
        self.used = self._place(listed)

    @property
    def _wanted(self) -> int:
        return _WANTED_CLUSTERS if self.kind == 32 else _MOST_CLUSTERS[16]

    @property
    def cluster_bytes(self) -> int:
        """Bytes of a cluster."""
        return self.cluster_sectors * SECTOR

    @property
    def size(self) -> int:
        """Bytes of the volume."""
        return self.sectors * SECTOR

    def offset(self, cluster: int) -> int:
        """Bytes from the begin of the volume to a cluster; they are counted from 2."""
        return (self.data_sector + (cluster - 2) * self.cluster_sectors) * SECTOR

    def folders(self) -> Sequence[tuple[str, Folder, Folder]]:
        """(path, folder, the folder above) of each; the first is the root, which is above itself."""
        return self._folders

    def length(self, size: int) -> int:
        """Clusters of so many bytes."""
        return -(-size // self.cluster_bytes)

    def _in_clusters(self, folder: Folder) -> bool:
        return self.kind == 32 or folder is not self.root

    def _clusters_needed(self, listed: Sequence[tuple[str, int]]) -> int:
        for _, folder, _ in self._folders:
            entries = folder.entries(is_root=folder is self.root)
            if self._in_clusters(folder):
                folder.clusters = max(1, self.length(entries * ENTRY))
            elif entries > ROOT_ENTRIES:
                raise TooLargeError(f"{entries} entries, where the root of FAT16 has {ROOT_ENTRIES}")
            if entries > 65536:
                raise TooLargeError(f"{entries} entries, where a folder has 65536 at most")
        return sum(folder.clusters for _, folder, _ in self._folders) + sum(self.length(size) for _, size in listed)

    def _place(self, listed: Sequence[tuple[str, int]]) -> int:
        """Give folders and files their clusters; returns the first cluster that is free."""
        cluster = 2
        for _, folder, _ in self._folders:
            if self._in_clusters(folder):
                folder.cluster = cluster
                cluster += folder.clusters
        self.first: dict[str, int] = {}
        for path, size in listed:
            if size:
                self.first[path] = cluster
                cluster += self.length(size)
        return cluster


def _tree(listed: Sequence[tuple[str, int]]) -> Folder:
    root = Folder()
    for path, size in listed:
        if not path.isascii() or not is_portable(path) or max(map(len, path.split("/"))) > MAX_NAME:
            raise IllegalNameError("not a portable ASCII name for a stick", place=ascii(path))
        if not 0 <= size <= MAX_FILE:
            raise TooLargeError(f"{size} bytes, where a file of FAT has {MAX_FILE} at most", place=path)
        *above, name = path.split("/")
        folder = root
        for part in above:
            folder = folder.folders.setdefault(part, Folder())
        if name in folder.files:
            raise IllegalNameError("two files have this path", place=path)
        folder.files[name] = (path, size)
    for path, folder, _ in _walk(root):
        names = folder.names()
        if len({fold(name) for name in names}) != len(names):
            raise IllegalNameError("two entries have one name, but for case", place=path or "/")
        folder.short = short_names(names)
    return root


def _walk(root: Folder) -> Iterable[tuple[str, Folder, Folder]]:
    todo = [("", root, root)]
    for path, folder, above in todo:
        yield path, folder, above
        for name in sorted(folder.folders):
            todo.append((f"{path}/{name}" if path else name, folder.folders[name], folder))
