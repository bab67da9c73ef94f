"""The first page: parcels on a time line by state, and what waits for a person, with the next command."""

from __future__ import annotations

from typing import Any

from courier.care.waiting import OPERATOR
from courier.site.catalog import parcel_pages
from courier.site.clock import now
from courier.web.charts import timeline
from courier.web.pages import Asked, Page
from courier.web.snapshot import GOING_ON

WAITING = 25
"""Things of each list that are shown."""
EVENTS = 12


def overview(asked: Asked) -> Page:
    """The overview. Raises `CourierError`."""
    snapshot = asked.seen.snapshot
    with asked.site.catalogue.reading() as connection:
        happened = parcel_pages.newest_log(connection, EVENTS)
    values: dict[str, Any] = {
        "snapshot": snapshot,
        "happened": happened,
        "most": WAITING,
        "line": None,
        "persons": [],
        "others": [],
    }
    if snapshot is not None:
        persons = [one for one in snapshot.waiting if one.on == OPERATOR]
        others = [one for one in snapshot.waiting if one.on != OPERATOR]
        values |= {
            "persons": persons,
            "others": others,
            "line": timeline(snapshot.line, now(), open_states=GOING_ON),
            "counts": {
                side: [(state, n) for (way, state), n in sorted(snapshot.facts.counts.items()) if way == side]
                for side in ("sent", "received")
            },
        }
    return Page(title="Overview", tab="overview", part="overview", values=values)
