"""The packs of a store: its small contents, many to a file (decision 0020, item 6).

    packs/NAME.pack       records of contents, one after the other
    packs/NAME.gone       which of them the store no longer has
    packs/index.sqlite    content -> pack, offset, length

Whoever changes something holds the store's lock. A pack is deleted when nothing in it is in use; one of which more than
half is not in use is copied over. Until then such bytes are pending: they take room, and nobody finds them.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from courier.files import flush_files, sync_folder
from courier.site.store.content_store import MISSING, Collected
from courier.site.store.digest_set import DigestSet
from courier.site.store.pack_collection import collect_packs, mark_gone, put_pack, put_small_together
from courier.site.store.pack_file import PACK, PackWriter
from courier.site.store.pack_index import PackIndex, Place
from courier.site.store.read_ahead import ReadAhead

DIFFERS = "content differs from its SHA-256"
_PAGE = 10_000

Row = tuple[bytes, int, int, int]
"""SHA-256 of a content, number of its pack among those written together, offset and length."""


def cannot_be_read(error: OSError) -> str:
    """What is wrong with content that the disk does not give."""
    return f"content cannot be read: {error.strerror}"


class Packs:
    """The packs of one store. Several threads and processes may read at once."""

    def __init__(self, folder: Path) -> None:
        """``folder`` need not exist yet."""
        self._folder = folder
        self._index = PackIndex(folder)
        self._ahead = ReadAhead()

    def length(self, digest: bytes) -> int | None:
        """The bytes of a content; None where it is not packed."""
        place = self._index.find(digest)
        return None if place is None else place.length

    def lengths(self, digests: Iterable[bytes]) -> dict[bytes, int]:
        """The bytes of each of many contents; those that are not packed are left out."""
        return self._index.lengths(digests)

    def read_already(self, digest: bytes) -> bytes | None:
        """The bytes of a content that were read together with the one before it, once; None where they were not."""
        return self._ahead.take(digest)

    def read(self, digest: bytes) -> bytes | None:
        """The bytes of a content, not compared with its SHA-256; None where it is not packed or its pack is gone.

        Where contents are read one after the other as they were packed, those that follow are read with it.
        """
        place = self._index.find(digest)
        while place is not None:
            try:
                with self._path(place.pack).open("rb", buffering=0) as source:
                    return self._ahead.read(source, place)
            except FileNotFoundError:
                # Its pack was copied over since we looked; else the pack is lost.
                before, place = place, self._index.find(digest)
                if place == before:
                    return None
        return None

    def good(self, digest: bytes) -> bytes | None:
        """The bytes of a content that has its SHA-256, as `read` gives them; else None."""
        data = self._ahead.take(digest)
        if data is None:
            data = self.read(digest)
            if data is None or hashlib.sha256(data).digest() != digest:
                return None
        return data

    def problem(self, digest: bytes) -> str:
        """What is wrong with a content; empty when it is good."""
        try:
            data = self.read(digest)
        except OSError as error:
            return cannot_be_read(error)
        return MISSING if data is None else _compared(data, digest)

    def problems(self, digests: Iterable[bytes]) -> dict[bytes, str]:
        """What is wrong with those of many contents that are not good. They are read in the order of the packs."""
        wanted = set(digests)
        there = self._index.find_all(wanted)
        found = dict.fromkeys(wanted - there.keys(), MISSING)
        places = sorted((place.pack, place.offset, place.length, digest) for digest, place in there.items())
        for pack, group in groupby(places, key=lambda place: place[0]):
            with contextlib.ExitStack() as stack:
                try:
                    source = stack.enter_context(self._path(pack).open("rb", buffering=0))
                except OSError:
                    source = None
                for _, offset, length, digest in group:
                    if source is None:
                        problem = self.problem(digest)
                    else:
                        problem = _problem_at(source, Place(pack=pack, offset=offset, length=length), digest)
                    if problem:
                        found[digest] = problem
        return found

    def cross_check(self, *, mend: bool) -> int:
        """Contents that the index and the packs tell differently; with ``mend`` the index is made anew then."""
        wrong = self._index.differences()
        if wrong and mend:
            self._index.rebuild()
        return wrong

    def contents(self) -> Iterator[tuple[bytes, int]]:
        """SHA-256 and length of every content, in the order of the SHA-256."""
        self._index.refresh()
        after = b""
        while page := self._index.page(after, _PAGE):
            yield from page
            after = page[-1][0]

    def take_in(self, writer: PackWriter, rows: Iterable[Row], replaced: Iterable[bytes] = ()) -> None:
        """Give packs that were written their names, and put their contents into the index, on stable storage.

        ``replaced``: those of the contents that are packed already, but damaged.
        """
        self._ahead.forget()
        writer.close()
        damaged = self._index.find_all(replaced)
        flush_files([writer.path(name) for name in writer.names])
        with self._index.writing() as connection:
            numbers = [put_pack(self._folder, writer, name, connection) for name in writer.names]
            sync_folder(self._folder)
            connection.executemany(
                "INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?)",
                ((digest, numbers[number], offset, length) for digest, number, offset, length in rows),
            )
        mark_gone(self._folder, _by_pack(damaged.values()))
        put_small_together(self._folder, self._index)

    def forget(self, digests: Iterable[bytes], keep: Callable[[bytes, bytes], None]) -> None:
        """Take contents out of use; ``keep`` is given the SHA-256 and what can be read of each that is packed."""
        self._ahead.forget()
        places = self._index.find_all(digests)
        for digest in places:
            try:
                data = self.read(digest) or b""
            except OSError:
                data = b""
            keep(digest, data)
        if places:
            with self._index.writing() as connection:
                connection.executemany("DELETE FROM content WHERE digest = ?", ((digest,) for digest in places))
            # Otherwise bytes that a disk gives wrongly today and rightly tomorrow would come back with a lost index.
            mark_gone(self._folder, _by_pack(places.values()))

    def collect(self, needed: DigestSet) -> Collected:
        """Delete every content but those needed; return the bytes freed, and those that are still pending."""
        self._ahead.forget()
        return collect_packs(self._folder, self._index, needed)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{PACK}"


def _by_pack(places: Iterable[Place]) -> dict[str, list[int]]:
    """The offsets in each pack."""
    offsets: dict[str, list[int]] = defaultdict(list)
    for place in places:
        offsets[place.pack].append(place.offset)
    return offsets


def _read_at(source: BinaryIO, place: Place) -> bytes:
    source.seek(place.offset)
    return source.read(place.length)


def _compared(data: bytes, digest: bytes) -> str:
    return "" if hashlib.sha256(data).digest() == digest else DIFFERS


def _problem_at(source: BinaryIO, place: Place, digest: bytes) -> str:
    try:
        return _compared(_read_at(source, place), digest)
    except OSError as error:
        return cannot_be_read(error)
