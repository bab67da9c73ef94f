"""What an exchange of messages changed, as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.cli.console import SHOWN
from courier.parcel.states import ReceivedEvent
from courier.text import plural

if TYPE_CHECKING:
    from courier.channel.sync import Exchange


def news_lines(done: Exchange) -> list[str]:
    """The first lines of what an exchange changed; imports are left out, as they are printed separately."""
    lines = [
        f"{one.parcel + ': ' if one.parcel else ''}{one.event}: {one.text}"
        for one in done.news
        if one.event != ReceivedEvent.IMPORTED
    ]
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"{plural(more, 'more line')}: courier parcel log PARCEL"] if more > 0 else lines


def refused_lines(done: Exchange) -> list[str]:
    """A line for each of the first refused messages."""
    lines = [f"Refused {sha256[:12]}: {reason}" for sha256, reason in done.refused[:SHOWN]]
    more = len(done.refused) - SHOWN
    return [*lines, f"Refused {plural(more, 'more message')}: courier channel status --json"] if more > 0 else lines
