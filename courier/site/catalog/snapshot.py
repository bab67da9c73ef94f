"""A copy of a catalogue as it is at one moment, taken while others use it; and a catalogue filled from such a copy.

The copy is an SQLite file. That of an SQLite catalogue is made by SQLite's own backup call: its files, copied one by
one, would not fit together. A catalogue on a server is read table by table, in one transaction.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from courier.errors import RefusedError
from courier.files import private_mode
from courier.site.catalog.database import BUSY_SECONDS, Catalogue, open_catalogue, sqlite_url
from courier.site.catalog.database_errors import damaged_catalogue
from courier.site.catalog.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

_ROWS = 1000
"""Rows that are copied at once."""


def copy_file(catalogue: Path, copy: Path) -> None:
    """Copy the SQLite file of a catalogue to ``copy``, a new file. Raises `DamagedError` where that is not whole."""
    copy.touch(mode=private_mode(copy.parent), exist_ok=False)
    source = sqlite3.connect(f"{catalogue.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    with contextlib.closing(source), contextlib.closing(sqlite3.connect(copy)) as target:
        try:
            source.backup(target)
            # One file, without those that SQLite keeps beside a catalogue in use.
            target.execute("PRAGMA journal_mode=DELETE")
            said = target.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            said = str(error)
    if said != "ok":
        raise damaged_catalogue(f"catalogue {catalogue}", said)


def copy_tables(catalogue: Catalogue, copy: Path) -> None:
    """Copy a catalogue on a server to ``copy``, a new SQLite file: all tables as they were at one moment."""
    copy.touch(mode=private_mode(copy.parent), exist_ok=False)
    with (
        contextlib.closing(open_catalogue(sqlite_url(copy))) as target,
        catalogue.reading() as rows,
        target.writing() as written,
    ):
        _copy_rows(rows, written)
    with contextlib.closing(sqlite3.connect(copy)) as single:
        single.execute("PRAGMA journal_mode=DELETE")


def fill(url: str | URL, copy: Path) -> None:
    """Fill the empty catalogue at an SQLAlchemy URL from a copy. Raises `RefusedError` where it holds anything."""
    with (
        contextlib.closing(open_catalogue(url)) as target,
        contextlib.closing(open_catalogue(sqlite_url(copy))) as source,
        source.reading() as rows,
        target.writing() as written,
    ):
        for table in metadata.sorted_tables:
            if written.execute(table.select().limit(1)).first() is not None:
                raise RefusedError(
                    f"the database of the catalogue is not empty: there are rows in {table.name}",
                    hint="name an empty database, or none for an SQLite file in the home",
                )
        _copy_rows(rows, written)
        if written.dialect.name == "postgresql":
            # Rows that bring their own numbers do not move the counter from which the next ones come.
            written.exec_driver_sql(
                "SELECT setval(pg_get_serial_sequence('log', 'id'), (SELECT max(id) FROM log)) "
                "WHERE EXISTS (SELECT 1 FROM log)"
            )


def _copy_rows(source: Connection, target: Connection) -> None:
    for table in metadata.sorted_tables:
        found = source.execute(table.select().execution_options(yield_per=_ROWS))
        for page in found.mappings().partitions():
            target.execute(table.insert(), [dict(row) for row in page])
