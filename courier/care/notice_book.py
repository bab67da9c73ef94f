"""What was noticed, and who is to be told of it: a file in the home, so that nobody is told twice, also after a kill.

Each notice waits for its *ways*: the services that are told and the hook that is run. Before a way is tried it is
marked as begun, and on the disk so; what was begun and has no outcome after a kill is not tried again, because the
message may have gone. A way that surely failed is tried again, ever later, for a day.

One process writes it: whoever holds the lock of the watch. Threads of that process may share it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from courier.care.notices import Notice
from courier.errors import NotFoundError
from courier.files import make_folder, write_atomic
from courier.site.file_names import WATCH
from formats.errors import FormatError
from formats.records import Count, NamedRecord, Record, Time, items, read_named, text

BOOK = "notices.json"
HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
KEPT_NS = 90 * DAY_NS
"""How long a cause is remembered that happened once."""
GONE_NS = DAY_NS
"""A standing cause that has not held for so long is forgotten: where it holds again, it is told again."""
FIRST_AGAIN_NS, LAST_AGAIN_NS = 60 * 10**9, HOUR_NS
"""Pauses after a failure: the first, and the longest."""
GIVEN_UP_NS = DAY_NS
"""A way that has failed for so long since the notice was made is given up."""
MAX_CAUSES = 20_000
MAX_FAILURES = 50
MAX_WAITING = 1000
"""Notices that wait to be told; where there are more, the oldest are given up."""
HOOK = "hook"
"""The name of the way that is the hook; services are called ``notify.NAME``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known(Record):
    """A cause that was noticed, and when it last held."""

    cause: Annotated[str, text(2000)]
    held_ns: Time
    standing: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Way(Record):
    """A way by which a notice is still to be told. ``begun``: it is being tried; ``failures`` so far; ``due_ns``."""

    name: Annotated[str, text(100)]
    begun: bool
    failures: Count
    due_ns: Time


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingNotice(Record):
    """A notice, and the ways that are left of it."""

    notice: Notice
    ways: tuple[Way, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure(Record):
    """That somebody could not be told: by which way, when, why, and what it was. ``final``: it is not tried again."""

    way: Annotated[str, text(100)]
    at_ns: Time
    reason: Annotated[str, text(2000)]
    what: Annotated[str, text(2000)]
    final: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Pages(NamedRecord):
    """The file. ``log_end``: up to where the logs of parcels were read."""

    NAME = "notices"

    log_end: Count = 0
    known: Annotated[tuple[Known, ...], items(0, MAX_CAUSES)] = ()
    waiting: tuple[WaitingNotice, ...] = ()
    failures: tuple[Failure, ...] = ()


def read_pages(home: Path) -> Pages:
    """The book of a home as it is on the disk. Raises `NotFoundError` where there is none, `FormatError`, `OSError`."""
    try:
        data = (home / WATCH / BOOK).read_bytes()
    except FileNotFoundError:
        raise NotFoundError("no watch has run for this home", hint="courier channel watch") from None
    return read_named(Pages, data.rstrip(b"\n"))


class NoticeBook:
    """The book, opened by whoever holds the lock of the watch."""

    def __init__(self, home: Path, *, log_end: int) -> None:
        """Open the book; one that is missing or damaged is begun at ``log_end``, so that nobody is told of the past.

        ``was_damaged`` says so. Raises `OSError`.
        """
        self._path = make_folder(home / WATCH) / BOOK
        self._lock = threading.Lock()
        self.was_damaged = False
        try:
            pages = read_pages(home)
        except NotFoundError:
            pages = Pages(log_end=log_end)
        except FormatError:
            self.was_damaged, pages = True, Pages(log_end=log_end)
        # A catalogue that was restored has a shorter log.
        self._pages = replace(pages, log_end=min(pages.log_end, log_end))
        self._end_what_was_begun()
        # What happens from now on is told, also where this is killed before anything is noted.
        self._write()

    @property
    def log_end(self) -> int:
        """Up to where the logs of parcels were read."""
        return self._pages.log_end

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The last failures, the newest last."""
        return self._pages.failures

    def _end_what_was_begun(self) -> None:
        """Give up what was being tried when the last watch was killed: it may have gone."""
        reason = "it was interrupted; not known whether it went, and not tried again"
        for waits in self._pages.waiting:
            for way in waits.ways:
                if way.begun:
                    self._settle(way.name, {waits.notice.cause})
                    self._fail(way.name, waits.notice, reason, at_ns=waits.notice.at_ns, final=True)

    def add(
        self,
        found: Iterable[Notice],
        ways: Mapping[str, Collection[str]],
        *,
        log_end: int,
        now_ns: int,
        judged: bool = False,
    ) -> int:
        """Note what was found, and up to where the log was read; return how many notices are new.

        ``ways``: the ways by which notices of an event are told. A cause that is known is passed over. ``judged``: all
        that stands at the site is among what was found, so that what is not stands no more. Raises `OSError`.
        """
        with self._lock:
            before = self._pages
            known = {one.cause: one for one in before.known}
            new: list[WaitingNotice] = []
            count = 0
            for one in found:
                there = known.get(one.cause)
                # A clock that was ahead may have noted a time to come.
                if there is None or now_ns - there.held_ns > HOUR_NS or there.held_ns - now_ns > HOUR_NS:
                    known[one.cause] = Known(cause=one.cause, held_ns=now_ns, standing=one.standing)
                if there is not None:
                    continue
                count += 1
                due = tuple(Way(name=name, begun=False, failures=0, due_ns=0) for name in ways.get(one.event, ()))
                if due:
                    new.append(WaitingNotice(notice=one, ways=due))
            kept = [one for one in known.values() if not _is_over(one, now_ns, judged=judged)]
            kept = sorted(kept, key=lambda one: one.held_ns)[-MAX_CAUSES:]
            waiting = (*before.waiting, *new)[-MAX_WAITING:]
            after = replace(before, known=tuple(kept), waiting=waiting, log_end=log_end)
            self._save(after)
            return count

    def due(self, now_ns: int) -> dict[str, list[Notice]]:
        """The notices that are to be told now, by way."""
        with self._lock:
            found: dict[str, list[Notice]] = {}
            for waits in self._pages.waiting:
                for way in waits.ways:
                    # A time further ahead than the longest pause was noted by a clock that was wrong.
                    if not way.begun and (way.due_ns <= now_ns or way.due_ns - now_ns > LAST_AGAIN_NS):
                        found.setdefault(way.name, []).append(waits.notice)
            return found

    def begin(self, name: str, notices: Iterable[Notice]) -> None:
        """Mark a way of notices as begun, on the disk. Raises `OSError`, and then nothing is begun."""
        with self._lock:
            before = self._pages
            causes = {one.cause for one in notices}
            self._change(causes, lambda way: replace(way, begun=True) if way.name == name else way)
            try:
                self._write()
            except OSError:
                self._pages = before
                raise

    def told(self, name: str, notices: Iterable[Notice]) -> None:
        """Note that notices were told by a way, which works again. Raises `OSError`."""
        with self._lock:
            self._settle(name, {one.cause for one in notices})
            failures = tuple(one for one in self._pages.failures if one.final or one.way != name)
            self._pages = replace(self._pages, failures=failures)
            self._write()

    def failed(self, name: str, notices: Iterable[Notice], reason: str, *, now_ns: int, final: bool) -> None:
        """Note that notices could not be told by a way; unless it is ``final``, that is tried again later.

        Raises `OSError`.
        """
        with self._lock:
            by_end: dict[bool, list[Notice]] = {True: [], False: []}
            for one in notices:
                by_end[final or now_ns - one.at_ns > GIVEN_UP_NS].append(one)
            self._settle(name, {one.cause for one in by_end[True]})
            self._put_off(name, {one.cause for one in by_end[False]}, now_ns)
            for is_over, some in by_end.items():
                for one in some:
                    self._fail(name, one, reason, at_ns=now_ns, final=is_over)
            self._write()

    def keep_ways(self, names: Collection[str]) -> None:
        """Drop all ways but these: the others are not set any more. Raises `OSError`."""
        with self._lock:
            gone = {way.name for waits in self._pages.waiting for way in waits.ways if not way.begun} - set(names)
            for name in gone:
                self._settle(name, {waits.notice.cause for waits in self._pages.waiting})
            if gone:
                self._write()

    def _settle(self, name: str, causes: Collection[str]) -> None:
        """Take a way from the notices of these causes; one that has none left waits no more."""
        self._change(causes, lambda way: None if way.name == name else way)

    def _put_off(self, name: str, causes: Collection[str], now_ns: int) -> None:
        def later(way: Way) -> Way:
            if way.name != name:
                return way
            pause = min(FIRST_AGAIN_NS << min(way.failures, 16), LAST_AGAIN_NS)
            return replace(way, begun=False, failures=way.failures + 1, due_ns=now_ns + pause)

        self._change(causes, later)

    def _change(self, causes: Collection[str], change: Callable[[Way], Way | None]) -> None:
        def changed(waits: WaitingNotice) -> WaitingNotice:
            if waits.notice.cause not in causes:
                return waits
            return replace(waits, ways=tuple(way for one in waits.ways if (way := change(one)) is not None))

        found = [changed(waits) for waits in self._pages.waiting]
        self._pages = replace(self._pages, waiting=tuple(waits for waits in found if waits.ways))

    def _fail(self, name: str, one: Notice, reason: str, *, at_ns: int, final: bool) -> None:
        """Note a failure; one that is tried again takes the place of its last one."""
        new = Failure(way=name, at_ns=at_ns, reason=reason[:2000], what=one.what, final=final)
        others = [old for old in self._pages.failures if old.final or (old.way, old.what) != (name, one.what)]
        self._pages = replace(self._pages, failures=(*others, new)[-MAX_FAILURES:])

    def _save(self, pages: Pages) -> None:
        if pages != self._pages:
            data = pages.json() + b"\n"
            write_atomic(self._path, data, private=True)
            self._pages = pages

    def _write(self) -> None:
        write_atomic(self._path, self._pages.json() + b"\n", private=True)


def _is_over(one: Known, now_ns: int, *, judged: bool) -> bool:
    """Whether a cause is to be forgotten. A watch that was off for days first judges what stands still."""
    since = now_ns - one.held_ns
    return judged and since > GONE_NS if one.standing else since > KEPT_NS
