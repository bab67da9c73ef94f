"""Looking after what a site has to do with others: its clock, its keys, and the ways to other sites."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from courier.care.ailment import Ailment, Area
from courier.errors import CourierError
from courier.site.card import pinned_card
from courier.site.catalog import reports, sites
from courier.site.clock import now
from courier.site.home import Site
from formats.records import format_time

TOLERANCE_NS = 300 * 10**9
"""Clocks of two sites may differ by so much."""
_POLL = "poll"


def look_at_keys(site: Site) -> Iterator[Ailment]:
    """Whether the present keys can be loaded, and are valid."""
    try:
        if not site.keyring.is_locked:
            # A passphrase or PIN is not asked for only to look.
            site.check_key()
    except CourierError as error:
        yield Ailment(area=Area.KEYS, what=error.message, means="commands that use this key refuse", remedy=error.hint)
        return
    if ending := site.key_warning():
        yield Ailment(
            area=Area.KEYS, what=ending, means="after that other sites refuse it", remedy="courier site rotate-key"
        )


def look_at_clock(site: Site) -> Iterator[Ailment]:
    """Whether other sites signed something in what is the future here, or the catalogue's server has another time."""
    away = site.catalogue.server_ahead_ns()
    if abs(away) > TOLERANCE_NS:
        yield Ailment(
            area=Area.CLOCK,
            what=f"this computer's clock is {abs(away) / 10**9:,.0f} s {'behind' if away > 0 else 'ahead of'} that of "
            "the catalogue's server",
            means="what this and other computers of the site sign and record is not in order, and may be refused",
            remedy="set the clock of this computer, and of the server, by NTP",
        )
    limit = now() + TOLERANCE_NS
    with site.catalogue.reading() as connection:
        for peer in sites.everyone(connection):
            newest = pinned_card(peer.card).issued_ns
            if (report := reports.find(connection, peer.code)) is not None:
                newest = max(newest, report[0])
            if newest > limit:
                yield Ailment(
                    area=Area.CLOCK,
                    what=f"{peer.code} signed something at {format_time(newest)[:19]}Z, which is in the future here",
                    means="what a site signs may be refused by the other",
                    remedy=f"compare this computer's clock, and that of {peer.code}, with a right one",
                )


def look_at_channel(site: Site) -> Iterator[Ailment]:
    """Whether the ways to other sites can be used from here. No other site is asked."""
    with site.catalogue.reading() as connection:
        known = sites.addresses(connection)
    over_http = [one for one in known if one.address == _POLL or "://" in one.address]
    lacking = [name for name in ("httpx", "starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if over_http and lacking:
        yield Ailment(
            area=Area.TOOLS,
            what=f"{', '.join(lacking)} is not installed",
            means=f"messages to {', '.join(sorted({one.site for one in over_http}))} cannot go over the network",
            remedy="pip install 'courier-parcels[channel]'",
        )
    for one in known:
        if one not in over_http and not Path(one.address).is_dir():
            yield Ailment(
                area=Area.CHANNEL,
                what=f"the folder {one.address} to {one.site} is not there",
                means="messages wait",
                remedy=f"mount it; or: courier channel address remove {one.site} {one.address}",
            )
        if one.ca and not Path(one.ca).is_file():
            yield Ailment(
                area=Area.CHANNEL,
                what=f"the certificates {one.ca} for {one.address} of {one.site} are not there",
                means="the server there is not believed, and messages wait",
                remedy=f"courier channel address set {one.site} {one.address} --ca FILE",
            )
