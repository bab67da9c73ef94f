"""Opening the catalogue: engine, migrations, transactions.

SQLite and PostgreSQL behave alike. There is one writer at a time; it holds the lock from the beginning of its
transaction, so what it reads stays true until the end, and no number is given out twice. Readers wait for nobody, and
all that one connection reads is one state of the catalogue.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from courier.error_codes import Code
from courier.errors import (
    BusyError,
    CourierError,
    RefusedError,
    UsageError,
)
from courier.site.catalog.database_errors import damaged_catalogue, server_error, sqlite_error
from courier.site.catalog.exclusive import SESSION, ServerLocks, check_fences
from courier.site.catalog.held_things import held_thing
from courier.site.catalog.schema import HEAD, VERSION, metadata
from courier.site.clock import now
from courier.site.log import log_notes, noting, noting_within

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

BUSY_SECONDS = 30
"""How long a writer waits for another."""
_ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
"""After a minute without an answer the server counts as gone, rather than after hours."""
_READ = "courier_read"
_WRITER = 0x636F7572
"""The key of the advisory lock that a writer holds in PostgreSQL."""


class Catalogue:
    """A site's catalogue. `reading` and `writing` give connections; a writing one is one transaction."""

    def __init__(self, engine: Engine, *, read_only: bool = False) -> None:
        self._engine, self._read_only = engine, read_only
        name = engine.url.database if engine.dialect.name == "sqlite" else None
        self._file = Path(name) if name else None
        self._identity = self._found()
        # In SQLite others wait for the writer by sleeping ever longer; threads of one process take turns by a lock.
        self._turn = threading.RLock() if engine.dialect.name == "sqlite" else contextlib.nullcontext()
        self._locks = ServerLocks(engine) if engine.dialect.name == "postgresql" else None
        self._open = threading.local()

    def _outer(self) -> Connection | None:
        """The connection of the transaction that this thread writes in now; None where it is in none."""
        connection: Connection | None = getattr(self._open, "connection", None)
        return connection

    def _found(self) -> tuple[int, int] | None:
        """By what the file is known that lies there now; None where there is none."""
        try:
            info = self._file.stat() if self._file is not None else None
        except FileNotFoundError:
            return None
        return (info.st_dev, info.st_ino) if info is not None else None

    def _see_to_the_file(self) -> None:
        """Go by the file that is in the home now, and not by one that was lost or moved away since it was opened.

        What was opened to read is opened anew. Raises `RefusedError` otherwise: what was begun with another home is not
        gone on with in this one.
        """
        found = self._found()
        if found == self._identity:
            return
        if self._read_only:
            self._engine.dispose()
            self._identity = found
            return
        what = "is gone" if found is None else "was replaced by another"
        raise RefusedError(
            f"{self._file} {what} while this command ran",
            hint="run the command again once the home is there",
            code=Code.NO_CATALOGUE if found is None else Code.CATALOGUE_REPLACED,
        )

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading; all that is read through it is one state of the catalogue.

        Within a `writing` of the same thread it is the one of that transaction. Raises `RefusedError` where the file is
        another since, unless the catalogue was opened for reading only.
        """
        if (outer := self._outer()) is not None:
            yield outer
            return
        self._see_to_the_file()
        with _translated(self._engine), self._engine.connect().execution_options(**{_READ: True}) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection for one transaction: committed at the end of the block, rolled back on an error.

        Within another one of the same thread it is part of that transaction: an error undoes this part alone, and what
        it wrote is there once the outer one is committed. Raises `BusyError` when others write for longer than
        `BUSY_SECONDS`, or where what this command holds was lost to another, and `RefusedError` where the catalogue was
        opened for reading only, or was brought up to date by a newer release since.
        """
        if self._read_only:
            raise RefusedError("the catalogue was opened for reading only", hint="give the command that changes it")
        if (outer := self._outer()) is not None:
            with _translated(self._engine), outer.begin_nested(), noting_within(outer):
                yield outer
            return
        self._see_to_the_file()
        self.check_held()
        with (
            self._turn,
            _translated(self._engine),
            self._engine.begin() as connection,
            noting(connection) as notes,
        ):
            if (revision := _revision(connection)) != HEAD:
                raise _newer(revision, "meanwhile")
            if self._locks is not None and (numbers := self._locks.numbers()):
                check_fences(connection, numbers)
            self._open.connection = connection
            try:
                yield connection
            finally:
                del self._open.connection
        log_notes(notes)

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold what one command at a time may hold, whichever computer it runs on. ``name``: a path in the home.

        Raises `BusyError` at once when another command holds it. Whoever is killed, or whose computer goes down, holds
        it no more. Whoever was cut off from the server and lost it to another can write nothing more: `writing` raises
        `BusyError` then. A catalogue in SQLite is of one computer, whose lock files keep commands apart: there this
        does nothing.
        """
        if self._locks is None:
            yield
            return
        with _translated(self._engine):
            self._locks.take(name, held_thing(name))
        try:
            yield
        finally:
            self._locks.give_back(name)

    def check_held(self) -> None:
        """Raise `BusyError` where something that this command holds by `exclusive` was lost to another.

        Call it before a file is put in place, or removed, of which no transaction says that it counts.
        """
        if self._locks is not None:
            with _translated(self._engine):
                self._locks.stand()

    def server_ahead_ns(self) -> int:
        """By how many nanoseconds the clock of the server is ahead of this computer's; 0 for a catalogue in SQLite."""
        if self._locks is None:
            return 0
        with self.reading() as connection:
            begun = now()
            theirs = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp()) * 1000000").scalar_one()
            return int(theirs) * 1000 - (begun + now()) // 2

    def holder(self, name: str) -> str:
        """Who holds something by `exclusive`: command, process and computer; empty where nobody does, or in SQLite."""
        if self._locks is None:
            return ""
        with _translated(self._engine):
            return self._locks.holders([name]).get(name, "")

    def held_by_others(self) -> dict[str, str]:
        """What is held by `exclusive`, but for this command's own, and by whom."""
        if self._locks is None:
            return {}
        with _translated(self._engine):
            return self._locks.held_by_others()

    @contextlib.contextmanager
    def watching(self) -> Iterator[Callable[[], str]]:
        """A function that gives a text which differs whenever somebody else has written since it was last called.

        One thread at a time may call it. On a server it may differ too when another database was written. It raises
        `BusyError` when the file is another than at the beginning: then one begins anew.
        """
        self._see_to_the_file()
        begun_with = self._found()
        with _translated(self._engine), self._engine.connect().execution_options(**{_READ: True}) as connection:
            is_file = self._engine.dialect.name == "sqlite"
            # SQLite counts for each connection what others have committed; PostgreSQL numbers its transactions.
            asked = "PRAGMA data_version" if is_file else "SELECT txid_snapshot_xmax(txid_current_snapshot())"

            def state() -> str:
                if self._found() != begun_with:
                    raise BusyError("the catalogue was replaced by another", hint="it is opened anew in a moment")
                with _translated(self._engine), connection.begin():
                    return str(connection.exec_driver_sql(asked).scalar())

            yield state

    def close(self) -> None:
        """Close all connections; what is held by `exclusive` is given back."""
        if self._locks is not None:
            self._locks.close()
        self._engine.dispose()


