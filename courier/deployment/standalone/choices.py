"""How many media of each kind a set takes, by the planner that sets are made by, and which to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.deployment.standalone.create import SetDraft
from courier.errors import NoSpaceError
from courier.media.kinds import MEDIA
from formats.documents.standalone import Layout

STICKS = tuple((f"{size} GB stick", size * 950_000_000) for size in (4, 8, 16, 32, 64, 128, 256, 512, 1000))
"""Sticks as they are sold, and usable bytes: a twentieth is left, for few have all that their name says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetChoice:
    """What a set takes of one kind of medium. ``options``: how ``create`` is told to use it.

    ``count``: media, 0 where the planner refuses the kind; ``refused`` says why then.
    """

    kind: str
    capacity: int
    count: int
    refused: str
    options: str


def kinds_of(layout: Layout) -> list[tuple[str, int, str]]:
    """(kind, usable bytes, options) of the media that a layout is for, smallest first."""
    if layout == "usb":
        return [(name, size, f"--capacity {size // 10**6}MB") for name, size in STICKS]
    discs = [kind for kind in MEDIA.values() if "iso" in kind.layouts]
    ordered = sorted(discs, key=lambda kind: kind.usable_bytes)
    return [(kind.name, kind.usable_bytes, f"--media {kind.name}") for kind in ordered]


def set_choices(draft: SetDraft) -> list[SetChoice]:
    """What the set takes of each kind, smallest first, up to and with the first that holds all of it on one."""
    found = []
    for kind, capacity, options in kinds_of(draft.request.layout):
        try:
            plan = draft.plan(capacity)
        except NoSpaceError as error:
            found.append(SetChoice(kind=kind, capacity=capacity, count=0, refused=error.message, options=options))
            continue
        found.append(SetChoice(kind=kind, capacity=capacity, count=plan.discs, refused="", options=options))
        if plan.discs == 1:
            break
    return found


def recommended(choices: Sequence[SetChoice]) -> SetChoice | None:
    """The kind to take: the fewest media, then the smallest; None where no kind will do."""
    fit = [choice for choice in choices if choice.count]
    return min(fit, key=lambda choice: (choice.count, choice.capacity), default=None)
