"""Statements about messages of the network channel: outbox, inbox, dead letters."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, delete, func, insert, literal, or_, select, update
from sqlalchemy import case as sql_case

from courier.site.catalog.schema import message, values_of
from courier.site.log import note


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A signed message. ``body`` is its envelope, ``sha256`` the digest of those bytes, ``size`` their number.

    ``name``: SHA-256 of the bytes that travel, which are the envelope, or the envelope encrypted to ``recipient`` with
    keys made from ``seed``, a secret. Of a message that came and could not be decrypted, ``sha256`` is the same.

    ``direction`` is ``out`` or ``in``. Out: the message is for ``site``. Its ``state`` is queued, delivered (handed
    over, not acknowledged yet; it is sent again at ``due_ns``), settled (acknowledged; the body is not kept), dead
    (``reason`` says why), dismissed (dead, and the operator is done with it) or handed (an acknowledgement that lies in
    a shared folder; the body is not kept). In: the message is from ``site``, empty when that is unknown. Its ``state``
    is taken (``reason``: what it waits for, if a person must decide), refused (a dead letter; ``reason`` says why) or
    dismissed (refused, and the operator is done with it); while ``due_ns`` is set, its acknowledgement has not been
    sent. ``priority``: high, medium or low.

    ``begun_ns``: since when a ship notice may have left; until then it can be taken back.
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
    priority: str = "medium"
    size: int = 0
    due_ns: int | None = None
    begun_ns: int | None = None
    name: str = ""
    recipient: str = ""
    seed: bytes = field(default=b"", repr=False)

    @property
    def kind(self) -> str:
        """The short name of its type, such as ``receipt``; empty where the type is not known."""
        return short_kind(self.type)


def short_kind(message_type: str) -> str:
    """The short name of a type of message, such as ``receipt``."""
    return message_type.removeprefix("application/vnd.courier.").removesuffix("+json")


LIVE = ("queued", "delivered")
"""States of messages that the other site has not acknowledged yet."""
_DEAD = ("dead", "refused")
"""States of dead letters, of the outbox and of what came."""
AHEAD_NS = 24 * 3600 * 10**9
"""A recorded time that is further in the future than this was recorded while the clock was wrong."""
_HEAD = [column for column in message.c if column.name != "body"] + [literal(b"").label("body")]

# Statements that a server runs for each message are put together once: that takes longer than to run them.
_ONE = and_(
    message.c.direction == bindparam("one_direction"),
    message.c.sha256 == bindparam("one_sha256"),
    message.c.site == bindparam("one_site"),
)
_FIND = select(*_HEAD).where(
    message.c.direction == bindparam("one_direction"), message.c.sha256 == bindparam("one_sha256")
)
_FIND_OF_SITE = select(*_HEAD).where(_ONE)
_NAMED = select(*_HEAD).where(
    message.c.direction == bindparam("one_direction"), message.c.name == bindparam("one_name")
)
_NAMED_OF_SITE = _NAMED.where(message.c.site == bindparam("one_site"))
_KEEP = insert(message)
_FORGET = delete(message).where(_ONE)
_PIECE = select(func.substr(message.c.body, bindparam("first"), bindparam("length"))).where(_ONE)
_OUT = select(*_HEAD).where(message.c.direction == "out")
_OUT_LIVE = _OUT.where(message.c.state.in_(LIVE))
_QUEUED = _OUT.where(message.c.state == "queued").order_by(message.c.created_ns)
_DUE = _OUT.where(
    or_(
        message.c.state == "queued",
        and_(
            message.c.state == "delivered",
            or_(message.c.due_ns <= bindparam("now_ns"), message.c.settled_ns > bindparam("ahead_ns")),
        ),
    )
).order_by(
    sql_case({"high": 0, "medium": 1, "low": 2}, value=message.c.priority, else_=1),
    message.c.created_ns,
    message.c.sha256,
)
_FOR = message.c.site == bindparam("one_site")
_LIVE_FOR = _OUT_LIVE.where(_FOR)
_UNENCRYPTED = (
    select(func.count())
    .select_from(message)
    .where(message.c.direction == "out", _FOR, message.c.state.in_(LIVE), message.c.recipient == "")
)
_UNSETTLED = _OUT.where(
    _FOR,
    message.c.type.in_(bindparam("types", expanding=True)),
    message.c.state.in_((*LIVE, "dead")),
)
_EXPIRED = _OUT_LIVE.where(message.c.created_ns < bindparam("before_ns"))
_OWED = (
    select(*_HEAD)
    .where(message.c.direction == "in", message.c.due_ns.is_not(None), message.c.site != "")
    .order_by(message.c.due_ns, message.c.sha256)
)
_IN_STATE = (
    select(*_HEAD)
    .where(message.c.direction == bindparam("one_direction"), message.c.state == bindparam("one_state"))
    .order_by(message.c.created_ns)
)
_OWE = update(message).where(_ONE).values(due_ns=bindparam("owed_ns"))
_HAND_OVER = (
    update(message)
    .where(_ONE, message.c.state.in_(LIVE))
    .values(
        state="delivered",
        reason="",
        settled_ns=bindparam("at_ns"),
        due_ns=bindparam("again_ns"),
        attempts=sql_case((message.c.state == "queued", 1), else_=message.c.attempts + 1),
    )
)
_END = (
    update(message)
    .where(_ONE)
    .values(state=bindparam("ended"), reason=bindparam("why"), settled_ns=bindparam("at_ns"), due_ns=None)
)
_SETTLE = _END.where(message.c.state.not_in(("settled", "handed"))).values(body=b"")
_DIE = _END.where(message.c.state.not_in(("settled", "handed", "dismissed")))


def put(connection: Connection, new: Message) -> bool:
    """Keep a message; False when it is kept already. A dead letter of the outbox is queued again.

    It is noted in the log of the site, but for one that came and is refused: see `note_refused`.
    """
    there = find(connection, new.direction, new.sha256, new.site)
    if there is not None and not (new.direction == "out" and there.state in ("dead", "dismissed")):
        return False
    if there is not None:
        forget(connection, there)
        new = replace(new, begun_ns=there.begun_ns)
    new = replace(new, size=new.size or len(new.body), name=new.name or new.sha256)
    connection.execute(_KEEP, values_of(new))
    if new.direction == "out":
        note(connection, f"{_named(new)} for {new.site} queued")
    elif new.state == "taken":
        note(connection, f"{_named(new)} from {new.site} taken in{': ' if new.reason else ''}{new.reason}")
    return True


def note_refused(connection: Connection, name: str) -> None:
    """Note in the log of the site that the message of that ``name`` came and is a dead letter, if it is one still."""
    one = named(connection, "in", name)
    if one is not None and one.state == "refused":
        who = f" from {one.site}" if one.site else ""
        note(connection, f"dead letter: {_named(one)}{who} refused: {one.reason}", level=logging.WARNING)


def _named(one: Message) -> str:
    """A message for the log, by its type and ID."""
    return f"message {one.sha256} ({one.kind or 'unknown'})"


def _this(one: Message) -> Any:
    return and_(message.c.direction == one.direction, message.c.sha256 == one.sha256, message.c.site == one.site)


def _key(one: Message) -> dict[str, Any]:
    """The parameters of `_ONE`."""
    return {"one_direction": one.direction, "one_sha256": one.sha256, "one_site": one.site}


def forget(connection: Connection, one: Message) -> None:
    """Delete a message and all that is known of it."""
    connection.execute(_FORGET, _key(one))


def find(connection: Connection, direction: str, sha256: str, site: str | None = None) -> Message | None:
    """A message by the SHA-256 of its envelope, without its body."""
    which = {"one_direction": direction, "one_sha256": sha256}
    if site is None:
        row = connection.execute(_FIND, which).first()
    else:
        row = connection.execute(_FIND_OF_SITE, {**which, "one_site": site}).first()
    return Message(**row._mapping) if row else None


def named(connection: Connection, direction: str, name: str, site: str | None = None) -> Message | None:
    """A message by the SHA-256 of the bytes that travel, without its body."""
    which = {"one_direction": direction, "one_name": name}
    if site is None:
        row = connection.execute(_NAMED, which).first()
    else:
        row = connection.execute(_NAMED_OF_SITE, {**which, "one_site": site}).first()
    return Message(**row._mapping) if row else None


def set_encryption(connection: Connection, one: Message) -> None:
    """Record the name, recipient and seed of a message that was encrypted anew."""
    values = {"name": one.name, "recipient": one.recipient, "seed": one.seed}
    connection.execute(update(message).where(_this(one)).values(**values))


def read(connection: Connection, sha256: str, site: str, offset: int, length: int) -> bytes:
    """Up to ``length`` bytes at ``offset`` of the body of a message for ``site``; empty when it is not kept."""
    which = {"one_direction": "out", "one_sha256": sha256, "one_site": site}
    found = connection.execute(_PIECE, {**which, "first": offset + 1, "length": length}).scalar()
    return bytes(found) if found else b""


def queued(connection: Connection, site: str | None = None) -> list[Message]:
    """Messages that have not been handed over yet, without bodies, oldest first."""
    if site is None:
        return _heads(connection, _QUEUED)
    return _heads(connection, _QUEUED.where(_FOR), one_site=site)


def due(connection: Connection, now_ns: int, site: str | None = None, limit: int | None = None) -> list[Message]:
    """Messages to hand over now, without bodies: queued ones, and delivered ones that are due to be sent again.

    High priority comes first, then the oldest. A message that was handed over in the future, by a wrong clock, is due.
    """
    query = _DUE if limit is None else _DUE.limit(limit)
    moments = {"now_ns": now_ns, "ahead_ns": now_ns + AHEAD_NS}
    if site is None:
        return _heads(connection, query, **moments)
    return _heads(connection, query.where(_FOR), one_site=site, **moments)


def _heads(connection: Connection, query: Select[Any], **parameters: object) -> list[Message]:
    return [Message(**row._mapping) for row in connection.execute(query, parameters)]


def begin(connection: Connection, one: Message, now_ns: int) -> bool:
    """Record that a transfer of a message begins: it may have left from now on. False when it was taken back."""
    there = find(connection, one.direction, one.sha256, one.site)
    if there is None:
        return False
    if there.begun_ns is None:
        connection.execute(update(message).where(_this(one)).values(begun_ns=now_ns))
    return True


def may_have_left(one: Message | None) -> bool:
    """Whether a ship notice may have left; ``one``: its message as it is now, None where it is not kept any more."""
    return one is None or one.begun_ns is not None or one.state not in ("queued", "dead", "dismissed")


def delivered(connection: Connection, one: Message, *, due_ns: int, now_ns: int) -> None:
    """Record that a message was handed over; it is sent again at ``due_ns`` unless it is acknowledged before.

    From the first time on, ``attempts`` counts how often it was handed over.
    """
    connection.execute(_HAND_OVER, {**_key(one), "at_ns": now_ns, "again_ns": due_ns})
    note(connection, f"{_named(one)} for {one.site} handed over")


def send_again(connection: Connection, now_ns: int, *, site: str | None = None, sha256: str | None = None) -> int:
    """Make messages that were handed over and not acknowledged due at ``now_ns``; return how many.

    Those for ``site`` alone, or the one with that SHA-256, where these are given.
    """
    waiting = [message.c.direction == "out", message.c.state == "delivered"]
    waiting += [message.c.site == site] if site is not None else []
    waiting += [message.c.sha256 == sha256] if sha256 is not None else []
    return connection.execute(update(message).where(*waiting).values(due_ns=now_ns)).rowcount


def handed(connection: Connection, one: Message, now_ns: int) -> None:
    """Record that an acknowledgement was handed over; only its name is kept."""
    values = {"state": "handed", "reason": "", "settled_ns": now_ns, "due_ns": None, "body": b"", "seed": b""}
    connection.execute(update(message).where(_this(one), message.c.state.in_(LIVE)).values(**values))


def handed_over(one: Message) -> int:
    """How often a message has been handed over, counting the present time."""
    return 1 if one.state == "queued" else one.attempts + 1


def settle(connection: Connection, one: Message, *, state: str, reason: str = "", now_ns: int) -> bool:
    """End a message of the outbox: settled (its body is deleted) or dead, because of ``reason``.

    Returns False when it was settled before, or is not to be: a dismissed one dies no second time.
    """
    values = {"ended": state, "why": reason, "at_ns": now_ns}
    changed = connection.execute(_SETTLE if state == "settled" else _DIE, {**_key(one), **values}).rowcount > 0
    if changed and state == "dead":
        note(connection, f"dead letter: {_named(one)} for {one.site}: {reason}", level=logging.WARNING)
    elif changed:
        note(connection, f"{_named(one)} for {one.site} acknowledged")
    return changed


def attempted(connection: Connection, tried: Message, *, reason: str) -> None:
    """Record why a delivery failed, and count it where the message was never handed over."""
    times = sql_case((message.c.state == "queued", message.c.attempts + 1), else_=message.c.attempts)
    connection.execute(update(message).where(_this(tried)).values(attempts=times, reason=reason))
    if reason != tried.reason:
        note(connection, f"{_named(tried)} for {tried.site} waits: {reason}")


def live(connection: Connection, site: str) -> list[Message]:
    """Messages for a site that are queued or delivered, without bodies."""
    return _heads(connection, _LIVE_FOR, one_site=site)


def count_unencrypted(connection: Connection, site: str) -> int:
    """How many messages for a site are queued or delivered that are not encrypted."""
    return int(connection.execute(_UNENCRYPTED, {"one_site": site}).scalar_one())


def unsettled(connection: Connection, site: str, types: Collection[str]) -> list[Message]:
    """Messages of these types that a site has not acknowledged, including dead letters, without bodies."""
    return _heads(connection, _UNSETTLED, one_site=site, types=[*types])


def expired(connection: Connection, before_ns: int) -> list[Message]:
    """Messages of the outbox that were made before ``before_ns`` and are not acknowledged, without bodies."""
    return _heads(connection, _EXPIRED, before_ns=before_ns)


def dead_ahead(connection: Connection, now_ns: int) -> list[Message]:
    """Dead letters of the outbox that are dated in the future, by a wrong clock, without bodies."""
    return [one for one in in_state(connection, "out", "dead") if (one.settled_ns or 0) > now_ns + AHEAD_NS]


def dead_letters(connection: Connection) -> list[Message]:
    """All dead letters, of the outbox and of what came, without bodies."""
    return [*in_state(connection, "out", "dead"), *in_state(connection, "in", "refused")]


def dismiss(connection: Connection, one: Message) -> bool:
    """Dismiss a dead letter because the operator is done with it; False where it is none any more.

    It stays known: where it comes again, and is refused again, nobody is told.
    """
    statement = update(message).where(_this(one), message.c.state.in_(_DEAD)).values(state="dismissed")
    changed = connection.execute(statement).rowcount > 0
    if changed:
        note(connection, f"dead letter dismissed: {_named(one)}: {one.reason}")
    return changed


def revive(connection: Connection, one: Message) -> None:
    """Queue a dead letter of the outbox again."""
    values = {"state": "queued", "reason": "", "settled_ns": None, "due_ns": None, "attempts": 0}
    connection.execute(update(message).where(_this(one), message.c.state == "dead").values(**values))
    note(connection, f"{_named(one)} for {one.site} queued again")


def owed(connection: Connection, limit: int) -> dict[str, list[Message]]:
    """Messages that came and are not acknowledged yet, by the site that sent them; at most ``limit`` a site."""
    found: dict[str, list[Message]] = {}
    for one in _heads(connection, _OWED):
        box = found.setdefault(one.site, [])
        if len(box) < limit:
            box.append(one)
    return found


def owe(connection: Connection, one: Message, due_ns: int | None) -> None:
    """Record since when the acknowledgement of a message is owed, or (None) that it has been queued."""
    connection.execute(_OWE, {**_key(one), "owed_ns": due_ns})


def last_from(connection: Connection, site: str) -> int | None:
    """When the newest message of a site came (nanoseconds since 1970, UTC); None where none is kept."""
    query = select(func.max(message.c.created_ns)).where(message.c.direction == "in", message.c.site == site)
    newest = connection.execute(query).scalar()
    return None if newest is None else int(newest)


def last_from_each(connection: Connection) -> dict[str, int]:
    """When the newest message of each site came, in one look at the messages."""
    query = select(message.c.site, func.max(message.c.created_ns)).where(message.c.direction == "in")
    return {code: int(newest) for code, newest in connection.execute(query.group_by(message.c.site))}


def counts(connection: Connection) -> list[tuple[str, str, str, int]]:
    """(direction, site, state, how many), for the channel's status: without those that nobody waits for any more."""
    query = select(message.c.direction, message.c.site, message.c.state, func.count())
    query = query.where(message.c.state.not_in(("handed", "dismissed")))
    query = query.group_by(message.c.direction, message.c.site, message.c.state)
    return [(d, s, t, n) for d, s, t, n in connection.execute(query.order_by(message.c.direction, message.c.site))]


