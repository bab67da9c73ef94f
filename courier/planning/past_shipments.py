"""What past shipments in the catalogue teach: how fast this site builds and writes, and how long a carrier takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from courier.errors import CourierError
from courier.parcel.states import SentEvent
from courier.sending.outgoing_parcel import open_outgoing
from courier.site.catalog import parcels
from courier.site.catalog.parcels import SentParcel, SentVolume
from courier.site.home import Site

TELLING_BYTES = 64 << 20
"""A smaller parcel or volume says how long a start takes, not how fast the machine is."""
NEWEST = 50
"""Parcels that are looked at, the newest ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PastShipment:
    """A shipment to one site: bytes and number of its media, and seconds from its ship notice to the site's receipt."""

    parcel: str
    bytes: int
    media: int
    seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Lessons:
    """What the past teaches; every list is empty where it teaches nothing.

    ``shipments`` to each site by its code. ``build_rates``: bytes a second. ``write_rates`` by the kind of medium:
    bytes a second at which volumes were written and read back, one after the other.
    """

    shipments: dict[str, list[PastShipment]]
    build_rates: list[int]
    write_rates: dict[str, list[int]]


def lessons_of(site: Site) -> Lessons:
    """What the newest parcels that this site sent teach."""
    lessons = Lessons(shipments={}, build_rates=[], write_rates={})
    with site.catalogue.reading() as connection:
        newest = parcels.all_sent(connection)[-NEWEST:]
        known = [
            (
                sent,
                parcels.sent_volumes(connection, sent.parcel, sent.edition),
                parcels.read_log(connection, sent.parcel),
                parcels.destinations(connection, sent.parcel),
            )
            for sent in newest
        ]
    for sent, volumes, log, destinations in known:
        at = {entry.event: entry.at_ns for entry in reversed(log)}  # the first of each event
        size = sum(volume.bytes for volume in volumes)
        _learn_building(lessons, at, size)
        _learn_writing(lessons, site, sent, volumes)
        for to in destinations:
            if to.confirmed_ns is not None and SentEvent.SENT in at and to.confirmed_ns > at[SentEvent.SENT]:
                past = PastShipment(
                    parcel=sent.parcel,
                    bytes=size,
                    media=len(volumes),
                    seconds=-(-(to.confirmed_ns - at[SentEvent.SENT]) // 10**9),
                )
                lessons.shipments.setdefault(to.site, []).append(past)
    return lessons


def _learn_building(lessons: Lessons, at: dict[str, int], size: int) -> None:
    took = at.get(SentEvent.BUILT, 0) - at.get(SentEvent.PLANNED, 0)
    if size >= TELLING_BYTES and SentEvent.PLANNED in at and took > 0:
        lessons.build_rates.append(max(1, size * 10**9 // took))


def _learn_writing(lessons: Lessons, site: Site, sent: SentParcel, volumes: Sequence[SentVolume]) -> None:
    rates = list(_gaps(volumes))
    if not rates:
        return
    try:
        kind = open_outgoing(site, sent.parcel).packing.media
    except CourierError:
        return  # its files were discarded: nothing says any more which kind it was
    lessons.write_rates.setdefault(kind, []).extend(rates)


def _gaps(volumes: Sequence[SentVolume]) -> Iterator[int]:
    """Bytes a second of each volume that was written next after another one. A drive takes no more than 1 GB a second:
    what seems faster was found already written.
    """
    written = sorted((v for v in volumes if v.written_ns is not None), key=lambda v: v.written_ns or 0)
    for before, after in pairwise(written):
        took = (after.written_ns or 0) - (before.written_ns or 0)
        if after.bytes >= TELLING_BYTES and after.bytes < took:
            yield max(1, after.bytes * 10**9 // took)


def usual(values: Sequence[int]) -> int:
    """The value in the middle: one parcel that lay about for a month does not change it."""
    return int(median(values))
