"""Sets of media: which copy of a parcel's volumes goes to which destination, by whom, and with which seals.

The sets of a parcel are the same to the byte, and numbered from 1 as they are shipped. As a rule there is one for each
destination; one set may also go from site to site. What goes on with a set is judged by the ship notices that were
queued for its destinations.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from courier.errors import NotFoundError, UsageError
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.site.catalog import messages, parcels, sent_notices
from courier.site.catalog.parcels import SentTo
from courier.site.catalog.sent_notices import SentNotice

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What an operator gives for a set of media; what is empty stays as it is. ``seals``: serial numbers by volume."""

    carrier: str
    tracking: str
    seals: Mapping[int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """How a parcel was shipped so far.

    ``edition``: its present layout. ``to``: its destinations, by site, without their receipts. ``seals``: by site, the
    seals on the volumes of that layout. ``notices``: by site, those that were queued, of every layout, the oldest
    first. ``waiting``: the names of those that have not left yet, nor begun to.
    """

    edition: int
    to: Mapping[str, SentTo]
    seals: Mapping[str, Mapping[int, str]]
    notices: Mapping[str, tuple[SentNotice, ...]]
    waiting: frozenset[str]

    def members(self, copy: int) -> tuple[str, ...]:
        """The destinations that a set goes to."""
        return tuple(code for code, to in self.to.items() if copy and to.copy == copy)

    def has_left(self, code: str) -> bool:
        """Whether a destination may know of the parcel by a notice."""
        return any(one.notice not in self.waiting for one in self.notices.get(code, ()))

    def replaceable(self, code: str) -> tuple[SentNotice, ...]:
        """The notices about the present layout that a new one replaces, as they have not left."""
        found = self.notices.get(code, ())
        return tuple(one for one in found if one.edition == self.edition and one.notice in self.waiting)

    def told(self, code: str, copy: int) -> tuple[SentTo, Mapping[int, str]]:
        """What is known of the set ``copy`` that goes to a destination: its shipment, and the seals.

        A destination that joins a set which was shipped before gets what that has.
        """
        to, members = self.to[code], self.members(copy)
        if code in members or not members:
            return replace(to, copy=copy), self.seals.get(code, {})
        other = self.to[members[0]]
        return replace(to, copy=copy, carrier=other.carrier, tracking=other.tracking), self.seals.get(members[0], {})


def shipped_before(connection: Connection, parcel: str, edition: int) -> Shipped:
    """How a parcel, of which ``edition`` is the present layout, was shipped so far."""
    to = {
        item.site: replace(item, receipt=None, confirmed_ns=None) for item in parcels.destinations(connection, parcel)
    }
    notices = sent_notices.of_parcel(connection, parcel)
    every = [one for found in notices.values() for one in found]
    waiting = [
        one.notice
        for one in every
        if not messages.may_have_left(messages.find(connection, "out", one.notice, one.site))
    ]
    return Shipped(
        edition=edition,
        to=to,
        seals=parcels.seals(connection, parcel, edition),
        notices=notices,
        waiting=frozenset(waiting),
    )


def chosen_destinations(parcel: OutgoingParcel, to: Sequence[str]) -> tuple[str, ...]:
    """The destinations of a parcel that are named, all if none is; raises `NotFoundError` for another site."""
    known = parcel.packing.destinations
    for code in to:
        if code not in known:
            raise NotFoundError(f"{parcel.sent.parcel} is not for {code}", hint=f"it is for {', '.join(known)}")
    return tuple(code for code in known if code in to) or known


def sets_of_media(parcel: OutgoingParcel, before: Shipped, to: Sequence[str], given: Given) -> dict[str, int]:
    """The set of media (its number) for each destination that is shipped to now.

    ``to``: the destinations that one set goes to; without them a set goes to each. ``given``: a seal or a tracking
    number belongs to one set. Raises `NotFoundError` for a site that it is not for, and `UsageError`, also for a change
    of a set that goes to other destinations too.
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
    if (given.seals or given.tracking) and len(set(copies.values())) > 1:
        raise UsageError(
            f"{name} goes to {', '.join(chosen)}, each with a set of media of its own: which set are the seals and the "
            "tracking number of?",
            hint=f"ship to one after the other: --to {chosen[0]}; a set that goes from site to site: "
            + " ".join(f"--to {code}" for code in chosen[:2]),
        )
    _check_shared(parcel, before, copies, given)
    return copies


def _check_shared(parcel: OutgoingParcel, before: Shipped, copies: Mapping[str, int], given: Given) -> None:
    """Raise `UsageError` where a set would change that goes to destinations too which were not named."""
    for code, copy in copies.items():
        members = before.members(copy)
        if set(members) <= copies.keys() or not is_changed(*before.told(code, copy), given):
            continue
        every = [one for one in parcel.packing.destinations if one in members or one in copies]
        raise UsageError(
            f"set {copy} of the media of {parcel.sent.parcel} goes to {', '.join(members)}: its carrier, tracking "
            "number and seals are the same for all of them",
            hint=f"change them for all: {_command(parcel.sent.parcel, every, given)}",
        )


def is_changed(to: SentTo, seals: Mapping[int, str], given: Given) -> bool:
    """Whether what is given is other than what is known of a set (``to`` and ``seals``)."""
    return (
        given.carrier not in ("", to.carrier)
        or given.tracking not in ("", to.tracking)
        or any(seals.get(number) != serial for number, serial in given.seals.items())
    )


def _command(parcel: str, to: Sequence[str], given: Given) -> str:
    """The command that ships one set to these destinations."""
    words = ["courier", "parcel", "ship", parcel, *(word for code in to for word in ("--to", code))]
    words += ["--carrier", given.carrier] if given.carrier else []
    words += ["--tracking", given.tracking] if given.tracking else []
    words += [word for number, serial in sorted(given.seals.items()) for word in ("--seal", f"{number}={serial}")]
    return shlex.join(words)
