"""Which media that are there now were taken in already, and how: a file in the home, so that a restart knows it too.

A medium is taken in once for each time that it appears. Only what is there is in the book: a medium that was taken out
and is put in again is taken in again, which reads nothing twice that is here already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from courier.care.watch.sightings import Seen
from courier.files import make_folder, path_text, write_atomic
from courier.site.file_names import WATCH
from formats.errors import FormatError
from formats.records import Digest, NamedRecord, Record, items, read_named, text

BOOK = "media.json"
MOST = 10_000


class Taken(StrEnum):
    """How a medium was taken in."""

    RECEIVED = "received"
    DAMAGED = "damaged"
    REFUSED = "refused"
    FOREIGN = "foreign"
    """It is no volume of a parcel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenMedium(Record):
    """A medium that is there, and how it was taken in; ``path``: where it lay then."""

    identity: Digest
    path: Annotated[str, text(8192)]
    taken: Annotated[str, text(40)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pages(NamedRecord):
    """The file."""

    NAME = "watched-media"

    media: Annotated[tuple[TakenMedium, ...], items(0, MOST)] = ()


class MediaBook:
    """The book, opened by whoever holds the lock of the watch."""

    def __init__(self, home: Path) -> None:
        """Open it; one that is missing or damaged is empty, and what is there is taken in anew. Raises `OSError`."""
        self._path = make_folder(home / WATCH) / BOOK
        try:
            self._pages = read_named(Pages, self._path.read_bytes().rstrip(b"\n"))
        except (FileNotFoundError, FormatError):
            self._pages = Pages()

    def unknown(self, seen: Sequence[Seen]) -> list[Seen]:
        """Those of the media that are there which are to be taken in, settled or not.

        What is not there any more is forgotten: neither at its path nor, mounted elsewhere, at another. Raises
        `OSError`.
        """
        present = {one.identity for one in seen}
        paths = {path_text(one.path) for one in seen}
        kept = (
            one
            for one in self._pages.media
            if one.identity in present or (one.taken == Taken.FOREIGN and one.path in paths)
        )
        self._save(replace(self._pages, media=tuple(kept)))
        known = {one.identity: one for one in self._pages.media}
        found: dict[str, Seen] = {}
        for one in seen:
            before = known.get(one.identity)
            # A second copy is of use where the first was damaged, and lies there still.
            is_copy = (
                before is not None
                and before.taken == Taken.DAMAGED
                and before.path != path_text(one.path)
                and before.path in paths
            )
            if before is None or is_copy:
                found.setdefault(one.identity, one)
        return list(found.values())

    def was_foreign(self, path: Path) -> bool:
        """Whether what lies there was found to be no volume: files on it have changed since, and it is told once."""
        return any(one.path == path_text(path) and one.taken == Taken.FOREIGN for one in self._pages.media)

    def enter(self, path: Path, identity: str, taken: Taken) -> None:
        """Note how a medium was taken in. Raises `OSError`."""
        new = TakenMedium(identity=identity, path=path_text(path), taken=taken.value)
        others = (one for one in self._pages.media if one.identity != identity and one.path != new.path)
        self._save(replace(self._pages, media=(*others, new)[-MOST:]))

    def _save(self, pages: Pages) -> None:
        if pages != self._pages:
            write_atomic(self._path, pages.json() + b"\n", private=True)
            self._pages = pages
