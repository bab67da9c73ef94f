"""The rounds of a watch: media, messages, what goes on to points by rule, and what people are told.

Each step stands alone: what fails in one is said once, tried again ever later, and stops no other. Nothing here has to
end in good order: every step can be killed and is made good by the next round.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from courier.care.config import Config, load_config
from courier.care.gather import gather
from courier.care.notice_book import NoticeBook
from courier.care.notices import Event, Letter, Notice, notice, of_letters, of_log_entry, of_waiting, standing
from courier.care.status import waiting
from courier.care.watch.heartbeat import LOCK, Heartbeat, read_state, watch_folder
from courier.care.watch.media_book import MediaBook
from courier.care.watch.media_step import MediaReports, MediaStep, MediaWish
from courier.care.watch.service_manager import ServiceManager
from courier.care.watch.teller import Teller, ways_of
from courier.channel.connections import Network
from courier.channel.handlers import Handlers
from courier.channel.serve import unlock_keys
from courier.channel.sync import Exchange, exchange_locked, synchronise
from courier.distribution.by_rule import RuleOutcome, apply_rules
from courier.distribution.by_rule import waiting as waits_for_points
from courier.error_codes import Code
from courier.errors import BusyError, CourierError, StoppedError, UsageError, explain
from courier.files import explain_os, path_text
from courier.progress import Progress
from courier.site.catalog import messages, parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.site.settings import Settings
from formats.errors import FormatError
from formats.records import format_time

LOOK_SECONDS = 3.0
"""Pause between two looks at the watched folders, or longer where a look takes long."""
LOOK_SHARE = 20
"""A look takes at most one part in so many of the time."""
JUDGE_SECONDS = 300.0
"""Pause between two judgements of the whole site, where nothing has happened."""
POINTS_SECONDS = 900.0
"""Pause until what could not go to a point is tried again, where nothing was imported."""
AGAIN_FIRST_SECONDS, AGAIN_LAST_SECONDS = 5.0, 600.0
"""Pauses after a step that failed."""
TURN_SECONDS = 5.0
"""How long messages wait for another exchange of this site; then media have their turn first."""
BUSY_TOLD = 20
"""How often in a row a step may find another command at work until that is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchWish:
    """What a watch does. ``every``: seconds between rounds of messages, 0: none; ``once``: one round, then the end."""

    media: MediaWish
    every: float = 60.0
    once: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchReports:
    """Who is told what: ``ready`` once, ``exchange`` and ``distributed`` what was done, ``media`` of media, and
    ``warn`` what failed. What is told may fail to be told: the watch goes on.
    """

    media: MediaReports
    ready: Callable[[], None]
    exchange: Callable[[Exchange], None]
    distributed: Callable[[RuleOutcome], None]
    warn: Callable[[str], None]


@dataclass(kw_only=True, slots=True)
class _Step:
    """One of the steps: when it is due next (seconds of the monotonic clock), and how often it failed in a row."""

    name: str
    due: float = 0.0
    failures: int = 0
    said: str = ""


