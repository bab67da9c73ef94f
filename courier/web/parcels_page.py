"""The list of parcels: those made here and those that arrive, page by page."""

from __future__ import annotations

from courier.parcel.states import ReceivedState, SentState
from courier.site.catalog import parcel_pages
from courier.site.catalog.parcel_pages import RECEIVED, SENT
from courier.web.pages import Asked, Page

SIZE = 50


def parcels(asked: Asked) -> Page:
    """A page of the list. Raises `CourierError`."""
    states = list(dict.fromkeys([*map(str, SentState), *map(str, ReceivedState)]))
    state, side, text = asked.text("state"), asked.text("side"), asked.text("find")
    state = state if state in states else ""
    side = side if side in (SENT, RECEIVED) else ""
    with asked.site.catalogue.reading() as connection:
        rows, count = parcel_pages.parcel_page(
            connection, side=side, state=state, text=text, offset=asked.offset(SIZE), limit=SIZE
        )
    return Page(
        title="Parcels",
        tab="parcels",
        part="parcels",
        values={
            "rows": rows,
            "paging": asked.paging(SIZE, count),
            "states": states,
            "state": state,
            "side": side,
            "find": text,
        },
    )
