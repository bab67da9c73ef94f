"""``courier state``: users' state is captured, restored, released and deleted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli import state_point
from courier.cli.command import command, console_of, group
from courier.cli.console import Console, time_text
from courier.cli.download_options import stopping
from courier.text import one_line, plural, size_text

if TYPE_CHECKING:
    from courier.deployment.state_capture import Captured
    from courier.deployment.state_restore import Restored
    from courier.deployment.state_rules import StateRules
    from courier.deployment.state_walk import LeftOut, Tally
    from courier.site.catalog.state import Migration
    from courier.site.home import Site

app = group("Users' state: captured from the old computer, restored on the new one.")
app.add_typer(state_point.app, name="point")

COMPUTER = Annotated[str, typer.Argument(metavar="COMPUTER", help="Name of a computer.")]
CAPTURE = Annotated[
    int | None, typer.Option("--capture", metavar="N", min=1, help="Number of the capture; else the newest.")
]
INTO = Annotated[Path, typer.Option("--into", metavar="DIR", help="Folder that it goes into.")]
_SHOWN = 20
"""Lines of what is left out that are printed; the JSON document has more."""


@command(
    app,
    "capture",
    examples=[
        "courier state capture OLD-PC --from /mnt/disk --include 'home/*' --exclude '**/.cache' --preview",
        "courier state capture OLD-PC --from /mnt/disk --rules users.toml",
    ],
)
def capture(
    context: typer.Context,
    *,
    computer: COMPUTER,
    source: Annotated[Path, typer.Option("--from", metavar="DIR", help="Top of the computer's files.")],
    rules: Annotated[
        Path | None,
        typer.Option("--rules", metavar="FILE", help="TOML file with include, exclude and largest."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="PATTERN", help="What is captured, such as 'home/*'; repeat for more."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="What is left out, such as '**/*.tmp'; repeat for more."),
    ] = None,
    largest: Annotated[
        str | None, typer.Option("--largest", metavar="SIZE", help="Larger files are left out, and listed.")
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Print what would be captured and what would not; change nothing.")
    ] = False,
) -> None:
    """Capture a computer's state for the computer that it is associated with.

    After an interruption the same command goes on. Exit code 4: something could not be read, and
    is listed; what was captured is kept, but the computer may not be wiped after it.
    """
    from courier.deployment.state_capture import capture as act
    from courier.deployment.state_migrations import take_over, work_folder
    from courier.deployment.state_place import state_place_for
    from courier.deployment.state_walk import open_root
    from courier.deployment.state_walk import preview as look
    from courier.error_codes import Code
    from courier.errors import DamagedError

    console = console_of(context)
    chosen = _rules(rules, include or [], exclude or [], largest)
    if preview:
        with console.site() as site:
            tally = look(source, chosen, besides=[site.home])
        _say_preview(console, tally)
        return
    stop = threading.Event()
    with console.site() as site, stopping(stop), console.phases() as progress:
        open_root(source).close()  # before a place is taken
        place = state_place_for(site, computer, captures=True, restores=False)
        assert place is not None
        done = act(place, source, chosen, work=work_folder(site), progress=progress, stop=stop)
        take_over(site)
    document = _captured(done, place.source, place.destination, place.point)
    _say_captured(console, done, place.source, place.destination, place.point)
    if done.is_complete:
        console.result(document)
        return
    error = DamagedError(
        f"the capture is partial: {plural(done.unread, 'thing')} could not be read",
        hint="see to it that they can be read (as root, if need be; close the programs that use them), then give the "
        "same command again; do not wipe the computer before",
        code=Code.PARTIAL_STATE,
    )
    console.error(error, document)
    raise typer.Exit(error.exit_code)


def _rules(path: Path | None, include: list[str], exclude: list[str], largest: str | None) -> StateRules:
    from courier.deployment.state_rules import make_rules, read_rules
    from courier.errors import UsageError
    from courier.media.kinds import parse_size

    if path is not None:
        if include or exclude or largest is not None:
            raise UsageError("--rules has patterns and sizes", hint="give it, or --include, --exclude and --largest")
        try:
            return read_rules(path.read_text("utf-8"))
        except UnicodeDecodeError:
            raise UsageError(f"{path} is no text in UTF-8", hint="save it as UTF-8") from None
    return make_rules(include, exclude, None if largest is None else parse_size(largest))


def _say_left(console: Console, left: Sequence[LeftOut], count: int) -> None:
    for one in left[:_SHOWN]:
        console.say(f"  not taken: {one_line(one.path)}: {one.reason}")
    if count > _SHOWN:
        console.say(f"  and {count - _SHOWN:,} more")


def _say_unmatched(console: Console, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        console.warn(f"Note: nothing matches {one_line(pattern)}")


def _say_preview(console: Console, tally: Tally) -> None:
    console.say(
        f"Would be captured: {plural(tally.files, 'file')}, {plural(tally.folders, 'folder')}, "
        f"{plural(tally.links, 'link')}, {size_text(tally.bytes)}"
    )
    _say_left(console, tally.left, tally.unread + tally.large + tally.special)
    _say_unmatched(console, tally.unmatched)
    console.result(
        {
            "files": tally.files,
            "folders": tally.folders,
            "links": tally.links,
            "bytes": tally.bytes,
            "unread": tally.unread,
            "too_large": tally.large,
            "special": tally.special,
            "left": _left(tally.left),
            "unmatched": list(tally.unmatched),
        }
    )


def _left(left: Sequence[LeftOut]) -> list[dict[str, Any]]:
    return [{"path": one.path, "why": one.why, "bytes": one.size, "reason": one.reason} for one in left]


def _say_captured(console: Console, done: Captured, source: str, destination: str, point: str) -> None:
    what = f"{plural(done.files, 'file')}, {size_text(done.bytes)}"
    if done.is_new:
        console.say(
            f"State of {source} for {destination} at {point}, capture {done.number}: {what}, "
            f"of which {size_text(done.written)} were written now"
        )
    else:
        console.say(f"State of {source} for {destination} at {point} is as capture {done.number} has it: {what}")
    _say_left(console, done.left, done.unread + done.large + done.special)
    _say_unmatched(console, done.unmatched)
    if done.before is not None and done.before > done.files:
        console.warn(
            f"Note: the capture before it has {plural(done.before, 'file')}. It is kept too: "
            f"courier state restore {destination} --into DIR --capture {done.number - 1}"
        )
    for kind, count in done.not_kept.items():
        console.say(f"  not kept: {count:,} {kind} that belong to the old system")


def _captured(done: Captured, source: str, destination: str, point: str) -> dict[str, Any]:
    return {
        "migration": done.migration,
        "capture": done.number,
        "source": source,
        "destination": destination,
        "point": point,
        "complete": done.is_complete,
        "new": done.is_new,
        "files": done.files,
        "bytes": done.bytes,
        "written_bytes": done.written,
        "unread": done.unread,
        "too_large": done.large,
        "special": done.special,
        "left": _left(done.left),
        "unmatched": list(done.unmatched),
        "files_before": done.before,
    }


@command(app, "restore", examples=["courier state restore NEW-PC --into /mnt/disk"])
def restore(
    context: typer.Context,
    *,
    computer: COMPUTER,
    into: INTO,
    capture: CAPTURE = None,
    migration: Annotated[
        str | None, typer.Option("--migration", metavar="ID", help="Where several wait: the one that is meant.")
    ] = None,
) -> None:
    """Restore the state that was captured for a computer, all of it verified.

    What stands in the way is kept, under a name that ends in .before-restore. After an interruption the
    same command goes on.
    """
    from courier.deployment.state_migrations import take_over
    from courier.deployment.state_place import state_place_for
    from courier.deployment.state_restore import restore as act

    console = console_of(context)
    stop = threading.Event()
    with console.site() as site, stopping(stop), console.phases() as progress:
        place = state_place_for(site, computer, captures=False, restores=True, migration=migration, reserves=False)
        assert place is not None
        done = act(place, into, number=capture, progress=progress, stop=stop)
        take_over(site)
    _say_restored(console, done)
    if not done.unread:
        console.say(f"When all is well there: courier state release {place.destination}")


def _say_restored(console: Console, done: Restored) -> None:
    console.say(
        f"State of {done.source}, capture {done.number} of {time_text(done.captured_ns)}: "
        f"{plural(done.files, 'file')}, {size_text(done.bytes)}, all verified"
    )
    for path in done.kept_aside[:_SHOWN]:
        console.say(f"  kept aside: {one_line(path)}")
    if done.aside > _SHOWN:
        console.say(f"  and {done.aside - _SHOWN:,} more")
    if done.unread:
        console.warn(f"Note: {plural(done.unread, 'thing')} could not be read when it was captured, and are not in it")
    if done.lost:
        console.warn(f"Note: the system did not take {plural(done.lost, 'owner or attribute', 'owners or attributes')}")
    console.result(
        {
            "migration": done.migration,
            "capture": done.number,
            "source": done.source,
            "files": done.files,
            "bytes": done.bytes,
            "written_bytes": done.written,
            "kept_aside": list(done.kept_aside),
            "aside": done.aside,
            "unread": done.unread,
            "lost": done.lost,
        }
    )


@command(app, "list", examples=["courier state list", "courier state list --all"])
def list_(
    context: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also what was deleted.")] = False,
) -> None:
    """List captured state, and take over what clients left at the points."""
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
    """Say that captured state is not needed any more: its place is free, and it is deleted when its point says.

    State that was not restored is released after a question only.
    """
    from courier.deployment.state_migrations import purge as delete
    from courier.deployment.state_migrations import release as act
    from courier.deployment.state_migrations import take_over
    from courier.site.catalog import state as statements

    console = console_of(context)
    with console.site() as site:
        for note in take_over(site):
            console.warn(f"Note: {note}")
        rows = _to_release(site, computer)
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
            {"released": [row.migration for row in released], "deleted": sorted(gone & {r.migration for r in released})}
        )


def _to_release(site: Site, text: str) -> list[Migration]:
    """The migrations that are meant. Raises `NotFoundError`."""
    from courier.deployment.state_migrations import all_migrations, migrations_of
    from courier.errors import NotFoundError
    from courier.site.catalog import state as statements

    named = [row for row in all_migrations(site) if len(text) >= 12 and row.migration.startswith(text.lower())]
    rows = named or migrations_of(site, text, ())
    held = [row for row in rows if row.state in statements.HELD]
    if held:
        return held
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


@command(app, "recover", examples=["courier state recover 3f9a0c51d2e4 --into /srv/recovered"])
def recover(
    context: typer.Context,
    *,
    migration: Annotated[
        str, typer.Argument(metavar="MIGRATION", help="ID of a migration, or its beginning, as courier state list has.")
    ],
    into: INTO,
    capture: CAPTURE = None,
) -> None:
    """Bring captured state back by the site's own recovery key, such as when the new computer is lost.

    It does not count as restored.
    """
    from courier.deployment.state_migrations import find_migration
    from courier.deployment.state_migrations import recover as act

    console = console_of(context)
    stop = threading.Event()
    with console.site() as site, stopping(stop), console.phases() as progress:
        done = act(site, find_migration(site, migration), into, number=capture, progress=progress, stop=stop)
    _say_restored(console, done)