class _Alive(Progress):
    """Gives a sign of life with all that is read."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat

    def begin(self, phase: str, total: int) -> None:
        self._heartbeat.alive()

    def __call__(self, count: int) -> None:
        self._heartbeat.alive()


def watch(
    site: Site,
    wish: WatchWish,
    *,
    handlers: Handlers,
    reports: WatchReports,
    stop: threading.Event,
    network: Network | None = None,
) -> list[CourierError]:
    """Watch until ``stop`` is set, or make one round; return what failed in that round.

    Raises `BusyError` where a watch runs for this home already, and what stands against unlocking the keys.
    """
    unlock_keys(site)  # now, and not in an hour, when nobody is there to type a passphrase
    config = load_config(site.home)
    with _locked(site):
        manager = ServiceManager()
        with Heartbeat(site.home, user=site.operator, once=wish.once, manager=manager) as heartbeat:
            run = _Run(
                site=site,
                wish=wish,
                handlers=handlers,
                reports=reports,
                heartbeat=heartbeat,
                network=network or Network(stop=stop),
                stop=stop,
                config=config,
            )
            with run.telling():
                reports.ready()
                if wish.once:
                    run.once()
                else:
                    run.on_and_on()
            return run.failures


@contextlib.contextmanager
def _locked(site: Site) -> Iterator[None]:
    try:
        with site.locked(watch_folder(site.home) / LOCK):
            yield
    except BusyError as error:
        state = read_state(site.home)
        # Another lock may have been found taken in the block, which is no concern of this one.
        if "watch" not in error.message or state is None:
            raise
        who = f"process {state.process} of {state.user} on {state.host}, since {_moment(state.started_ns)}"
        raise BusyError(
            f"a watch of this home runs already: {who}",
            hint="courier status says what it does; to end it, stop it there",
        ) from None


@dataclass(kw_only=True)
class _Run:
    """One run of a watch."""

    site: Site
    wish: WatchWish
    handlers: Handlers
    reports: WatchReports
    heartbeat: Heartbeat
    network: Network
    stop: threading.Event
    config: Config
    failures: list[CourierError] = field(default_factory=list)
    media: MediaStep = field(init=False)
    book: NoticeBook = field(init=False)
    teller: Teller = field(init=False)

    def __post_init__(self) -> None:
        self.media = MediaStep(
            wish=self.wish.media, book=MediaBook(self.site.home), reports=self.reports.media, note=self._note_now
        )
        with self.site.catalogue.reading() as connection:
            end = parcels.log_end(connection)
        self.book = NoticeBook(self.site.home, log_end=end)
        if self.book.was_damaged:
            self.reports.warn("what people were told could not be read, and is begun anew: they may be told again")
        self._look, self._sync = _Step(name="media"), _Step(name="messages")
        self._points, self._judge, self._tell = _Step(name="points"), _Step(name="status"), _Step(name="notices")
        self._steps = (self._look, self._sync, self._points, self._judge, self._tell)
        self._holding: dict[str, Notice] = {}
        """The trouble of each step, while it lasts."""
        self._was_long = False
        """Whether the round had a step that the file of the heartbeat names."""
        self._not_at_points: dict[tuple[str, str, int], str] = {}
        """What could not go to a point, and why: it is said once."""

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Have people told while the block runs; its end waits for what is just being told."""
        self.teller = Teller(self.site.home, self.site.code, self.book, self.reports.warn)
        try:
            yield
        except BaseException:
            self.teller.end(seconds=0)
            raise
        self.teller.end(told=self.wish.once)

    def on_and_on(self) -> None:
        """Make rounds until the watch is stopped."""
        is_first = True
        while not self.stop.is_set():
            self._round()
            due = [step.due for step in self._steps if step is not self._sync or self.wish.every]
            self.heartbeat.step("it waits for media and messages", is_long=is_first or self._was_long)
            is_first = self._was_long = False
            self.stop.wait(max(0.05, min(due) - time.monotonic()))

    def once(self) -> None:
        """Make one round, in which a medium that is new gets the time to settle."""
        with self._guarded(self._look):
            if any(not one.settled for one in self.media.look()) and self.wish.media.settle:
                self.heartbeat.step("it waits for media to settle")
                self.stop.wait(self.wish.media.settle + 0.05)
        if not self.stop.is_set():
            self._round()

    def _round(self) -> None:
        """Do all that is due now."""
        for step, act in (
            (self._look, self._take_in_media),
            (self._sync, self._synchronise),
            (self._points, self._go_to_points),
            (self._judge, self._judge_site),
            (self._tell, self._have_told),
        ):
            if self.stop.is_set():
                return
            if step.due <= time.monotonic() and (step is not self._sync or self.wish.every):
                with self._guarded(step):
                    act()

    @contextlib.contextmanager
    def _guarded(self, step: _Step) -> Iterator[None]:
        """Say once what fails in a step, and have it tried again later."""
        try:
            yield
        except StoppedError:
            return
        except Exception as error:
            if isinstance(error, CourierError) and error.code is Code.CATALOGUE_REPLACED:
                raise  # another home lies here now, and this is no watch of it
            self._failed(step, _explained(error))
        else:
            if step.said:
                self.reports.warn(f"{step.name}: it works again")
            step.failures, step.said = 0, ""
            self._holding.pop(step.name, None)
            self._say_trouble()

    def _failed(self, step: _Step, error: CourierError) -> None:
        step.failures += 1
        pause = min(AGAIN_FIRST_SECONDS * 2 ** min(step.failures - 1, 16), AGAIN_LAST_SECONDS)
        step.due = time.monotonic() + pause
        if isinstance(error, BusyError):
            # It is usual, and over soon: the step has its turn then.
            step.due = time.monotonic() + min(pause, 2 * AGAIN_FIRST_SECONDS)
            if step.failures < BUSY_TOLD and not self.wish.once:
                return
        self.failures.append(error)
        if error.message == step.said:
            return
        step.said = error.message
        text = f"{step.name}: {error.message}"
        self.reports.warn(f"{text} ({error.hint}); it is tried again, ever later")
        with contextlib.suppress(CourierError):
            one = notice(Event.TROUBLE, f"{step.name}:{error.code}", text, at_ns=now(), next=_command(error.hint))
            self._holding[step.name] = standing(one)
        self._say_trouble()

    def _say_trouble(self) -> None:
        self.heartbeat.trouble("; ".join(one.what for one in self._holding.values()))

    def _take_in_media(self) -> None:
        begun = time.monotonic()
        self.heartbeat.step("it looks for media")
        self.site = replace(self.site, settings=Settings.load(self.site.home))
        unknown = self.media.look()
        ready = self.media.ready(unknown)
        pause = LOOK_SECONDS
        if any(not one.settled for one in unknown):
            pause = min(pause, self.wish.media.settle)
        self._look.due = time.monotonic() + max(pause, LOOK_SHARE * (time.monotonic() - begun))
        if not ready:
            return
        self.heartbeat.step(
            f"it reads {path_text(ready[0].path)}" + (f" and {len(ready) - 1} more" if len(ready) > 1 else ""),
            is_long=True,
        )
        self._was_long = True
        done = self.media.take_in(self.site, ready, progress=_Alive(self.heartbeat), check=self._check)
        self._look.due = time.monotonic() + LOOK_SECONDS
        if self.wish.once:
            self.failures += self.media.failures
        self._something_happened(imported=done.imported, changed=done.changed)
        if done.changed:
            # Receipts and arrival reports leave at once.
            self._sync.due = 0.0

    def _check(self) -> None:
        if self.stop.is_set():
            raise StoppedError("stopped; what was read is kept", hint="courier channel watch goes on with it")

    def _synchronise(self) -> None:
        self.heartbeat.step("it exchanges messages")
        Settings.load(self.site.home)  # where the home is gone, no folder is made that would be in a restore's way
        self._sync.due = time.monotonic() + self.wish.every
        done = exchange_locked(
            self.site,
            lambda: synchronise(self.site, handlers=self.handlers, network=self.network, patient=True),
            patience=TURN_SECONDS,
            stop=self.stop,
        )
        self._sync.due = time.monotonic() + self.wish.every
        self.reports.exchange(done)
        imported = any(status.imported is not None for status in done.parcels)
        self._something_happened(imported=imported, changed=bool(done.taken or done.news or done.refused))

    def _something_happened(self, *, imported: bool, changed: bool) -> None:
        if imported:
            self._points.due = 0.0
        if imported or changed:
            self._judge.due = 0.0

    def _go_to_points(self) -> None:
        self._points.due = time.monotonic() + POINTS_SECONDS
        if not waits_for_points(self.site):
            return
        self.heartbeat.step("it sends packages to points")
        outcomes = apply_rules(self.site, progress=_Alive(self.heartbeat))
        failed = {(one.due.point, one.due.package, one.due.version): one.error.message for one in outcomes if one.error}
        for one in outcomes:
            key = one.due.point, one.due.package, one.due.version
            if one.error is None or self._not_at_points.get(key) != failed[key]:
                self.reports.distributed(one)
        self._not_at_points = failed
        self._points.due = time.monotonic() + POINTS_SECONDS

    def _judge_site(self) -> None:
        """Find what people are to be told, and note it."""
        self.heartbeat.step("it looks at what waits")
        self._judge.due = time.monotonic() + JUDGE_SECONDS
        self._note(of_waiting(waiting(gather(self.site)), at_ns=now()), judged=True)
        self._judge.due = time.monotonic() + JUDGE_SECONDS

    def _have_told(self) -> None:
        """Note what came since, and have told what is due; the configuration is read anew."""
        self._tell.due = time.monotonic() + LOOK_SECONDS
        self._note(())
        try:
            self.config = load_config(self.site.home)
        except UsageError:
            self.teller.look(self.config)  # with what was right last
            raise
        self.book.keep_ways({way for ways in ways_of(self.config).values() for way in ways})
        self.teller.look(self.config)

    def _note(self, found: Iterable[Notice], *, judged: bool = False) -> None:
        """Enter notices into the book: these, those of troubles, of messages, and of the logs of parcels.

        ``judged``: they are all that stands at the site now.
        """
        moment = now()
        with self.site.catalogue.reading() as connection:
            end = parcels.log_end(connection)
            entries = parcels.read_log_since(connection, self.book.log_end) if end > self.book.log_end else []
            dead = messages.dead_letters(connection)
        logged = (of_log_entry(one.parcel, one.event, one.text, at_ns=moment) for one in entries)
        letters = [
            Letter(incoming=one.direction == "in", name=one.sha256, site=one.site, reason=one.reason) for one in dead
        ]
        self.book.add(
            [
                *self._holding.values(),
                *(one for one in logged if one is not None),
                *of_letters(letters, at_ns=moment),
                *found,
            ],
            ways_of(self.config),
            log_end=end,
            now_ns=moment,
            judged=judged,
        )

    def _note_now(self, one: Notice) -> None:
        self.book.add([one], ways_of(self.config), log_end=self.book.log_end, now_ns=now())


def _moment(ns: int) -> str:
    return f"{format_time(ns)[:19].replace('T', ' ')}Z"


def _command(hint: str) -> str:
    return hint if hint.startswith("courier ") else ""


def _explained(error: Exception) -> CourierError:
    if isinstance(error, CourierError):
        return error
    if isinstance(error, FormatError):
        return explain(error)
    if isinstance(error, OSError):
        return explain_os(error)
    return CourierError(f"unexpected: {error!r}", hint="nothing was lost; report this")
