"""The sites: this one and those whose cards are pinned, with their space, trust, keys, last contact and lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.care.waiting_site import FAILURES
from courier.channel.measurement import Measured
from courier.site.card import pinned_card
from courier.site.catalog import sites as site_rows
from courier.site.catalog.sites import Address, PinnedSite
from courier.site.clock import now
from courier.site.trust import KEY_WARNING_NS
from courier.web.pages import Asked, Page
from courier.web.snapshot import ToldBySite
from formats.documents.card import SiteCard

SIZE = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """An address, and what its last test measured."""

    address: Address
    measured: Measured | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A site whose card is pinned. ``heard_ns``: when its newest message came; ``queued``: messages for it."""

    pinned: PinnedSite
    card: SiteCard
    lines: Sequence[Line]
    heard_ns: int | None
    queued: int
    told: ToldBySite | None


def sites(asked: Asked) -> Page:
    """A page of the list of sites. Raises `CourierError`."""
    snapshot, text = asked.seen.snapshot, asked.text("find")
    begin = asked.offset(SIZE)
    with asked.site.catalogue.reading() as connection:
        found = [
            one
            for one in site_rows.everyone(connection)
            if text.upper() in one.code or text.casefold() in one.name.casefold()
        ]
        shown = [(one, site_rows.addresses(connection, one.code)) for one in found[begin : begin + SIZE]]
    facts = {one.code: one for one in snapshot.facts.peers} if snapshot else {}
    peers = [
        Peer(
            pinned=one,
            card=pinned_card(one.card),
            lines=[Line(address=address, measured=Measured.parse(address.measured)) for address in addresses],
            heard_ns=facts[one.code].heard_ns if one.code in facts else None,
            queued=facts[one.code].queued if one.code in facts else 0,
            told=snapshot.told.get(one.code) if snapshot else None,
        )
        for one, addresses in shown
    ]
    return Page(
        title="Sites",
        tab="sites",
        part="sites",
        values={
            "own": asked.site.card,
            "snapshot": snapshot,
            "peers": peers,
            "paging": asked.paging(SIZE, len(found)),
            "find": text,
            "now_ns": now(),
            "soon_ns": now() + KEY_WARNING_NS,
            "failures": FAILURES,
        },
    )
