"""States and events of parcels and volumes, at the sender and at the receiver, with a table of transitions for each.

A table maps (state, event) to the state that follows; state None means "not known here yet". An event that the table
does not have is illegal: the state stays, and `courier.parcel.transitions` writes a finding into the parcel's log.
docs/states.md is made from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class SentState(StrEnum):
    """A parcel at its sender."""

    PLANNED = "Planned"
    """It is planned, and is being built."""
    BUILT = "Built"
    """Archives, parity and the signed packing list are on our disk."""
    WRITTEN = "Written"
    """Every volume has been written and verified."""
    SENT = "Sent"
    """Handed over, or going by network; its ship notice is queued."""
    ARRIVING = "Arriving"
    """A destination has reported volumes of it."""
    CONFIRMED = "Confirmed"
    """Every destination's signed receipt has come."""
    FAILED = "Failed"
    """Lost or given up."""
    RECALLED = "Recalled"
    """Recalled by us: receivers refuse it."""
    SUPERSEDED = "Superseded"
    """A later parcel replaces it."""


class SentEvent(StrEnum):
    """What happens to a parcel at its sender; the value is the word in the log."""

    PLANNED = "planned"
    BUILT = "built"
    LAID_OUT = "laid-out"
    WRITTEN = "written"
    SENT = "sent"
    BY_NETWORK = "sent-by-network"
    TAKEN_BACK = "taken-back"
    ARRIVAL = "arrival"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    RECALLED = "recalled"
    SUPERSEDED = "superseded"
    REBUILT = "rebuilt"


class ReceivedState(StrEnum):
    """A parcel at a receiver."""

    ANNOUNCED = "Announced"
    """The ship notice came; no medium yet."""
    ARRIVING = "Arriving"
    """Media arrived, and something is still missing or damaged."""
    HELD = "Held"
    """All content is here and good; it awaits its ship notice, its definitions, or the operator."""
    COMPLETE = "Complete"
    """All content is here and all that must agree agrees: it is being imported, or the import was stopped."""
    IMPORTING = "Importing"
    """Some of its packages are in the store, imported before the rest of it came."""
    IMPORTED = "Imported"
    """Its packages are in the store."""
    REFUSED = "Refused"
    """Recalled or superseded by its sender, or refused by the operator."""
    DISCARDED = "Discarded"
    """What had arrived of it was deleted by the operator; its volumes may be received anew."""


class ReceivedEvent(StrEnum):
    """What happens to a parcel at a receiver; the value is the word in the log."""

    ANNOUNCED = "announced"
    ARRIVED = "arrived"
    HELD = "held"
    COMPLETE = "complete"
    PART = "part-imported"
    """Packages of it were imported, each whole, while others are still to come."""
    IMPORTED = "imported"
    SPOILT = "spoilt"
    REFUSED = "refused"
    ACCEPTED = "accepted"
    DISCARDED = "discarded"
    AGAIN = "again"
    """A volume came again after the import, when the store had lost some of what the parcel brought."""


class VolumeState(StrEnum):
    """A volume, at either side."""

    PLANNED = "Planned"
    WRITTEN = "Written"
    """Written and verified."""
    MISSING = "Missing"
    """Not received yet."""
    DAMAGED = "Damaged"
    """Received; some of its blocks could not be read, or were damaged, and are still missing."""
    RECEIVED = "Received"
    """All of its blocks are here and good."""


class VolumeEvent(StrEnum):
    """What happens to a volume: at the sender it is planned and written, at the receiver read."""

    PLANNED = "volume-planned"
    WRITTEN = "volume-written"
    READ_IN_PART = "volume-read-in-part"
    READ = "volume-read"


_S, _SE = SentState, SentEvent
_UNDER_WAY = (_S.SENT, _S.ARRIVING, _S.FAILED)

ON_ITS_WAY = frozenset({_S.PLANNED, _S.BUILT, _S.WRITTEN, *_UNDER_WAY})
"""States of a sent parcel that has not ended: it may still be written, or blocks of it may be requested."""

