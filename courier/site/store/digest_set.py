"""A set of SHA-256 digests on disk: a site may hold millions of contents, which memory is not to grow with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from courier.site.store.sqlite_errors import explained


class DigestSet(AbstractContextManager["DigestSet"]):
    """A set of SHA-256 digests (32 bytes each) in a temporary SQLite database, which goes when the set is closed."""

    def __init__(self, path: Path) -> None:
        """``path`` does not exist yet."""
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        # What a kill leaves of it is swept, so nothing of it need ever be put right.
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("PRAGMA cache_size = -32768")
        self._connection.execute("CREATE TABLE digest (value BLOB PRIMARY KEY) WITHOUT ROWID")

    def update(self, digests: Iterable[bytes]) -> None:
        """Add digests."""
        with explained(self.path):
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR IGNORE INTO digest VALUES (?)", ((digest,) for digest in digests))
            self._connection.execute("COMMIT")

    def __contains__(self, digest: bytes) -> bool:
        row = self._connection.execute("SELECT 1 FROM digest WHERE value = ?", (digest,)).fetchone()
        return row is not None

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self.path.unlink(missing_ok=True)