def open_catalogue(url: str | URL, *, read_only: bool = False) -> Catalogue:
    """Open the catalogue at an SQLAlchemy URL and bring its schema up to date.

    ``read_only``: nothing can be written through it, and one of an older release is refused. Raises `UsageError` when
    the URL names no database that can be used, `RefusedError` when the schema was made by a newer release,
    `DamagedError` for a file that is no catalogue, `UnreachableError` when the server does not answer.
    """
    engine = _engine(url, read_only=read_only)
    with _translated(engine):
        with engine.connect().execution_options(**{_READ: True}) as connection:
            revision = _revision(connection)
        if revision != HEAD:
            if revision is not None and revision > HEAD:
                raise _newer(revision)
            if read_only:
                raise RefusedError(
                    f"the catalogue is at schema {revision or 'none'}, and is to be read only; this release has {HEAD}",
                    hint="any other command brings it up to date, such as: courier status",
                    code=Code.OLDER_CATALOGUE,
                )
            _bring_up_to_date(engine)
    return Catalogue(engine, read_only=read_only)


def _newer(revision: str | None, when: str = "") -> RefusedError:
    """The error for a catalogue that a newer release made, or brought up to date."""
    return RefusedError(
        f"the catalogue {f'was brought to schema {revision} {when}' if when else f'is at schema {revision}'}, this "
        f"release knows {HEAD}",
        hint="use the release that made it, or a newer one; all computers of a site want the same",
        code=Code.NEWER_CATALOGUE,
    )


def check_whole(url: URL) -> None:
    """Raise `DamagedError` unless the SQLite file of a catalogue is sound and has every table of its release."""
    from sqlalchemy import inspect, text

    engine = _engine(url)
    try:
        with _translated(engine), engine.connect().execution_options(**{_READ: True}) as connection:
            said = str(connection.execute(text("PRAGMA quick_check(1)")).scalar())
            tables = set(inspect(connection).get_table_names())
            is_newest = _revision(connection) == HEAD
    finally:
        engine.dispose()
    if said == "ok" and is_newest and not metadata.tables.keys() <= tables:
        said = "tables are missing"
    if said != "ok":
        raise damaged_catalogue(f"catalogue {url.database}", said)


def _revision(connection: Connection) -> str | None:
    """The migration that a catalogue is at; None where it has no schema.

    One statement where there is a schema, as every command asks for it; looking at the tables first takes longer.
    """
    from sqlalchemy import inspect, select
    from sqlalchemy.exc import DBAPIError

    asked = select(VERSION.c.version_num)
    found: str | None
    try:
        found = connection.execute(asked).scalar()
    except DBAPIError:
        # PostgreSQL answers nothing more in a transaction that has failed.
        connection.rollback()
        if not inspect(connection).has_table(VERSION.name):
            return None
        # Another command has made it meanwhile; or it is damaged, and fails again.
        found = connection.execute(asked).scalar()
    return found


