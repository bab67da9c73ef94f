"""``courier channel status`` and ``dismiss``: how messages stand with each site, and dead letters to be done with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import SHOWN
from courier.text import plural

if TYPE_CHECKING:
    from courier.site.catalog.messages import Message

app = group("")

_COLUMNS = (
    ("out", "queued", "WAITING"),
    ("out", "delivered", "UNDER WAY"),
    ("out", "settled", "DELIVERED"),
    ("in", "taken", "RECEIVED"),
)
"""The direction and state of messages, and what the table calls their number."""


@command(app, "status", examples=["courier channel status", "courier channel status --verbose"])
def status(
    context: typer.Context,
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also name each message that is not acknowledged yet.")
    ] = False,
) -> None:
    """Show how the messages with each site stand: one line a site.

    A message is under way until the other site has acknowledged it, which its next sync does. Named are those that
    wait, that had to be sent again, and dead letters; and sites to which messages go without encryption.
    """
    from courier.cli.console import time_text
    from courier.site.catalog import messages
    from courier.site.outbox import unencrypted_sites

    console = console_of(context)
    with console.site() as site:
        with site.catalogue.reading() as connection:
            bare = unencrypted_sites(connection)
            counts = messages.counts(connection)
            queued = messages.queued(connection)
            unanswered = messages.in_state(connection, "out", "delivered")
            dead = messages.dead_letters(connection)
        console.table(*_site_lines(counts))
        if not counts:
            console.say("No message has been sent or received yet.")
        for message in queued[:SHOWN]:
            why = f": {message.reason}" if message.reason else ""
            console.say(f"Waiting for {message.site} since {time_text(message.created_ns)}: {message.kind}{why}")
        # Handed over once is how every message stands after a sync, until the other site has had its own.
        late = [one for one in unanswered if verbose or one.attempts > 1]
        for message in late[:SHOWN]:
            when = f"handed over {time_text(message.settled_ns)}, sent again after {time_text(message.due_ns)}"
            console.say(f"Not acknowledged by {message.site} yet: {message.kind}, {when}")
        for message in dead[-SHOWN:]:
            where = f" for {message.site}" if message.direction == "out" else ""
            console.say(f"Dead letter{where} {message.sha256[:12]}, {time_text(message.created_ns)}: {message.reason}")
        if dead:
            console.say("Done with a dead letter? courier channel dismiss MESSAGE, or --all")
        for one in bare:
            console.say(
                f"Not encrypted to {one.site}, {plural(one.waiting, 'message')} waiting: {one.reason}; {one.hint}"
            )
        if ending := site.key_warning():
            console.say(f"Note: {ending}")
        if max(len(queued), len(late), len(dead)) > SHOWN:
            console.say(f"Only {SHOWN} of each kind are shown; --json prints all of them.")
        console.result(
            {
                "key_warning": ending,
                "messages": [{"way": d, "site": s, "state": t, "count": n} for d, s, t, n in counts],
                "outbox": [
                    {"site": m.site, "type": m.kind, "attempts": m.attempts, "reason": m.reason} for m in queued
                ],
                "unacknowledged": [
                    {"site": m.site, "type": m.kind, "message": m.sha256, "handed_over": m.attempts} for m in unanswered
                ],
                "dead_letters": [
                    {"way": m.direction, "message": m.sha256, "site": m.site, "reason": m.reason} for m in dead
                ],
                "not_encrypted": [
                    {"site": one.site, "reason": one.reason, "waiting": one.waiting, "hint": one.hint} for one in bare
                ],
            }
        )


def _site_lines(counts: Iterable[tuple[str, str, str, int]]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """(headings, rows) of the table: a row for each site; ``-`` stands for senders that nobody knows."""
    numbers = {(way, code, state): count for way, code, state, count in counts}
    rows: list[tuple[object, ...]] = []
    for code in sorted({code for _, code, _ in numbers}):
        known = [numbers.get((way, code, state), 0) for way, state, _ in _COLUMNS]
        dead = numbers.get(("out", code, "dead"), 0) + numbers.get(("in", code, "refused"), 0)
        rows.append((code or "-", *known, dead))
    return ("SITE", *(name for _, _, name in _COLUMNS), "DEAD LETTERS"), rows


@command(app, "dismiss", examples=["courier channel dismiss 0f3a9c21d4be", "courier channel dismiss --all"])
def dismiss(
    context: typer.Context,
    *,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MESSAGE...]", help="Dead letters, as courier channel status names them."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
) -> None:
    """Take dead letters that are done with out of the status.

    Nothing is sent or undone by it, and the log of the site still says what they were. One that comes again is judged
    again, and not named again if it is refused as before.
    """
    from courier.errors import UsageError
    from courier.site.catalog import messages

    console = console_of(context)
    if bool(ids) == everything:
        raise UsageError("name dead letters or give --all", hint="courier channel status names them")
    with console.site() as site:
        with site.catalogue.reading() as connection:
            dead = messages.dead_letters(connection)
        chosen = dead if everything else [one for start in ids or () for one in _named(dead, start)]
        if chosen:
            console.confirm(f"Dismiss {plural(len(chosen), 'dead letter')}?")
        with site.catalogue.writing() as connection:
            # Meanwhile one may have been sent again, or taken in.
            dismissed = [one.sha256 for one in chosen if messages.dismiss(connection, one)]
            left = len(messages.dead_letters(connection))
        console.say(f"{plural(len(dismissed), 'dead letter')} dismissed; {left:,} left.")
        console.result({"dismissed": dismissed, "left": left})


def _named(dead: list[Message], start: str) -> list[Message]:
    """The dead letters whose ID begins so: one, or one to each of several sites. Raises `NotFoundError`."""
    from courier.errors import NotFoundError, UsageError

    found = [one for one in dead if one.sha256.startswith(start.lower())]
    if not found:
        raise NotFoundError(f"there is no dead letter {start}", hint="courier channel status names them")
    if len({one.sha256 for one in found}) > 1:
        raise UsageError(f"{start} is the beginning of several", hint="give more of it: courier channel status --json")
    return found
