"""Opening the catalogue: engine, migrations, transactions.

SQLite and PostgreSQL behave alike. There is one writer at a time; it holds the lock from the beginning of its
transaction, so what it reads stays true until the end, and no number is given out twice. Readers wait for nobody, and
all that one connection reads is one state of the catalogue.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from courier.error_codes import Code
from courier.errors import BusyError, CourierError, NoSpaceError, RefusedError, UsageError
from courier.files import free_space
from courier.site.catalog.schema import HEAD
from courier.site.log import log_notes, noting

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BUSY_SECONDS = 30
"""How long a writer waits for another."""
_ROOM_TO_OPEN = 1 << 20
"""Free bytes that opening a local catalogue may need, even only to read it."""
_READ = "courier_read"
_WRITER = 0x636F7572
"""The key of the advisory lock that a writer holds in PostgreSQL."""


class Catalogue:
    """A site's catalogue. `reading` and `writing` give connections; a writing one is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # In SQLite others wait for the writer by sleeping ever longer; threads of one process take turns by a lock.
        self._turn = threading.RLock() if engine.dialect.name == "sqlite" else contextlib.nullcontext()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading; all that is read through it is one state of the catalogue."""
        with _translated(self._engine), self._engine.connect().execution_options(**{_READ: True}) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection for one transaction: committed at the end of the block, rolled back on an error.

        Raises `BusyError` when others write for longer than `BUSY_SECONDS`.
        """
        with (
            self._turn,
            _translated(self._engine),
            self._engine.begin() as connection,
            noting(connection) as notes,
        ):
            yield connection
        log_notes(notes)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def open_catalogue(url: str) -> Catalogue:
    """Open the catalogue at an SQLAlchemy URL and bring its schema up to date.

    Raises `UsageError` when the URL names no database that can be used, `RefusedError` when the schema was made by a
    newer release.
    """
    from sqlalchemy import inspect, text

    engine = _engine(url)
    with _translated(engine):
        with engine.connect().execution_options(**{_READ: True}) as connection:
            known = inspect(connection).has_table("alembic_version")
            revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if known else None
        if revision != HEAD:
            if revision is not None and revision > HEAD:
                raise RefusedError(
                    f"the catalogue is at schema {revision}, this release knows {HEAD}",
                    hint="use the release that made it, or a newer one",
                    code=Code.NEWER_CATALOGUE,
                )
            _migrate(engine)
    return Catalogue(engine)


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
        if kind not in ("sqlite", "postgresql"):
            raise ArgumentError(f"a catalogue is kept in SQLite or PostgreSQL, not in {kind}")
        if parsed.drivername == "postgresql":
            # Releases of SQLAlchemy differ in the driver that they take by default.
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS} if kind == "sqlite" else {})
    except ArgumentError as error:
        hint = "write it like postgresql://user@host/name, or leave it out for an SQLite file in the site home"
        raise UsageError(f"catalogue: {str(error).splitlines()[0]}", hint=hint) from None
    except ImportError as error:
        raise UsageError(f"catalogue: {error}", hint="pip install 'courier-parcels[postgresql]'") from None
    if kind == "sqlite":
        event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin if kind == "sqlite" else _postgresql_begin)
    return engine


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path.as_posix()}"


def _sqlite_connect(connection: Any, _record: object) -> None:
    # Transactions are begun by `_sqlite_begin`, not by the driver, so that they cover changes of the schema too.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    # A writer takes the lock at once: taking it later, half-way through the transaction, could be refused.
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(_READ) else "BEGIN IMMEDIATE")


def _postgresql_begin(connection: Connection) -> None:
    if connection.get_execution_options().get(_READ):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS * 1000:.0f}ms'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = (Path(__file__).parent / "migrations").as_posix()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextlib.contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    """Turn errors of the database into a `CourierError` that names the catalogue, without its password."""
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    local = engine.dialect.name == "sqlite" and engine.url.database
    where = (
        f"catalogue {engine.url.database if local else engine.url.set(query={}).render_as_string(hide_password=True)}"
    )
    try:
        yield
    except OperationalError as error:
        text = " ".join(str(error.orig).split())
        # SQLite only says "disk I/O error" when not even the file of its shared memory can grow.
        no_room = local and "disk I/O error" in text and free_space(Path(local)) < _ROOM_TO_OPEN
        if no_room or "full" in text or "No space left" in text:
            free = f" ({free_space(Path(local)):,} bytes are free there)" if local else ""
            hint = "free some 100 MB on its disk, then run the same command again"
            raise NoSpaceError(f"{where}: {text}{free}", hint=hint) from None
        if any(word in text for word in ("locked", "lock timeout", "deadlock")):
            hint = "wait for the other command to end, then run this one again"
            raise BusyError(f"{where}: {text}", hint=hint) from None
        if local and any(word in text for word in ("readonly", "unable to open")):
            hint = (
                f"{Path(local).parent} must be writable for this: mount it so, or check who owns it and its permissions"
            )
            raise RefusedError(f"{where}: {text}", hint=hint, code=Code.PERMISSION) from None
        raise CourierError(
            f"{where}: {text}", hint="check the catalogue's file or server", code=Code.CATALOGUE
        ) from None
    except SQLAlchemyError as error:
        message = f"{where}: {type(error).__name__}: {str(error).splitlines()[0]}"
        raise CourierError(message, hint="check the catalogue's file or server", code=Code.CATALOGUE) from None
