"""The channel: how messages stand with each site, what waits, what was not acknowledged, and dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.site.catalog import messages
from courier.site.catalog.messages import Message
from courier.web.pages import Asked, Page
from courier.web.paging import Paging

SIZE = 25
LISTS = (
    ("waiting", "Waiting to leave", (("out", "queued"),)),
    ("unanswered", "Handed over, not acknowledged yet", (("out", "delivered"),)),
    ("dead", "Dead letters", (("out", "dead"), ("in", "refused"))),
)
"""(name, heading, (direction, state) of its messages) of each list."""
COLUMNS = (("out", "queued"), ("out", "delivered"), ("out", "settled"), ("in", "taken"))
"""(direction, state) of the columns of the table of sites, before that of dead letters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageList:
    """A list of messages, and the page of it that is shown."""

    name: str
    heading: str
    rows: Sequence[Message]
    paging: Paging


def channel(asked: Asked) -> Page:
    """The page. Raises `CourierError`."""
    lists = []
    with asked.site.catalogue.reading() as connection:
        for name, heading, states in LISTS:
            rows, count = messages.page(connection, states, offset=asked.offset(SIZE, name), limit=SIZE)
            lists.append(MessageList(name=name, heading=heading, rows=rows, paging=asked.paging(SIZE, count, name)))
    snapshot = asked.seen.snapshot
    counts = {(way, code, state): n for way, code, state, n in snapshot.messages} if snapshot else {}
    table = [
        (
            code,
            [counts.get((way, code, state), 0) for way, state in COLUMNS],
            counts.get(("out", code, "dead"), 0) + counts.get(("in", code, "refused"), 0),
        )
        for code in sorted({code for _, code, _ in counts})
    ]
    return Page(
        title="Channel", tab="channel", part="channel", values={"table": table, "lists": lists, "snapshot": snapshot}
    )