def in_state(connection: Connection, direction: str, state: str, limit: int | None = None) -> list[Message]:
    """Messages of one direction and state, without bodies, oldest first (the newest ``limit`` of them, if given)."""
    which = {"one_direction": direction, "one_state": state}
    if limit is None:
        return _heads(connection, _IN_STATE, **which)
    newest = _IN_STATE.order_by(None).order_by(message.c.created_ns.desc()).limit(limit)
    return _heads(connection, newest, **which)[::-1]


def page(
    connection: Connection, states: Collection[tuple[str, str]], *, offset: int, limit: int
) -> tuple[list[Message], int]:
    """(messages of these (direction, state), without bodies, newest first; how many there are in all)."""
    wanted = or_(*(and_(message.c.direction == way, message.c.state == state) for way, state in states))
    count = connection.execute(select(func.count()).select_from(message).where(wanted)).scalar_one()
    query = select(*_HEAD).where(wanted).order_by(message.c.created_ns.desc(), message.c.sha256)
    return _heads(connection, query.offset(offset).limit(limit)), int(count)


def thin_out(connection: Connection, site: str, keep: int) -> None:
    """Delete the dead letters from one sender but for the newest ``keep``, so that nobody can fill the disk.

    As many are kept of those that were dismissed. ``site`` is empty for those of unknown senders.
    """
    for state in ("refused", "dismissed"):
        refused = and_(message.c.direction == "in", message.c.state == state, message.c.site == site)
        newest = select(message.c.sha256).where(refused).order_by(message.c.created_ns.desc()).limit(keep)
        connection.execute(delete(message).where(refused, message.c.sha256.not_in(newest.scalar_subquery())))
