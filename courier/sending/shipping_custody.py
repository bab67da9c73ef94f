"""What the custody ledger says of a shipment: seals that are put on, media that replace others, and the hand-over.

A set of media has its entries once, to however many destinations it goes. What was entered of a set whose notices are
replaced before any of them has left is taken back first, so that a seal typed by mistake is none that a later one is
compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from courier.parcel.custody_ledger import Happened
from courier.sending.media_sets import Shipped
from courier.site.catalog.parcels import SentVolume
from formats.documents.custody import SealMark
from formats.documents.notice import ShipNotice


@dataclass(frozen=True, kw_only=True, slots=True)
class ShippedSet:
    """A set of media that is shipped now: its number, its destinations, and the notice that one of them gets.

    ``given_up``: what was shipped before was given up as lost.
    """

    copy: int
    sites: tuple[str, ...]
    notice: ShipNotice
    given_up: bool


def entries_of(one: ShippedSet, before: Shipped, volumes: Sequence[SentVolume], *, note: str = "") -> list[Happened]:
    """The custody entries of a shipped set: what was not entered when it was shipped before.

    ``volumes``: those of the parcel as they were written. ``note``: for the entry on the hand-over.
    """
    notice, members = one.notice, before.members(one.copy)
    to, seals = before.told(one.sites[0], one.copy)
    joined = any(code not in members for code in one.sites)
    changed = (notice.carrier, notice.tracking) != (to.carrier, to.tracking) or dict(notice.seals) != dict(seals)
    if not (joined or changed or one.given_up):
        return []
    things: list[Happened] = []
    replaced = any(before.replaceable(code) for code in one.sites)
    if members and changed and replaced and not any(before.has_left(code) for code in members):
        things.append(Happened(event="taken-back", copy=one.copy, note="replaced before its notice left"))
        things += _sealed(one.copy, "sealed", notice.seals)
    else:
        new = {number: serial for number, serial in notice.seals.items() if not members or seals.get(number) != serial}
        fresh = _written_anew(one, before, volumes)
        things += _sealed(one.copy, "sealed", {n: serial for n, serial in new.items() if n not in fresh})
        things += _sealed(one.copy, "replaced", {n: serial for n, serial in new.items() if n in fresh})
    over = Happened(event="handed-over", copy=one.copy, to=notice.carrier, tracking=notice.tracking, note=note)
    return [*things, over]


def _sealed(copy: int, event: str, seals: Mapping[int, str]) -> list[Happened]:
    marks = tuple(SealMark(volume=number, serial=serial) for number, serial in sorted(seals.items()))
    return [Happened(event=event, copy=copy, volumes=tuple(sorted(seals)), seals=marks)] if marks else []


def _written_anew(one: ShippedSet, before: Shipped, volumes: Sequence[SentVolume]) -> set[int]:
    """The volumes that were written again for a set which was shipped before: another seal on them is no re-seal.

    Which set a medium is for is not known. So only what was written after all destinations were shipped to counts as
    written again: before that, it may be for the set of another one.
    """
    members = before.members(one.copy)
    if not members:
        return set()
    editions = {item.edition for code in members for item in before.notices.get(code, ())}
    if editions and before.edition not in editions:
        # It was laid out anew: all of its media are others.
        return {volume.number for volume in volumes}
    first = [before.notices[code][0].issued_ns if before.notices.get(code) else None for code in before.to]
    begun = [at for at in first if at is not None]
    if len(begun) < len(first):
        return set()
    last = max([*begun, *(before.to[code].shipped_ns or 0 for code in members)])
    return {volume.number for volume in volumes if (volume.written_ns or 0) > last}
