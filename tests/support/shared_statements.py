"""One set of compiled SQL statements for all the catalogues that the tests of a process open."""

from __future__ import annotations

from typing import Any

from sqlalchemy import create_engine

from courier.site.catalog import database


def share_statements() -> None:
    """Let all SQLite catalogues that this process opens use the statements that it has compiled for any of them.

    A command compiles its statements once, in its own process. The tests run thousands of commands in one, where
    SQLAlchemy would compile the same statements anew for each: a quarter of the time of a journey.
    """
    memory = create_engine("sqlite://")
    memory.connect().close()  # a dialect asks its database what it can do when it first connects
    compiled: dict[Any, Any] = {}
    make = database._engine

    def engine_of(url: Any, **how: Any) -> Any:
        engine = make(url, **how)
        if engine.dialect.name == "sqlite":
            engine.dialect = memory.dialect
            engine.update_execution_options(compiled_cache=compiled)
        return engine

    database._engine = engine_of
