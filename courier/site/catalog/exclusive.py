"""What one command at a time may hold at a site of several computers: locks of PostgreSQL, and fences.

All locks of a command are held by one connection of its own, and PostgreSQL drops them with that connection, so that
whoever is killed, or whose computer goes down, holds nothing any more. A command that lost its connection, and with it
the locks, may go on without knowing. So each holder raises a number, the fence, and whatever it writes into the
catalogue is written only while that number still stands. Where nobody has taken a lock meanwhile, it is taken again.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from courier.errors import BusyError
from courier.site.catalog.held_things import held_by, held_thing
from courier.site.catalog.schema_store import fence
from courier.site.log import running_command
from courier.site.this_computer import COMPUTER, PROCESS

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

SESSION = "courier_session"
"""The option of a connection that holds locks: no transaction of a writer is begun on it."""
_SETTINGS = (
    # After a minute without an answer the server counts a computer as gone.
    "tcp_keepalives_idle = 30",
    "tcp_keepalives_interval = 10",
    "tcp_keepalives_count = 3",
    # A holder that was cut off may be writing its last transaction yet, which the next waits for.
    "lock_timeout = '30s'",
)
_NAME_BYTES = 63
"""PostgreSQL keeps so much of the name of an application."""
_NAMES = 64
"""Characters of the name of a fence in the catalogue; of a longer one there is the digest."""
_ENDING_SECONDS = 10.0
"""How long a command waits for the server to end the connection that it lost."""
_BEGINNING = "courier: "


class ServerLocks:
    """The locks that this process holds in a catalogue on a server. Threads may use it together."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._guard = threading.RLock()
        self._session: Connection | None = None
        self._backend = (0, "")
        self._numbers: dict[str, int] = {}

    def take(self, name: str, what: str) -> None:
        """Take the lock ``name``; raises `BusyError`, which says that another holds ``what``, and who that is."""
        with self._guard:
            if name in self._numbers:
                raise held_by(what, "this one, in another thread")
            session = self._standing_session()
            if not _try(session, name):
                raise held_by(what, _holders(session, [name]).get(name, ""))
            try:
                self._numbers[name] = _next_number(session, name)
            except BaseException:
                self._forget(name)
                raise

    def give_back(self, name: str) -> None:
        """Give a lock back. Where the server cannot be told, it finds out by itself, as the connection ends."""
        with self._guard:
            number = self._numbers.pop(name, None)
            if self._session is None:
                return
            with contextlib.suppress(Exception):
                _end_number(self._session, name, number)
            self._forget(name)

    def _forget(self, name: str) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        if self._session is not None:
            try:
                self._session.exec_driver_sql(f"SELECT pg_advisory_unlock({_key(name)})")
            except SQLAlchemyError:
                self._drop()

    def numbers(self) -> Mapping[str, int]:
        """The number of the fence of each lock that is held."""
        return dict(self._numbers)

    def stand(self) -> None:
        """Raise `BusyError` unless all locks are held still, or can be taken again because nobody else had them."""
        with self._guard:
            if self._numbers:
                self._standing_session()

    def holders(self, names: list[str]) -> dict[str, str]:
        """Who holds each of these locks: the command, its process and its computer. Locks that nobody holds lack."""
        with self._engine.connect().execution_options(**{SESSION: True}) as connection:
            return _holders(connection, names)

    def held_by_others(self) -> dict[str, str]:
        """The locks that any command holds by the name of the fence, and who it is."""
        from sqlalchemy import select

        with self._engine.connect().execution_options(**{SESSION: True}) as connection:
            names = list(connection.execute(select(fence.c.name)).scalars())
            return {name: who for name, who in _holders(connection, names).items() if name not in self._numbers}

    def close(self) -> None:
        """End the connection, and with it all that is held."""
        with self._guard:
            self._numbers.clear()
            self._drop()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception):
                session.invalidate()
            with contextlib.suppress(Exception):
                session.close()

    def _standing_session(self) -> Connection:
        """The connection that holds the locks; where it broke, a new one that holds them all again."""
        from sqlalchemy.exc import SQLAlchemyError

        if self._session is not None:
            try:
                self._session.exec_driver_sql("SELECT 1")
            except SQLAlchemyError:
                self._drop()
            else:
                return self._session
        lost, session = self._backend, _new_session(self._engine)
        self._session, self._backend = session, _backend(session)
        try:
            if self._numbers:
                _end_backend(session, lost)
                self._take_again(session)
        except BaseException:
            self._drop()
            self._backend = lost
            raise
        return session

    def _take_again(self, session: Connection) -> None:
        for name, number in self._numbers.items():
            if not _try(session, name):
                raise lost_to_another(name)
            check_fences(session, {name: number})


