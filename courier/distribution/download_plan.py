"""What a download is of: the point's statement, the version, its definition and its listing, all verified.

The statement comes from the points that the operator named, in their order, never from a peer. Definition and listing
are bound by it, so they may come from any of them, and the listing from a peer too.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from courier.distribution.download_pace import stopped
from courier.distribution.point_reader import (
    Fetch,
    PointPackage,
    choose,
    read_definition,
    read_listing_of,
    read_statement,
)
from courier.distribution.seen_statements import Memory
from courier.distribution.source import GoneError, SourceFaultError, WrongBytesError
from courier.distribution.source_list import SourceList
from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, NotFoundError, RefusedError, UnreachableError
from courier.files import TEMP, sync_folder
from courier.site.trust import read_card
from formats.documents.card import SiteCard
from formats.documents.fields import PackageRef
from formats.documents.listing import FileEntry
from formats.documents.package import PackageDefinition
from formats.documents.point import PointStatement

_Read = TypeVar("_Read")
TRIES = 4
"""So often a document is asked for again that was not what it should be: it may have been spoiled on the way."""
_SPOILED = {Code.BAD_SIGNATURE, Code.MALFORMED, Code.UNKNOWN_FORMAT, Code.DEFINITION_DISAGREES, Code.WRONG_TYPE}
"""Refusals that wrong bytes on the way can cause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A package version at a point: its statement, which version, and the definition."""

    statement: PointStatement
    ref: PackageRef
    package: PointPackage


def read_cards(paths: Sequence[Path]) -> dict[str, SiteCard]:
    """The cards in files, by site; the first is that of the site that runs the points. Raises as `read_card` does."""
    cards: dict[str, SiteCard] = {}
    for path in paths:
        card = read_card(path.read_bytes(), where=str(path))
        cards.setdefault(card.site, card)
    return cards


class Asking:
    """Asks the sources for documents, one after the other, again and again for ``retry_for`` seconds at most."""

    def __init__(self, sources: SourceList, stop: threading.Event, *, retry_for: float) -> None:
        self._sources, self._stop, self._retry_for = sources, stop, retry_for

    def first(self, read: Callable[[Fetch], _Read], *, peers: bool = False) -> _Read:
        """What ``read`` makes of the first source that gives it. ``peers``: they are asked too.

        Raises the first refusal where each source refuses, else `UnreachableError` or what the first source raised.
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
                waited += (step := min(pause + 0.01, 0.5))
                if self._stop.wait(step):
                    raise stopped()
                continue
            try:
                return self._ask(number, read)
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

    def _ask(self, number: int, read: Callable[[Fetch], _Read]) -> _Read:
        link = self._sources[number].link()
        gone: list[GoneError] = []

        def fetch(path: str, most: int, /) -> BinaryIO:
            try:
                return link.fetch(path, most)
            except GoneError as error:
                gone.append(error)
                raise NotFoundError(str(error), hint="check the address of the point") from None

        try:
            return read(fetch)
        finally:
            link.close()

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
            hint="check the network and the address; give the command again, with another --from where there is one",
        )


def _by(name: str, error: CourierError) -> CourierError:
    """The error with the name of the source that it is about."""
    if name not in error.message:
        error.message = f"{name}: {error.message}"
    return error


def find(
    asking: Asking,
    memory: Memory,
    cards: Mapping[str, SiteCard],
    *,
    package: str,
    version: int | None,
    now_ns: int,
    point: str = "",
) -> Found:
    """The version of a package that the client may take, verified. The first card is that of the points' site.

    Raises `RefusedError`, `NotFoundError`, `DamagedError` and `UnreachableError`.
    """
    own = next(iter(cards.values()))

    def statement_and_ref(fetch: Fetch) -> tuple[PointStatement, PackageRef]:
        statement = fetch_statement(fetch, memory, own, now_ns=now_ns, point=point)
        return statement, choose(statement, package, version)

    statement, ref = asking.first(statement_and_ref)
    found = asking.first(lambda fetch: read_definition(fetch, statement, ref, cards=cards, now_ns=now_ns))
    return Found(statement=statement, ref=ref, package=found)


def fetch_statement(fetch: Fetch, memory: Memory, card: SiteCard, *, now_ns: int, point: str = "") -> PointStatement:
    """The statement of a point, verified, not older than one that was seen; its serial is remembered."""
    statement = read_statement(fetch, card=card, now_ns=now_ns, point=point)
    highest = memory.highest(statement.site, statement.point)
    if statement.serial < highest:
        raise RefusedError(
            f"point {statement.point} of {statement.site} shows its statement {statement.serial}; "
            f"{highest} was seen before",
            hint="it serves an old state; try another point; if they all say so, ask the site that runs them",
            code=Code.ROLLED_BACK_POINT,
        )
    memory.remember(statement.site, statement.point, statement.serial)
    return statement


def put_listing(asking: Asking, definition: PackageDefinition, path: Path) -> int:
    """Fetch the listing of a package into a file, verified; return the bytes of all files that it lists."""

    def read(fetch: Fetch) -> int:
        temporary = path.with_name(f"{TEMP}{os.getpid()}-{path.name}")
        try:

            def kept(name: str, most: int, /) -> BinaryIO:
                with fetch(name, most) as source:
                    return _copy(source, temporary, most)

            size = 0
            for entry in read_listing_of(kept, definition):
                if isinstance(entry, FileEntry):
                    size += entry.size
            temporary.replace(path)
            return size
        finally:
            temporary.unlink(missing_ok=True)

    size = asking.first(read, peers=True)
    sync_folder(path.parent)
    return size


def _copy(source: BinaryIO, target: Path, most: int) -> BinaryIO:
    out = target.open("w+b")
    with contextlib.ExitStack() as stack:
        stack.callback(out.close)
        left = most + 1
        while left and (data := source.read(min(left, 1 << 20))):
            out.write(data)
            left -= len(data)
        out.flush()
        os.fsync(out.fileno())
        out.seek(0)
        stack.pop_all()
    return cast(BinaryIO, out)
