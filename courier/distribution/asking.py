"""Asking the sources of a download for documents, one source after the other, until one gives what is right."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO, TypeVar

from courier.distribution.download_pace import Pace, Unpaced, WindowClosedError, stopped
from courier.distribution.point_reader import Fetch
from courier.distribution.source import GoneError, SourceFaultError, WrongBytesError, in_memory
from courier.distribution.source_list import SourceList
from courier.error_codes import Code
from courier.errors import (
    BusyError,
    CourierError,
    DamagedError,
    NoSpaceError,
    NotFoundError,
    RefusedError,
    StoppedError,
    UnreachableError,
)

_Read = TypeVar("_Read")
Keep = Callable[[Iterable[memoryview]], BinaryIO]
"""Puts what is fetched somewhere, and opens it for reading at its begin."""
TRIES = 4
"""So often a document is asked for again that was not what it should be: it may have been spoiled on the way."""
_SILENT = 3.0
"""Seconds that no source answers before it is said."""
_SPOILED = {Code.BAD_SIGNATURE, Code.MALFORMED, Code.UNKNOWN_FORMAT, Code.DEFINITION_DISAGREES, Code.WRONG_TYPE}
"""Refusals that wrong bytes on the way can cause."""


class Asking:
    """Asks the sources for documents, one after the other, again and again for ``retry_for`` seconds at most."""

    def __init__(
        self,
        sources: SourceList,
        stop: threading.Event,
        *,
        retry_for: float,
        pace: Pace | Unpaced | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``pace``: nothing is asked outside its windows, nor comes faster than it allows; None: no limits.

        ``warn`` is told once when no source answers and it is waited for one.
        """
        self._sources, self._stop, self._retry_for, self._warn = sources, stop, retry_for, warn
        self._told = False
        self._pace = pace or Unpaced()

    def first(self, read: Callable[[Fetch], _Read], *, peers: bool = False, keep: Keep = in_memory) -> _Read:
        """What ``read`` makes of the first source that gives it. ``peers``: they are asked too.

        ``keep``: where what is fetched is put until it was read. Raises the first refusal where each source refuses,
        else `UnreachableError` or what the first source raised; and `NoSpaceError`, `StoppedError`, `BusyError`.
        """
        numbers = range(len(self._sources)) if peers else self._sources.points()
        refusals: dict[int, CourierError] = {}
        tries: dict[int, int] = {}
        waited = 0.0
        while True:
            avoid = {n for n in range(len(self._sources)) if n in refusals or n not in numbers}
            number = self._sources.choose(avoid)
            if number is None:
                pause = self._sources.pause(avoid)
                if pause is None or waited > self._retry_for:
                    raise self._failed(refusals)
                self._tell_once(waited)
                waited += (step := min(pause + 0.01, 0.5))
                if self._stop.wait(step):
                    raise stopped()
                continue
            try:
                return self._ask(number, read, keep)
            except WindowClosedError:
                continue  # it is waited for a window before the next
            except (NoSpaceError, StoppedError, BusyError):
                raise  # that is no fault of the source
            except SourceFaultError as error:
                self._sources.failed(number, error)
                if isinstance(error, GoneError):
                    refusals[number] = NotFoundError(
                        f"{self._sources.name(number)}: {error}", hint="check the address of the point"
                    )
            except CourierError as error:
                tries[number] = tries.get(number, 0) + 1
                spoiled = isinstance(error, DamagedError) or error.code in _SPOILED
                if not spoiled or tries[number] >= TRIES:
                    refusals[number] = _by(self._sources.name(number), error)
                    if error.code == Code.WITHDRAWN:
                        raise refusals[number] from None
                self._sources.failed(number, WrongBytesError(error.message) if spoiled else GoneError(error.message))

    def _tell_once(self, waited: float) -> None:
        """Say what is waited for, once it lasts: whoever looks on would believe that the command hangs."""
        if self._told or waited < _SILENT or not (blames := self._sources.blames()):
            return
        self._told = True
        self._warn(f"no point answers yet ({'; '.join(blames[:4])}); trying for up to {round(self._retry_for):,} s")

    def _ask(self, number: int, read: Callable[[Fetch], _Read], keep: Keep) -> _Read:
        self._pace.wait_open()
        link = self._sources[number].link()

        def fetch(path: str, most: int, /) -> BinaryIO:
            try:
                return keep(self._paced(link.fetch(path, most)))
            except GoneError as error:
                raise NotFoundError(str(error), hint="check the address of the point") from None

        try:
            return read(fetch)
        finally:
            link.close()

    def _paced(self, pieces: Iterable[memoryview]) -> Iterator[memoryview]:
        for piece in pieces:
            left = len(piece)
            while left:
                left -= self._pace.take(left)
            yield piece

    def _failed(self, refusals: Mapping[int, CourierError]) -> CourierError:
        found = [refusals[number] for number in sorted(refusals)]
        told = [one for one in found if not isinstance(one, NotFoundError)] or found
        blames = self._sources.blames()
        if told and (len(refusals) == len(self._sources.points()) or isinstance(told[0], RefusedError)):
            return told[0]
        if not blames:
            return told[0] if told else UnreachableError("no source was named", hint="--from URL")
        return UnreachableError(
            f"no point answers as it should: {'; '.join(blames[:4])}",
            hint="check the network and the address; give the command again, with another point where there is one",
        )


def _by(name: str, error: CourierError) -> CourierError:
    """The error with the name of the source that it is about."""
    if name not in error.message:
        error.message = f"{name}: {error.message}"
    return error