def check_fences(connection: Connection, numbers: Mapping[str, int]) -> None:
    """Raise `BusyError` unless these fences have their numbers still, and will have until the transaction ends."""
    from sqlalchemy import select

    wanted = {_fence_name(name): (name, number) for name, number in numbers.items()}
    asked = select(fence.c.name, fence.c.number).where(fence.c.name.in_(wanted)).with_for_update(read=True)
    found = {row.name: row.number for row in connection.execute(asked)}
    for key, (name, number) in wanted.items():
        if found.get(key) != number:
            raise lost_to_another(name)


def lost_to_another(name: str) -> BusyError:
    """The error of a command that was cut off from the catalogue for so long that another took its lock."""
    return BusyError(
        f"this command was cut off from the catalogue, and lost {held_thing(name)} to another meanwhile",
        hint="nothing more was recorded; run it again: it goes on with what is there",
    )


def _own_name() -> str:
    """What the server shows of this command: it is cut to what the server keeps."""
    ending = f", process {PROCESS()} on {COMPUTER}"
    room = _NAME_BYTES - len(_BEGINNING) - len(ending)
    return f"{_BEGINNING}{running_command()[: max(0, room)]}{ending}"[:_NAME_BYTES]


def _new_session(engine: Engine) -> Connection:
    connection = engine.connect().execution_options(**{SESSION: True}, isolation_level="AUTOCOMMIT")
    try:
        connection.detach()  # the pool neither counts it nor gives it to another
        for setting in _SETTINGS:
            connection.exec_driver_sql(f"SET {setting}")
        if (connection.dialect.server_version_info or (0,)) >= (14,):
            connection.exec_driver_sql("SET idle_session_timeout = 0")
        connection.exec_driver_sql("SELECT set_config('application_name', %s, false)", (_own_name(),))
    except BaseException:
        connection.close()
        raise
    return connection


def _backend(session: Connection) -> tuple[int, str]:
    """By what a connection is known to the server: its process, and when that began."""
    asked = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    pid, begun = session.exec_driver_sql(asked).one()
    return int(pid), str(begun)


def _end_backend(session: Connection, lost: tuple[int, str]) -> None:
    """Have the server end a connection that this process had lost: it may not know yet that nobody is there."""
    which = "FROM pg_stat_activity WHERE pid = %s AND backend_start::text = %s"
    until = time.monotonic() + _ENDING_SECONDS
    while session.exec_driver_sql(f"SELECT pg_terminate_backend(pid) {which}", lost).first() is not None:
        if time.monotonic() > until:
            return
        time.sleep(0.02)


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"courier {name}".encode()).digest()[:8], signed=True)


def _fence_name(name: str) -> str:
    return name if len(name) <= _NAMES else hashlib.sha256(name.encode()).hexdigest()


def _try(session: Connection, name: str) -> bool:
    return bool(session.exec_driver_sql(f"SELECT pg_try_advisory_lock({_key(name)})").scalar())


def _next_number(session: Connection, name: str) -> int:
    """Raise a fence: whoever had the number before can write nothing more.

    It is the number of this transaction at the server, so that none comes twice, also where the row was deleted in
    between. It waits for a transaction that has just checked the number before.
    """
    taken = session.exec_driver_sql(
        "INSERT INTO fence (name, number) VALUES (%s, txid_current()) "
        "ON CONFLICT (name) DO UPDATE SET number = excluded.number RETURNING number",
        (_fence_name(name),),
    )
    return int(taken.scalar_one())


def _end_number(session: Connection, name: str, number: int | None) -> None:
    """Take the row of a fence away, unless a transaction that has checked it is still being written."""
    session.exec_driver_sql(
        "DELETE FROM fence WHERE name = "
        "(SELECT name FROM fence WHERE name = %s AND number = %s FOR UPDATE SKIP LOCKED)",
        (_fence_name(name), number),
    )


def _holders(connection: Connection, names: list[str]) -> dict[str, str]:
    """Who holds each of these locks now, in the server's own words of its connections."""
    keys = {_key(name) & (1 << 64) - 1: name for name in names}
    asked = (
        "SELECT l.classid::bigint, l.objid::bigint, a.application_name FROM pg_locks l "
        "JOIN pg_stat_activity a ON a.pid = l.pid "
        "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    found = {}
    for high, low, who in connection.exec_driver_sql(asked):
        name = keys.get((int(high) << 32) | int(low))
        if name is not None:
            found[name] = str(who).removeprefix(_BEGINNING) or "a connection without a name"
    return found
