"""The journal of a run: which steps were begun and how they ended, so that a run that was cut goes on at its step.

One line of JSON for each event, flushed to the disk before the work goes on. The first names the policy by its digest
and the target: neither may change until the journal is put aside. A line without its end was being written when the
client was cut; it is taken off, because what it says did not count yet.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError
from courier.files import sync_file, sync_folder, write_atomic
from courier.text import harmless
from formats.errors import FormatError
from formats.records import Count, Digest, NamedRecord, Record, Time, matching, read, read_named, text

State = Literal["started", "done", "skipped", "failed"]
_MAX_MESSAGE = 2000
"""Characters of a message that are kept."""
CONTINUED = "continued"
"""The detail of a step that failed, after which the sequence went on nevertheless."""
WHOLE = 0
"""The number that stands for the sequence as a whole; it is done when the target is complete."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalHead(NamedRecord):
    """The first line. ``run``: names this run; ``target``: the folder or file that it runs into, by its path."""

    NAME = "deployment-journal"

    policy: Digest
    run: Annotated[str, matching("[0-9a-f]{32}")]
    target: Annotated[str, text(8192)]
    begun_ns: Time


@dataclass(frozen=True, kw_only=True, slots=True)
class Event(Record):
    """A step that began or ended; ``step`` counts from 1, and `WHOLE` stands for the sequence.

    ``detail``: what later steps have to know of it, such as whether a capture was complete.
    """

    step: Count
    state: State
    at_ns: Time
    message: Annotated[str, text(_MAX_MESSAGE)]
    detail: Annotated[str, text(200)]


class Journal:
    """The journal of a run, open for adding events."""

    def __init__(self, path: Path, head: JournalHead, events: list[Event]) -> None:
        self._path, self.head, self.events = path, head, events

    def add(self, step: int, state: State, *, message: str = "", detail: str = "") -> Event:
        """Add an event; it is on the disk when this returns."""
        told = harmless(message, _MAX_MESSAGE - 100)[:_MAX_MESSAGE]  # it may quote what a program printed
        event = Event(step=step, state=state, at_ns=time.time_ns(), message=told, detail=detail)
        with self._path.open("ab") as out:
            before = out.tell()
            try:
                out.write(event.json() + b"\n")
                out.flush()
                sync_file(out.fileno(), self._path)
            except OSError:
                os.truncate(self._path, before)  # half a line would spoil the next one
                raise
        self.events.append(event)
        return event

    def last(self, step: int) -> Event | None:
        """The last event of a step; None where it was not begun."""
        return next((event for event in reversed(self.events) if event.step == step), None)

    def is_over(self, step: int) -> bool:
        """Whether a step needs no more work: it is done, was skipped, or failed and the sequence went on."""
        last = self.last(step)
        if last is None or last.state == "started":
            return False
        return last.state != "failed" or last.detail == CONTINUED

    @property
    def is_begun(self) -> bool:
        """Whether a step was begun."""
        return any(event.step != WHOLE for event in self.events)

    @property
    def is_finished(self) -> bool:
        """Whether the whole sequence is done."""
        return (last := self.last(WHOLE)) is not None and last.state == "done"


def open_journal(path: Path, *, policy: str, target: str, anew: bool) -> Journal:
    """The journal at ``path``, made where there is none, or with ``anew`` in place of the one there.

    One of which no step was begun gives its place to any other. Raises `RefusedError` where it is of another policy
    (SHA-256 ``policy``) or target, `DamagedError` where it cannot be read.
    """
    if path.exists() and not anew:
        journal = _read(path)
        if (journal.head.policy, journal.head.target) == (policy, target):
            return journal
        if journal.is_begun:
            raise _other_run(path.parent, journal, same_policy=journal.head.policy == policy)
    head = JournalHead(policy=policy, run=os.urandom(16).hex(), target=target, begun_ns=time.time_ns())
    write_atomic(path, head.json() + b"\n", private=True)
    return Journal(path, head, [])


def has_begun(path: Path) -> bool:
    """Whether there is a journal at ``path`` by which a step was begun. Raises `DamagedError`."""
    return path.exists() and _read(path).is_begun


def _other_run(folder: Path, journal: Journal, *, same_policy: bool) -> RefusedError:
    if same_policy:
        return RefusedError(
            f"{folder} holds a run into {journal.head.target}",
            hint="go on with --into that, or use another folder with --work DIR",
            code=Code.TARGET_EXISTS,
        )
    return RefusedError(
        f"{folder} holds a run of another deployment, or of another state of this one",
        hint="use another folder with --work DIR; to give that run up and begin this one: --anew",
        code=Code.TARGET_EXISTS,
    )


def _read(path: Path) -> Journal:
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        raise DamagedError(f"{path}: it has no whole line", hint="begin the run anew: --anew")
    try:
        first, *lines = whole.splitlines()
        head = read_named(JournalHead, first)
        events = [read(Event, line) for line in lines]
    except (FormatError, ValueError) as error:
        raise DamagedError(
            f"{path}: {error}", hint="begin the run anew: --anew; what it had done is done again"
        ) from None
    if len(whole) != len(data):
        with path.open("r+b") as out:
            out.truncate(len(whole))
            out.flush()
            sync_file(out.fileno(), path)
        sync_folder(path.parent)
    return Journal(path, head, events)
