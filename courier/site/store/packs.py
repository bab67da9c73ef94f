"""Packs of the store: small contents, many to a file, found through an index in SQLite (decision 0020).

A pack is `MAGIC`, then records one after the other: SHA-256 (32 bytes), length (8 bytes, big-endian), the bytes. A pack
never changes once it has its name. The index says where each content lies. It is written after its packs are on stable
storage, and what it lacks is read from the packs again: a kill or a lost index costs time and nothing else.

    packs/00000001.pack     records
    packs/index.sqlite      content -> pack, offset, length
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.files import flush_files, make_folder, sync_folder

MAGIC = b"courier-pack/1\n\0"
LARGEST = 64 << 10
"""Bytes of the largest content that is packed; larger ones are files of their own."""
PACK_SIZE = 64 << 20
"""Bytes after which a pack is closed and the next one begun."""
BATCH = 10_000
"""Rows that are written to the index at once."""
INDEX = "index.sqlite"
_RECORD = struct.Struct(">32sQ")
_NAME = re.compile(r"([0-9]{8})\.pack")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pack (number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS content (
    digest BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS content_of_pack ON content (pack);
"""
_Row = tuple[bytes, int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedContent:
    """Where a content lies: ``length`` bytes from ``offset`` of pack ``pack``."""

    digest: bytes
    pack: int
    offset: int
    length: int


class Packs:
    """The packs of one store. Several threads and processes may read at once; the store's lock is held for writing."""

    def __init__(self, folder: Path) -> None:
        """``folder`` need not exist yet."""
        self._folder = folder
        self._local = threading.local()

    def _index(self) -> sqlite3.Connection | None:
        """This thread's connection to the index, brought up to date; None where nothing was ever packed."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None and self._folder.is_dir():
            connection = self._open()
            self._local.connection = connection
        return connection

    def _open(self) -> sqlite3.Connection:
        path = self._folder / INDEX
        try:
            return self._current(path)
        except sqlite3.DatabaseError:
            # Cut or overwritten: all that it says is in the packs.
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            return self._current(path)

    def _current(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA temp_store = FILE")
            connection.executescript(_SCHEMA)
            known = {number for (number,) in connection.execute("SELECT number FROM pack")}
            there = {int(match[1]) for item in self._folder.iterdir() if (match := _NAME.fullmatch(item.name))}
            if known != there:
                with _transaction(connection):
                    for number in known - there:
                        _forget_pack(connection, number)
                    for number in sorted(there - known):
                        self._read_pack(connection, number)
        except BaseException:
            connection.close()
            raise
        return connection

    def _read_pack(self, connection: sqlite3.Connection, number: int) -> None:
        """Put a pack into the index, every content compared with its SHA-256."""
        rows: list[_Row] = []
        with self._path(number).open("rb") as source:
            for digest, offset, data in _records(source):
                if hashlib.sha256(data).digest() == digest:
                    rows.append((digest, number, offset, len(data)))
        _add_rows(connection, number, rows)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.pack"

    def find(self, digest: bytes) -> PackedContent | None:
        """Where a content lies; None where it is not packed."""
        index = self._index()
        if index is None:
            return None
        query = "SELECT pack, offset, length FROM content WHERE digest = ?"
        row = index.execute(query, (digest,)).fetchone()
        return PackedContent(digest=digest, pack=row[0], offset=row[1], length=row[2]) if row else None

    def read(self, content: PackedContent) -> bytes:
        """The bytes of a content, not compared with its SHA-256; fewer where the pack was cut short.

        Raises `FileNotFoundError` where the pack is gone, and other errors of the system.
        """
        with self._path(content.pack).open("rb", buffering=0) as source:
            source.seek(content.offset)
            return bytes(source.read(content.length))

    def contents(self) -> Iterator[PackedContent]:
        """Every packed content, in the order of the SHA-256."""
        index = self._index()
        if index is None:
            return
        for digest, pack, offset, length in index.execute("SELECT * FROM content ORDER BY digest"):
            yield PackedContent(digest=digest, pack=pack, offset=offset, length=length)

    def forget(self, digest: bytes) -> bytes | None:
        """Take a content out of the index, where its bytes are damaged; return them, None where it was not packed."""
        index, found = self._index(), self.find(digest)
        if index is None or found is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            data = self.read(found)
            index.execute("DELETE FROM content WHERE digest = ?", (digest,))
            return data
        index.execute("DELETE FROM content WHERE digest = ?", (digest,))
        return b""

    def collect(self, needed: Iterable[bytes]) -> int:
        """Forget every content but those of these digests; return the bytes of those forgotten.

        A pack of which at most half is left is written anew with what is left. Call it under the store's lock.
        """
        index = self._index()
        if index is None:
            return 0
        index.execute("CREATE TEMP TABLE IF NOT EXISTS needed (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        with _transaction(index):
            index.execute("DELETE FROM needed")
            index.executemany("INSERT OR IGNORE INTO needed VALUES (?)", ((digest,) for digest in needed))
            unneeded = "FROM content WHERE digest NOT IN (SELECT digest FROM needed)"
            freed = index.execute(f"SELECT coalesce(sum(length), 0) {unneeded}").fetchone()[0]
            index.execute(f"DELETE {unneeded}")
            index.execute("DELETE FROM needed")
        self._compact(index)
        return int(freed)

    def _compact(self, index: sqlite3.Connection) -> None:
        query = (
            "SELECT pack.number, coalesce(sum(length), 0) FROM pack LEFT JOIN content ON content.pack = pack.number "
            "GROUP BY pack.number"
        )
        worn = []
        for number, live in index.execute(query).fetchall():
            size = self._path(number).stat().st_size if self._path(number).exists() else 0
            if 2 * live <= size - len(MAGIC):
                worn.append(number)
        if not worn:
            return
        staging = self.stage(self._folder)
        for number in worn:
            rows = index.execute("SELECT * FROM content WHERE pack = ? ORDER BY offset", (number,)).fetchall()
            for row in rows:
                content = PackedContent(digest=row[0], pack=row[1], offset=row[2], length=row[3])
                staging.add(content.digest, self.read(content))
        staging.commit(replacing=worn)
        for number in worn:
            self._path(number).unlink(missing_ok=True)
        sync_folder(self._folder)

    def stage(self, folder: Path) -> PackStaging:
        """Begin to pack contents, in temporary files of ``folder`` (on the disk of the packs)."""
        return PackStaging(self, folder)

    def _next_number(self) -> int:
        numbers = [int(match[1]) for item in self._folder.iterdir() if (match := _NAME.fullmatch(item.name))]
        return max(numbers, default=0) + 1

    def _take_in(self, staged: list[Path], rows: sqlite3.Connection, replacing: Iterable[int]) -> None:
        """Give staged packs their names and put their contents into the index."""
        make_folder(self._folder)
        index = self._index()
        assert index is not None, "the folder was made just now"
        flush_files(staged)
        first = self._next_number()
        for at, path in enumerate(staged):
            path.replace(self._path(first + at))
        sync_folder(self._folder)
        with _transaction(index):
            for number in replacing:
                index.execute("DELETE FROM pack WHERE number = ?", (number,))
            index.executemany("INSERT OR IGNORE INTO pack VALUES (?)", ((first + at,) for at in range(len(staged))))
            found = rows.execute("SELECT digest, pack + ?, offset, length FROM content", (first,))
            while batch := found.fetchmany(BATCH):
                index.executemany("INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?)", batch)


class PackStaging:
    """Contents on their way into packs; nothing of them is seen until `commit`."""

    def __init__(self, packs: Packs, folder: Path) -> None:
        self._packs = packs
        self._folder = folder
        self._paths: list[Path] = []
        self._out: BinaryIO | None = None
        # Which contents were staged, in a private temporary database: a million of them take no memory here.
        self._rows = sqlite3.connect("", isolation_level=None)
        self._rows.executescript(_SCHEMA)
        self._rows.execute("BEGIN")

    def has(self, digest: bytes) -> bool:
        """Whether a content was staged here."""
        return self._rows.execute("SELECT 1 FROM content WHERE digest = ?", (digest,)).fetchone() is not None

    def read(self, digest: bytes) -> bytes | None:
        """The bytes of a content that was staged here."""
        row = self._rows.execute("SELECT pack, offset, length FROM content WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            return None
        if self._out is not None:
            self._out.flush()
        with self._paths[row[0]].open("rb") as source:
            source.seek(row[1])
            data: bytes = source.read(row[2])
            return data

    def add(self, digest: bytes, data: bytes) -> None:
        """Stage a content with this SHA-256; one that was staged before is kept once."""
        if self.has(digest):
            return
        if self._out is None or self._out.tell() >= PACK_SIZE:
            self._begin()
        assert self._out is not None
        self._out.write(_RECORD.pack(digest, len(data)))
        row = (digest, len(self._paths) - 1, self._out.tell(), len(data))
        self._out.write(data)
        self._rows.execute("INSERT INTO content VALUES (?, ?, ?, ?)", row)

    def _begin(self) -> None:
        if self._out is not None:
            self._out.close()
        path = self._folder / f".tmp-pack-{len(self._paths)}"
        self._out = path.open("wb")
        self._out.write(MAGIC)
        self._paths.append(path)

    def commit(self, *, replacing: Iterable[int] = ()) -> None:
        """Put all that was staged into the packs, in place of the packs ``replacing``."""
        if self._out is not None:
            self._out.close()
            self._out = None
        replaced = list(replacing)
        if self._paths or replaced:
            self._packs._take_in(self._paths, self._rows, replaced)
        self.close()

    def close(self) -> None:
        """Give up what was not committed; its files are deleted with the folder."""
        if self._out is not None:
            self._out.close()
            self._out = None
        self._rows.close()


def _records(source: BinaryIO) -> Iterator[tuple[bytes, int, bytes]]:
    """SHA-256, offset and bytes of each record of a pack; what is cut short at its end is left out."""
    if source.read(len(MAGIC)) != MAGIC:
        return
    at = len(MAGIC)
    while len(header := source.read(_RECORD.size)) == _RECORD.size:
        digest, length = _RECORD.unpack(header)
        at += _RECORD.size
        if length > LARGEST or len(data := source.read(length)) < length:
            return
        yield digest, at, data
        at += length


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _add_rows(connection: sqlite3.Connection, number: int, rows: Iterable[_Row]) -> None:
    connection.execute("INSERT OR IGNORE INTO pack VALUES (?)", (number,))
    connection.executemany("INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?)", rows)


def _forget_pack(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("DELETE FROM content WHERE pack = ?", (number,))
    connection.execute("DELETE FROM pack WHERE number = ?", (number,))