SENT: Mapping[tuple[SentState | None, SentEvent], SentState] = {
    (None, _SE.PLANNED): _S.PLANNED,
    (None, _SE.REBUILT): _S.WRITTEN,
    (_S.PLANNED, _SE.BUILT): _S.BUILT,
    **{(state, _SE.LAID_OUT): _S.BUILT for state in (_S.BUILT, _S.WRITTEN, *_UNDER_WAY)},
    # A confirmed parcel may be laid out for another medium and written again; it stays confirmed.
    (_S.CONFIRMED, _SE.LAID_OUT): _S.CONFIRMED,
    (_S.BUILT, _SE.WRITTEN): _S.WRITTEN,
    **{(state, _SE.WRITTEN): state for state in (_S.WRITTEN, *_UNDER_WAY, _S.CONFIRMED)},
    (_S.WRITTEN, _SE.SENT): _S.SENT,
    (_S.SENT, _SE.SENT): _S.SENT,
    (_S.FAILED, _SE.SENT): _S.SENT,
    (_S.ARRIVING, _SE.SENT): _S.ARRIVING,
    # A destination that lost its catalogue is told once more.
    (_S.CONFIRMED, _SE.SENT): _S.CONFIRMED,
    # Of what goes by network nothing needs to be written; its volumes may be written all the same.
    **{(state, _SE.BY_NETWORK): _S.SENT for state in (_S.BUILT, _S.WRITTEN, _S.SENT, _S.FAILED)},
    (_S.ARRIVING, _SE.BY_NETWORK): _S.ARRIVING,
    (_S.CONFIRMED, _SE.BY_NETWORK): _S.CONFIRMED,
    # While its ship notice has not left for any destination.
    (_S.SENT, _SE.TAKEN_BACK): _S.WRITTEN,
    # Volumes are where it was not shipped to, by what their site says.
    (_S.ARRIVING, _SE.TAKEN_BACK): _S.ARRIVING,
    # Answers may come for an edition that was laid out anew since, or after the catalogue was rebuilt from media.
    **{(state, _SE.ARRIVAL): _S.ARRIVING for state in (_S.BUILT, _S.WRITTEN, _S.SENT, _S.ARRIVING)},
    # It counts as lost until we ship it again: its key is not released to whoever reports it.
    (_S.FAILED, _SE.ARRIVAL): _S.FAILED,
    (_S.CONFIRMED, _SE.ARRIVAL): _S.CONFIRMED,
    **{(state, _SE.CONFIRMED): _S.CONFIRMED for state in (_S.BUILT, _S.WRITTEN, *_UNDER_WAY, _S.CONFIRMED)},
    # These states are final, though a volume may arrive, or be imported, before the recall is known there.
    **{(state, event): state for state in (_S.RECALLED, _S.SUPERSEDED) for event in (_SE.ARRIVAL, _SE.CONFIRMED)},
    **{(state, _SE.FAILED): _S.FAILED for state in (_S.BUILT, _S.WRITTEN, *_UNDER_WAY)},
    **{(state, _SE.RECALLED): _S.RECALLED for state in (_S.BUILT, _S.WRITTEN, *_UNDER_WAY)},
    (_S.RECALLED, _SE.RECALLED): _S.RECALLED,
    **{(state, _SE.SUPERSEDED): _S.SUPERSEDED for state in (_S.BUILT, _S.WRITTEN, *_UNDER_WAY)},
    (_S.SUPERSEDED, _SE.SUPERSEDED): _S.SUPERSEDED,
    (_S.SUPERSEDED, _SE.RECALLED): _S.RECALLED,
}
"""A parcel at its sender."""

_R, _RE = ReceivedState, ReceivedEvent
_OPEN = (_R.ANNOUNCED, _R.ARRIVING, _R.HELD, _R.COMPLETE, _R.IMPORTING)

GATHERING = (_R.ARRIVING, _R.HELD, _R.COMPLETE, _R.IMPORTING)
"""States of a received parcel of which files are here and some packages are not imported."""

NOTHING_HERE = frozenset({_R.ANNOUNCED, _R.DISCARDED})
"""States of a received parcel that is known, and of which no files are here."""

