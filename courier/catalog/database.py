"""Opening the catalogue: engine, pragmas, migrations, transactions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from courier.catalog.schema import HEAD
from courier.errors import CourierError, NoSpace, Refused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BUSY_SECONDS = 30
_READ = "courier_read"


class Catalogue:
    """A site's catalogue. `reading` and `writing` give connections; a writing one is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with."""
        with _translated(), self._engine.connect().execution_options(**{_READ: True}) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back on an error."""
        with _translated(), self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def open_catalogue(url: str) -> Catalogue:
    """Open the catalogue at an SQLAlchemy URL and bring its schema up to date; raises `Refused` when it is newer."""
    from sqlalchemy import create_engine, event, inspect, text

    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS} if url.startswith("sqlite") else {})
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
    with _translated():
        with engine.connect() as connection:
            known = inspect(connection).has_table("alembic_version")
            revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if known else None
        if revision != HEAD:
            if revision is not None and revision > HEAD:
                raise Refused(
                    f"the catalogue is at schema {revision}, this release knows {HEAD}",
                    hint="use the release that made it, or a newer one",
                    code="newer-catalogue",
                )
            _migrate(engine)
    return Catalogue(engine)


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path.as_posix()}"


def _sqlite_connect(connection: Any, _record: object) -> None:
    # The driver's own transaction handling is off: `_sqlite_begin` begins them, so that they hold schema changes too.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Any) -> None:
    # A transaction that writes takes the lock at once: one that upgraded later could be refused half-way.
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(_READ) else "BEGIN IMMEDIATE")


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", (Path(__file__).parent / "migrations").as_posix())
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Database errors as ours."""
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    try:
        yield
    except OperationalError as error:
        text = str(error.orig)
        if "full" in text:
            raise NoSpace(
                f"catalogue: {text}", hint="free space on its disk, then run the same command again"
            ) from None
        if "locked" in text:
            hint = "wait for the other command to end, then run this one again"
            raise Refused(f"catalogue: {text}", hint=hint, code="busy") from None
        raise CourierError(
            f"catalogue: {text}", hint="check the catalogue's file or server", code="catalogue"
        ) from None
    except SQLAlchemyError as error:
        message = f"catalogue: {type(error).__name__}: {str(error).splitlines()[0]}"
        raise CourierError(message, hint="check the catalogue's file or server", code="catalogue") from None
