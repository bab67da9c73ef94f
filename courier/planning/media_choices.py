"""How many media of each kind a parcel would take, by the planner that parcels are built by, and which to take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from courier.errors import NoSpaceError, UsageError
from courier.media.kinds import DRIVE, MEDIA
from courier.sending.estimate import Estimate, estimate_parcel
from courier.sending.plan import ParcelDraft, ParcelPlan
from formats.documents.packing import MAX_VOLUMES

MOST_MEDIA = 1000
"""A kind of which a parcel would take more is counted by its bytes alone, and never chosen."""
PLEASANT = 50
"""Discs are chosen up to this number; beyond it tapes are looked at too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaChoice:
    """What a parcel takes of one kind of medium.

    ``count`` media of ``capacity`` usable bytes, ``spares`` among them; ``bytes`` on all of them together, both as
    samples of compressed content make likely. ``groups``: (media, spares among them) of each group of spare volumes.
    ``planned``: whether the planner laid it out; else the count follows from the bytes alone. ``refused``: why the
    planner refuses this kind; empty where it does not.
    """

    kind: str
    capacity: int
    count: int
    bytes: int
    spares: int = 0
    groups: tuple[tuple[int, int], ...] = ()
    planned: bool = True
    refused: str = ""


def media_choices(draft: ParcelDraft, kinds: Sequence[tuple[str, int]]) -> list[MediaChoice]:
    """What the parcel takes of each kind (name, usable bytes), smallest first.

    Once everything fits on one medium it does so on all larger kinds, and these are not planned again.
    """
    size = draft.contents.bytes
    found: list[MediaChoice] = []
    single: MediaChoice | None = None
    for kind, capacity in sorted(kinds, key=lambda one: one[1]):
        if single is not None:
            choice = MediaChoice(
                kind=kind,
                capacity=capacity,
                count=single.count,
                bytes=single.bytes,
                spares=single.spares,
                groups=single.groups,
            )
        else:
            choice = _planned(draft, kind, capacity, size)
            if not choice.refused and choice.planned and choice.count - choice.spares == 1:
                single = choice
        found.append(choice)
    return found


def _planned(draft: ParcelDraft, kind: str, capacity: int, size: int) -> MediaChoice:
    if size > MOST_MEDIA * capacity:
        count = -(-size // capacity)
        refused = f"a parcel has at most {MAX_VOLUMES:,} volumes" if count > MAX_VOLUMES else ""
        return MediaChoice(kind=kind, capacity=capacity, count=count, bytes=size, planned=False, refused=refused)
    try:
        plan = draft.plan(kind, capacity)
    except (NoSpaceError, UsageError) as error:
        return MediaChoice(kind=kind, capacity=capacity, count=0, bytes=0, refused=error.message)
    return _of_plan(kind, capacity, plan, estimate_parcel(draft, plan))


def _of_plan(kind: str, capacity: int, plan: ParcelPlan, estimate: Estimate | None) -> MediaChoice:
    """What a plan takes, or what it will likely take where that is estimated."""
    packing = plan.preview if estimate is None else estimate.packing
    groups = tuple((len(g.volumes) + len(g.spares), len(g.spares)) for g in packing.groups if g.spares)
    return MediaChoice(
        kind=kind,
        capacity=capacity,
        count=packing.volumes,
        bytes=sum(packing.volume_bytes(number) for number in range(1, packing.volumes + 1)),
        spares=sum(spares for _, spares in groups),
        groups=groups,
    )


def choose(found: Sequence[MediaChoice], readable: Collection[str]) -> MediaChoice:
    """The kind to take: few media first, then the smallest that does. ``readable``: kinds to choose from; empty: any.

    Where nothing is known of the drives there, discs are taken, and tapes only where too many discs would be needed.
    Raises `UsageError` where none of them will do.
    """
    fit = [one for one in found if not one.refused and (not readable or one.kind in readable)]
    if not fit:
        why = next((f" ({one.kind}: {one.refused})" for one in found if one.refused), "")
        kinds = ", ".join(sorted(readable)) or "any kind"
        raise UsageError(f"the parcel does not fit on {kinds}{why}", hint="give --media KIND or --capacity SIZE")
    if not readable:
        discs = [one for one in fit if not _is_tape(one.kind) and one.count <= PLEASANT]
        fit = discs or fit
    return min(fit, key=lambda one: (not one.planned, one.count, one.capacity))


def _is_tape(kind: str) -> bool:
    return kind in MEDIA and "tape" in MEDIA[kind].layouts


def readable_kinds(told: Collection[str], found: Sequence[MediaChoice]) -> Collection[str]:
    """The kinds among ``found`` that a site says it reads (``told``), a drive of a given capacity included."""
    return [one.kind for one in found if one.kind in told or one.kind == DRIVE]


def all_kinds(capacity: int | None) -> list[tuple[str, int]]:
    """(name, usable bytes) of every kind of medium; with a ``capacity``, also of a drive of that size."""
    kinds = [(kind.name, kind.usable_bytes) for kind in MEDIA.values()]
    return kinds if capacity is None else [*kinds, (DRIVE, capacity)]