RECEIVED: Mapping[tuple[ReceivedState | None, ReceivedEvent], ReceivedState] = {
    (None, _RE.ANNOUNCED): _R.ANNOUNCED,
    **{(state, _RE.ANNOUNCED): state for state in (*_OPEN, _R.IMPORTED, _R.REFUSED, _R.DISCARDED)},
    **{(state, _RE.ARRIVED): _R.ARRIVING for state in (None, _R.ANNOUNCED, _R.DISCARDED)},
    **{(state, _RE.ARRIVED): state for state in (*GATHERING, _R.IMPORTED)},
    **{(state, _RE.HELD): _R.HELD for state in (_R.ARRIVING, _R.HELD, _R.COMPLETE)},
    **{(state, _RE.COMPLETE): _R.COMPLETE for state in (_R.ARRIVING, _R.HELD, _R.COMPLETE)},
    **{(state, _RE.PART): _R.IMPORTING for state in GATHERING},
    # How far it is stands in its receipt, whatever of the rest is here.
    **{(_R.IMPORTING, event): _R.IMPORTING for event in (_RE.HELD, _RE.COMPLETE, _RE.SPOILT)},
    **{(state, _RE.IMPORTED): _R.IMPORTED for state in (_R.COMPLETE, _R.IMPORTING)},
    **{(state, _RE.SPOILT): _R.ARRIVING for state in (_R.ARRIVING, _R.HELD, _R.COMPLETE)},
    **{(state, _RE.REFUSED): _R.REFUSED for state in (*_OPEN, _R.REFUSED, _R.DISCARDED)},
    # The sender's recall or supersession may come before anything else of the parcel.
    (None, _RE.REFUSED): _R.REFUSED,
    (_R.REFUSED, _RE.ACCEPTED): _R.ARRIVING,
    **{(state, _RE.DISCARDED): _R.DISCARDED for state in GATHERING},
    (_R.IMPORTED, _RE.AGAIN): _R.ARRIVING,
}
"""A parcel at a receiver."""

_V, _VE = VolumeState, VolumeEvent

SENT_VOLUME: Mapping[tuple[VolumeState | None, VolumeEvent], VolumeState] = {
    (None, _VE.PLANNED): _V.PLANNED,
    (None, _VE.WRITTEN): _V.WRITTEN,
    (_V.PLANNED, _VE.WRITTEN): _V.WRITTEN,
    (_V.WRITTEN, _VE.WRITTEN): _V.WRITTEN,
}
"""A volume at the sender; one that was found on a medium when the catalogue was rebuilt begins as written."""

RECEIVED_VOLUME: Mapping[tuple[VolumeState | None, VolumeEvent], VolumeState] = {
    **{(state, _VE.READ): _V.RECEIVED for state in (_V.MISSING, _V.DAMAGED, _V.RECEIVED)},
    # From Received where our own disk lost blocks of it since.
    **{(state, _VE.READ_IN_PART): _V.DAMAGED for state in (_V.MISSING, _V.DAMAGED, _V.RECEIVED)},
}
"""A volume at the receiver; one that has not been received yet is missing."""


def after_sent(state: str | None, event: SentEvent) -> SentState | None:
    """The state of a sent parcel after ``event``; None when the table does not allow it."""
    return SENT.get((SentState(state) if state is not None else None, event))


def after_received(state: str | None, event: ReceivedEvent) -> ReceivedState | None:
    """The state of a received parcel after ``event``; None when the table does not allow it."""
    return RECEIVED.get((ReceivedState(state) if state is not None else None, event))


def after_sent_volume(state: str | None, event: VolumeEvent) -> VolumeState | None:
    """The state of a volume at the sender after ``event``; None when the table does not allow it."""
    return SENT_VOLUME.get((VolumeState(state) if state is not None else None, event))


def after_received_volume(state: str, event: VolumeEvent) -> VolumeState | None:
    """The state of a volume at the receiver after ``event``; None when the table does not allow it."""
    return RECEIVED_VOLUME.get((VolumeState(state), event))
