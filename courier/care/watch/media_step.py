"""Taking in the media that appeared and settled: each once, as `courier parcel receive` does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from courier.care.notices import Event, Notice, notice, standing
from courier.care.watch.media_book import MediaBook, Taken
from courier.care.watch.sightings import Seen, Settling, Sighting, identity_of, listing_of, look
from courier.error_codes import Code
from courier.errors import (
    BusyError,
    CourierError,
    DamagedError,
    NoSpaceError,
    NotFoundError,
    StoppedError,
    UnreachableError,
    explain,
)
from courier.files import explain_os, path_text
from courier.media.finding import find_media
from courier.media.reading import Medium
from courier.parcel.volume_documents import VolumeDocuments
from courier.progress import Progress
from courier.receiving.parcel_status import ParcelStatus
from courier.receiving.receive import Received, receive_media
from courier.receiving.volume_result import VolumeResult
from courier.site.clock import now
from courier.site.home import Site
from formats.errors import FormatError

AGAIN_FIRST_SECONDS, AGAIN_LAST_SECONDS = 30.0, 1800.0
"""Pauses until a medium is tried again that could not be taken in for want of space, or of a turn."""
_LATER = (BusyError, NoSpaceError, StoppedError, UnreachableError)
"""Errors that have nothing to do with the medium."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaWish:
    """Where media appear. ``folders``: watched folders; ``removable``: patterns of mount points. ``hold``: they are
    received, and the operator imports. ``settle``: seconds for which nothing of a medium may change before it is read.
    """

    folders: tuple[Path, ...] = ()
    removable: tuple[str, ...] = ()
    hold: bool = False
    settle: float = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaReports:
    """Who is told what: of a medium that is read, a volume that was read, how a parcel stands then, and what failed."""

    looking: Callable[[Medium, VolumeDocuments], None]
    volume: Callable[[VolumeResult], None]
    parcel: Callable[[ParcelStatus], None]
    warn: Callable[[str], None]


@dataclass(kw_only=True, slots=True)
class _Pause:
    """Until when a medium is left alone after a failure that is not its own, and how long that was."""

    until: float
    seconds: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Taking:
    """What taking in media came to: whether a parcel was imported, and whether one changed."""

    imported: bool = False
    changed: bool = False


