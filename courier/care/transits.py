"""How long past parcels took, from the catalogue: to each site, and from each."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING

from sqlalchemy import select

from courier.site.catalog.schema import received, sent_to

if TYPE_CHECKING:
    from sqlalchemy import Connection

NEWEST = 20
"""Past parcels of a site that are looked at, the newest ones."""


def usual_seconds_to(connection: Connection) -> dict[str, int]:
    """Seconds from shipping to the receipt, the value in the middle, by destination."""
    query = select(sent_to.c.site, sent_to.c.shipped_ns, sent_to.c.confirmed_ns).order_by(sent_to.c.confirmed_ns.desc())
    query = query.where(sent_to.c.confirmed_ns > sent_to.c.shipped_ns)
    return _middle((code, end - begin) for code, begin, end in connection.execute(query))


def usual_seconds_from(connection: Connection) -> dict[str, int]:
    """Seconds from the first word or medium of a parcel to its import, the value in the middle, by source."""
    query = select(received.c.source, received.c.first_ns, received.c.imported_ns).order_by(
        received.c.imported_ns.desc()
    )
    query = query.where(received.c.imported_ns > received.c.first_ns)
    return _middle((code, end - begin) for code, begin, end in connection.execute(query))


def _middle(spans: Iterable[tuple[str, int]]) -> dict[str, int]:
    by_site: dict[str, list[int]] = {}
    for code, span_ns in spans:
        known = by_site.setdefault(code, [])
        if len(known) < NEWEST:
            known.append(span_ns)
    return {code: -(-int(median(known)) // 10**9) for code, known in by_site.items()}
