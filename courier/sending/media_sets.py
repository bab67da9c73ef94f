"""Sets of media: which copy of a parcel's volumes goes to which destination, by whom, and with which seals.

The sets of a parcel are the same to the byte, and numbered from 1 as they are shipped. As a rule there is one for each
destination; one set may also go from site to site.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from courier.errors import NotFoundError, UsageError
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.site.catalog import parcels
from courier.site.catalog.parcels import SentTo

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """How a parcel was shipped so far: its destinations, by site, and the seals on what goes there."""

    to: Mapping[str, SentTo]
    seals: Mapping[str, Mapping[int, str]]


def shipped_before(connection: Connection, parcel: OutgoingParcel) -> Shipped:
    """How a parcel was shipped so far."""
    name = parcel.sent.parcel
    to = {item.site: item for item in parcels.destinations(connection, name)}
    return Shipped(to=to, seals=parcels.seals(connection, name, parcel.sent.edition))


def chosen_destinations(parcel: OutgoingParcel, to: Sequence[str]) -> tuple[str, ...]:
    """The destinations of a parcel that are named, all if none is; raises `NotFoundError` for another site."""
    known = parcel.packing.destinations
    for code in to:
        if code not in known:
            raise NotFoundError(f"{parcel.sent.parcel} is not for {code}", hint=f"it is for {', '.join(known)}")
    return tuple(code for code in known if code in to) or known


def sets_of_media(parcel: OutgoingParcel, before: Shipped, to: Sequence[str], *, named: bool) -> dict[str, int]:
    """The set of media (its number) for each destination that is shipped to now.

    ``to``: the destinations that one set goes to; without them a set goes to each. ``named``: a seal or tracking number
    was given, which belongs to one set. Raises `NotFoundError` for a site that it is not for, and `UsageError`.
    """
    name, chosen = parcel.sent.parcel, chosen_destinations(parcel, to)
    copies = {code: before.to[code].copy for code in chosen}
    unused = itertools.count(max(item.copy for item in before.to.values()) + 1)
    if to:
        # One set of media goes to all that were named.
        shared = min((copy for copy in copies.values() if copy), default=0) or next(unused)
        copies = {code: copy or shared for code, copy in copies.items()}
    else:
        copies = {code: copy or next(unused) for code, copy in copies.items()}
    if named and len(set(copies.values())) > 1:
        raise UsageError(
            f"{name} goes to {', '.join(chosen)}, each with a set of media of its own: which set are the seals and the "
            "tracking number of?",
            hint=f"ship to one after the other: --to {chosen[0]}; a set that goes from site to site: "
            + " ".join(f"--to {code}" for code in chosen[:2]),
        )
    return copies