@dataclass(kw_only=True, slots=True)
class MediaStep:
    """Looks at what is there, and takes in what is new; keep one for the whole run of a watch.

    ``note``: keeps a notice on the disk, before the medium of it is entered into the book, so that a kill loses none.
    ``failures``: errors of the last `take_in`, those that have nothing to do with the medium among them.
    """

    wish: MediaWish
    book: MediaBook
    reports: MediaReports
    note: Callable[[Notice], None]
    clock: Callable[[], float] = time.monotonic
    settling: Settling = field(init=False)
    failures: list[CourierError] = field(default_factory=list)
    _pauses: dict[str, _Pause] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settling = Settling(seconds=self.wish.settle)

    def look(self) -> list[Seen]:
        """What is there and was not taken in, settled or not. Raises `OSError` where the book cannot be written."""
        seen = self.settling.see(look(self.wish.folders, removable=self.wish.removable), self.clock())
        present = {one.identity for one in seen}
        self._pauses = {key: pause for key, pause in self._pauses.items() if key in present}
        return self.book.unknown(seen)

    def ready(self, unknown: Sequence[Seen]) -> list[Seen]:
        """Those of them that are to be taken in now."""
        moment = self.clock()
        return [
            one
            for one in unknown
            if one.settled and ((pause := self._pauses.get(one.identity)) is None or pause.until <= moment)
        ]

    def take_in(self, site: Site, ready: Sequence[Seen], *, progress: Progress, check: Callable[[], None]) -> Taking:
        """Receive media, and import what is complete unless they are to be held.

        ``check`` is called before each medium, and raises `StoppedError` where the watch is to end.
        """
        self.failures = []
        media = [one for one in ready if self._is_medium(one)]
        imported = changed = False

        def looking(medium: Medium, documents: VolumeDocuments) -> None:
            check()
            self.reports.looking(medium, documents)

        def receive(some: Sequence[Seen]) -> Received:
            return receive_media(
                site,
                [one.path for one in some],
                hold=self.wish.hold,
                progress=progress,
                looking=looking,
                received=self.reports.volume,
            )

        for some, done in _each_received(media, receive):
            for status in done.parcels:
                self.reports.parcel(status)
            for one in some:
                self._judge(one, some, done)
            self._tell_of_parcels(done)
            imported = imported or any(status.imported is not None for status in done.parcels)
            changed = changed or bool(done.volumes)
        return Taking(imported=imported, changed=changed)

    def _is_medium(self, one: Seen) -> bool:
        """Whether there are volumes at a path; what else lies there is told once."""
        try:
            find_media(one.path, self.reports.warn)
        except NotFoundError:
            return False  # it was taken out just now
        except OSError as error:
            self._put_off(one, explain_os(error))
            return False
        except CourierError as error:
            if not self.book.was_foreign(one.path):
                self._tell(one, error, Event.REFUSED)
            self.book.enter(one.path, one.identity, Taken.FOREIGN)
            return False
        return True

    def _judge(self, one: Seen, given: Sequence[Seen], done: Received) -> None:
        """Note how one of the media that were ``given`` together was taken in."""
        own = [error for about, error in done.failures if _is_at(about, one.path) or (not about and len(given) == 1)]
        common = [error for about, error in done.failures if not any(_is_at(about, other.path) for other in given)]
        # An import straight from the media that failed has recorded no volume of them.
        error = next(iter(own or ([] if done.volumes else common)), None)
        if error is not None and (isinstance(error, _LATER) or type(error) is CourierError):
            self._put_off(one, error)
            return
        if not _is_there(one):
            text = f"{path_text(one.path)} was taken out, or changed, while it was read: what was read of it is kept"
            self.reports.warn(text)
            return
        self._pauses.pop(one.identity, None)
        damaged = any(volume.damaged_blocks and _is_at(volume.path, one.path) for volume in done.volumes)
        if error is None:
            # Of blocks that could not be read, the status of the parcel tells; parity may have made up for them.
            self.book.enter(one.path, one.identity, Taken.DAMAGED if damaged else Taken.RECEIVED)
            return
        is_damaged = isinstance(error, DamagedError)
        if own:
            self._tell(one, error, Event.DAMAGE if is_damaged else Event.REFUSED)
        self.book.enter(one.path, one.identity, Taken.DAMAGED if is_damaged else Taken.REFUSED)

    def _put_off(self, one: Seen, error: CourierError) -> None:
        before = self._pauses.get(one.identity)
        seconds = AGAIN_FIRST_SECONDS if before is None else min(2 * before.seconds, AGAIN_LAST_SECONDS)
        self._pauses[one.identity] = _Pause(until=self.clock() + seconds, seconds=seconds, reason=error.message)
        if isinstance(error, StoppedError):
            return
        if before is None or before.reason != error.message:
            self.reports.warn(f"{path_text(one.path)} is tried again later: {error.message} ({error.hint})")
        if not isinstance(error, BusyError):
            self.failures.append(error)
            text = f"{path_text(one.path)} cannot be taken in now: {error.message}"
            trouble = notice(Event.TROUBLE, f"media:{error.code}", text, at_ns=now(), next=_command(error.hint))
            self.note(standing(trouble))  # when the disk is full again next week, that is told again

    def _tell(self, one: Seen, error: CourierError, event: Event) -> None:
        name = path_text(one.path)
        text = error.message if name in error.message else f"{name}: {error.message}"
        self.reports.warn(f"{text} ({error.hint})")
        self.failures.append(error)
        # What somebody plugs into the computer is not always meant for the site: it is said here, and nobody is woken.
        is_meant = any(folder == one.path or folder in one.path.parents for folder in self.wish.folders)
        if is_meant or error.code is not Code.NOT_A_VOLUME:
            self.note(notice(event, f"medium:{one.identity}", text, at_ns=now(), next=_command(error.hint)))

    def _tell_of_parcels(self, done: Received) -> None:
        """Tell of parcels that could not be brought further."""
        names = {status.parcel for status in done.parcels}
        for about, error in done.failures:
            if about not in names or isinstance(error, BusyError | StoppedError):
                continue
            if isinstance(error, DamagedError):
                event, cause = Event.DAMAGE, about
            elif isinstance(error, NoSpaceError) or type(error) is CourierError:
                event, cause = Event.TROUBLE, f"parcel:{about}:{error.code}"
            else:
                event, cause = Event.REFUSED, f"parcel:{about}:{error.code}"
            text = f"{about}: {error.message}"
            self.reports.warn(f"{text} ({error.hint})")
            self.failures.append(error)
            self.note(notice(event, cause, text, at_ns=now(), next=_command(error.hint), parcel=about))


def _each_received(
    media: Sequence[Seen], receive: Callable[[Sequence[Seen]], Received]
) -> Iterator[tuple[Sequence[Seen], Received]]:
    """Receive media together, so that a whole parcel goes straight into the store; where something unforeseen comes in
    between, each by itself, so that one medium does not stand in the way of the others.
    """
    if not media:
        return
    try:
        yield media, receive(media)
    except Exception as error:
        if isinstance(error, CourierError) and error.code in (Code.NO_CATALOGUE, Code.CATALOGUE_REPLACED):
            raise  # it says nothing of the media
        if len(media) > 1 and not isinstance(error, _LATER):
            for one in media:
                yield from _each_received([one], receive)
        else:
            yield media, Received(volumes=(), failures=(("", _explained(error)),), parcels=())


def _explained(error: Exception) -> CourierError:
    if isinstance(error, CourierError):
        return error
    if isinstance(error, FormatError):
        return explain(error)
    if isinstance(error, OSError):
        return explain_os(error)
    return CourierError(f"unexpected: {error!r}", hint="it is tried again; if it stays so, report this")


def _is_at(about: str, path: Path) -> bool:
    """Whether what messages call a medium, or a volume in it, is at a path."""
    name = path_text(path)
    return about == name or about.startswith((f"{name}{os.sep}", f"{name}:"))


def _is_there(one: Seen) -> bool:
    """Whether a medium still lies there as it was when it was seen."""
    listing = listing_of(one.path)
    return listing is not None and identity_of(Sighting(path=one.path, listing=listing)) == one.identity


def _command(hint: str) -> str:
    """The hint of an error where it is a command, which is what a notice has."""
    return hint if hint.startswith("courier ") else ""
