"""What people are told without asking: events of a site, and the notices of them. Pure.

A notice has a *cause*, a text by which the same thing is known again, so that nobody is told of it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from courier.care.waiting import Cause, Waiting
from courier.text import one_line
from formats.records import Record, Time, text

MAX_TEXT = 2000
"""Characters of the text of a notice, of its cause, and of a command in it."""
LETTERS = 20
"""Dead letters of one site that are told one by one; a notice says of the others that there are more."""
LINES = 50
"""Notices that one message to a service names; of more it says how many."""


class Event(StrEnum):
    """What a notice is about, in the word that hooks and configurations go by."""

    ARRIVAL = "arrival"
    """Media arrived, here or at a destination."""
    IMPORTED = "imported"
    """A parcel was imported here, or a destination's receipt came."""
    DAMAGE = "damage"
    OVERDUE = "overdue"
    KEY_ENDING = "key-ending"
    REFUSED = "refused"
    """A medium, a parcel or a message that came was refused."""
    DEAD_LETTER = "dead-letter"
    """A message of ours was given up."""
    TROUBLE = "trouble"
    """Something failed in the watch itself, which goes on and tries it again."""


EVENTS = tuple(str(event) for event in Event)
"""The words of all events."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice(Record):
    """Something that people are told.

    ``cause``: by which it is known again. ``what``: one sentence. ``next``: the command that goes on, or empty.
    ``standing``: it holds until something is done about it; when it has not held for a while and holds again, it is
    told again. ``at_ns``: when it was noticed (UTC).
    """

    event: Annotated[str, text(40)]
    cause: Annotated[str, text(MAX_TEXT)]
    what: Annotated[str, text(MAX_TEXT)]
    next: Annotated[str, text(MAX_TEXT)]
    parcel: Annotated[str, text(40)]
    standing: bool
    at_ns: Time


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """A dead letter: whether it came in, its name, the site it is from or for, and why."""

    incoming: bool
    name: str
    site: str
    reason: str


def notice(event: Event, cause: str, what: str, *, at_ns: int, next: str = "", parcel: str = "") -> Notice:
    """A notice of something that happened once.

    ``what`` may name what strangers named: it stays one line, or a name could pass for a command to be typed.
    """
    return Notice(
        event=event.value,
        cause=_cut(one_line(f"{event.value}:{cause}")),
        what=_cut(one_line(what)),
        next=_cut(next),
        parcel=parcel,
        standing=False,
        at_ns=at_ns,
    )


def standing(one: Notice) -> Notice:
    """The same notice, of something that holds until it is put right."""
    return replace(one, standing=True)


def of_waiting(found: Iterable[Waiting], *, at_ns: int) -> Iterator[Notice]:
    """The notices of what the status of a site finds: damage, what is overdue, keys that end."""
    for one in found:
        if not one.for_person:
            continue
        if one.cause is Cause.DAMAGE:
            event, cause = Event.DAMAGE, one.subject
        elif one.cause is Cause.OVERDUE:
            event, cause = Event.OVERDUE, one.subject
        elif one.cause is Cause.KEY:
            # That it ends, and that it has ended, are two things to be told.
            event, cause = Event.KEY_ENDING, f"{one.subject}:{one.what}"
        else:
            continue
        yield standing(notice(event, cause, one.what, at_ns=at_ns, next=one.next, parcel=one.parcel))


def of_letters(letters: Iterable[Letter], *, at_ns: int) -> Iterator[Notice]:
    """The notices of dead letters: each of the first of a site, and one for all others of it."""
    counts: dict[tuple[bool, str], int] = {}
    for one in letters:
        key = one.incoming, one.site
        counts[key] = counts.get(key, 0) + 1
        event = Event.REFUSED if one.incoming else Event.DEAD_LETTER
        who = f"from {one.site}" if one.incoming and one.site else f"for {one.site}" if one.site else "that came"
        then = "courier channel status"
        if counts[key] <= LETTERS:
            done = "was refused" if one.incoming else "was given up"
            what, cause = f"a message {who} {done}: {one.reason}", f"letter:{one.site}:{one.name}"
        elif counts[key] == LETTERS + 1:
            what, cause = f"more messages {who} are dead letters", f"letters:{one.site}"
        else:
            continue
        yield standing(notice(event, cause, what, at_ns=at_ns, next=then))


def of_log_entry(parcel: str, word: str, line: str, *, at_ns: int) -> Notice | None:
    """The notice of an entry in the log of a parcel (its word and its line), or None where nobody is told."""
    show = f"courier parcel show {parcel}"
    if word == "arrived":
        what = f"{parcel} arrives: {line}"
        return notice(Event.ARRIVAL, parcel, what, at_ns=at_ns, next=show, parcel=parcel)
    if word == "arrival":
        what = f"{parcel} arrives at its destination: {line}"
        return notice(Event.ARRIVAL, f"{parcel}:{line[:3]}", what, at_ns=at_ns, next=show, parcel=parcel)
    if word == "imported":
        return notice(Event.IMPORTED, parcel, f"{parcel} is imported: {line}", at_ns=at_ns, next=show, parcel=parcel)
    if word == "receipt":
        what = f"the receipt of {parcel} came from {line}"
        return notice(Event.IMPORTED, f"{parcel}:{line}", what, at_ns=at_ns, next=show, parcel=parcel)
    if word in ("refused", "recalled"):
        what, then = f"{parcel} was {word}: {line}", f"courier parcel log {parcel}"
        return notice(Event.REFUSED, f"parcel:{parcel}:{word}", what, at_ns=at_ns, next=then, parcel=parcel)
    return None


def message_of(site: str, notices: list[Notice]) -> tuple[str, str]:
    """(title, text) of the one message that tells several notices."""
    words = list(dict.fromkeys(one.event for one in notices))
    title = f"courier {site}: {', '.join(words[:4])}" + (" ..." if len(words) > 4 else "")
    lines = []
    for one in notices[:LINES]:
        lines += [one.what, *([f"  -> {one.next}"] if one.next else [])]
    if len(notices) > LINES:
        lines.append(f"and {len(notices) - LINES:,} more: courier status")
    return title, "\n".join(lines)


def _cut(said: str) -> str:
    return said if len(said) <= MAX_TEXT else f"{said[: MAX_TEXT - 3]}..."
