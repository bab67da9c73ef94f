"""Where the small contents lie that a command is taking in: there may be more of them than memory is to hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from courier.site.store.key_set import KeySet
from courier.site.store.packs import Row
from courier.site.store.sqlite_errors import explained

_ROWS = 1 << 15
"""Rows that are kept in memory, some 10 MB of them."""
_SHORT = 8
"""Bytes of the digests of the others that are: the database is asked only for what begins as one of them does."""


class StagedRows:
    """Where the small contents lie that were staged. The last ones in memory, those before in a database on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[bytes, tuple[int, int, int]] = {}
        self._before: sqlite3.Connection | None = None
        self._begin_as = KeySet(_SHORT)

    def __contains__(self, digest: bytes) -> bool:
        return self.length(digest) is not None

    def length(self, digest: bytes) -> int | None:
        """The bytes of a content; None where it was not noted."""
        if digest in self._last:
            return self._last[digest][2]
        if self._before is None or digest[:_SHORT] not in self._begin_as:
            return None
        row = self._before.execute("SELECT length FROM content WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else int(row[0])

    def add(self, digest: bytes, pack: int, offset: int, length: int) -> None:
        """Note a content that was not staged before."""
        self._last[digest] = pack, offset, length
        if len(self._last) >= _ROWS:
            self._put_down()

    def _put_down(self) -> None:
        with explained(self._path):
            if self._before is None:
                self._before = sqlite3.connect(self._path, isolation_level=None)
                self._before.execute("PRAGMA journal_mode = OFF")
                self._before.execute("PRAGMA synchronous = OFF")
                self._before.execute("PRAGMA cache_size = -32768")
                self._before.execute(
                    "CREATE TABLE content (digest BLOB PRIMARY KEY, pack INTEGER, offset INTEGER, length INTEGER) "
                    "WITHOUT ROWID"
                )
            self._before.execute("BEGIN")
            rows = ((digest, *place) for digest, place in sorted(self._last.items()))
            self._before.executemany("INSERT INTO content VALUES (?, ?, ?, ?)", rows)
            self._before.execute("COMMIT")
        for digest in self._last:
            self._begin_as.add(digest[:_SHORT])
        self._last = {}

    def in_order(self) -> Iterator[Row]:
        """Every content that was noted, in the order of the SHA-256."""
        if self._before is not None:
            self._put_down()
            yield from self._before.execute("SELECT digest, pack, offset, length FROM content ORDER BY digest")
            return
        for digest, place in sorted(self._last.items()):
            yield (digest, *place)

    def close(self) -> None:
        """Close the database; its file goes with the folder."""
        if self._before is not None:
            self._before.close()
            self._before = None
