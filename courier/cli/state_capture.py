"""``courier state capture``: what is captured of a computer, and what would be."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console
from courier.cli.download_options import stopping
from courier.cli.state_computer import COMPUTER, SHOWN
from courier.text import one_line, plural, size_text

if TYPE_CHECKING:
    from courier.deployment.state_capture import Captured
    from courier.deployment.state_rules import StateRules
    from courier.deployment.state_walk import LeftOut, Tally

app = group("")


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
    """Capture a computer's state for its associated computer.

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
    from courier.cli.given_file import read_given_text
    from courier.deployment.state_rules import MAX_RULES, make_rules, read_rules
    from courier.errors import UsageError
    from courier.media.kinds import parse_size

    if path is not None:
        if include or exclude or largest is not None:
            raise UsageError("--rules has patterns and sizes", hint="give it, or --include, --exclude and --largest")
        return read_rules(read_given_text(path, MAX_RULES, hint="give a file of rules: docs/state.md"))
    return make_rules(include, exclude, None if largest is None else parse_size(largest))


def _say_left(console: Console, left: Sequence[LeftOut], count: int) -> None:
    for one in left[:SHOWN]:
        console.say(f"  not taken: {one_line(one.path)}: {one.reason}")
    if count > SHOWN:
        console.say(f"  and {count - SHOWN:,} more")


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
