"""Statements that show parcels page by page, those made here and those that arrive together, and their log likewise.

However long the history of a site is, each of them gives a bounded number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Select, Subquery, case, func, literal, or_, select, union_all

from courier.site.catalog.parcels import LogEntry
from courier.site.catalog.schema import log, received, sent, sent_to

SENT, RECEIVED = "sent", "received"
"""The two sides of `ListedParcel.side`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedParcel:
    """A parcel in a list. ``side``: `SENT` for one made here, `RECEIVED` for a build that is announced or arrives.

    ``sites``: where it goes, or where it comes from. ``since_ns``: when it was made, or first heard of. ``shipped_ns``:
    when it was first shipped to any of them; ``ended_ns``: the last confirmation, or the import; None: not yet.
    """

    side: str
    parcel: str
    state: str
    since_ns: int
    shipped_ns: int | None
    ended_ns: int | None
    sites: tuple[str, ...] = ()


def _all() -> Subquery:
    to = select(func.min(sent_to.c.shipped_ns)).where(sent_to.c.parcel == sent.c.parcel).scalar_subquery()
    end = select(func.max(sent_to.c.confirmed_ns)).where(sent_to.c.parcel == sent.c.parcel).scalar_subquery()
    made = select(
        literal(SENT).label("side"),
        sent.c.parcel,
        sent.c.state,
        sent.c.created_ns.label("since_ns"),
        literal("").label("source"),
        to.label("shipped_ns"),
        end.label("ended_ns"),
    )
    came = select(
        literal(RECEIVED).label("side"),
        received.c.parcel,
        received.c.state,
        received.c.first_ns.label("since_ns"),
        received.c.source,
        received.c.first_ns.label("shipped_ns"),
        received.c.imported_ns.label("ended_ns"),
    )
    return union_all(made, came).subquery("parcels")


def parcel_page(
    connection: Connection, *, side: str = "", state: str = "", text: str = "", offset: int, limit: int
) -> tuple[list[ListedParcel], int]:
    """(parcels, newest first; how many there are in all). ``text``: a part of the ID, or the code of a site.

    ``side`` and ``state``: only those; empty for all.
    """
    every = _all()
    query: Select[tuple[object, ...]] = select(every)
    if side:
        query = query.where(every.c.side == side)
    if state:
        query = query.where(every.c.state == state)
    if text:
        goes_there = select(sent_to.c.parcel).where(sent_to.c.site == text.upper())
        sent_there = (every.c.side == SENT) & every.c.parcel.in_(goes_there)
        named = every.c.parcel.contains(text.upper(), autoescape=True)
        query = query.where(or_(named, every.c.source == text.upper(), sent_there))
    count = int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())
    ordered = query.order_by(every.c.since_ns.desc(), every.c.parcel.desc(), every.c.side)
    return _listed(connection, ordered.offset(offset).limit(limit)), count


def newest_parcels(connection: Connection, going_on: Sequence[tuple[str, str]], limit: int) -> list[ListedParcel]:
    """The newest parcels, those first whose (side, state) is one of ``going_on``."""
    every = _all()
    open_ones = or_(*((every.c.side == side) & (every.c.state == state) for side, state in going_on))
    query = select(every).order_by(case((open_ones, 0), else_=1), every.c.since_ns.desc(), every.c.parcel.desc())
    return _listed(connection, query.limit(limit))


def _listed(connection: Connection, query: Select[tuple[object, ...]]) -> list[ListedParcel]:
    found, sources = [], []
    for row in connection.execute(query):
        values = dict(row._mapping)
        sources.append(values.pop("source"))
        found.append(ListedParcel(**values))
    goes_to: dict[str, list[str]] = {}
    wanted = select(sent_to.c.parcel, sent_to.c.site).where(sent_to.c.parcel.in_([one.parcel for one in found]))
    for parcel, code in connection.execute(wanted.order_by(sent_to.c.site)):
        goes_to.setdefault(parcel, []).append(code)
    return [
        replace(one, sites=(source,) if source else tuple(goes_to.get(one.parcel, ())))
        for one, source in zip(found, sources, strict=True)
    ]


_ENTRY = (log.c.parcel, log.c.at_ns, log.c.operator, log.c.event, log.c.text)


def log_page(connection: Connection, parcel: str, *, offset: int, limit: int) -> tuple[list[LogEntry], int]:
    """(what happened to a parcel here, newest first; how many entries there are in all)."""
    mine = log.c.parcel == parcel
    count = int(connection.execute(select(func.count()).select_from(log).where(mine)).scalar_one())
    query = select(*_ENTRY).where(mine).order_by(log.c.id.desc()).offset(offset).limit(limit)
    return [LogEntry(**row._mapping) for row in connection.execute(query)], count


def newest_log(connection: Connection, limit: int) -> list[LogEntry]:
    """What happened last at this site, newest first."""
    query = select(*_ENTRY).order_by(log.c.id.desc()).limit(limit)
    return [LogEntry(**row._mapping) for row in connection.execute(query)]
