"""``courier channel watch``: media and messages are taken in by themselves, and people are told."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.by_rule import describe, say_outcome
from courier.cli.command import command, console_of, group
from courier.cli.exchanged import news_lines, refused_lines
from courier.cli.received_parcel import medium_text, parcel_status, say_status, say_volume, volume_result

if TYPE_CHECKING:
    from courier.care.watch.media_step import MediaWish
    from courier.channel.sync import Exchange
    from courier.cli.console import Console
    from courier.distribution.by_rule import RuleOutcome
    from courier.media.reading import Medium
    from courier.parcel.volume_documents import VolumeDocuments
    from courier.receiving.parcel_status import ParcelStatus
    from courier.receiving.volume_result import VolumeResult
    from courier.site.home import Site

app = group("")
BUSY_SECONDS = 10.0
"""Pause until a home is opened again that another command keeps busy."""


@command(
    app,
    "watch",
    examples=[
        "courier channel watch --media /srv/incoming --removable",
        "courier channel watch --media /mnt/dock --hold --every 300",
        "courier channel watch --once",
        "courier channel watch --media /srv/incoming --print-unit systemd",
    ],
)
def watch(
    context: typer.Context,
    *,
    media: Annotated[
        list[Path] | None,
        typer.Option(
            "--media",
            metavar="DIR",
            help="Folder in which media appear: mount points, images, volumes; repeat for more.",
        ),
    ] = None,
    removable: Annotated[
        bool,
        typer.Option(
            "--removable", help="Watch removable media too, where the system mounts them (/run/media, /media)."
        ),
    ] = False,
    hold: Annotated[
        bool, typer.Option("--hold", help="Only receive; the operator imports: courier parcel import PARCEL.")
    ] = False,
    every: Annotated[
        int,
        typer.Option(
            "--every", metavar="SECONDS", min=0, max=86_400, help="Seconds between rounds of messages; 0: no messages."
        ),
    ] = 60,
    settle: Annotated[
        int,
        typer.Option(
            "--settle",
            metavar="SECONDS",
            min=0,
            max=3600,
            help="Seconds for which a medium must not change to be read.",
        ),
    ] = 10,
    once: Annotated[bool, typer.Option("--once", help="Make one round and end, for a timer.")] = False,
    print_unit: Annotated[
        str,
        typer.Option(
            "--print-unit",
            metavar="UNIT",
            help="Only print a unit that runs this: systemd, or systemd-timer and the systemd-once that it starts.",
        ),
    ] = "",
) -> None:
    """Take in media and messages as they come, and tell people.

    It exchanges messages by the schedule of each address, receives media that appear in watched folders, imports what
    is complete, sends packages to points by rule, and tells services and hooks (courier notify --help). A medium is
    read once it has stopped changing, and never written to. It ends on Ctrl-C or SIGTERM after the present step; a
    second one ends it at once.
    """
    from courier.care.watch.media_step import MediaReports, MediaWish
    from courier.care.watch.rounds import WatchReports, WatchWish
    from courier.care.watch.rounds import watch as run_watch
    from courier.care.watch.sightings import REMOVABLE
    from courier.cli.messages import MESSAGE_HANDLERS
    from courier.errors import UsageError

    console = console_of(context)
    folders = tuple(path.absolute() for path in media or ())
    wish = MediaWish(folders=folders, removable=REMOVABLE if removable else (), hold=hold, settle=settle)
    if removable and os.name != "posix":
        raise UsageError("--removable is for systems that mount media in folders", hint="name the drives: --media E:\\")
    if not every and not (wish.folders or wish.removable):
        raise UsageError("there is nothing to watch", hint="--media DIR, --removable, or --every 60 for messages")
    if print_unit:
        _print_unit(console, print_unit, _options(wish, every=every))
        return
    with _stopping() as stop, contextlib.ExitStack() as opened:
        site = _opened_site(console, opened, stop, once=once)
        _check_folders(console, folders, site.home, once=once)

        def ready() -> None:
            what = ", ".join([*map(str, wish.folders), *(["removable media"] if wish.removable else [])])
            what = f"media in {what}" if what else ""
            rest = f"messages every {every} s" if every else ""
            if not once:
                console.say(f"{site.code} watches {' and '.join(filter(None, (what, rest)))}; Ctrl-C ends it.")
            console.event({"event": "watching", "site": site.code})

        told = _Told(console)
        reports = WatchReports(
            media=MediaReports(looking=told.looking, volume=told.volume, parcel=told.parcel, warn=told.warn),
            ready=ready,
            exchange=told.exchange,
            distributed=told.distributed,
            warn=told.warn,
        )
        failures = run_watch(
            site,
            WatchWish(media=wish, every=every, once=once),
            handlers=MESSAGE_HANDLERS,
            reports=reports,
            stop=stop,
        )
        if not once:
            console.say("The watch has ended; nothing was lost.")
        elif failures:
            raise typer.Exit(console.errors([("", error) for error in failures], {"site": site.code, "ended": True}))
        console.result({"site": site.code, "ended": True})


def _opened_site(console: Console, opened: contextlib.ExitStack, stop: threading.Event, *, once: bool) -> Site:
    """Open the site of the command; unless it is for one round, wait while another command keeps its catalogue busy."""
    from courier.errors import BusyError

    while True:
        try:
            return opened.enter_context(console.site())
        except BusyError as error:
            if once or stop.is_set():
                raise
            console.warn(f"The watch waits: {error.message}")
            stop.wait(BUSY_SECONDS)


def _check_folders(console: Console, folders: tuple[Path, ...], home: Path, *, once: bool) -> None:
    """Refuse folders that are none, and say of those that are not there that they are watched all the same."""
    from courier.errors import UsageError

    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"--media {folder} is no folder", hint=f"courier parcel receive {folder}")
        if folder.resolve().is_relative_to(home.resolve()) or home.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"--media {folder}: the home of this site is there", hint="watch a folder apart from it")
        if not folder.exists():
            console.note(f"{folder} does not exist" + ("" if once else "; it is watched in case it appears"))


class _Told:
    """Says what the watch does, with the time, and as events."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """A line with the time."""
        from courier.cli.console import time_text
        from courier.site.clock import now

        self._console.say(f"{time_text(now())}  {text}")

    def warn(self, text: str) -> None:
        """A line about what failed; also in the log of the site."""
        with contextlib.suppress(OSError):
            self._console.warn(text)
            self._console.event({"event": "log", "text": text})

    def looking(self, medium: Medium, documents: VolumeDocuments) -> None:
        """A medium is read."""
        self.say(medium_text(medium, documents))

    def volume(self, one: VolumeResult) -> None:
        """A volume was read."""
        say_volume(self._console, one)
        self._console.event({"event": "volume", "volume": volume_result(one)})

    def parcel(self, status: ParcelStatus) -> None:
        """How a parcel stands after that."""
        say_status(self._console, status)
        self._console.event({"event": "parcel", **parcel_status(status)})

    def exchange(self, done: Exchange) -> None:
        """Messages were exchanged."""
        for line in news_lines(done):
            self.say(line)
        for line in refused_lines(done):
            self.warn(line)
        for failure in done.failures:
            self.warn(f"{failure.message} ({failure.hint})")
        for status in done.parcels:
            if status.imported is not None:
                self.parcel(status)
        if done.taken or done.delivered:
            self._console.event({"event": "exchange", "taken": done.taken, "delivered": done.delivered})

    def distributed(self, outcome: RuleOutcome) -> None:
        """What became of a version that was to go to a point."""
        say_outcome(self._console, outcome)
        self._console.event({"event": "distributed", **describe(outcome)})


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that is set by the first Ctrl-C or SIGTERM; a second one ends the command at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            signal.default_int_handler(number, frame)
        stop.set()

    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A signal that was set to be ignored (by nohup, for instance) stays ignored.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, asked)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _options(wish: MediaWish, *, every: int) -> list[str]:
    """The options of a watch as they stand in a unit."""
    return [
        *(word for folder in wish.folders for word in ("--media", str(folder))),
        *(["--removable"] if wish.removable else []),
        *(["--hold"] if wish.hold else []),
        *(["--every", str(every)] if every != 60 else []),
        *(["--settle", f"{wish.settle:g}"] if wish.settle != 10 else []),
    ]


def _print_unit(console: Console, name: str, options: list[str]) -> None:
    """Print a unit of systemd for the site; nothing is installed or changed."""
    import shutil

    from courier.care.watch.units import Unit, unit_text
    from courier.errors import UsageError

    try:
        unit = Unit(name)
    except ValueError:
        hint = f"give one of {', '.join(Unit)}; docs/care.md says how launchd and the Windows task scheduler run it"
        raise UsageError(f"--print-unit {name}: there is no such unit", hint=hint) from None
    with console.site() as site:
        options = [*options, "--once"] if unit is Unit.ONCE else options
        text = unit_text(
            unit, site=site.code, home=site.home, user=site.operator, options=options, program=shutil.which("courier")
        )
    if console.for_people:
        print(text, end="", flush=True)
    console.result({"unit": unit.value, "text": text})
