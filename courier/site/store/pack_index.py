"""The index of the packs: which contents there are, and where each lies (decision 0020, item 6).

``index.sqlite`` is written after its packs are on stable storage, in one transaction for a batch. Everything in it is
in the packs as well: an index that is lost, damaged or behind (a pack it does not know, or of another size) is read
from them again. It keeps SQLite's rollback journal: readers need no right to write, and a copy of the folder is whole.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from courier.files import TEMP, flush_files, make_folder, sync_folder
from courier.site.store.pack_file import GONE, HEADER, PACK, read_marks, read_records, sizes
from courier.site.store.sqlite_errors import explained, is_busy, is_damaged
from formats.records import Many

T = TypeVar("T")

INDEX = "index.sqlite"
_SCHEMA = """
CREATE TABLE pack (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL);
CREATE TABLE content (
    digest BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL
) WITHOUT ROWID;
"""
_FIND = "SELECT digest, name, offset, length FROM content JOIN pack ON pack.id = content.pack WHERE digest IN "
_LENGTH = "SELECT digest, length FROM content WHERE digest IN "
_AT_ONCE = 200
"""Contents that one statement looks for; fewer than the variables that any SQLite takes."""
_ALL = "SELECT digest, length FROM content ORDER BY digest"
_PAGE = "SELECT digest, length FROM content WHERE digest > ? ORDER BY digest LIMIT ?"
_WAIT = 60.0
"""Seconds to wait for another connection that writes the index."""
_CACHE = 32 << 10
"""KiB of the database that a writer keeps in memory."""


class Place(Many, frozen=True, kw_only=True):
    """Where a content lies: ``length`` bytes from ``offset`` of the pack called ``pack``."""

    pack: str
    offset: int
    length: int


class PackIndex:
    """The index of the packs in a folder. Several threads and processes may read and bring it up to date at once."""

    def __init__(self, folder: Path) -> None:
        """``folder`` need not exist yet."""
        self._folder = folder
        self._path = folder / INDEX
        self._text = str(self._path)
        self._lock = threading.RLock()
        self._open: list[sqlite3.Connection] = []
        self._opened: tuple[int, ...] = ()
        weakref.finalize(self, _close, self._open)

    def find(self, digest: bytes) -> Place | None:
        """Where a content lies; None where it is not packed."""
        return self.find_all([digest]).get(digest)

    def find_all(self, digests: Iterable[bytes]) -> dict[bytes, Place]:
        """Where each of many contents lies; those that are not packed are left out."""

        def look(connection: sqlite3.Connection) -> dict[bytes, Place]:
            rows = _rows_of(connection, _FIND, wanted)
            return {digest: Place(pack=pack, offset=offset, length=length) for digest, pack, offset, length in rows}

        wanted = list(digests)
        return self._reading(look, {})

    def lengths(self, digests: Iterable[bytes]) -> dict[bytes, int]:
        """The bytes of each of many contents; those that are not packed are left out."""
        wanted = list(digests)
        return self._reading(lambda connection: dict(_rows_of(connection, _LENGTH, wanted)), {})

    def page(self, after: bytes, most: int) -> list[tuple[bytes, int]]:
        """SHA-256 and length of at most ``most`` contents, in order, from the first one after ``after``."""
        return self._reading(lambda connection: connection.execute(_PAGE, (after, most)).fetchall(), [])

    def live_bytes(self) -> dict[str, int]:
        """The bytes of the records in each pack that are in use, by the pack's name."""
        query = (
            "SELECT name, coalesce(live, 0) FROM pack LEFT JOIN "
            f"(SELECT pack, sum(length + {HEADER.size}) AS live FROM content GROUP BY pack) ON pack = id"
        )
        return self._reading(lambda connection: dict(connection.execute(query)), {})

    def differences(self) -> int:
        """How many contents this index tells otherwise than one that is made anew from the packs, which are all read.

        A content that several packs hold may stand in any of them.
        """
        if not self._folder.is_dir():
            return 0

        def look(live: sqlite3.Connection) -> int:
            with contextlib.closing(self._private()) as fresh:
                told, there = (dict_of.execute(_ALL) for dict_of in (live, fresh))
                return sum(1 for _ in _unlike(told, there))

        return self._reading(look, 0)

    def rebuild(self) -> None:
        """Make the index anew from the packs."""
        with explained(self._path):
            self._replace()

    def refresh(self) -> None:
        """Compare the index with the packs that there are, and bring it up to date."""
        with self._lock:
            _close(self._open)

    def _reading(self, read: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """What ``read`` finds in the index; ``nothing`` where nothing was ever packed."""
        with self._lock, explained(self._path):
            for attempt in range(2):
                connection = self._reader()
                if connection is None:
                    return nothing
                try:
                    return read(connection)
                except sqlite3.DatabaseError as error:
                    if attempt or is_busy(error):
                        raise
                    _close(self._open)
                    if is_damaged(error) and os.access(self._folder, os.W_OK):
                        self._replace()
                    elif is_damaged(error):
                        self._hold(self._private())
        raise AssertionError("the second attempt returns or raises")

    def _reader(self) -> sqlite3.Connection | None:
        """The connection of this process that reads; None where nothing was ever packed."""
        identity = self._identity()
        if self._open and identity == self._opened:
            return self._open[0]
        if identity[0] != (self._opened or identity)[0]:
            # It was opened before a fork: SQLite forbids to use it here, and closing it is for the other process.
            _INHERITED.extend(self._open)
            self._open.clear()
        _close(self._open)
        if len(identity) == 1 and not self._folder.is_dir():
            return None
        return self._hold(self._current())

    def _hold(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        self._open.append(connection)
        self._opened = self._identity()
        return connection

    def _identity(self) -> tuple[int, ...]:
        """This process, and the file that the index is at present: another process may have replaced a damaged one."""
        try:
            info = os.stat(self._text)  # noqa: PTH116 (asked for every content)
        except FileNotFoundError:
            return (os.getpid(),)
        return os.getpid(), info.st_dev, info.st_ino

    def _current(self) -> sqlite3.Connection:
        """A connection that reads, to an index that is up to date."""
        connection = None
        try:
            connection = _connect(self._path, "ro")
            if _known(connection) == sizes(self._folder):
                return connection
        except sqlite3.DatabaseError as error:
            if is_busy(error):
                raise
            # It is missing or no database, or a kill left a transaction to be undone.
        if connection is not None:
            connection.close()
        if not os.access(self._folder, os.W_OK):
            return self._private()
        with self.writing():
            pass
        return _connect(self._path, "ro")

    def _private(self) -> sqlite3.Connection:
        """An index of our own, in a temporary file, for packs that we may only read."""
        connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        _fill(connection, self._folder)
        return connection

    def _replace(self) -> None:
        """Make the index anew from the packs, in place of one that is missing or damaged.

        Other processes may do the same at once: each puts a whole index in place.
        """
        temporary = self._path.with_name(f"{TEMP}{secrets.token_hex(8)}-{INDEX}")
        try:
            with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute("PRAGMA synchronous = OFF")
                _fill(connection, self._folder)
            flush_files([temporary])
            # The journal of the damaged one must not be undone in its successor.
            self._path.with_name(f"{INDEX}-journal").unlink(missing_ok=True)
            temporary.replace(self._path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(self._folder)

    @contextmanager
    def writing(self, attached: Path | None = None) -> Iterator[sqlite3.Connection]:
        """A transaction on the index, brought up to date before; committed when the block ends without an error.

        ``attached``: a further database, called ``needed`` there. Raises `BusyError`, `DamagedError` and `OSError`.
        """
        make_folder(self._folder)
        with explained(self._path):
            try:
                connection = self._begin(attached)
            except sqlite3.DatabaseError as error:
                if is_busy(error):
                    raise
                self._replace()
                connection = self._begin(attached)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error) and is_damaged(error):
                    connection.close()
                    self._replace()
                raise
            finally:
                connection.close()

    def _begin(self, attached: Path | None) -> sqlite3.Connection:
        connection = _connect(self._path, "rw")
        try:
            connection.execute(f"PRAGMA cache_size = -{_CACHE}")
            if attached is not None:
                connection.execute("ATTACH DATABASE ? AS needed", (str(attached),))
            connection.execute("BEGIN IMMEDIATE")
            _bring_up_to_date(connection, self._folder)
        except BaseException:
            connection.close()
            raise
        return connection


def _rows_of(connection: sqlite3.Connection, query: str, digests: list[bytes]) -> Iterator[tuple[Any, ...]]:
    """The rows of those of many contents that there are."""
    # One transaction: SQLite asks the system for locks and other writers only once.
    connection.execute("BEGIN")
    try:
        for begin in range(0, len(digests), _AT_ONCE):
            some = digests[begin : begin + _AT_ONCE]
            yield from connection.execute(f"{query}({','.join('?' * len(some))})", some)
    finally:
        connection.execute("ROLLBACK")


def _unlike(one: Iterable[tuple[bytes, int]], other: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """The rows that only one of two has, which both are in order."""
    before: tuple[bytes, int] | None = None
    for row in heapq.merge(one, other):
        if row == before:
            before = None
            continue
        if before is not None:
            yield before
        before = row
    if before is not None:
        yield before


_INHERITED: list[sqlite3.Connection] = []


def _close(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False)


def _known(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT name, size FROM pack"))


def _fill(connection: sqlite3.Connection, folder: Path) -> None:
    """Make an index from nothing."""
    connection.execute(f"PRAGMA cache_size = -{_CACHE}")
    connection.executescript(_SCHEMA)
    connection.execute("BEGIN")
    _bring_up_to_date(connection, folder)
    connection.execute("COMMIT")


def _bring_up_to_date(connection: sqlite3.Connection, folder: Path) -> None:
    """Make the index that of the packs which there are, inside a transaction."""
    known, there = _known(connection), sizes(folder)
    if known == there:
        return
    for name in [name for name in known if there.get(name) != known[name]]:
        (number,) = connection.execute("SELECT id FROM pack WHERE name = ?", (name,)).fetchone()
        if connection.execute("SELECT 1 FROM content WHERE pack = ? LIMIT 1", (number,)).fetchone():
            # Contents were lost with it. Another pack may hold some of them as well: only all packs together tell.
            connection.execute("DELETE FROM content")
            connection.execute("DELETE FROM pack")
            known.clear()
            break
        connection.execute("DELETE FROM pack WHERE id = ?", (number,))
        del known[name]
    for name in sorted(there.keys() - known.keys()):
        _read_pack(connection, folder, name)


def _read_pack(connection: sqlite3.Connection, folder: Path, name: str) -> None:
    """Put a pack into the index, every content of it compared with its SHA-256."""
    try:
        source = (folder / f"{name}{PACK}").open("rb")
    except FileNotFoundError:
        return  # it was copied over meanwhile
    with source:
        number = add_pack(connection, name, os.fstat(source.fileno()).st_size)
        rows = (
            (digest, number, offset, length)
            for digest, offset, length in read_records(source, read_marks(folder / f"{name}{GONE}"))
        )
        connection.executemany("INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?)", rows)


def add_pack(connection: sqlite3.Connection, name: str, size: int) -> int:
    """Put a pack of ``size`` bytes into the index; return its number there, which is that of its contents' rows."""
    number = connection.execute("INSERT INTO pack (name, size) VALUES (?, ?)", (name, size)).lastrowid
    assert number is not None, "an INSERT has a row"
    return number
