"""``courier state``: users' state is captured, restored, released and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli import state_capture, state_point, state_restore
from courier.cli.command import command, console_of, group
from courier.cli.console import time_text
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.site.catalog.state import Migration
    from courier.site.home import Site

app = group("Users' state: captured, restored, released, deleted.")
for commands in (state_capture.app, state_restore.app):
    app.add_typer(commands)


@command(app, "list", examples=["courier state list", "courier state list --all"])
def list_(
    context: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also what was deleted.")] = False,
) -> None:
    """List captured state, with what clients did at the points."""
    from courier.deployment.state_migrations import all_migrations, take_over
    from courier.site.catalog import state as statements

    console = console_of(context)
    with console.site() as site:
        for note in take_over(site):
            console.warn(f"Note: {note}")
        found = all_migrations(site, states=() if every else (*statements.HELD, statements.RELEASED))
        rows = [
            (
                row.migration[:12],
                row.source,
                row.destination,
                row.state,
                f"{row.files:,}",
                size_text(row.bytes),
                f"{row.skipped:,}" if row.skipped else "",
                row.point,
            )
            for row in found
        ]
        console.table(("MIGRATION", "FROM", "TO", "STATE", "FILES", "SIZE", "UNREAD", "POINT"), rows)
        if not rows:
            console.say("No state is kept: courier state capture COMPUTER --from DIR --rules FILE")
        console.result({"migrations": [_document(row) for row in found]})


def _document(row: Migration) -> dict[str, Any]:
    times = {
        name: time_text(ns) if ns else None
        for name, ns in (
            ("begun", row.begun_ns),
            ("captured", row.captured_ns),
            ("restored", row.restored_ns),
            ("released", row.released_ns),
            ("deleted", row.deleted_ns),
        )
    }
    return {
        "migration": row.migration,
        "point": row.point,
        "source": row.source,
        "destination": row.destination,
        "state": row.state,
        "files": row.files,
        "bytes": row.bytes,
        "unread": row.skipped,
        **times,
    }


@command(app, "release", examples=["courier state release NEW-PC"])
def release(
    context: typer.Context,
    *,
    computer: Annotated[
        str, typer.Argument(metavar="COMPUTER", help="Name of the old or the new computer, or ID of a migration.")
    ],
) -> None:
    """Say that captured state is not needed any more.

    Its place is free, and it is deleted when its point says. State that was not restored is released after a question
    only; where the name also means state that was restored, only by the ID of its migration.
    """
    from courier.deployment.state_migrations import purge as delete
    from courier.deployment.state_migrations import release as act
    from courier.deployment.state_migrations import take_over
    from courier.site.catalog import state as statements

    console = console_of(context)
    with console.site() as site:
        for note in take_over(site):
            console.warn(f"Note: {note}")
        rows, kept = _to_release(site, computer)
        for row in kept:
            console.warn(
                f"Note: the state of {row.source} for {row.destination} was not restored yet, and is kept",
                hint=f"courier state release {row.migration[:12]}, if it is meant too",
            )
        lost = [row for row in rows if row.state in (statements.PARTIAL, statements.COMPLETE)]
        if lost:
            named = " and of ".join(f"{row.source} for {row.destination}" for row in lost)
            console.confirm(f"The state of {named} was never restored. Release it all the same?")
        released = act(site, rows)
        for row in released:
            console.say(f"State of {row.source} for {row.destination} released.")
        done = delete(site)
        gone = {row.migration for row in done.deleted}
        for row, error in done.failures:
            console.warn(f"{row.source} for {row.destination}: {error.message}", hint=error.hint)
        console.say(_when(done.waiting, {row.migration for row in released}, deleted=len(gone)))
        console.result(
            {
                "released": [row.migration for row in released],
                "deleted": sorted(gone & {row.migration for row in released}),
                "kept": [row.migration for row in kept],
            }
        )


def _to_release(site: Site, text: str) -> tuple[list[Migration], list[Migration]]:
    """The migrations that are meant, and those that the name would mean as well, and that nobody restored yet.

    A computer that got its state, and that is captured again, has both. Raises `NotFoundError`.
    """
    from courier.deployment.state_migrations import all_migrations, migrations_of
    from courier.errors import NotFoundError
    from courier.site.catalog import state as statements

    named = [row for row in all_migrations(site) if len(text) >= 12 and row.migration.startswith(text.lower())]
    rows = named or migrations_of(site, text, ())
    held = [row for row in rows if row.state in statements.HELD]
    restored = [row for row in held if row.state == statements.RESTORED]
    if held and not named and restored:
        return restored, [row for row in held if row.state != statements.RESTORED]
    if held:
        return held, []
    if rows:
        row = rows[-1]
        done = row.deleted_ns or row.released_ns
        raise NotFoundError(
            f"the state of {row.source} for {row.destination} was {row.state} on {time_text(done)}",
            hint="there is nothing more to release; courier state list --all shows all",
        )
    raise NotFoundError(f"no state of or for {text} was captured", hint="courier state list shows what there is")


def _when(waiting: Sequence[tuple[Migration, int]], ours: set[str], *, deleted: int) -> str:
    due = [ns for row, ns in waiting if row.migration in ours]
    if due:
        return f"It is deleted by courier state purge from {time_text(min(due))} on."
    return f"Deleted: the state of {plural(deleted, 'computer')}." if deleted else "Nothing was deleted yet."


@command(app, "purge", examples=["courier state purge"])
def purge(context: typer.Context) -> None:
    """Delete what was released long enough ago for its point. Nothing else is ever deleted."""
    from courier.deployment.state_migrations import purge as act

    console = console_of(context)
    with console.site() as site:
        done = act(site)
    for row in done.deleted:
        console.say(f"Deleted: state of {row.source} for {row.destination}, released {time_text(row.released_ns)}")
    for row, due in done.waiting:
        console.say(f"Waits until {time_text(due)}: state of {row.source} for {row.destination}")
    if not (done.deleted or done.waiting or done.failures):
        console.say("Nothing was released, so nothing is deleted.")
    document = {
        "deleted": [row.migration for row in done.deleted],
        "waiting": [{"migration": row.migration, "due": time_text(due)} for row, due in done.waiting],
        "failed": [row.migration for row, _ in done.failures],
    }
    if done.failures:
        named = [(f"state of {row.source} for {row.destination}", error) for row, error in done.failures]
        raise typer.Exit(console.errors(named, document))
    console.result(document)


app.add_typer(state_point.app, name="point")
