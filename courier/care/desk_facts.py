"""Facts of the desk: labels that were taken in before their media were read, and seals that were found wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from courier.care.facts import DAY_NS, DeskFacts
from courier.parcel.custody import LedgerLine
from courier.parcel.custody_ledger import DAMAGED, SCANNED, TYPED, load, view_ledger
from courier.parcel.states import ReceivedState
from courier.site.catalog import custody, parcels
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.custody import CustodyEntry

SEALS_KEPT_NS = 30 * DAY_NS
"""For so long after its import a parcel's wrong seals wait for a person: media are often imported within the hour."""
_NOT_ENDED = (
    ReceivedState.ANNOUNCED,
    ReceivedState.ARRIVING,
    ReceivedState.HELD,
    ReceivedState.COMPLETE,
    ReceivedState.IMPORTING,
)


def desk_facts(site: Site) -> dict[str, DeskFacts]:
    """By parcel, what was found at the desk of this site and waits. Parcels that ended long ago are not looked into."""
    with site.catalogue.reading() as connection:
        by_parcel: dict[str, list[ReceivedParcel]] = {}
        for row in parcels.all_received(connection):
            by_parcel.setdefault(row.parcel, []).append(row)
        own = {one.parcel for one in parcels.all_sent(connection)}
        wanted = [
            parcel
            for parcel in custody.parcels_with_entries(connection)
            if parcel not in own and _is_looked_into(by_parcel.get(parcel, []))
        ]
        touched = [parcel for parcel in wanted if any(map(_is_of_desk, load(connection, parcel).entries.values()))]
        read = {
            parcel: {
                volume.number
                for row in by_parcel.get(parcel, ())
                for volume in parcels.received_volumes(connection, parcel, row.build)
            }
            for parcel in touched
        }
    found = (judge_desk(parcel, view_ledger(site, parcel).lines, site.code, read[parcel]) for parcel in touched)
    return {one.parcel: one for one in found if one.by_label or one.broken}


def judge_desk(parcel: str, lines: Sequence[LedgerLine], site: str, read: Collection[int]) -> DeskFacts:
    """What the proved entries of ``site`` say; ``read``: the volumes of which a medium was read. Pure."""
    by_label: dict[int, int] = {}
    broken: dict[tuple[int, int], tuple[str, int]] = {}
    for line in lines:
        entry = line.entry
        if not line.proved:
            continue
        if entry.site == parcel[:3] and entry.event == "replaced":
            # Another medium comes in place of this one, with a seal of its own.
            for number in entry.volumes:
                by_label.pop(number, None)
                broken = {place: what for place, what in broken.items() if place[1] != number}
        if entry.site != site:
            continue
        if entry.event == "received" and entry.note in (SCANNED, TYPED):
            by_label |= dict.fromkeys(entry.volumes, entry.at_ns)
        if entry.event == "note" and not entry.note.startswith(DAMAGED):
            broken = {place: what for place, what in broken.items() if place[1] not in entry.volumes}
        for seal in entry.seals:
            broken.pop((entry.copy, seal.volume), None)
            if seal.found == "broken":
                broken[entry.copy, seal.volume] = seal.serial, entry.at_ns
    waiting = {number: at_ns for number, at_ns in by_label.items() if number not in read}
    return DeskFacts(
        parcel=parcel,
        by_label=tuple(sorted(waiting)),
        since_ns=min(waiting.values(), default=None),
        broken=tuple((number, serial, at_ns) for (_, number), (serial, at_ns) in sorted(broken.items())),
    )


def _is_looked_into(rows: Sequence[ReceivedParcel]) -> bool:
    """Whether a parcel goes on here, is not known here yet, or was imported lately."""
    since = now() - SEALS_KEPT_NS
    return not rows or any(row.state in _NOT_ENDED or (row.imported_ns or 0) > since for row in rows)


def _is_of_desk(entry: CustodyEntry) -> bool:
    """Whether an entry, of whichever site, may be one that counts here."""
    return any(seal.found == "broken" for seal in entry.seals) or entry.note in (SCANNED, TYPED)