def check_catalogue_url(url: str) -> None:
    """Raise `UsageError` for an address that no catalogue can have, or that holds a password.

    Other users of the computer see the arguments of a command; libpq, which connects, finds the password elsewhere.
    """
    if not url:
        return
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        given = make_url(url)
    except ArgumentError as error:
        raise UsageError(f"catalogue: {str(error).splitlines()[0]}", hint=_WRITE_IT_LIKE) from None
    if has_password(given):
        raise UsageError(
            f"catalogue {given.set(query={}).render_as_string(hide_password=True)}: the address holds a password, "
            "which other users of this computer can see",
            hint="leave it out and change it: it belongs into ~/.pgpass (chmod 600), or into $PGPASSWORD",
        )


def has_password(url: str | URL) -> bool:
    """Whether the address of a database holds a password."""
    from sqlalchemy import make_url

    given = make_url(url)
    return bool(given.password) or any("password" in name for name in given.query)


_WRITE_IT_LIKE = "write it like postgresql://user@host/name, or leave it out for an SQLite file in the site home"


def _engine(url: str | URL, *, read_only: bool = False) -> Engine:
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
        alive = {name: value for name, value in _ALIVE.items() if name not in parsed.query}
        engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS} if kind == "sqlite" else alive)
    except ArgumentError as error:
        raise UsageError(f"catalogue: {str(error).splitlines()[0]}", hint=_WRITE_IT_LIKE) from None
    except ImportError as error:
        raise UsageError(f"catalogue: {error}", hint="pip install 'courier-parcels[postgresql]'") from None
    if kind == "sqlite":
        event.listen(engine, "connect", _sqlite_connect_to_read if read_only else _sqlite_connect)
        if read_only:
            event.listen(engine, "do_connect", _sqlite_existing)
    event.listen(engine, "begin", _sqlite_begin if kind == "sqlite" else _postgresql_begin)
    return engine


def sqlite_url(path: Path) -> URL:
    """The URL of an SQLite file; the path may hold any character, a question mark too."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=path.as_posix())


def _sqlite_connect(connection: Any, _record: object) -> None:
    # Transactions are begun by `_sqlite_begin`, not by the driver, so that they cover changes of the schema too.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_existing(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
    """Have only a file opened that is there: SQLite would make an empty one where a home is just being restored."""
    arguments[0] = f"{Path(arguments[0]).absolute().as_uri()}?mode=rw"
    options["uri"] = True


def _sqlite_connect_to_read(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    # A writer takes the lock at once: taking it later, half-way through the transaction, could be refused.
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(_READ) else "BEGIN IMMEDIATE")


def _postgresql_begin(connection: Connection) -> None:
    if connection.get_execution_options().get(SESSION):
        return
    if connection.get_execution_options().get(_READ):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS * 1000:.0f}ms'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")


def _bring_up_to_date(engine: Engine) -> None:
    """Give a database the tables of this release, in one transaction."""
    from sqlalchemy import inspect

    with engine.begin() as connection:
        # Another command may have made them while this one waited for its turn.
        if inspect(connection).has_table(VERSION.name):
            _migrate(connection)
        else:
            # What all migrations together lead to, without loading them.
            metadata.create_all(connection, checkfirst=False)
            VERSION.create(connection)
            connection.execute(VERSION.insert().values(version_num=HEAD))


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    folder = (Path(__file__).parent / "migrations").as_posix()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        where = f"catalogue {connection.engine.url.set(query={}).render_as_string(hide_password=True)}"
        raise damaged_catalogue(where, f"its schema has no release ({error})") from None


_UNKNOWN = ("42P01", "42703")
"""PostgreSQL's codes for a table and a column that are not there."""


def _revision_now(engine: Engine) -> str | None:
    """The migration that a catalogue is at, asked on a connection of its own; None where it cannot be told."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with engine.connect().execution_options(**{_READ: True}) as connection:
            return _revision(connection)
    except SQLAlchemyError:
        return None


@contextlib.contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    """Turn errors of the database into a `CourierError` that names the catalogue, without its password."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    local = engine.url.database if engine.dialect.name == "sqlite" else None
    where = f"catalogue {local or engine.url.set(query={}).render_as_string(hide_password=True)}"
    try:
        yield
    except DBAPIError as error:
        text = " ".join(str(error.orig).split())
        if local:
            raise sqlite_error(Path(local), where, text) from None
        state = getattr(error.orig, "sqlstate", None)
        if state in _UNKNOWN and (revision := _revision_now(engine)) not in (None, HEAD):
            raise _newer(revision, "meanwhile") from None
        raise server_error(where, text, state=state) from None
    except UnicodeDecodeError:
        # SQLite quotes a damaged schema in its message, as the bytes that it is.
        raise damaged_catalogue(where, "it holds text that is none") from None
    except SQLAlchemyError as error:
        message = f"{where}: {type(error).__name__}: {str(error).splitlines()[0]}"
        raise CourierError(message, hint="check the catalogue's file or server", code=Code.CATALOGUE) from None
