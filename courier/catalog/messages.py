"""Statements about messages of the network channel: outbox, inbox, dead letters."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from courier.catalog.schema import message


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A signed message: ``body`` is its envelope, ``sha256`` names it.

    Out: for ``site``; ``state`` queued, delivered or dead. In: from ``site``; ``state`` taken or refused (a dead
    letter, ``reason`` says why).
    """

    direction: str
    sha256: str
    site: str
    type: str
    state: str
    reason: str
    body: bytes
    created_ns: int
    settled_ns: int | None
    attempts: int


def put(connection: Connection, new: Message) -> bool:
    """Keep a message; False when that very message is there already."""
    if find(connection, new.direction, new.sha256, new.site) is not None:
        return False
    connection.execute(insert(message).values({name: getattr(new, name) for name in Message.__slots__}))
    return True


def find(connection: Connection, direction: str, sha256: str, site: str | None = None) -> Message | None:
    """A message by name."""
    query = select(message).where(message.c.direction == direction, message.c.sha256 == sha256)
    if site is not None:
        query = query.where(message.c.site == site)
    row = connection.execute(query).first()
    return Message(**row._mapping) if row else None


def queued(connection: Connection, site: str | None = None) -> list[Message]:
    """Messages that wait to be delivered, oldest first."""
    query = select(message).where(message.c.direction == "out", message.c.state == "queued")
    if site is not None:
        query = query.where(message.c.site == site)
    return [Message(**row._mapping) for row in connection.execute(query.order_by(message.c.created_ns))]


def settle(connection: Connection, settled: Message, *, state: str, reason: str = "", now_ns: int) -> None:
    """Give a message its new state."""
    statement = update(message).where(
        message.c.direction == settled.direction, message.c.sha256 == settled.sha256, message.c.site == settled.site
    )
    connection.execute(statement.values(state=state, reason=reason, settled_ns=now_ns))


def attempted(connection: Connection, tried: Message, *, reason: str) -> None:
    """Count a delivery that failed; the message stays queued."""
    statement = update(message).where(
        message.c.direction == "out", message.c.sha256 == tried.sha256, message.c.site == tried.site
    )
    connection.execute(statement.values(attempts=message.c.attempts + 1, reason=reason))


def counts(connection: Connection) -> list[tuple[str, str, str, int]]:
    """(direction, site, state, how many), for the channel's status."""
    query = select(message.c.direction, message.c.site, message.c.state, func.count())
    query = query.group_by(message.c.direction, message.c.site, message.c.state)
    return [(d, s, t, n) for d, s, t, n in connection.execute(query.order_by(message.c.direction, message.c.site))]


def in_state(connection: Connection, direction: str, state: str) -> list[Message]:
    """Messages of one direction and state, oldest first."""
    query = select(message).where(message.c.direction == direction, message.c.state == state)
    return [Message(**row._mapping) for row in connection.execute(query.order_by(message.c.created_ns))]
