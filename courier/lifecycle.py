"""The life of a parcel and of its volumes at either side: states, and which may follow which.

An event that the table does not allow is a finding for the log, not a crash.
"""

from __future__ import annotations

from enum import StrEnum


class SentState(StrEnum):
    """A parcel at its sender."""

    BUILT = "Built"
    WRITTEN = "Written"
    SENT = "Sent"
    CONFIRMED = "Confirmed"
    RECALLED = "Recalled"


class ReceivedState(StrEnum):
    """A parcel at a receiver."""

    ANNOUNCED = "Announced"
    """The ship notice came; no medium yet."""
    ARRIVING = "Arriving"
    """Media arrived, and something is still missing or damaged."""
    HELD = "Held"
    """All content is here and good; it awaits its ship notice, its definitions, or the operator."""
    IMPORTED = "Imported"
    """Its packages are in the store."""
    REFUSED = "Refused"


class VolumeState(StrEnum):
    """A volume, at either side."""

    PLANNED = "Planned"
    WRITTEN = "Written"
    """Written and read back."""
    MISSING = "Missing"
    """Not seen here yet."""
    DAMAGED = "Damaged"
    """Seen; some of its blocks could not be read right, and are still missing."""
    RECEIVED = "Received"
    """All of its blocks are here and good."""


SENT: dict[SentState, frozenset[SentState]] = {
    SentState.BUILT: frozenset({SentState.WRITTEN, SentState.RECALLED}),
    SentState.WRITTEN: frozenset({SentState.SENT, SentState.BUILT, SentState.RECALLED}),
    SentState.SENT: frozenset({SentState.CONFIRMED, SentState.RECALLED}),
    SentState.CONFIRMED: frozenset(),
    SentState.RECALLED: frozenset(),
}

RECEIVED: dict[ReceivedState, frozenset[ReceivedState]] = {
    ReceivedState.ANNOUNCED: frozenset({ReceivedState.ARRIVING, ReceivedState.HELD, ReceivedState.REFUSED}),
    ReceivedState.ARRIVING: frozenset({ReceivedState.HELD, ReceivedState.REFUSED}),
    ReceivedState.HELD: frozenset({ReceivedState.IMPORTED, ReceivedState.ARRIVING, ReceivedState.REFUSED}),
    ReceivedState.IMPORTED: frozenset(),
    ReceivedState.REFUSED: frozenset({ReceivedState.ARRIVING}),
}


def may_follow_sent(now: str, then: SentState) -> bool:
    """Whether a sent parcel in state ``now`` may go to ``then`` (staying is always allowed)."""
    return now == then or then in SENT[SentState(now)]


def may_follow_received(now: str, then: ReceivedState) -> bool:
    """Whether a received parcel in state ``now`` may go to ``then`` (staying is always allowed)."""
    return now == then or then in RECEIVED[ReceivedState(now)]
