"""What one command at a time may hold at a site of several computers: a lock of PostgreSQL, and a fence.

The lock is one of the server's session: it ends with the connection, so that whoever is killed holds it no more. A
command that lost its connection, and with it the lock, may go on without knowing. So each holder raises a number, the
fence, and whatever it writes into the catalogue is written only while that number still stands.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from courier.errors import BusyError
from courier.site.catalog.schema_store import fence

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_KEEPALIVE = ("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3")
"""After a minute without an answer the server counts a computer as gone."""


@contextlib.contextmanager
def held(engine: Engine, name: str) -> Iterator[None]:
    """Hold the lock of that name for the block; raises `BusyError` when another command holds it."""
    key = int.from_bytes(hashlib.sha256(f"courier {name}".encode()).digest()[:8], signed=True)
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        for setting in _KEEPALIVE:
            connection.exec_driver_sql(f"SET {setting}")
        if not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({key})").scalar():
            raise BusyError(
                f"another command holds the {name} of this site, perhaps on another computer",
                hint="wait for it to end, then run this command again",
            )
        yield
    finally:
        # The connection goes, and with it the lock; it is not used again by another.
        connection.invalidate()
        connection.close()


def next_fence(connection: Connection, name: str) -> int:
    """Take the next number of a fence: whoever had the one before can write nothing more."""
    from sqlalchemy import insert, select, update

    number = connection.execute(select(fence.c.number).where(fence.c.name == name)).scalar()
    if number is None:
        connection.execute(insert(fence).values(name=name, number=1))
        return 1
    connection.execute(update(fence).where(fence.c.name == name).values(number=number + 1))
    return int(number) + 1


def check_fence(connection: Connection, name: str, number: int) -> None:
    """Raise `BusyError` unless a fence has this number still."""
    from sqlalchemy import select

    if connection.execute(select(fence.c.number).where(fence.c.name == name)).scalar() != number:
        raise BusyError(
            f"this command lost the {name} of this site to another, while it was cut off from the catalogue",
            hint="run it again",
        )
