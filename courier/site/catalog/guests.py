"""Statements about what other sites have put into the catalogue: bytes of documents that came from each and are kept.

Every statement that keeps a document of another site counts it here. Nothing of it is ever deleted, so the count is
exact without looking at the documents again. How much a site may put here is checked once, when a message is taken
(`courier.channel.handlers`).
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, insert, select, update

from courier.site.catalog.schema import guest

ROW = 512
"""Bytes that are counted for each document besides its own: what the catalogue needs to find it."""


# Put together once: a server runs them for each message.
_PUT_HERE = select(guest.c.bytes).where(guest.c.site == bindparam("one_site"))
_MORE = update(guest).where(guest.c.site == bindparam("one_site")).values(bytes=guest.c.bytes + bindparam("more"))
_FIRST = insert(guest)


def put_here(connection: Connection, code: str) -> int:
    """Bytes that a site has put here so far."""
    return connection.execute(_PUT_HERE, {"one_site": code}).scalar() or 0


def count(connection: Connection, code: str, size: int, *, replaced: int | None = None) -> None:
    """Count a document of ``size`` bytes that is kept now; ``replaced``: the size of the one in whose place."""
    more = size - replaced if replaced is not None else size + ROW
    if not connection.execute(_MORE, {"one_site": code, "more": more}).rowcount:
        connection.execute(_FIRST, {"site": code, "bytes": more})
