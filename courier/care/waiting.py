"""What waits, on whom, and the command that goes on: the findings of a site's status. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OPERATOR = "operator"
"""`Waiting.on` where the operator of this site has something to do."""
CARRIER = "carrier"
"""`Waiting.on` where media are under way."""


class Cause(StrEnum):
    """Why something waits, in a word that scripts and metrics can go by."""

    UNFINISHED = "unfinished"
    TO_WRITE = "to-write"
    TO_SHIP = "to-ship"
    TO_IMPORT = "to-import"
    TO_READ = "to-read"
    SEAL = "seal"
    UNDER_WAY = "under-way"
    OVERDUE = "overdue"
    DECISION = "decision"
    REPORT = "report"
    DAMAGE = "damage"
    DEFINITION = "definition"
    MESSAGES = "messages"
    DEAD_LETTER = "dead-letter"
    ADDRESS = "address"
    SILENT = "silent"
    KEY = "key"
    DISK = "disk"
    CONTENT = "content"
    POINT = "point"
    CACHE = "cache"
    STATE = "state"
    DEPLOYMENT = "deployment"
    WATCH = "watch"
    NOTIFY = "notify"


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Something that waits.

    ``on``: `OPERATOR`, `CARRIER`, or the code of the site that has to act. ``next``: the command that goes on, or that
    shows more where only a person can say how; it works as it stands. ``subject``: what it is about, so that the same
    cause is known again: a parcel, a site, a point. ``since_ns``: UTC, None where that says nothing.
    """

    cause: Cause
    what: str
    on: str
    next: str
    subject: str = ""
    parcel: str = ""
    since_ns: int | None = None

    @property
    def for_person(self) -> bool:
        """Whether it waits for a person at this site."""
        return self.on == OPERATOR
